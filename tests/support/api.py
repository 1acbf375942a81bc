"""A cluster seen from outside: resources as JSON, delivered files, and what the ledger says.

Nothing here shares a line with the operator but the decoder of the ledger's records: what it finds
is what an auditor with kubectl would find.
"""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from agentid.ledger import Issued, Revoked
from agentid.ledger.records import decode_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.providers import Cluster

__all__ = ["Api", "LedgerView", "until"]

_GROUP: Final = "agentid.dev"
_VERSION: Final = "v1alpha1"
_PATIENCE: Final = 90.0
_NOT_FOUND: Final = 404
_NOT_AVAILABLE: Final = 503

Json = dict[str, Any]


def until(what: str, condition: Callable[[], object], seconds: float = _PATIENCE) -> None:
    """Poll until the condition holds; a failure says what did not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.05)


@dataclass(frozen=True, slots=True)
class LedgerView:
    """What stands on the ledger, by serial."""

    issued: dict[str, Issued]
    revoked: dict[str, Revoked]

    def of(self, namespace: str, name: str) -> list[Issued]:
        """Certificates of an identity, oldest first."""
        found = [i for i in self.issued.values() if (i.namespace, i.name) == (namespace, name)]
        return sorted(found, key=lambda each: each.issued_at)

    def unrevoked(self, namespace: str, name: str) -> list[str]:
        """Serials of an identity that are not revoked, oldest first."""
        serials = [str(each.serial) for each in self.of(namespace, name)]
        return [serial for serial in serials if serial not in self.revoked]


class Api:
    """The cluster, as its admin."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        api = config.new_client_from_config(str(cluster.kubeconfig))  # type: ignore[no-untyped-call]
        # JSON in and out: the client's own types say `object` where it has none.
        self._custom: Any = client.CustomObjectsApi(api)
        self._core: Any = client.CoreV1Api(api)
        self._leases = client.CoordinationV1Api(api)

    # Resources of ours

    def create(self, plural: str, body: Json, namespace: str = "") -> Json:
        """Create an object of one of our kinds."""
        kinds = {
            "agentidentities": "AgentIdentity",
            "agentclasses": "AgentClass",
            "agentissuers": "AgentIssuer",
            "agentrevocations": "AgentRevocation",
        }
        whole = {"apiVersion": f"{_GROUP}/{_VERSION}", "kind": kinds[plural], **body}
        place = (_GROUP, _VERSION, namespace, plural) if namespace else (_GROUP, _VERSION, plural)
        make = (
            self._custom.create_namespaced_custom_object
            if namespace
            else self._custom.create_cluster_custom_object
        )
        return _patiently(lambda: make(*place, whole))

    def patch(self, plural: str, name: str, patch: Json, namespace: str = "") -> None:
        """Merge-patch an object of one of our kinds."""
        if namespace:
            self._custom.patch_namespaced_custom_object(
                _GROUP, _VERSION, namespace, plural, name, patch
            )
        else:
            self._custom.patch_cluster_custom_object(_GROUP, _VERSION, plural, name, patch)

    def delete(self, plural: str, name: str, namespace: str = "") -> None:
        """Ask for the deletion of an object of one of our kinds."""
        if namespace:
            self._custom.delete_namespaced_custom_object(_GROUP, _VERSION, namespace, plural, name)
        else:
            self._custom.delete_cluster_custom_object(_GROUP, _VERSION, plural, name)

    def identity(self, namespace: str, name: str) -> Json | None:
        """An AgentIdentity, None if there is none."""
        return _found(
            lambda: self._custom.get_namespaced_custom_object(
                _GROUP, _VERSION, namespace, "agentidentities", name
            )
        )

    def identities(self) -> list[Json]:
        """All AgentIdentities."""
        listed = self._custom.list_cluster_custom_object(_GROUP, _VERSION, "agentidentities")
        items: list[Json] = listed["items"]
        return items

    def object(self, plural: str, name: str) -> Json | None:
        """An AgentClass, AgentIssuer or AgentRevocation."""
        return _found(
            lambda: self._custom.get_cluster_custom_object(_GROUP, _VERSION, plural, name)
        )

    def status(self, namespace: str, name: str) -> Json:
        """The status of an AgentIdentity, empty if there is none."""
        found = self.identity(namespace, name) or {}
        status: Json = found.get("status") or {}
        return status

    def condition(self, namespace: str, name: str, kind: str) -> Json:
        """One condition of an AgentIdentity, empty if it is not there."""
        return condition(self.status(namespace, name), kind)

    def serial(self, namespace: str, name: str) -> str:
        """The serial in the status, empty if there is none."""
        found = self.status(namespace, name).get("certificate") or {}
        return str(found.get("serial", ""))

    # What is delivered

    def files(self, namespace: str, secret: str) -> dict[str, bytes] | None:
        """The files of a Secret, None if there is none."""
        try:
            found = self._core.read_namespaced_secret(secret, namespace)
        except ApiException as error:
            if error.status == _NOT_FOUND:
                return None
            raise
        return {name: base64.b64decode(data) for name, data in (found.data or {}).items()}

    def delivered(self, namespace: str, secret: str) -> str:
        """The serial of the certificate in a Secret, empty if none is in it."""
        files = self.files(namespace, secret) or {}
        if not files.get("tls.crt"):
            return ""
        number = x509.load_pem_x509_certificates(files["tls.crt"])[0].serial_number
        text = f"{number:x}"
        return text if len(text) % 2 == 0 else f"0{text}"

    def secret_version(self, namespace: str, secret: str) -> str:
        """The resourceVersion of a Secret."""
        found = self._core.read_namespaced_secret(secret, namespace)
        return str(found.metadata.resource_version)

    # The operator's own

    def ledger(self) -> LedgerView:
        """What stands on the ledger now."""
        issued: dict[str, Issued] = {}
        revoked: dict[str, Revoked] = {}
        maps = self._core.list_namespaced_config_map(
            "agentid-system", label_selector="agentid.dev/ledger=segment"
        )
        for segment in maps.items:
            for line in segment.data["segment.jsonl"].splitlines():
                if json.loads(line).get("type") not in {"issued", "revoked"}:
                    continue
                record = decode_record(line.encode())
                if isinstance(record, Issued):
                    issued[str(record.serial)] = record
                else:
                    revoked.setdefault(str(record.serial), record)
        return LedgerView(issued, revoked)

    def crls(self, issuer: str) -> dict[str, bytes]:
        """The CRLs that are published for an issuer, DER, by authority and shard."""
        selector = f"agentid.dev/publication=crl,agentid.dev/issuer={issuer}"
        maps = self._core.list_namespaced_config_map("agentid-system", label_selector=selector)
        return {
            each.metadata.name.removeprefix(f"agentid-crl-{issuer}-"): base64.b64decode(
                each.binary_data["crl"]
            )
            for each in maps.items
        }

    def free_lease(self) -> None:
        """Take the Lease from an operator that was killed, so that nobody waits for its end."""
        try:
            self._leases.delete_namespaced_lease("agentid-controller", "agentid-system")
        except ApiException as error:
            if error.status != _NOT_FOUND:
                raise

    # Waiting

    def until_ready(self, namespace: str, name: str, seconds: float = _PATIENCE) -> Json:
        """Wait until an identity is Ready for its present generation, and return its status."""

        def ready() -> bool:
            body = self.identity(namespace, name) or {}
            status = body.get("status") or {}
            return (
                status.get("observedGeneration") == body["metadata"]["generation"]
                and condition(status, "Ready").get("status") == "True"
            )

        until(f"{namespace}/{name} Ready", ready, seconds)
        return self.status(namespace, name)

    def until_reason(self, namespace: str, name: str, kind: str, reason: str) -> Json:
        """Wait until a condition is there for a reason, and return it."""
        until(
            f"{namespace}/{name} {kind} for {reason}",
            lambda: self.condition(namespace, name, kind).get("reason") == reason,
        )
        return self.condition(namespace, name, kind)


def condition(status: Json, kind: str) -> Json:
    """One condition out of a status, empty if it is not there."""
    found = (each for each in status.get("conditions", ()) if each["type"] == kind)
    return next(found, {})


def _patiently(make: Callable[[], Json]) -> Json:
    """Ask again while the API server, which may just have started, does not know our kinds yet."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return make()
        except ApiException as error:
            if error.status != _NOT_AVAILABLE or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def _found(get: Callable[[], Json]) -> Json | None:
    try:
        return get()
    except ApiException as error:
        if error.status == _NOT_FOUND:
            return None
        raise
