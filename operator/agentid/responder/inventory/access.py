"""Who asks, and what they may list: two questions to the API server, answers kept for a short time.

- **TokenReview** says whose token it is. One that was made for the page alone is good (audience
  `agentid-inventory`), and so is one for the API server itself. The former is what people should
  bring: whoever gets hold of it can do nothing else with it.
- **SubjectAccessReview** says whether that user may `list` a resource, in a namespace or
  everywhere.

An answer counts for `keep` seconds, so a token that is taken back, or a right, ends that much later
at most. Tokens are kept as keyed hashes, and never told.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from agentid.errors import AgentIdError
from agentid.kube.resources import AGENT_IDENTITIES, AGENT_ISSUERS, Resource
from agentid.responder.inventory.bodies import section_in, text_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agentid.kube.objects import JsonObject
    from agentid.responder.limits import Throttle

__all__ = ["AUDIENCE", "Access", "Reviewer", "TooManyReviewsError", "User"]

AUDIENCE: Final = "agentid-inventory"
"""Of tokens that are made for the page: `kubectl create token … --audience=agentid-inventory`."""

TOKEN_REVIEWS: Final = Resource(
    "authentication.k8s.io", "v1", "tokenreviews", "TokenReview", namespaced=False
)
ACCESS_REVIEWS: Final = Resource(
    "authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False
)

_TOKEN: Final = re.compile(r"[!-~]{1,16384}", re.ASCII)
"""What can be a token: visible ASCII (RFC 6750 §2.1 allows less), 16 KiB at most."""

_ANSWERS: Final = 4096
"""Answers of each kind that are kept; a thousand octets each make 4 MB."""

_K = TypeVar("_K")
_V = TypeVar("_V")


class TooManyReviewsError(AgentIdError):
    """So many tokens that were not seen before came that the API server is not asked about more.

    Attributes:
        seconds: After which another may come.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__("too many tokens were tried; wait as long as Retry-After says")


@dataclass(frozen=True, slots=True)
class User:
    """Who a token belongs to, in the API server's words.

    Attributes:
        name: Such as `system:serviceaccount:finance:viewer`.
        review: What a SubjectAccessReview asks about.
        token: The keyed hash of the token.
    """

    name: str
    review: Mapping[str, object] = field(repr=False)
    token: bytes = field(repr=False)


class Reviewer(Protocol):
    """Answers reviews; `agentid.kube.client.Client` is one."""

    async def create(self, resource: Resource, body: Mapping[str, object]) -> JsonObject:
        """Return a review with its answer in `status`."""
        ...


class Access:
    """Asks the API server, and remembers.

    Args:
        reviewer: Needs `create` on the two reviews, and nothing else.
        keep: Seconds for which an answer counts.
        monotonic: Seconds from an arbitrary start.
        throttle: Counts, by client, questions whose answer is not at hand.
    """

    def __init__(
        self,
        reviewer: Reviewer,
        *,
        keep: float,
        monotonic: Callable[[], float],
        throttle: Throttle,
    ) -> None:
        self._reviewer = reviewer
        self._throttle = throttle
        self._monotonic = monotonic
        self._key = secrets.token_bytes(32)
        self._users: _Kept[bytes, User | None] = _Kept(keep, monotonic)
        self._rights: _Kept[tuple[bytes, str, str], bool] = _Kept(keep, monotonic)

    async def user(self, token: str, client: str) -> User | None:
        """Whose token it is, None if it is nobody's.

        Args:
            token: From outside.
            client: Who is counted if the API server has to be asked.

        Raises:
            TooManyReviewsError: It is not asked now.
            AgentIdError: It could not be asked.
        """
        if not _TOKEN.fullmatch(token):
            return None
        name = hmac.digest(self._key, token.encode("ascii"), sha256)
        known = self._users.get(name)
        if known is not None:
            return known[0]
        if (seconds := self._throttle.wait(client)) > 0:
            raise TooManyReviewsError(seconds)
        asked = self._monotonic()
        user = await self._review(token, name, AUDIENCE) or await self._review(token, name, None)
        self._users.put(name, user, asked)
        return user

    async def may_list_agents(self, user: User, namespace: str) -> bool:
        """Whether a user may list AgentIdentities in a namespace, or everywhere if it is empty."""
        return await self._may_list(user, AGENT_IDENTITIES, namespace)

    async def may_list_issuers(self, user: User) -> bool:
        """Whether a user may list AgentIssuers."""
        return await self._may_list(user, AGENT_ISSUERS, "")

    async def _may_list(self, user: User, what: Resource, namespace: str) -> bool:
        key = (user.token, what.plural, namespace)
        known = self._rights.get(key)
        if known is not None:
            return known[0]
        asked = {"group": what.group, "resource": what.plural, "verb": "list"}
        if namespace:
            asked["namespace"] = namespace
        began = self._monotonic()
        answer = await self._ask(ACCESS_REVIEWS, {"resourceAttributes": asked, **user.review})
        allowed = answer.get("allowed") is True
        self._rights.put(key, allowed, began)
        return allowed

    async def _review(self, token: str, name: bytes, audience: str | None) -> User | None:
        spec: dict[str, object] = {"token": token}
        if audience is not None:
            spec["audiences"] = [audience]
        status = await self._ask(TOKEN_REVIEWS, spec)
        if status.get("authenticated") is not True:
            return None
        audiences = status.get("audiences")
        if audience is not None and not (isinstance(audiences, list) and audience in audiences):
            return None  # from who knows no audiences, so it was not made for us
        told = section_in(status, "user")
        if not text_in(told, "username"):
            return None
        review = {new: told[old] for old, new in _USER_FIELDS if old in told}
        return User(text_in(told, "username"), review, name)

    async def _ask(self, what: Resource, spec: Mapping[str, object]) -> Mapping[str, object]:
        answer = await self._reviewer.create(
            what, {"apiVersion": what.api_version, "kind": what.kind, "spec": spec}
        )
        return section_in(answer, "status")


_USER_FIELDS: Final = (
    ("username", "user"),
    ("uid", "uid"),
    ("groups", "groups"),
    ("extra", "extra"),
)
"""As a TokenReview names them, and a SubjectAccessReview."""


class _Kept(Generic[_K, _V]):
    """Answers, each for so many seconds, the oldest dropped when there are too many."""

    def __init__(self, seconds: float, monotonic: Callable[[], float]) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._answers: OrderedDict[_K, tuple[float, _V]] = OrderedDict()

    def get(self, key: _K) -> tuple[_V] | None:
        """The answer in a tuple, None if there is none that counts."""
        found = self._answers.get(key)
        if found is None or self._monotonic() - found[0] >= self._seconds:
            self._answers.pop(key, None)
            return None
        return (found[1],)

    def put(self, key: _K, answer: _V, asked: float) -> None:
        """Keep an answer; it may have been true at the moment of the question, and no later."""
        self._answers[key] = (asked, answer)
        self._answers.move_to_end(key)
        while len(self._answers) > _ANSWERS:
            self._answers.popitem(last=False)
