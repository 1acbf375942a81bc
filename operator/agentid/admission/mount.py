"""What an identity that was granted puts into a pod: a volume and an environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentid.api.vocabulary import DeliveryMode, Instances
from agentid.constants import CSI_DRIVER, LABEL_IDENTITY, MOUNT_PATH, SIGNER_NAME, VOLUME_NAME
from agentid.services.trust_bundles import trust_bundle_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentid.kube.objects import JsonObject
    from agentid.policy.grant import Grant

__all__ = ["Mount"]

_SOCKET = f"unix://{MOUNT_PATH}/workload.sock"


@dataclass(frozen=True, slots=True)
class Mount:
    """What a pod gets.

    Attributes:
        volume: An entry of `spec.volumes`.
        mount: An entry of a container's `volumeMounts`.
        env: Entries of a container's `env`; a later one may refer to an earlier one.
    """

    volume: JsonObject
    mount: JsonObject
    env: Sequence[JsonObject]

    @classmethod
    def of(cls, grant: Grant) -> Mount:
        """What the pods of an identity get that is given this."""
        return cls(
            volume={"name": VOLUME_NAME, **_source(grant)},
            mount={"name": VOLUME_NAME, "mountPath": MOUNT_PATH, "readOnly": True},
            env=tuple(_environment(grant)),
        )


def _source(grant: Grant) -> JsonObject:
    name = grant.agent.name
    match grant.delivery:
        case DeliveryMode.POD_CERTIFICATE:
            certificate = {
                "signerName": SIGNER_NAME,
                "keyType": grant.key_algorithm.value,
                "maxExpirationSeconds": int(grant.lifetime.total_seconds()),
                "credentialBundlePath": "credentials.pem",
                "keyPath": "tls.key",
                "certificateChainPath": "tls.crt",
                "userAnnotations": {LABEL_IDENTITY: name},
            }
            bundle = {"name": trust_bundle_name(grant.issuer_name), "path": "ca.crt"}
            sources = [{"podCertificate": certificate}, {"clusterTrustBundle": bundle}]
            return {"projected": {"sources": sources}}
        case DeliveryMode.CSI:
            attributes = {LABEL_IDENTITY: name}
            return {"csi": {"driver": CSI_DRIVER, "readOnly": True, "volumeAttributes": attributes}}
        case DeliveryMode.SECRET:
            return {"secret": {"secretName": grant.secret_name}}


def _environment(grant: Grant) -> list[JsonObject]:
    env: list[JsonObject] = [{"name": "AGENTID_DIR", "value": MOUNT_PATH}]
    spiffe_id = str(grant.spiffe_id)
    if grant.instances is Instances.PER_POD:
        field = {"fieldRef": {"fieldPath": "metadata.uid"}}
        env.append({"name": "AGENTID_POD_UID", "valueFrom": field})
        # Kubernetes puts in what stands earlier in the same list.
        spiffe_id += "/pod/$(AGENTID_POD_UID)"
    env.append({"name": "AGENTID_SPIFFE_ID", "value": spiffe_id})
    if grant.delivery is DeliveryMode.CSI:
        env.append({"name": "SPIFFE_ENDPOINT_SOCKET", "value": _SOCKET})
    return env
