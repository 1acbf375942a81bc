"""What the operator publishes, object by object, put where it is served from.

Names and keys of the objects are those of `docs/reference/responder.md`. An object that cannot be
served is told once in the log and counted; what was served before still is.
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from agentid.constants import LABEL_ISSUER, LABEL_PUBLICATION
from agentid.errors import InputError
from agentid.responder.bundles import BundleShelf
from agentid.responder.crl import CrlKey, CrlShelf
from agentid.responder.signers import SignerShelf
from agentid.responder.tls import FILES, TlsShelf
from agentid.services.crl_objects import CRL_DATA

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

__all__ = ["SECRET", "Publications"]

_log = structlog.stdlib.get_logger(__name__)

SECRET: Final = "agentid-responder"  # noqa: S105 - its name
"""The Secret with what the responder signs and serves TLS with; no authority's key is in it."""

_CRL_NAME: Final = re.compile(
    r"agentid-crl-(?P<issuer>.+)-(?P<authority>[0-9a-f]{16})-(?P<shard>[0-9a-z]+)", re.ASCII
)
_BUNDLE_PREFIX: Final = "agentid-bundle-"
_OCSP_FILE: Final = re.compile(r"(?P<name>[0-9a-f]{16})\.ocsp\.crt", re.ASCII)
_TLS_FILE: Final = re.compile(r"(?P<name>.+)\.tls\.crt", re.ASCII)


