"""Which path is what: one page for each of the two ports.

A request is looked at in this order: is it allowed now (429), is its path short (414), is there
such a path (404), is its method one of it (405); then the handler of its route answers. Whatever a
handler did not foresee is told in the log, and the client gets a 500 with no more than that.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, unquote_to_bytes, urlsplit

import structlog
from aiohttp import web

from agentid.errors import InputError
from agentid.pki.ocsp import MAX_REQUEST_BYTES
from agentid.pki.ocsp_http import OCSP_REQUEST_TYPE, OCSP_RESPONSE_TYPE
from agentid.responder.crl import CrlKey
from agentid.responder.documents import SERVER, refusal, respond
from agentid.responder.settings import MAX_PATH
from agentid.responder.stream import Ending, FeedFormat, FeedStream
from agentid.serving.bounded import client_of

if TYPE_CHECKING:
    from datetime import datetime

    from agentid.responder.bundles import PublishedBundle
    from agentid.responder.documents import Document
    from agentid.responder.feed import Feeds
    from agentid.responder.limits import Throttle
    from agentid.responder.metrics import ResponderMetrics
    from agentid.responder.ocsp import OcspAnswer, OcspService
    from agentid.responder.policies import PolicyIndex
    from agentid.responder.publications import Publications
    from agentid.responder.register import Register
    from agentid.responder.settings import Settings

__all__ = ["Guard", "PlainRoutes", "SecureRoutes"]

_log = structlog.stdlib.get_logger(__name__)

_READ: Final = frozenset({"GET", "HEAD"})
_RETRY: Final = "5"
"""Seconds after which who came before the ledger was read may come again."""

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
"""Clients of .NET wait for it before they send the body of a POST (RFC 9110 §10.1.1)."""

Route = Callable[[web.BaseRequest, str, str], Awaitable[web.StreamResponse]]
"""Answers a request, given what follows the route's name in the path, and the query."""


@dataclass(frozen=True, slots=True)
class Guard:
    """What every request passes, whatever its route.

    Attributes:
        routes: By the first part of the path; the methods that each has.
        throttle: Counts requests.
        metrics: Counts answers.
    """

    routes: dict[str, tuple[frozenset[str], Route]]
    throttle: Throttle
    metrics: ResponderMetrics

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        seconds = self.throttle.wait(_client(request))
        if seconds > 0:
            self.metrics.refused.labels("rate").inc()
            answer = refusal(
                429,
                "Too many requests; wait as long as Retry-After says.",
                {"Retry-After": str(math.ceil(seconds))},
                close=True,
            )
            self.metrics.count_request("none", answer.status)
            return answer
        name, rest, query = _split(request.raw_path)
        route = self.routes.get(name)
        if route is None:
            answered: web.StreamResponse = refusal(404, f"There is no such path. {_PATHS}")
            name = "none"
        elif len(request.raw_path) > MAX_PATH:
            answered = refusal(414, f"A path has at most {MAX_PATH} characters.", close=True)
        elif request.method not in route[0]:
            allowed = ", ".join(sorted(route[0]))
            answered = refusal(405, f"/{name} takes {allowed}.", {"Allow": allowed}, close=True)
        else:
            answered = await self._act(route[1], request, rest, query)
        self.metrics.count_request(name, answered.status)
        return answered

    async def _act(
        self, route: Route, request: web.BaseRequest, rest: str, query: str
    ) -> web.StreamResponse:
        try:
            return await route(request, rest, query)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:  # noqa: BLE001 - one request's defect is not the next one's
            _log.exception("request_failed", path=request.raw_path[:200])
            return refusal(500, "The responder has a defect; its log says more.", close=True)


_PATHS: Final = "docs/reference/responder.md lists all paths."


def _client(request: web.BaseRequest) -> str:
    transport = request.transport
    return client_of(None if transport is None else transport.get_extra_info("peername"))


def _split(raw: str) -> tuple[str, str, str]:
    """First part of a path, everything after it, and the query; nothing is decoded."""
    if not raw.startswith("/"):
        # RFC 9112 §3.2.2: a server takes the absolute form as well.
        try:
            parts = urlsplit(raw)
        except ValueError:
            return "", "", ""
        raw = f"{parts.path}?{parts.query}"
    path, _, query = raw.partition("?")
    name, _, rest = path[1:].partition("/")
    return name, rest, query


