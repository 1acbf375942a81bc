"""Delivery through a Secret: written whole, never read.

An update is a JSON Patch whose first operation tests the label that names the owner, so a Secret of
somebody else, or of a namesake that is gone, is never overwritten, whatever policies are installed.
Why there is no other way without reading: `docs/adr/0003-no-secret-reads.md`.
"""

from __future__ import annotations

import base64
import json
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
    NotFoundError,
    PreconditionError,
    UnavailableError,
)
from agentid.kube.resources import SECRETS
from agentid.services.failure import PassError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from agentid.api.model import ObjectMeta
    from agentid.kube.client import Client
    from agentid.pki import Leaf
    from agentid.policy.grant import Grant

__all__ = ["Credential", "SecretDelivery"]

_ANNOTATION_SERIAL: Final = f"{GROUP}/serial"
_ANNOTATION_NOT_AFTER: Final = f"{GROUP}/not-after"
_ANNOTATION_SPIFFE_ID: Final = f"{GROUP}/spiffe-id"


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


class SecretDelivery:
    """Writes, and empties, the Secrets of identities."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def deliver(
        self, owner: ObjectMeta, name: str, credential: Credential, *, exists: bool
    ) -> None:
        """Write the Secret whole.

        Args:
            owner: The AgentIdentity, which the Secret goes with.
            name: Of the Secret, in the identity's namespace.
            credential: What to write.
            exists: Whether it probably exists; only saves a request when right.

        Raises:
            PassError: It was not written, or nobody knows; the certificate in use is unharmed.
        """
        about = {
            ANNOTATION_IDENTITY: owner.name,
            _ANNOTATION_SERIAL: str(credential.leaf.serial),
            _ANNOTATION_NOT_AFTER: format_time(credential.leaf.validity.not_after),
            _ANNOTATION_SPIFFE_ID: str(credential.grant.spiffe_id),
        }
        data = _encoded(credential.files())
        try:
            if not exists and await self._create(owner, name, data, about):
                return
            if await self._update(owner, name, data, about):
                return
            if await self._create(owner, name, data, about):
                return
        except UnavailableError as error:
            raise _unavailable(error) from error
        except ApiError as error:
            raise _refused(owner, name, error) from error
        message = f"Secret {owner.namespace}/{name} comes and goes; agentid tries again"
        raise PassError(Reason.SECRET_REFUSED, message)

    async def withdraw(self, owner: ObjectMeta, name: str) -> None:
        """Take key and certificate out of the Secret; one that is gone is no error.

        The Secret itself stays, empty: pods that mount it go on, and agentid may not delete it.

        Raises:
            PassError: It was not written, or nobody knows.
        """
        gone = {"state": "withdrawn", "identity": f"{owner.namespace}/{owner.name}"}
        text = json.dumps(gone, indent=2).encode() + b"\n"
        # Kubernetes asks a Secret of type kubernetes.io/tls for these two keys, empty or not.
        data = _encoded({"tls.crt": b"", "tls.key": b"", "agent.json": text})
        try:
            await self._update(owner, name, data, {ANNOTATION_IDENTITY: owner.name})
        except PreconditionError:
            return  # not ours any more, so nothing of ours is in it
        except UnavailableError as error:
            raise _unavailable(error) from error
        except ApiError as error:
            raise _refused(owner, name, error) from error

    async def _create(
        self,
        owner: ObjectMeta,
        name: str,
        data: Mapping[str, str],
        annotations: Mapping[str, str],
    ) -> bool:
        body = {
            "apiVersion": SECRETS.api_version,
            "kind": SECRETS.kind,
            "metadata": {
                "namespace": owner.namespace,
                "name": name,
                "labels": {LABEL_MANAGED: "true", LABEL_IDENTITY_UID: owner.uid},
                "annotations": dict(annotations),
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
            "data": data,
        }
        try:
            await self._client.create(SECRETS, body)
        except AlreadyExistsError:
            return False
        return True

    async def _update(
        self,
        owner: ObjectMeta,
        name: str,
        data: Mapping[str, str],
        annotations: Mapping[str, str],
    ) -> bool:
        label = LABEL_IDENTITY_UID.replace("/", "~1")  # RFC 6901 §3
        operations: tuple[dict[str, object], ...] = (
            {"op": "test", "path": f"/metadata/labels/{label}", "value": owner.uid},
            {"op": "add", "path": "/metadata/annotations", "value": dict(annotations)},
            {"op": "add", "path": "/data", "value": dict(data)},
        )
        try:
            await self._client.patch_json(SECRETS, name, operations, owner.namespace)
        except NotFoundError:
            return False
        return True


def _encoded(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: base64.b64encode(content).decode() for name, content in files.items()}


def _unavailable(error: UnavailableError) -> PassError:
    return PassError(Reason.SECRET_REFUSED, str(error), retry_after=error.retry_after)


def _refused(owner: ObjectMeta, name: str, error: ApiError) -> PassError:
    if isinstance(error, PreconditionError):
        message = (
            f"Secret {owner.namespace}/{name} exists and does not belong to this identity; remove "
            "it or choose another spec.delivery.secretName. agentid overwrites no Secret that is "
            "not its own, and tries again"
        )
        return PassError(Reason.SECRET_CONFLICT, message)
    return PassError(Reason.SECRET_REFUSED, f"Secret {owner.namespace}/{name}: {error}")