class Publications:
    """Everything that is published, as it is served.

    Args:
        max_age: How long a cache of HTTP may keep a CRL.
        on_refused: Told the kind of an object that cannot be served: `crl`, `bundle`, `ocsp`,
            `tls` or `object`.
        svid: Whether HTTPS is served with what is published; else files are.
        on_issuer: Told the name of each issuer that publishes a bundle.
        on_authorities: Called when the authorities in bundles may have changed.

    Attributes:
        crls: CRLs.
        bundles: Bundles, and the authorities in them.
        signers: Delegated OCSP signers.
        tls: Certificates of HTTPS.
        tls_refused: Why a certificate of an issuer cannot be served, by its name.
    """

    def __init__(
        self,
        max_age: timedelta,
        *,
        on_refused: Callable[[str], None],
        svid: bool = True,
        on_issuer: Callable[[str], None] = lambda _: None,
        on_authorities: Callable[[], None] = lambda: None,
    ) -> None:
        self.crls = CrlShelf(max_age)
        self.bundles = BundleShelf()
        self.signers = SignerShelf()
        self.tls = TlsShelf()
        self._on_refused = on_refused
        self._on_issuer = on_issuer
        self._on_authorities = on_authorities
        self._svid = svid
        self.tls_refused: dict[str, str] = {}
        self._files: Mapping[str, bytes] = {}

    # ConfigMaps

    def config_map(self, body: Mapping[str, object]) -> None:
        """A published ConfigMap is there, new or changed."""
        name, labels = _name(body), _labels(body)
        match labels.get(LABEL_PUBLICATION):
            case "crl":
                self._try("crl", name, partial(self._crl, name, labels, body))
            case "bundle":
                self._try("bundle", name, partial(self._bundle, name, labels, body))
            case other:
                _log.debug("publication_ignored", name=name, publication=other)

    def config_map_gone(self, name: str) -> None:
        """A published ConfigMap is there no longer."""
        if name.startswith(_BUNDLE_PREFIX):
            self.bundles.withdraw(name.removeprefix(_BUNDLE_PREFIX))
            self._on_authorities()
            self._sign_anew()
        elif (found := _CRL_NAME.fullmatch(name)) is not None:
            self.crls.withdraw(CrlKey(found["authority"], found["shard"]))

    def _crl(self, name: str, labels: Mapping[str, str], body: Mapping[str, object]) -> None:
        found = _CRL_NAME.fullmatch(name)
        issuer = labels.get(LABEL_ISSUER, "")
        if found is None or found["issuer"] != issuer:
            msg = f"a CRL of issuer {issuer or 'nobody'} is not to be named so"
            raise InputError(msg)
        der = _binary(body).get(CRL_DATA)
        if der is None:
            msg = f"binaryData has no {CRL_DATA}"
            raise InputError(msg)
        key = CrlKey.parse(found["authority"], found["shard"])
        self.crls.publish(issuer, key, der, self.bundles.authorities.get(key.authority))

    def _bundle(self, name: str, labels: Mapping[str, str], body: Mapping[str, object]) -> None:
        issuer = labels.get(LABEL_ISSUER, "")
        if not issuer or name != _BUNDLE_PREFIX + issuer:
            msg = f"a bundle of issuer {issuer or 'nobody'} is not to be named so"
            raise InputError(msg)
        self.bundles.publish(issuer, _texts(body.get("data")))
        self._on_issuer(issuer)
        self._on_authorities()
        self._sign_anew()

    # The Secret

    def secret(self, body: Mapping[str, object]) -> None:
        """The Secret is there, new or changed."""
        if _name(body) != SECRET:
            return
        self._files = _decoded(body.get("data"))
        self._sign_anew()
        if not self._svid:
            return
        names: set[str] = set()
        for file in sorted(self._files):
            if (found := _TLS_FILE.fullmatch(file)) is not None and found["name"] != FILES:
                names.add(found["name"])
                self._identity(found["name"], file)
        self.tls.keep(names)
        for gone in self.tls_refused.keys() - names:
            del self.tls_refused[gone]

    def secret_gone(self) -> None:
        """The Secret is there no longer; what it held serves until it expires."""
        _log.warning("responder_secret_gone", name=SECRET)

    def _identity(self, issuer: str, file: str) -> None:
        key = self._files.get(f"{issuer}.tls.key", b"")
        try:
            self.tls.publish(issuer, self._files[file], key)
        except InputError as error:
            self.tls_refused[issuer] = str(error)
            self._refuse("tls", file, error)
        else:
            self.tls_refused.pop(issuer, None)

    def _sign_anew(self) -> None:
        """Make signers of what is in the Secret now, for the authorities that are known now."""
        wanted: set[str] = set()
        for file, certificate in self._files.items():
            if (found := _OCSP_FILE.fullmatch(file)) is None:
                continue
            authority = found["name"]
            wanted.add(authority)
            key = self._files.get(f"{authority}.ocsp.key", b"")
            for bundle in self.bundles:
                own = bundle.authorities.get(authority)
                if own is not None:
                    publish = partial(self.signers.publish, authority, bundle.issuer, own)
                    self._try("ocsp", file, partial(publish, certificate, key))
        self.signers.keep(wanted & self.bundles.authorities.keys())

    def _try(self, kind: str, name: str, act: Callable[[], None]) -> None:
        try:
            act()
        except InputError as error:
            self._refuse(kind, name, error)

    def _refuse(self, kind: str, name: str, error: InputError) -> None:
        self._on_refused(kind)
        _log.warning("publication_refused", kind=kind, name=name, error=str(error))


def _name(body: Mapping[str, object]) -> str:
    metadata = body.get("metadata")
    return str(metadata.get("name")) if isinstance(metadata, dict) else ""


def _labels(body: Mapping[str, object]) -> Mapping[str, str]:
    metadata = body.get("metadata")
    return _texts(metadata.get("labels")) if isinstance(metadata, dict) else {}


def _texts(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {str(key): text for key, text in value.items() if isinstance(text, str)}


def _binary(body: Mapping[str, object]) -> dict[str, bytes]:
    return _decoded(body.get("binaryData"))


def _decoded(value: object) -> dict[str, bytes]:
    found = {}
    for key, text in _texts(value).items():
        try:
            found[key] = base64.b64decode(text, validate=True)
        except binascii.Error:
            continue  # whoever needs it says that it is missing
    return found