class PlainRoutes:
    """CRLs, authorities, OCSP and policies: what verifiers fetch over plain HTTP.

    What is served is signed, or named by its hash, so nobody in between can forge it; fetching it
    over HTTPS would need the very check that it is for (RFC 5280 §8).
    """

    def __init__(
        self,
        publications: Publications,
        ocsp: OcspService,
        policies: PolicyIndex,
        settings: Settings,
        now: Callable[[], datetime],
    ) -> None:
        self._publications = publications
        self._ocsp = ocsp
        self._policies = policies
        self._body_seconds = settings.limits.body_seconds
        self._now = now

    @property
    def table(self) -> dict[str, tuple[frozenset[str], Route]]:
        """By the first part of the path."""
        return {
            "crl": (_READ, self._crl),
            "ca": (_READ, self._ca),
            "ocsp": (_READ | {"POST"}, self._ocsp_request),
            "policy": (_READ, self._policy),
        }

    async def _crl(self, request: web.BaseRequest, rest: str, _: str) -> web.StreamResponse:
        owner, _, file = rest.partition("/")
        now = self._now()
        if file == "all.pem":
            found = self._publications.crls.all_of(owner, now)
            return _answer(found, request, now, "No issuer of this name publishes a CRL.")
        shard, _, kind = file.rpartition(".")
        if kind not in {"crl", "pem"}:
            return refusal(404, "A CRL ends in .crl (DER) or .pem.")
        try:
            key = CrlKey.parse(owner, shard)
        except InputError as error:
            return refusal(404, f"There is no such CRL: {error}.")
        crl = self._publications.crls.get(key, now)
        if crl is None:
            return refusal(404, f"Authority {owner} publishes no CRL {shard}.")
        return respond(crl.der if kind == "crl" else crl.pem, request, now)

    async def _ca(self, request: web.BaseRequest, rest: str, _: str) -> web.StreamResponse:
        found = None
        if rest.endswith(".crt"):
            found = self._publications.bundles.certificate(rest.removesuffix(".crt"))
        return _answer(found, request, self._now(), "No authority of this id is published.")

    async def _policy(self, request: web.BaseRequest, rest: str, _: str) -> web.StreamResponse:
        found = self._policies.get(rest)
        sentence = "No certificate on record carries a policy of this SHA-256."
        return _answer(found, request, self._now(), sentence)

    async def _ocsp_request(
        self, request: web.BaseRequest, rest: str, _: str
    ) -> web.StreamResponse:
        if request.method == "POST":
            return await self._ocsp_post(request)
        try:
            der = base64.b64decode(unquote_to_bytes(rest), validate=True)
        except binascii.Error:
            der = b""
        answer = self._ocsp.answer(der)
        if answer.document is not None:
            return respond(answer.document, request, self._now())
        return _uncacheable(answer)

    async def _ocsp_post(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Content-Type", "").partition(";")[0].strip() != OCSP_REQUEST_TYPE:
            return refusal(415, f"The body of a POST is {OCSP_REQUEST_TYPE}.", close=True)
        try:
            der = await self._body(request)
        except TimeoutError:
            return refusal(408, "The request did not come in time.", close=True)
        if der is None:
            answer = _uncacheable(self._ocsp.malformed())
            answer.force_close()
            return answer
        given = self._ocsp.answer(der)
        if given.document is not None:
            return respond(given.document, request, self._now())
        return _uncacheable(given)

    async def _body(self, request: web.BaseRequest) -> bytes | None:
        """The body, None if it is too long; what is too long is not read."""
        if (request.content_length or 0) > MAX_REQUEST_BYTES:
            return None
        content = request.content
        if content.is_eof():
            return content.read_nowait()
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(_CONTINUE)
            request.writer.output_size = 0
        parts, size = [], 0
        async with asyncio.timeout(self._body_seconds):
            while part := await content.readany():
                parts.append(part)
                size += len(part)
                if size > MAX_REQUEST_BYTES:
                    return None
        return b"".join(parts)


def _answer(
    document: Document | None, request: web.BaseRequest, now: datetime, sentence: str
) -> web.StreamResponse:
    return refusal(404, sentence) if document is None else respond(document, request, now)


def _uncacheable(answer: OcspAnswer) -> web.Response:
    """An answer for this request alone: one with its nonce, or an error (RFC 9919 §7.2)."""
    return web.Response(
        body=answer.body,
        headers={"Server": SERVER, "Content-Type": OCSP_RESPONSE_TYPE, "Cache-Control": "no-store"},
    )


class SecureRoutes:
    """Bundles and deny feeds: what policy points and other trust domains fetch over HTTPS."""

    def __init__(
        self,
        publications: Publications,
        feeds: Feeds,
        register: Register,
        settings: Settings,
        metrics: ResponderMetrics,
        now: Callable[[], datetime],
    ) -> None:
        self._publications = publications
        self._feeds = feeds
        self._register = register
        self._settings = settings
        self._metrics = metrics
        self._now = now
        self.clients = 0
        self.stop = asyncio.Event()

    @property
    def table(self) -> dict[str, tuple[frozenset[str], Route]]:
        """By the first part of the path."""
        return {
            "bundle": (_READ, self._bundle),
            "oidc": (_READ, self._oidc),
            ".well-known": (_READ, self._well_known),
            "feed": (_READ, self._feed),
        }

    async def _bundle(self, request: web.BaseRequest, rest: str, _: str) -> web.StreamResponse:
        trust_domain, _, more = rest.partition("/")
        bundle = self._publications.bundles.by_trust_domain(trust_domain)
        if bundle is None:
            return refusal(404, "No issuer of this trust domain publishes a bundle.")
        if not more:
            return respond(bundle.document, request, self._now())
        kind, _, foreign = more.partition("/")
        found = bundle.federated.get(foreign) if kind == "federated" else None
        sentence = f"{trust_domain} publishes no bundle of such a trust domain beside its own."
        return _answer(found, request, self._now(), sentence)

    async def _oidc(self, request: web.BaseRequest, rest: str, _: str) -> web.StreamResponse:
        trust_domain, _, name = rest.partition("/.well-known/")
        bundle = self._publications.bundles.by_trust_domain(trust_domain)
        return self._identity_provider(request, bundle, name)

    async def _well_known(self, request: web.BaseRequest, rest: str, _: str) -> web.StreamResponse:
        bundle = self._publications.bundles.by_oidc_host(request.headers.get("Host", ""))
        return self._identity_provider(request, bundle, rest)

    def _identity_provider(
        self, request: web.BaseRequest, bundle: PublishedBundle | None, name: str
    ) -> web.StreamResponse:
        found = None if bundle is None else bundle.oidc.get(name)
        sentence = (
            "No issuer publishes this for identity providers; spec.jwt.oidcIssuer of the "
            "AgentIssuer has to name the URL that they use."
        )
        return _answer(found, request, self._now(), sentence)

    async def _feed(self, request: web.BaseRequest, rest: str, query: str) -> web.StreamResponse:
        if not self._register.is_read:
            again = {"Retry-After": _RETRY}
            return refusal(503, "The ledger has not been read yet.", again)
        log = self._feeds.get(rest)
        if log is None:
            return refusal(404, "There is no issuer of this name.")
        if self.clients >= self._settings.limits.feeds:
            self._metrics.refused.labels("feeds").inc()
            again = {"Retry-After": _RETRY}
            return refusal(503, "As many clients as may follow feeds do.", again, close=True)
        position = request.headers.get("Last-Event-ID") or _after(query)
        stream = FeedStream(
            log=log,
            age=self._register,
            now=self._now,
            heartbeat=self._settings.periods.heartbeat,
            write_seconds=self._settings.limits.write_seconds,
            stop=self.stop,
        )
        self.clients += 1
        ending = Ending.GONE
        try:
            form = FeedFormat.of(request.headers.get("Accept", ""))
            response, ending = await stream.serve(request, form, position)
        finally:
            self.clients -= 1
            self._metrics.feed_endings.labels(ending.value).inc()
        return response


def _after(query: str) -> str:
    try:
        return parse_qs(query, max_num_fields=8).get("after", [""])[0]
    except ValueError:
        return ""
