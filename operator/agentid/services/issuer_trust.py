"""Whom node plugins trust as the issuer service: a ConfigMap that is mounted into them.

It is no part of the Secret with the service's key, because every kubelet reads whole what is
mounted on its node. It says since when it says so, and whoever serves a successor waits for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from agentid.api.fields import format_time, parse_time
from agentid.constants import LABEL_MANAGED
from agentid.errors import InputError, NotFoundError
from agentid.kube.objects import metadata_of, resource_version_of
from agentid.kube.resources import CONFIG_MAPS

if TYPE_CHECKING:
    from datetime import datetime

    from agentid.kube.client import Client

__all__ = ["AUTHORITIES", "TRUST_CONFIG_MAP", "IssuerTrust", "Told"]

_log = structlog.stdlib.get_logger(__name__)

TRUST_CONFIG_MAP: Final = "agentid-issuer-ca"
"""The ConfigMap, in the operator's namespace; the DaemonSet of the chart mounts it."""

AUTHORITIES: Final = "ca.crt"
"""The file in it: certificates in PEM."""

_SINCE: Final = "agentid.dev/told-since"


@dataclass(frozen=True, slots=True)
class Told:
    """What node plugins are told.

    Attributes:
        authorities: PEM; empty where there is no such file.
        since: When that was written; None where the ConfigMap does not say so.
        version: The resourceVersion of the ConfigMap.
    """

    authorities: bytes
    since: datetime | None
    version: str


class IssuerTrust:
    """The ConfigMap; raises what `Client` raises."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    async def read(self) -> Told | None:
        """What stands there now, None if there is no such ConfigMap."""
        try:
            body = await self._client.get(CONFIG_MAPS, TRUST_CONFIG_MAP, self._namespace)
        except NotFoundError:
            return None
        data, annotations = body.get("data"), metadata_of(body).get("annotations")
        text = data.get(AUTHORITIES) if isinstance(data, dict) else None
        since = annotations.get(_SINCE) if isinstance(annotations, dict) else None
        return Told(str(text or "").encode(), _time(since), resource_version_of(body))

    async def tell(self, authorities: bytes, now: datetime, before: Told | None) -> None:
        """Have plugins trust these authorities, in place of what was read before.

        Raises:
            ConflictError: It has changed since it was read.
            AlreadyExistsError: Somebody made it meanwhile.
        """
        version = {} if before is None else {"resourceVersion": before.version}
        body = {
            "apiVersion": CONFIG_MAPS.api_version,
            "kind": CONFIG_MAPS.kind,
            "metadata": {
                "namespace": self._namespace,
                "name": TRUST_CONFIG_MAP,
                "labels": {LABEL_MANAGED: "true"},
                "annotations": {_SINCE: format_time(now)},
                **version,
            },
            "data": {AUTHORITIES: authorities.decode("ascii")},
        }
        if before is None:
            await self._client.create(CONFIG_MAPS, body)
        else:
            await self._client.replace(CONFIG_MAPS, body)
        _log.info("issuer_trust_told", authorities=authorities.count(b"BEGIN CERTIFICATE"))


def _time(text: object) -> datetime | None:
    try:
        return parse_time(str(text))
    except InputError:
        return None
