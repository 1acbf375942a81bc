"""HTTP of the page: who asks, logging in and out, and headers that hold browsers to the rules.

In this order: is it allowed now (429), is it an asset, is the method one that there is (405), is it
a login or a logout, who is it (401); then `answers` shows what there is.

Nothing but a login changes anything, and that only in this process. It comes from a page of ours or
not at all: `Origin` has to be the address that the request went to. The cookie has the prefix
`__Host-`, so no other host and no plain HTTP can set it.
"""

from __future__ import annotations

import asyncio
import math
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import web

from agentid.errors import AgentIdError, ForbiddenError, InputError
from agentid.responder.documents import SERVER
from agentid.responder.inventory.access import TooManyReviewsError
from agentid.responder.inventory.answers import ROUTES, Asked, as_html, as_json
from agentid.responder.inventory.assets import ASSETS
from agentid.responder.inventory.authority_pages import login_page, message_page
from agentid.responder.inventory.questions import read_query
from agentid.responder.settings import MAX_PATH
from agentid.serving.bounded import client_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.responder.inventory.access import Access
    from agentid.responder.inventory.answers import Answers
    from agentid.responder.inventory.sessions import Sessions
    from agentid.responder.limits import Throttle

__all__ = ["COOKIE", "Handler"]

_log = structlog.stdlib.get_logger(__name__)

COOKIE: Final = "__Host-agentid-inventory"

_MAX_BODY: Final = 32 * 1024
"""Octets of a login: a token of 16 KiB, and what percent-encoding may add to it."""
_BODY_SECONDS: Final = 5.0

_READ: Final = frozenset({"GET", "HEAD"})
_ACTIONS: Final = frozenset({"/login", "/logout"})

