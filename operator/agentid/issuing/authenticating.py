"""Whose a token is: by the API server's keys, or, where these cannot be had, in its own words.

```
 seen before? ──► signature by key of the API server ──► issuer, audience, time ──► bound to whom
                     └─ keys cannot be had ──► TokenReview ─────────────────────────────┘
```

A signature says nothing of what was deleted since. So a plugin's token is also put to the API
server, which knows that, once a minute; what the pod's token is about is looked up by who asks.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import structlog

from agentid.constants import GROUP
from agentid.errors import AgentIdError, InputError, UnavailableError
from agentid.issuing.reasons import RefusalReason, RefusedError
from agentid.issuing.tokens import (
    BoundToken,
    TokenExpiredError,
    check_signature,
    claims_of,
    read_token,
)
from agentid.kube.resources import TOKEN_REVIEWS

if TYPE_CHECKING:
    from agentid.clock import Clock
    from agentid.issuing.keys import SigningKeys
    from agentid.kube.client import Client
    from agentid.kube.objects import JsonObject

__all__ = ["AUDIENCE", "NODE_ACCOUNT", "Authenticator", "NodePlugin", "reviewed"]

_log = structlog.stdlib.get_logger(__name__)

AUDIENCE: Final = GROUP
"""Of all tokens that are shown here: whoever gets hold of one can do nothing else with it."""

NODE_ACCOUNT: Final = "agentid-node"
"""The ServiceAccount of node plugins, in the operator's namespace."""

_REMEMBERED: Final = 32_768
"""Tokens whose signature is not verified again: those of 16,384 pods, old and new; 500 octets
each make 16 MB."""

_REVIEW_EVERY: Final = 60.0
"""Seconds that the API server's word on a plugin's token counts."""

_REVIEWED: Final = timedelta(seconds=60)
"""How long a token is believed that the API server vouched for because its keys were away."""


@dataclass(frozen=True, slots=True)
class NodePlugin:
    """A node plugin that has shown its token.

    Attributes:
        node: The node that it may ask for.
        not_after: When its token expires.
    """

    node: str
    not_after: datetime


