"""What an operator publishes, made of a throwaway CA; and a ledger in memory for a responder.

The objects have the names, labels and keys of `docs/reference/responder.md`, as the API server
would show them.
"""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from agentid.constants import LABEL_ISSUER, LABEL_PUBLICATION
from agentid.identity import SpiffeId, Validity
from agentid.ledger import Durable, LedgerState
from agentid.pki import Authority, CertifiedKey, LeafProfile, LocalSigner, to_pkcs8_pem
from agentid.pki.crl import CrlEntry, make_crl
from agentid.pki.jwt_bundle import jwt_jwk
from agentid.pki.ocsp_signer import make_ocsp_responder, responder_key_algorithm
from agentid.pki.spiffe_bundle import SpiffeBundle, encode_spiffe_bundle
from agentid.responder.publications import SECRET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from agentid.ledger import Record
    from agentid.testing.ca import ThrowawayCA

__all__ = ["BASE_URL", "MemoryLedger", "Published", "secret"]

BASE_URL: Final = "http://agentid-responder.agentid-system.svc"
_NAMESPACE: Final = "agentid-system"
_DAY: Final = timedelta(days=1)

Json = dict[str, object]


class Published:
    """What is published of one issuer.

    Attributes:
        ca: The CA.
        issuer: Name of the AgentIssuer.
        authority_id: Of the issuing authority.
        root_id: Of the root.
        ocsp: The delegated signer.
    """

    def __init__(self, ca: ThrowawayCA, issuer: str = "builtin") -> None:
        self.ca = ca
        self.issuer = issuer
        self.authority_id = ca.authority.key_id[:8].hex()
        self._root = Authority(
            ca.trust_domain,
            (ca.root.certificate,),
            ca.root.certificate,
            LocalSigner(ca.root.private_key),
        )
        self.root_id = self._root.key_id[:8].hex()
        self.ocsp = self.make_ocsp()

    def make_ocsp(self, lifetime: timedelta = _DAY, label: str = "ocsp") -> CertifiedKey:
        """A delegated signer of its own key."""
        ca = self.ca
        key = ca.key(label, responder_key_algorithm(ca.authority.algorithm))
        validity = Validity.of(ca.now, lifetime, timedelta(minutes=1), ca.authority.not_after)
        return make_ocsp_responder(ca.authority, key, validity, ca.serial())

    def bundle(
        self,
        sequence: int = 1,
        *,
        hint: int = 300,
        federated: Mapping[str, Json] | None = None,
        oidc_issuer: str | None = None,
    ) -> Json:
        """The ConfigMap of the bundle."""
        ca = self.ca
        jwt_keys = (jwt_jwk(ca.jwt_signing_key.public_key),)
        document = SpiffeBundle(ca.bundle, sequence, timedelta(seconds=hint), jwt_keys)
        data = {
            "bundle.json": encode_spiffe_bundle(document).decode(),
            "ca.crt": ca.root.certificate_pem.decode(),
            "authorities.pem": ca.intermediate.certificate_pem.decode(),
            "trustDomain": ca.trust_domain.name,
            **({} if oidc_issuer is None else {"oidcIssuer": oidc_issuer}),
            **{f"federated.{td}.json": json.dumps(one) for td, one in (federated or {}).items()},
        }
        return self._config_map(f"agentid-bundle-{self.issuer}", "bundle", {"data": data})

    def crl(
        self,
        shard: int | None = 0,
        entries: Iterable[CrlEntry] = (),
        number: int = 1,
        *,
        age: timedelta = timedelta(0),
        lifetime: timedelta = timedelta(hours=1),
    ) -> Json:
        """The ConfigMap of a CRL: of a shard, or of the root if there is none."""
        root = shard is None
        authority = self._root if root else self.ca.authority
        owner, name = (self.root_id, "root") if root else (self.authority_id, str(shard))
        this_update = self.ca.now.replace(microsecond=0) - age
        der = make_crl(
            authority,
            entries,
            number,
            this_update,
            this_update + lifetime,
            None if root else f"{BASE_URL}/crl/{owner}/{name}.crl",
        )
        return self._config_map(
            f"agentid-crl-{self.issuer}-{owner}-{name}",
            "crl",
            {"binaryData": {"crl": base64.b64encode(der).decode()}},
        )

    def whole_crl(self, entries: Iterable[CrlEntry]) -> Json:
        """The ConfigMap of shard 0 with a CRL about everything, as leaves without a shard need."""
        authority, now = self.ca.authority, self.ca.now.replace(microsecond=0)
        der = make_crl(authority, entries, 1_000, now, now + timedelta(hours=1))
        return self._config_map(
            f"agentid-crl-{self.issuer}-{self.authority_id}-0",
            "crl",
            {"binaryData": {"crl": base64.b64encode(der).decode()}},
        )

    def svid(self, lifetime: timedelta = _DAY) -> tuple[bytes, bytes]:
        """Chain and key in PEM of the responder's X509-SVID."""
        ca = self.ca
        validity = Validity.of(ca.now, lifetime, timedelta(minutes=1), ca.authority.not_after)
        issued = ca.issue(
            LeafProfile(
                spiffe_id=SpiffeId(ca.trust_domain, "/agentid/responder"),
                class_name="responder",
                validity=validity,
                key_algorithm=ca.authority.algorithm,
            )
        )
        return issued.leaf.chain_pem, to_pkcs8_pem(issued.private_key)

    def files(self) -> dict[str, bytes]:
        """Its part of the Secret."""
        chain, key = self.svid()
        return {
            f"{self.authority_id}.ocsp.crt": self.ocsp.certificate_pem,
            f"{self.authority_id}.ocsp.key": self.ocsp.private_key_pem,
            f"{self.issuer}.tls.crt": chain,
            f"{self.issuer}.tls.key": key,
        }

    def _config_map(self, name: str, publication: str, content: Json) -> Json:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "namespace": _NAMESPACE,
                "name": name,
                "labels": {LABEL_PUBLICATION: publication, LABEL_ISSUER: self.issuer},
            },
            **content,
        }


def secret(*published: Published, **files: bytes) -> Json:
    """The Secret of the responder, with the parts of these issuers."""
    content = dict(files)
    for one in published:
        content.update(one.files())
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": _NAMESPACE, "name": SECRET},
        "type": "Opaque",
        "data": {name: base64.b64encode(data).decode() for name, data in content.items()},
    }


class MemoryLedger:
    """A ledger that a test writes on; satisfies `responder.register.LedgerSource`.

    Attributes:
        state: What is on record.
        lag: How long ago everything was known to be known; None: never yet.
        later_format: What is to be said of a segment that a later release wrote.
    """

    def __init__(self, lag: timedelta | None = timedelta(0)) -> None:
        self.state = LedgerState()
        self.lag = lag
        self.later_format: str | None = None
        self._listeners: list[Callable[[Durable], None]] = []

    def record(self, *records: Record) -> None:
        """Put records on the ledger, as one commit of another process."""
        for record in records:
            self.state.apply(record)
        for listener in tuple(self._listeners):
            listener(Durable(records, own=False))

    def subscribe(self, listener: Callable[[Durable], None]) -> Callable[[], None]:
        """Tell about all records from now on."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)
