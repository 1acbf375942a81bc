"""Delivery through a Secret: written whole, never read.

A Secret that exists is replaced only if it has the UID that its creation was answered with, so one
of somebody else, or of a namesake that is gone, is never overwritten. Where the UID is not known,
since a crash came between a Secret and the status that tells its UID, the admission policy
`agentid-controller-secrets` says whose the Secret is. Why: `docs/adr/0003-no-secret-reads.md`.

A write that got no answer may still be on its way, and arrive behind later ones. So each names the
version that the last answer told of, where one is known: what comes late meets a conflict.
"""

from __future__ import annotations

import base64
import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agentid.api.conditions import Reason
from agentid.api.fields import format_time
from agentid.constants import (
    ANNOTATION_IDENTITY,
    GROUP,
    LABEL_IDENTITY_UID,
    LABEL_MANAGED,
    VERSION,
)
from agentid.errors import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)
from agentid.kube.objects import resource_version_of, uid_of
from agentid.kube.resources import SECRETS
from agentid.services.failure import PassError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from agentid.api.model import ObjectMeta
    from agentid.kube.client import Client
    from agentid.kube.objects import JsonObject
    from agentid.pki import Leaf
    from agentid.policy.grant import Grant

__all__ = ["Credential", "SecretDelivery"]

_ANNOTATION_SERIAL: Final = f"{GROUP}/serial"
_ANNOTATION_NOT_AFTER: Final = f"{GROUP}/not-after"
_ANNOTATION_SPIFFE_ID: Final = f"{GROUP}/spiffe-id"

_POLICY: Final = "agentid-controller-secrets"
"""The policy that lets the controller replace a Secret only by one of the same identity."""

_NOBODY: Final = "00000000-0000-0000-0000-000000000000"
"""A UID that nothing has (RFC 9562 §5.9)."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate with its key, as it is delivered.

    Attributes:
        leaf: The certificate and its chain.
        key_pem: The private key, PKCS#8 in PEM, unencrypted.
        bundle_pem: What verifiers trust, PEM.
        grant: What it was issued under.
        renewal_time: When the next one will come.
        issued_at: When it was made.
    """

    leaf: Leaf
    key_pem: bytes
    bundle_pem: bytes
    grant: Grant
    renewal_time: datetime
    issued_at: datetime

    def __repr__(self) -> str:
        """The serial; never the key."""
        return f"Credential(serial={self.leaf.serial})"

    def files(self) -> dict[str, bytes]:
        """The files by name, as every delivery writes them."""
        grant, validity = self.grant, self.leaf.validity
        about = {
            "spiffeID": str(grant.spiffe_id),
            "class": grant.class_name,
            "tier": grant.tier,
            "sponsor": grant.sponsor,
            "issuer": grant.issuer_name,
            "serial": str(self.leaf.serial),
            "notBefore": format_time(validity.not_before),
            "notAfter": format_time(validity.not_after),
            "renewalTime": format_time(self.renewal_time),
        }
        return {
            "tls.crt": self.leaf.chain_pem,
            "tls.key": self.key_pem,
            "ca.crt": self.bundle_pem,
            "agent.json": json.dumps(about, indent=2).encode() + b"\n",
        }


_FOREIGN: Final = (
    "it does not belong to this identity; remove it or choose another spec.delivery.secretName. "
    "One that a deleted identity of this name has left goes by itself. agentid overwrites no "
    "Secret that is not its own"
)
_UNPROTECTED: Final = (
    f"whose it is cannot be told, since the policy {_POLICY} is not in force; install agentid's "
    "policies, or remove the Secret"
)