class Authenticator:
    """Verifies each token once, for as long as it is good and the keys are the same."""

    def __init__(self, *, keys: SigningKeys, client: Client, clock: Clock, namespace: str) -> None:
        """Take the parts.

        Args:
            keys: Of the API server.
            client: For reviews.
            clock: Tells the time.
            namespace: The operator's own, where node plugins run.
        """
        self._keys = keys
        self._client = client
        self._clock = clock
        self._namespace = namespace
        self._known: OrderedDict[bytes, BoundToken] = OrderedDict()
        self._generation = 0
        self._reviews: OrderedDict[bytes, tuple[float, bool]] = OrderedDict()

    async def node_plugin(self, token: str) -> NodePlugin:
        """The node plugin whose token this is.

        Raises:
            RefusedError: It is none.
            UnavailableError: Nobody can tell now.
        """
        try:
            bound = await self._bound(token)
        except InputError as error:
            raise RefusedError(RefusalReason.NOT_A_NODE_PLUGIN, str(error)) from error
        if (bound.namespace, bound.service_account) != (self._namespace, NODE_ACCOUNT):
            message = (
                f"ServiceAccount {bound.namespace}/{bound.service_account} is not that of node "
                f"plugins, {self._namespace}/{NODE_ACCOUNT}"
            )
            raise RefusedError(RefusalReason.NOT_A_NODE_PLUGIN, message)
        if not bound.node:
            message = "the token names no node; use one that is bound to a pod or a node"
            raise RefusedError(RefusalReason.NOT_A_NODE_PLUGIN, message)
        if not await self._still_good(token):
            message = (
                "the API server takes this token no longer: its pod, node or ServiceAccount is gone"
            )
            raise RefusedError(RefusalReason.NOT_A_NODE_PLUGIN, message)
        return NodePlugin(bound.node, bound.not_after)

    async def pod(self, token: str) -> BoundToken:
        """What a pod's token says.

        Raises:
            RefusedError: It is none.
            UnavailableError: Nobody can tell now.
        """
        try:
            bound = await self._bound(token)
        except TokenExpiredError as error:
            raise RefusedError(RefusalReason.POD_TOKEN_EXPIRED, str(error)) from error
        except InputError as error:
            raise RefusedError(RefusalReason.POD_TOKEN_INVALID, str(error)) from error
        if not bound.pod:
            message = "the token is bound to a node and not to a pod; show the pod's own"
            raise RefusedError(RefusalReason.POD_TOKEN_INVALID, message)
        return bound

    async def _bound(self, text: str) -> BoundToken:
        name, now = sha256(text.encode()).digest(), self._clock.now()
        # Also for tokens that were seen before: the key that signed them may be taken out.
        await self._keys.refresh()
        if self._generation != self._keys.generation:
            self._known.clear()
            self._generation = self._keys.generation
        if (known := self._known.pop(name, None)) is not None:
            # One that the API server vouched for is put to it again.
            with suppress(TokenExpiredError):
                known.check_time(now)
                self._known[name] = known
                return known
        known = await self._verified(text, now)
        self._known[name] = known
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return known

    async def _verified(self, text: str, now: datetime) -> BoundToken:
        token = read_token(text)
        try:
            key = await self._keys.get(token.kid)
        except UnavailableError:
            return await self._reviewed(text, now)
        if key is None:
            msg = "the token: the API server has no key of the name that it gives as kid"
            raise InputError(msg)
        check_signature(token, key)
        return claims_of(token.claims, issuer=self._keys.issuer, audience=AUDIENCE, now=now)

    async def _reviewed(self, text: str, now: datetime) -> BoundToken:
        return reviewed(await self._review(text), now)

    async def _review(self, text: str) -> JsonObject:
        return await self._client.create(
            TOKEN_REVIEWS,
            {
                "apiVersion": TOKEN_REVIEWS.api_version,
                "kind": TOKEN_REVIEWS.kind,
                "spec": {"token": text, "audiences": [AUDIENCE]},
            },
        )

    async def _still_good(self, text: str) -> bool:
        """Whether the API server takes a plugin's token; also where it could not be asked.

        Without the API server nothing is issued, since the ledger is there.
        """
        name, now = sha256(text.encode()).digest(), self._clock.monotonic()
        at, good = self._reviews.get(name, (float("-inf"), True))
        if now - at <= _REVIEW_EVERY:
            return good
        try:
            answer = await self._review(text)
        except AgentIdError as error:
            _log.warning("token_not_reviewed", error=str(error))
            return good
        status = answer.get("status")
        good = isinstance(status, dict) and status.get("authenticated") is True
        self._reviews[name] = (now, good)
        self._reviews.move_to_end(name)
        if len(self._reviews) > _REMEMBERED:
            self._reviews.popitem(last=False)
        return good


def reviewed(answer: JsonObject, now: datetime) -> BoundToken:
    """What a TokenReview says of a token, to be believed for a minute.

    Raises:
        InputError: The API server does not take the token, or it is bound to nothing.
    """
    status = answer.get("status")
    user = status.get("user") if isinstance(status, dict) else None
    if not isinstance(status, dict) or status.get("authenticated") is not True:
        msg = "the API server does not take the token"
        raise InputError(msg)
    audiences = status.get("audiences")
    if not isinstance(audiences, list) or AUDIENCE not in audiences:
        msg = f"the token: its audiences are others than {AUDIENCE}"
        raise InputError(msg)
    match user:
        case {"username": str(name), "uid": str(uid), "extra": dict(extra)} if (
            name.startswith(_ACCOUNT) and uid
        ):
            namespace, _, account = name.removeprefix(_ACCOUNT).partition(":")
        case _:
            msg = "the token is none of a ServiceAccount, or is bound to nothing"
            raise InputError(msg)
    pod, pod_uid, node, node_uid = (
        _extra(extra, each) for each in ("pod-name", "pod-uid", "node-name", "node-uid")
    )
    if not (pod and pod_uid) and not (node and node_uid):
        msg = "the token is bound to neither a pod nor a node"
        raise InputError(msg)
    moment = now.astimezone(UTC)
    return BoundToken(
        namespace, account, uid, pod, pod_uid, node, node_uid, moment, moment + _REVIEWED
    )


_ACCOUNT: Final = "system:serviceaccount:"


def _extra(extra: dict[str, object], name: str) -> str:
    values = extra.get(f"authentication.kubernetes.io/{name}")
    return str(values[0]) if isinstance(values, list) and values else ""