_ALWAYS: Final = {
    "Server": SERVER,
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With no-referrer browsers would send "Origin: null" along with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_NO_STORE: Final = {"Cache-Control": "no-store", "Vary": "Accept, Authorization, Cookie"}
_FOR_A_DAY: Final = {"Cache-Control": "public, max-age=86400, immutable"}


class Handler:
    """Answers every request to the port.

    Args:
        answers: Shows what there is.
        access: Knows who asks.
        sessions: Of browsers.
        requests: Counts requests, by address.
        pages: Counts pages that are shown, by user.
        count: Told the HTTP status of each answer.
    """

    def __init__(
        self,
        answers: Answers,
        access: Access,
        sessions: Sessions,
        *,
        requests: Throttle,
        pages: Throttle,
        count: Callable[[int], None],
    ) -> None:
        self._answers = answers
        self._access = access
        self._sessions = sessions
        self._requests = requests
        self._pages = pages
        self._count = count

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        try:
            answer = await self._answer(request)
        except InputError as error:
            answer = self._refuse(request, 400, "That cannot be asked", f"{error}.")
        except TooManyReviewsError as error:
            answer = self._slow_down(request, error.seconds)
        except ForbiddenError as error:
            _log.warning("inventory_review_failed", error=str(error))
            answer = self._refuse(
                request, 503, "Not yet",
                "The responder may not ask the API server who you are and what you may see.",
                "Apply manifests/inventory.yaml.",
            )  # fmt: skip
        except AgentIdError as error:
            _log.warning("inventory_review_failed", error=str(error))
            answer = self._refuse(
                request, 503, "Not now",
                "The API server could not be asked who you are and what you may see.",
                "Come again in a few seconds; the responder's log says more.",
            )  # fmt: skip
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:  # noqa: BLE001 - one request's defect is not the next one's
            _log.exception("request_failed", path=request.raw_path[:200])
            answer = self._refuse(
                request, 500, "A defect", "The responder has a defect; its log says more."
            )
            answer.force_close()
        for name, value in (_ALWAYS | _NO_STORE).items():
            answer.headers.setdefault(name, value)
        self._count(answer.status)
        return answer

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if (seconds := self._requests.wait(_client(request))) > 0:
            return self._slow_down(request, seconds)
        path, _, query = request.raw_path.partition("?")
        is_login = path in _ACTIONS and request.method == "POST"
        if not is_login and request.method not in _READ:
            answer = self._refuse(request, 405, "Not so", "This page is only read: GET and HEAD.")
            answer.headers["Allow"] = "GET, HEAD"
            answer.force_close()
            return answer
        if (asset := ASSETS.get(path)) is not None:
            headers = {"Content-Type": asset.media_type, **_FOR_A_DAY}
            return web.Response(body=asset.body, headers=headers)
        if is_login:
            return await self._act(request, path)
        if path == "/login":
            after = _inside(read_query(query).get("next", "/"))
            return as_html(login_page(self._answers.frame, after))
        return await self._show(request, path, query)

    # Reading

    async def _show(self, request: web.BaseRequest, path: str, query: str) -> web.Response:
        token, by_cookie = self._token(request)
        user = await self._access.user(token, _client(request)) if token else None
        if user is None:
            if by_cookie:
                self._sessions.end(_cookie(request))
            return self._who_are_you(request, tried=bool(token))
        if (seconds := self._pages.wait(user.name)) > 0:
            return self._slow_down(request, seconds)
        is_json = _wants_json(request, path)
        shown = path.removesuffix(".json") if is_json else path
        shown = "/" if shown == "/overview" else shown
        return await self._answers.answer(Asked(shown, query, is_json, user, by_cookie, path))

    def _token(self, request: web.BaseRequest) -> tuple[str, bool]:
        """The token of a request, empty if there is none, and whether it came by a cookie."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return token.strip(), False
        session = self._sessions.get(_cookie(request))
        return ("", False) if session is None else (session.token, True)

    def _who_are_you(self, request: web.BaseRequest, *, tried: bool) -> web.Response:
        told = _NOT_ACCEPTED if tried else ""
        if _wants_json(request, request.raw_path.partition("?")[0]):
            answer = as_json({"error": told or _NO_TOKEN}, 401)
        else:
            after = _inside(request.raw_path)
            answer = as_html(login_page(self._answers.frame, after, told), 401)
        answer.headers["WWW-Authenticate"] = 'Bearer realm="agentid-inventory"'
        return answer

    # Logging in and out

    async def _act(self, request: web.BaseRequest, path: str) -> web.Response:
        if not _is_of_ours(request):
            answer = self._refuse(
                request, 403, "Not from here", "A login comes from a page of this very address.",
                "Scripts send Authorization: Bearer with each request instead.",
            )  # fmt: skip
            answer.force_close()
            return answer
        self._sessions.end(_cookie(request))
        if path == "/logout":
            return _gone_to("/login", "", 0)
        form = read_query(await _body(request))
        token, after = form.get("token", "").strip(), _inside(form.get("next", "/"))
        user = await self._access.user(token, _client(request))
        if user is None:
            return as_html(login_page(self._answers.frame, after, _NOT_ACCEPTED), 401)
        _log.info("inventory_login", user=user.name)
        return _gone_to(after, self._sessions.begin(user.name, token), None)

    # Refusing

    def _refuse(
        self, request: web.BaseRequest, status: int, title: str, *sentences: str
    ) -> web.Response:
        if _wants_json(request, request.raw_path.partition("?")[0]):
            return as_json({"error": " ".join(sentences)}, status)
        return as_html(message_page(self._answers.frame, title, *sentences), status)

    def _slow_down(self, request: web.BaseRequest, seconds: float) -> web.Response:
        answer = self._refuse(
            request, 429, "Too many requests", "Wait as long as Retry-After says, and come again."
        )
        answer.headers["Retry-After"] = str(math.ceil(seconds))
        answer.force_close()
        return answer


_NO_TOKEN: Final = "Send a token: Authorization: Bearer …"  # noqa: S105 - a sentence
_NOT_ACCEPTED: Final = (
    "The API server does not accept this token: it has expired, was taken back, or was made for "
    "another audience. Make a new one."
)


def _client(request: web.BaseRequest) -> str:
    transport = request.transport
    return client_of(None if transport is None else transport.get_extra_info("peername"))


def _cookie(request: web.BaseRequest) -> str:
    return request.cookies.get(COOKIE, "")


def _wants_json(request: web.BaseRequest, path: str) -> bool:
    accept = request.headers.get("Accept", "")
    return path.endswith(".json") or ("application/json" in accept and "text/html" not in accept)


def _is_of_ours(request: web.BaseRequest) -> bool:
    """Whether a form was sent from a page of the address that it is sent to.

    Browsers send `Origin` with every POST, and no script of a page can change it (RFC 6454 §7.3).
    SameSite does not tell other ports of localhost from ours, Origin does.
    """
    return request.headers.get("Origin") == f"https://{request.headers.get('Host', '')}"


def _inside(path: str) -> str:
    """A path of ours to go to after the login; the overview in place of any other."""
    if len(path) > MAX_PATH or not (path.isascii() and path.isprintable()) or "\\" in path:
        return "/"
    if not path.startswith("/") or path.startswith("//"):
        return "/"
    name = path[1:].partition("?")[0].partition("/")[0]
    return path if name in ROUTES else "/"


async def _body(request: web.BaseRequest) -> str:
    """The body of a form.

    Raises:
        InputError: It is no form, too long, or does not come in time.
    """
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    parts, size = [], 0
    if kind == "application/x-www-form-urlencoded":
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                while part := await request.content.readany():
                    parts.append(part)
                    size += len(part)
                    if size > _MAX_BODY:
                        break
                else:
                    return b"".join(parts).decode("ascii", "replace")
        except TimeoutError:
            pass
    msg = f"a login is a form of at most {_MAX_BODY} octets that comes at once; use that of /login"
    raise InputError(msg)


def _gone_to(path: str, session: str, max_age: int | None) -> web.Response:
    cookie: SimpleCookie = SimpleCookie()
    cookie[COOKIE] = session
    crumb = cookie[COOKIE]
    crumb["path"], crumb["secure"], crumb["httponly"] = "/", True, True
    crumb["samesite"] = "Strict"
    if max_age is not None:
        crumb["max-age"] = max_age
    return web.Response(status=303, headers={"Location": path, "Set-Cookie": crumb.OutputString()})
