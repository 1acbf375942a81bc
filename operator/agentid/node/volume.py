"""What the kubelet asks for when it publishes a volume, read with distrust.

Names of the pod come from the kubelet; whatever else is in `volume_context` was written by the
author of the pod.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson

from agentid.errors import InputError
from agentid.identity.quoting import quoted
from agentid.node.issuer import PodProof

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentid.node.proto import csi_pb2

__all__ = ["AUDIENCE", "DRIVER_NAME", "IDENTITY", "VolumeOrder", "read_order", "read_target"]

DRIVER_NAME: Final = "csi.agentid.dev"
AUDIENCE: Final = "agentid.dev"
"""Of the pods' tokens."""
IDENTITY: Final = "agentid.dev/identity"
"""The only volume attribute: the name of an AgentIdentity. It selects, it does not grant."""

_CONTEXT: Final = "csi.storage.k8s.io/"
_TOKENS: Final = f"{_CONTEXT}serviceAccount.tokens"
_POD: Final = {
    f"{_CONTEXT}pod.name": "name",
    f"{_CONTEXT}pod.namespace": "namespace",
    f"{_CONTEXT}pod.uid": "uid",
    f"{_CONTEXT}serviceAccount.name": "service_account",
}
_KNOWN: Final = frozenset({*_POD, f"{_CONTEXT}ephemeral", _TOKENS, IDENTITY})

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)
"""A DNS subdomain, RFC 1123: names of pods, namespaces, ServiceAccounts, identities; UIDs."""
_GROUP: Final = re.compile(r"[0-9]{1,10}", re.ASCII)
_MAX_GROUP: Final = 2**31 - 1
"""As in a pod's fsGroup."""
MAX_VOLUME_ID: Final = 256
MAX_PATH: Final = 4096
MAX_TOKENS: Final = 64 * 1024
"""Octets: a token of each audience that the CSIDriver lists, of 1 to 2 KiB."""
_MAX_ATTRIBUTES: Final = 16


@dataclass(frozen=True, slots=True)
class VolumeOrder:
    """A volume to publish.

    Attributes:
        volume_id: The kubelet's name of it.
        target: Where it is to appear.
        pod: For whom, with the pod's token.
        group: The pod's fsGroup; None where it has none.
    """

    volume_id: str
    target: Path
    pod: PodProof
    group: int | None


def read_order(request: csi_pb2.NodePublishVolumeRequest, targets: Path) -> VolumeOrder:
    """Read a request.

    Args:
        request: From the kubelet.
        targets: The folder that every target lies below.

    Raises:
        InputError: It is not one that this driver fulfils; the message says what to change.
    """
    volume_id = _volume_id(request.volume_id)
    target = read_target(request.target_path, targets)
    if not request.HasField("volume_capability"):
        msg = "volume_capability is missing"
        raise InputError(msg)
    if request.volume_capability.HasField("block"):
        msg = "volume_capability: this driver gives files, no block device"
        raise InputError(msg)
    if not request.readonly:
        msg = (
            "the volume must be read-only: write `readOnly: true` beside `driver: "
            f"{DRIVER_NAME}` in the pod's volume"
        )
        raise InputError(msg)
    context = dict(request.volume_context)
    _check_attributes(context)
    fields = {field: _name(context, key) for key, field in _POD.items()}
    return VolumeOrder(
        volume_id=volume_id,
        target=target,
        pod=PodProof(
            **fields, identity=_name(context, IDENTITY), token=_token(request.secrets, context)
        ),
        group=_group(request.volume_capability.mount.volume_mount_group),
    )


def read_target(path: str, targets: Path) -> Path:
    """A target path, below the folder of all targets and written plainly.

    Raises:
        InputError: It is not.
    """
    target = Path(path[: MAX_PATH + 1])
    plain = str(target) == path and ".." not in target.parts and "\x00" not in path
    if not path or len(path) > MAX_PATH or not plain or targets not in target.parents:
        msg = f"target_path: {quoted(path[:256])} is no plain path below {targets}"
        raise InputError(msg)
    return target


def _volume_id(volume_id: str) -> str:
    if not volume_id or len(volume_id) > MAX_VOLUME_ID:
        msg = f"volume_id: it has {len(volume_id)} characters; 1 to {MAX_VOLUME_ID} are allowed"
        raise InputError(msg)
    return volume_id


def _check_attributes(context: Mapping[str, str]) -> None:
    unknown = sorted(set(context) - _KNOWN)
    if unknown:
        listed = ", ".join(quoted(name[:64]) for name in unknown[:_MAX_ATTRIBUTES])
        msg = f"volumeAttributes: {listed} is unknown; only {IDENTITY} is allowed"
        raise InputError(msg)
    if context.get(f"{_CONTEXT}ephemeral", "true") != "true":
        msg = "the volume must be an inline one: write `csi` in the pod's volumes"
        raise InputError(msg)


def _name(context: Mapping[str, str], key: str) -> str:
    value = context.get(key, "")
    if not _NAME.fullmatch(value):
        where = "volumeAttributes: " if key == IDENTITY else "volume_context: "
        msg = (
            f"{where}{key} is {quoted(value[:64])}, but must be a name of lower-case letters, "
            "digits, '-' and '.', of at most 253 characters"
        )
        raise InputError(msg)
    return value


def _token(secrets: Mapping[str, str], context: Mapping[str, str]) -> str:
    # A kubelet that puts tokens into secrets leaves this key of the context to the pod's author.
    if _TOKENS in secrets and _TOKENS in context:
        msg = f"volumeAttributes: {_TOKENS} is not allowed; only {IDENTITY} is"
        raise InputError(msg)
    text = secrets.get(_TOKENS) or context.get(_TOKENS, "")
    if len(text) > MAX_TOKENS:
        msg = f"the ServiceAccount tokens have more than {MAX_TOKENS} octets"
        raise InputError(msg)
    problem = f"there is no token for the audience {AUDIENCE}; the CSIDriver must request it"
    try:
        tokens = orjson.loads(text or "{}")
    except orjson.JSONDecodeError as error:
        raise InputError(problem) from error
    entry = tokens.get(AUDIENCE) if isinstance(tokens, dict) else None
    token = entry.get("token") if isinstance(entry, dict) else None
    if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
        raise InputError(problem)
    return token


def _group(text: str) -> int | None:
    if not text:
        return None
    if not _GROUP.fullmatch(text) or int(text) > _MAX_GROUP:
        msg = f"volume_mount_group is {quoted(text[:32])}, but must be the number of a group"
        raise InputError(msg)
    return int(text)