class SecretDelivery:
    """Writes, and empties, the Secrets of identities."""

    def __init__(self, client: Client) -> None:
        self._client = client
        # UID and version by namespace and name, as the last answer told; some 300 bytes each.
        self._written: dict[tuple[str, str], tuple[str, str]] = {}

    async def deliver(
        self, owner: ObjectMeta, name: str, credential: Credential, uid: str | None
    ) -> str:
        """Write the Secret whole.

        Args:
            owner: The AgentIdentity, which the Secret goes with.
            name: Of the Secret, in the identity's namespace.
            credential: What to write.
            uid: Of the Secret when it was last written, None if it never was or nobody knows.

        Returns:
            The UID of the Secret.

        Raises:
            PassError: It was not written, or nobody knows; the certificate in use is unharmed.
        """
        about = {
            ANNOTATION_IDENTITY: owner.name,
            _ANNOTATION_SERIAL: str(credential.leaf.serial),
            _ANNOTATION_NOT_AFTER: format_time(credential.leaf.validity.not_after),
            _ANNOTATION_SPIFFE_ID: str(credential.grant.spiffe_id),
        }
        draft = _Draft(owner, name, credential.files(), about)
        with _told(draft):
            uid = uid or self._known(draft)
            written = None if uid is None else await self._replace(draft, uid)
            written = written or await self._create(draft)
            # A Secret is there, and its UID is not known.
            written = written or await self._replace(draft, _NOBODY)
        if written is None:
            message = f"Secret {owner.namespace}/{name} comes and goes; agentid tries again"
            raise PassError(Reason.SECRET_REFUSED, message)
        return written

    async def withdraw(self, owner: ObjectMeta, name: str, uid: str | None) -> None:
        """Take key and certificate out of the Secret; one that is gone is no error.

        The Secret itself stays, empty: pods that mount it go on, and agentid may not delete it.
        Where nobody knows whether it was ever written, an empty one is made: the request that was
        to create it may still be on its way.

        Args:
            owner: The AgentIdentity that it was written for.
            name: Of the Secret, in the identity's namespace.
            uid: Of the Secret when it was last written, None if nobody knows.

        Raises:
            PassError: It was not written, or nobody knows.
        """
        gone = {"state": "withdrawn", "identity": f"{owner.namespace}/{owner.name}"}
        text = json.dumps(gone, indent=2).encode() + b"\n"
        # Kubernetes asks a Secret of type kubernetes.io/tls for these two keys, empty or not.
        files = {"tls.crt": b"", "tls.key": b"", "agent.json": text}
        draft = _Draft(owner, name, files, {ANNOTATION_IDENTITY: owner.name})
        try:
            with _told(draft):
                there = await self._replace(draft, uid or self._known(draft) or _NOBODY)
                if there is None and uid is None:
                    await self._create(draft)
        except PassError as error:
            if error.reason is not Reason.SECRET_CONFLICT or uid is None:
                raise
            # The one that we wrote is gone, and what we wrote with it.

    async def _create(self, draft: _Draft) -> str | None:
        """Create a Secret, and return its UID; None if there is one of this name."""
        try:
            return self._note(draft, await self._client.create(SECRETS, draft.body()))
        except AlreadyExistsError:
            return None

    async def _replace(self, draft: _Draft, uid: str) -> str | None:
        """Replace the Secret of this UID, or the one that is there if it is ours.

        Returns:
            The UID of what was replaced; None if there is no Secret of this name.

        Raises:
            _NotOursError: There is one, and it is not ours.
            ApiError: It was refused for another reason.
        """
        try:
            try:
                return await self._put(draft, uid)
            except ConflictError as error:
                if error.uid is None:
                    raise
                return await self._adopt(draft, error.uid)
        except NotFoundError:
            return None

    async def _adopt(self, draft: _Draft, uid: str) -> str:
        """Replace a Secret of which only the UID is known, relying on the admission policy.

        The policy is asked first whether it is in force: a replacement in the name of nobody, which
        would not be stored anyhow, has to be refused by it. A Secret of another type is refused
        before any policy is asked, and none of ours.
        """
        try:
            probe = draft.body(uid=uid, owner_uid=_NOBODY)
            await self._client.replace(SECRETS, probe, dry_run=True)
        except ForbiddenError as error:
            if _POLICY not in str(error):
                raise
        except InvalidError as error:
            raise _NotOursError(_FOREIGN) from error
        else:
            raise _NotOursError(_UNPROTECTED)
        try:
            return await self._put(draft, uid)
        except ForbiddenError as error:
            if _POLICY not in str(error):
                raise
            raise _NotOursError(_FOREIGN) from error

    async def _put(self, draft: _Draft, uid: str) -> str:
        known, version = self._written.get(draft.key, ("", ""))
        body = draft.body(uid=uid, version=version if known == uid else None)
        try:
            return self._note(draft, await self._client.replace(SECRETS, body))
        except (ConflictError, NotFoundError):
            # Another replica wrote it, or a write of ours that was taken for lost. Whether it is
            # still ours to write is for the next pass to say, which then asks for no version.
            self._written.pop(draft.key, None)
            raise

    def forget(self, namespace: str, name: str) -> None:
        """Forget which version of a Secret was written last; it goes with its identity."""
        self._written.pop((namespace, name), None)

    def forget_all(self) -> None:
        """Forget them all: another replica has led since, and written."""
        self._written.clear()

    def _known(self, draft: _Draft) -> str | None:
        known = self._written.get(draft.key)
        return None if known is None else known[0]

    def _note(self, draft: _Draft, body: JsonObject) -> str:
        uid = uid_of(body)
        self._written[draft.key] = uid, resource_version_of(body)
        return uid


@dataclass(frozen=True, slots=True)
class _Draft:
    """A Secret as it is to be, whichever object it becomes."""

    owner: ObjectMeta
    name: str
    files: Mapping[str, bytes]
    annotations: Mapping[str, str]

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.owner.namespace, self.name

    def body(
        self, *, uid: str | None = None, version: str | None = None, owner_uid: str | None = None
    ) -> JsonObject:
        """The object for the API server.

        Args:
            uid: Of the Secret that it replaces; None for a new one.
            version: The resourceVersion that it replaces; None for whichever there is.
            owner_uid: What the label says of the owner, where that is not the truth.
        """
        owner = self.owner
        return {
            "apiVersion": SECRETS.api_version,
            "kind": SECRETS.kind,
            "metadata": {
                "namespace": owner.namespace,
                "name": self.name,
                **({} if uid is None else {"uid": uid}),
                **({} if version is None else {"resourceVersion": version}),
                "labels": {LABEL_MANAGED: "true", LABEL_IDENTITY_UID: owner_uid or owner.uid},
                "annotations": dict(self.annotations),
                "ownerReferences": [
                    {
                        "apiVersion": f"{GROUP}/{VERSION}",
                        "kind": "AgentIdentity",
                        "name": owner.name,
                        "uid": owner.uid,
                        "controller": True,
                    }
                ],
            },
            "type": "kubernetes.io/tls",
            "data": {
                name: base64.b64encode(content).decode() for name, content in self.files.items()
            },
        }


class _NotOursError(Exception):
    """The Secret of this name is, or may be, somebody else's; the message says what to do."""


@contextmanager
def _told(draft: _Draft) -> Iterator[None]:
    """Turn what befalls a Secret into the words of a condition."""
    secret = f"Secret {draft.owner.namespace}/{draft.name}"
    try:
        yield
    except _NotOursError as error:
        message = f"{secret} exists, and {error}. agentid tries again"
        raise PassError(Reason.SECRET_CONFLICT, message) from error
    except UnavailableError as error:
        raise PassError(Reason.SECRET_REFUSED, str(error), retry_after=error.retry_after) from error
    except ApiError as error:
        raise PassError(Reason.SECRET_REFUSED, f"{secret}: {error}") from error
