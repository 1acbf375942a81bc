"""Whether a pod is what its token says, and on the node of the plugin that asks.

```
 token of the plugin ─► node ──┐
 token of the pod ─► pod, UID ─┴─► against pod, ServiceAccount and label, as they are now
                                        └─► the AgentIdentity that the label names
```

The token is the evidence: the kubelet of the pod's node had it from the API server. The pod's label
selects, and grants nothing. Caches are believed when they say yes; before a no, the API server is
asked.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agentid.constants import LABEL_IDENTITY
from agentid.errors import NotFoundError
from agentid.issuing.reasons import RefusalReason, RefusedError
from agentid.kube.objects import ObjectKey, uid_of
from agentid.kube.resources import PODS, SERVICE_ACCOUNTS
from agentid.services.pods import Pod

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.clock import Clock
    from agentid.issuing.authenticating import NodePlugin
    from agentid.issuing.tokens import BoundToken
    from agentid.kube.client import Client
    from agentid.services.pods import Pods

__all__ = ["Attesting", "check_account", "check_pod"]

_KEPT: Final = 60.0
"""Seconds that the UID of a ServiceAccount is believed: pods of one Deployment share it, and it is
made anew under them by a person only. So much longer at most do they get certificates."""

_MOST: Final = 4096
"""UIDs that are kept at most; then all are asked for again."""


@dataclass(frozen=True, slots=True)
class _Asked:
    since: float
    uid: asyncio.Task[str | None]


class Attesting:
    """Looks up what tokens are about."""

    def __init__(self, *, pods: Pods, client: Client, clock: Clock) -> None:
        """Take the parts; nothing is asked yet."""
        self._pods = pods
        self._client = client
        self._clock = clock
        self._accounts: dict[tuple[str, str], _Asked] = {}

    async def attest(self, token: BoundToken, plugin: NodePlugin) -> Pod:
        """The pod, as it is.

        Raises:
            RefusedError: It is not what its token says, or not the plugin's to ask for.
            UnavailableError: The API server is away.
        """
        pod = self._pods.get(token.pod_uid)
        refusal = None if pod is None else check_pod(token, plugin, pod)
        if pod is None or refusal is not None:
            pod = await self._asked(token)
            refusal = check_pod(token, plugin, pod)
        if refusal is not None:
            raise refusal
        if pod is None:  # never so: it was refused
            raise RefusedError(RefusalReason.POD_GONE, "there is no such pod")
        account = await self._account(token.namespace, pod.service_account)
        if account != token.service_account_uid:
            account = await self._account(token.namespace, pod.service_account, anew=True)
        if (refusal := check_account(token, account)) is not None:
            raise refusal
        return pod

    async def _asked(self, token: BoundToken) -> Pod | None:
        if self._pods.is_gone(token.pod_uid):
            return None
        # The answer is not kept: the watch may have told the pod's end by the time it is here, and
        # would not tell it again.
        try:
            found = Pod.of(await self._client.get(PODS, token.pod, token.namespace))
        except NotFoundError:
            return None
        return None if self._pods.is_gone(token.pod_uid) else found

    async def _account(self, namespace: str, name: str, *, anew: bool = False) -> str | None:
        """UID of a ServiceAccount, None if there is none."""
        key, now = (namespace, name), self._clock.monotonic()
        asked = self._accounts.get(key)
        if anew or asked is None or now - asked.since > _KEPT or _failed(asked.uid):
            if len(self._accounts) >= _MOST:
                self._accounts.clear()
            asked = _Asked(now, asyncio.ensure_future(self._ask(namespace, name)))
            self._accounts[key] = asked
        # Who is cancelled while others wait for the same answer does not take it from them.
        return await asyncio.shield(asked.uid)

    async def _ask(self, namespace: str, name: str) -> str | None:
        try:
            return uid_of(await self._client.get(SERVICE_ACCOUNTS, name, namespace))
        except NotFoundError:
            return None


def check_pod(token: BoundToken, plugin: NodePlugin, pod: Pod | None) -> RefusedError | None:
    """Hold the pod's token against the pod; None if they agree.

    Args:
        token: Of the pod; it was verified.
        plugin: That shows it.
        pod: As it is known; None if there is none.
    """
    whole = ObjectKey(token.namespace, token.pod)
    if pod is None or pod.finished:
        why = "there is no pod" if pod is None else "it has finished: pod"
        return RefusedError(
            RefusalReason.POD_GONE, f"{why} {whole} of UID {token.pod_uid}", final=True
        )
    return next(filter(None, (check(token, plugin, pod) for check in _CHECKS)), None)


def _name(token: BoundToken, _: NodePlugin, pod: Pod) -> RefusedError | None:
    if (pod.uid, pod.namespace, pod.name) == (token.pod_uid, token.namespace, token.pod):
        return None
    whole = ObjectKey(token.namespace, token.pod)
    message = f"pod {whole} has the UID {pod.uid}, and the token is for {token.pod_uid}"
    return RefusedError(RefusalReason.POD_REPLACED, message, final=True)


def _static(_: BoundToken, __: NodePlugin, pod: Pod) -> RefusedError | None:
    if not pod.mirror:
        return None
    message = (
        f"pod {pod.namespace}/{pod.name} is a static pod, whose kubelet alone says what it is; run "
        "the agent as an ordinary pod"
    )
    return RefusedError(RefusalReason.POD_IS_STATIC, message, final=True)


def _node(token: BoundToken, plugin: NodePlugin, pod: Pod) -> RefusedError | None:
    if pod.node and pod.node == plugin.node and token.node in {"", pod.node}:
        return None
    where = f"on node {pod.node}" if pod.node else "on no node yet"
    message = (
        f"pod {pod.namespace}/{pod.name} is {where}, and the plugin of node {plugin.node} asks "
        "for it"
    )
    return RefusedError(RefusalReason.NODE_DIFFERS, message, final=True)


def _service_account(token: BoundToken, _: NodePlugin, pod: Pod) -> RefusedError | None:
    if pod.service_account == token.service_account:
        return None
    message = (
        f"pod {pod.namespace}/{pod.name} runs as ServiceAccount {pod.service_account}, and its "
        f"token is of {token.service_account}"
    )
    return RefusedError(RefusalReason.SERVICE_ACCOUNT_DIFFERS, message, final=True)


def _label(_: BoundToken, __: NodePlugin, pod: Pod) -> RefusedError | None:
    if pod.identity:
        return None
    message = (
        f"pod {pod.namespace}/{pod.name} has no label {LABEL_IDENTITY}; give it the name of the "
        "AgentIdentity, in the template that makes the pod"
    )
    return RefusedError(RefusalReason.NO_IDENTITY, message, final=True)


_CHECKS: Final[tuple[Callable[[BoundToken, NodePlugin, Pod], RefusedError | None], ...]] = (
    _name,
    _static,
    _node,
    _service_account,
    _label,
)
"""Their order is what a plugin is told first."""


def check_account(token: BoundToken, uid: str | None) -> RefusedError | None:
    """Hold the pod's token against its ServiceAccount; None if they agree.

    Args:
        token: Of the pod; it was verified.
        uid: Of the ServiceAccount that there is, None if there is none.
    """
    if uid == token.service_account_uid:
        return None
    found = "is not there" if uid is None else f"has the UID {uid}"
    message = (
        f"ServiceAccount {token.namespace}/{token.service_account} {found}, and the token is of "
        f"{token.service_account_uid}: create the pod anew"
    )
    return RefusedError(RefusalReason.SERVICE_ACCOUNT_DIFFERS, message, final=True)


def _failed(task: asyncio.Task[str | None]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
