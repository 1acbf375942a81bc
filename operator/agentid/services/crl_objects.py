"""CRLs as ConfigMaps: their names, what is written into them and read from them."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import structlog

from agentid.constants import LABEL_ISSUER, LABEL_MANAGED, LABEL_PUBLICATION
from agentid.errors import InputError
from agentid.kube.objects import ObjectKey, metadata_of, resource_version_of
from agentid.kube.resources import CONFIG_MAPS
from agentid.pki.crl import read_crl
from agentid.services.crl_shards import CrlKey

if TYPE_CHECKING:
    from agentid.kube.objects import JsonObject
    from agentid.pki.crl import CrlEntry

__all__ = ["CRL_DATA", "PublishedCrl", "crl_name", "manifest_of"]

_log = structlog.stdlib.get_logger(__name__)

CRL_DATA: Final = "crl"
"""Where in `binaryData` of the ConfigMap the DER stands."""

_ANNOTATION_AUTHORITY: Final = "agentid.dev/authority"
_ANNOTATION_SHARD: Final = "agentid.dev/shard"
_LONG_AGO: Final = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PublishedCrl:
    """A CRL as it is stored.

    Attributes:
        name: Of the ConfigMap.
        number: Its cRLNumber.
        this_update: When it was signed.
        next_update: Until when it may be relied on.
        version: The resourceVersion of its ConfigMap.
        names: What stands on it.
    """

    name: str
    number: int
    this_update: datetime
    next_update: datetime
    version: str
    names: tuple[CrlEntry, ...] = field(repr=False)

    @classmethod
    def read(cls, body: JsonObject) -> tuple[CrlKey, PublishedCrl] | None:
        """Read a ConfigMap; None if it holds no CRL.

        One that holds a damaged CRL counts as number 0 of long ago, so that it is published anew.
        """
        annotations, data = metadata_of(body).get("annotations"), body.get("binaryData")
        if not isinstance(annotations, dict) or not isinstance(data, dict):
            return None
        key = CrlKey(
            str(annotations.get(_ANNOTATION_AUTHORITY)), str(annotations.get(_ANNOTATION_SHARD))
        )
        name, version = ObjectKey.of(body).name, resource_version_of(body)
        try:
            view = read_crl(base64.b64decode(str(data.get(CRL_DATA)), validate=True))
        except (InputError, binascii.Error) as error:
            _log.error("crl_unreadable", authority=key.authority, shard=key.shard, error=str(error))
            return key, cls(name, 0, _LONG_AGO, _LONG_AGO, version, ())
        stored = cls(name, view.number, view.this_update, view.next_update, version, tuple(view))
        return key, stored


def crl_name(issuer: str, key: CrlKey) -> str:
    """The name of the ConfigMap that holds a CRL."""
    return f"agentid-crl-{issuer}-{key.authority}-{key.shard}"


def manifest_of(
    issuer: str, key: CrlKey, der: bytes, *, namespace: str, version: str | None
) -> JsonObject:
    """The ConfigMap of a CRL.

    Args:
        issuer: Name of the AgentIssuer.
        key: Which CRL it is.
        der: The CRL.
        namespace: The operator's own.
        version: The resourceVersion that it replaces; None to create it.
    """
    replaced = {} if version is None else {"resourceVersion": version}
    return {
        "apiVersion": CONFIG_MAPS.api_version,
        "kind": CONFIG_MAPS.kind,
        "metadata": {
            "namespace": namespace,
            "name": crl_name(issuer, key),
            "labels": {
                LABEL_MANAGED: "true",
                LABEL_PUBLICATION: "crl",
                LABEL_ISSUER: issuer,
            },
            "annotations": {
                _ANNOTATION_AUTHORITY: key.authority,
                _ANNOTATION_SHARD: key.shard,
            },
            **replaced,
        },
        "binaryData": {CRL_DATA: base64.b64encode(der).decode()},
    }
