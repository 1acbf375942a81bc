"""Sessions of browsers: which token a cookie stands for.

The token stays here, in memory; the browser gets a random id, a new one at each login, and nothing
of the token. Ids are kept as hashes, so that looking one up tells nothing by its time.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Session", "Sessions"]

IDLE: Final = 30 * 60.0
"""Seconds without a request after which a session ends."""

LONGEST: Final = 8 * 3600.0
"""Seconds after which it ends in any case: a working day."""

_ALL: Final = 1000
_EACH: Final = 10
"""Of one user: who logs in without end drops their own sessions, not those of others."""


@dataclass(slots=True)
class Session:
    """A browser that has logged in.

    Attributes:
        user: Who it was at the login; each request is reviewed anew.
        token: What it brought.
        began: When it logged in.
        seen: When it last asked for something.
    """

    user: str
    token: str = field(repr=False)
    began: float
    seen: float


class Sessions:
    """All sessions of this process.

    Args:
        monotonic: Seconds from an arbitrary start.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()

    def begin(self, user: str, token: str) -> str:
        """Begin a session; its id, for the cookie."""
        now = self._monotonic()
        own = [key for key, each in self._sessions.items() if each.user == user]
        for key in own[: max(0, len(own) - _EACH + 1)]:
            del self._sessions[key]
        while len(self._sessions) >= _ALL:
            self._sessions.popitem(last=False)
        name = secrets.token_urlsafe(32)
        self._sessions[_key(name)] = Session(user, token, now, now)
        return name

    def get(self, name: str) -> Session | None:
        """The session of a cookie, None if there is none, or none any more."""
        key, now = _key(name), self._monotonic()
        session = self._sessions.get(key)
        if session is None:
            return None
        if now - session.seen >= IDLE or now - session.began >= LONGEST:
            del self._sessions[key]
            return None
        session.seen = now
        self._sessions.move_to_end(key)
        return session

    def end(self, name: str) -> None:
        """End a session, if there is one."""
        self._sessions.pop(_key(name), None)


def _key(name: str) -> bytes:
    return sha256(name.encode("utf-8", "replace")).digest()
