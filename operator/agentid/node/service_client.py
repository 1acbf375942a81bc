"""The issuer service over HTTPS, as an `IssuerPort`.

Certificates that are asked for at about the same time go in one request, so that the issuer records
them together. What is trusted is fetched once, and again when an answer says that it is another.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections import deque
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import aiohttp
import orjson

from agentid.api.fields import parse_time
from agentid.errors import InputError, UnavailableError
from agentid.identity import TrustDomain
from agentid.node.issuer import (
    Bundle,
    Change,
    ChangeKind,
    JwtGrant,
    RefusedError,
    X509Grant,
)
from agentid.pki import KeyAlgorithm
from agentid.pki.crl import crl_pem
from agentid.pki.spiffe_bundle import decode_spiffe_bundle

if TYPE_CHECKING:
    import ssl
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Awaitable,
        Callable,
        Iterator,
        Mapping,
    )
    from typing import Self

    from agentid.node.issuer import PodProof

__all__ = ["IssuerServiceClient"]

_BATCH: Final = 32
"""Certificates in one request, as many as the service takes."""

_GATHER: Final = 0.005
"""Seconds that a request waits for others. A start of many pods comes within some milliseconds."""

_AT_ONCE: Final = 4
"""Requests for certificates under way; the service takes 128 certificates of one node."""

_TIMEOUT: Final = 15.0
_SILENCE: Final = 30.0
"""Seconds without a sign of life of the stream, three of its heartbeats."""

_MOST: Final = 64 * 1024 * 1024
"""Bytes of an answer: bundles and CRLs of all issuers, a CRL has up to 1 MiB."""

_MOST_LINE: Final = 64 * 1024

_PASSING: Final = frozenset(
    {
        "CacheBehind",
        "InternalError",
        "IssuerUnavailable",
        "LedgerUnavailable",
        "Malformed",
        "NotANodePlugin",
        "Overloaded",
        "Unavailable",
    }
)
"""Reasons that say nothing of the pod: what it has stays, and it is asked for again."""


@dataclass(frozen=True, slots=True)
class _Trusted:
    version: str
    bundles: Mapping[str, Bundle]
    roots: Mapping[str, bytes]


@dataclass(slots=True, eq=False)
class _Asked:
    item: dict[str, str] = field(repr=False)
    answer: asyncio.Future[dict[str, object]]


_NOTHING: Final = _Trusted("", {}, {})


class IssuerServiceClient:
    """To be made in a running event loop, and closed."""

    def __init__(
        self,
        url: str,
        context: Callable[[], ssl.SSLContext],
        headers: Callable[[], Awaitable[Mapping[str, str]]],
        *,
        server_name: str | None = None,
    ) -> None:
        """Connect nothing yet.

        Args:
            url: Of the service, without a slash at the end.
            context: Whom to trust as the service; asked for each request, since roots are rotated.
            headers: What authenticates the node plugin, asked for each request.
            server_name: What the service's certificate names; None for the host of the URL.
        """
        self._url = url
        self._tls = context
        self._headers = headers
        self._server_name = server_name
        self._connector = aiohttp.TCPConnector()
        self._session = aiohttp.ClientSession(
            connector=self._connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        )
        self._waiting: deque[_Asked] = deque()
        self._sending: set[asyncio.Task[None]] = set()
        self._trusted = _NOTHING
        self._fetching = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

    async def close(self) -> None:
        """End what is under way, and close all connections."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        await self._connector.close(abort_ssl=True)
        await self._session.close()

    # The port

    async def x509(self, pod: PodProof, csr_der: bytes) -> X509Grant:
        """Have a certificate issued; see `IssuerPort.x509`."""
        answer = asyncio.get_running_loop().create_future()
        item = {"podToken": pod.token, "csr": base64.b64encode(csr_der).decode("ascii")}
        self._waiting.append(_Asked(item, answer))
        if len(self._sending) < _AT_ONCE:
            task = asyncio.create_task(self._send(), name="issuer-batch")
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        issued = await answer
        with _reading("x509"):
            return await self._grant(issued)

    async def jwt(self, pod: PodProof, audience: tuple[str, ...]) -> JwtGrant:
        """Have a JWT-SVID minted; see `IssuerPort.jwt`."""
        body = {"podToken": pod.token, "audience": list(audience)}
        answer = await self._ask("POST", "/node/v1/jwt", body)
        with _reading("jwt"):
            return JwtGrant(
                _text(answer, "token"),
                _text(answer, "spiffeID"),
                parse_time(_text(answer, "issuedAt")),
                parse_time(_text(answer, "notAfter")),
            )

    async def bundles(self) -> Mapping[str, Bundle]:
        """What is trusted, as the service says now."""
        await self._fetch("")
        return self._trusted.bundles

    async def changes(self) -> AsyncGenerator[Change, None]:
        """What changes from now on, what stands before it; it ends when the connection does."""
        quiet = aiohttp.ClientTimeout(total=None, sock_connect=_TIMEOUT, sock_read=_SILENCE)
        with _translated():
            async with self._request("GET", "/node/v1/changes", limits=quiet) as response:
                if response.status != _OK:
                    raise _refusal(_parsed(await response.content.read(_MOST_LINE)))
                connection = response.connection
                try:
                    async with aclosing(_lines(response.content)) as lines:
                        async for line in lines:
                            with _reading("changes"):
                                change = self._change(_parsed(line))
                            if change is not None:
                                yield change
                finally:
                    # There is nothing left to say goodbye with.
                    if connection is not None and connection.transport is not None:
                        connection.transport.abort()

    # Inside

    def _change(self, line: dict[str, object]) -> Change | None:
        kind, told = line.get("type"), line.get("bundles")
        if kind in {"synced", "heartbeat"}:
            # A change of bundles that came while nobody followed shows in the version alone.
            another = isinstance(told, str) and told not in {"", self._trusted.version}
            return Change(ChangeKind.BUNDLES) if another else None
        if kind not in frozenset(ChangeKind):
            return None  # of a later release
        pod, serial = line.get("pod"), line.get("serial")
        return Change(
            ChangeKind(str(kind)),
            pod=pod if isinstance(pod, str) else None,
            serial=serial if isinstance(serial, str) else None,
            reason=str(line.get("reason") or ""),
            message=str(line.get("message") or ""),
        )

    async def _send(self) -> None:
        await asyncio.sleep(_GATHER)
        while self._waiting:
            count = min(_BATCH, len(self._waiting))
            taken = [self._waiting.popleft() for _ in range(count)]
            asked = [each for each in taken if not each.answer.done()]
            if not asked:
                continue
            try:
                await self._send_batch(asked)
            except BaseException as error:
                for each in asked:
                    if not each.answer.done():
                        each.answer.set_exception(
                            error
                            if isinstance(error, UnavailableError | RefusedError)
                            else UnavailableError(f"the issuer service was not asked: {error}")
                        )
                if not isinstance(error, UnavailableError | RefusedError):
                    raise

    async def _send_batch(self, asked: list[_Asked]) -> None:
        body = {"items": [each.item for each in asked]}
        answer = await self._ask("POST", "/node/v1/x509", body)
        results, version = answer.get("results"), answer.get("bundles")
        if not isinstance(results, list) or len(results) != len(asked):
            msg = "the issuer service answered for others than it was asked for"
            raise UnavailableError(msg)
        for each, result in zip(asked, results, strict=True):
            if each.answer.done():
                continue
            match result:
                case {"issued": dict(issued)}:
                    each.answer.set_result({**issued, "bundles": version})
                case {"refused": dict(refused)}:
                    each.answer.set_exception(_refusal(refused))
                case _:
                    each.answer.set_exception(UnavailableError("the issuer service said nothing"))

    async def _grant(self, issued: dict[str, object]) -> X509Grant:
        version = _text(issued, "bundles")
        if version != self._trusted.version:
            await self._fetch(version)
        trusted, trust_domain = self._trusted, _text(issued, "trustDomain")
        own, federated = trusted.bundles.get(trust_domain), issued.get("federatesWith")
        if own is None:
            msg = f"the issuer service tells no bundle of {trust_domain} yet"
            raise UnavailableError(msg)
        agent = issued.get("agent")
        return X509Grant(
            chain_pem=_text(issued, "chain").encode("ascii"),
            issued_at=parse_time(_text(issued, "issuedAt")),
            not_before=parse_time(_text(issued, "notBefore")),
            not_after=parse_time(_text(issued, "notAfter")),
            renew_at=parse_time(_text(issued, "renewAt")),
            spiffe_id=_text(issued, "spiffeID"),
            bundle_pem=trusted.roots[trust_domain],
            federated={
                name: trusted.roots[name]
                for name in (federated if isinstance(federated, list) else [])
                if name in trusted.roots
            },
            crl_pem=None if issued.get("ephemeral") is True else own.crl_pem,
            key_algorithm=KeyAlgorithm(_text(issued, "keyAlgorithm")),
            agent=agent if isinstance(agent, dict) else {},
        )

    async def _fetch(self, version: str) -> None:
        """Have what is trusted, of this version or a later one; whatever is told if it is empty."""
        async with self._fetching:
            if version and version == self._trusted.version:
                return
            told = await self._ask("GET", "/node/v1/bundles")
            with _reading("bundles"):
                self._trusted = _trusted(told)

    async def _ask(
        self, method: str, path: str, body: Mapping[str, object] | None = None
    ) -> dict[str, object]:
        with _translated():
            async with self._request(method, path, body=body) as response:
                read = await response.content.read(_MOST)
                if response.status != _OK:
                    raise _refusal(_parsed(read))
                while not response.content.at_eof() and len(read) < _MOST:
                    read += await response.content.read(_MOST - len(read))
                return _parsed(read)

    @contextlib.asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, object] | None = None,
        limits: aiohttp.ClientTimeout | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {"Content-Type": "application/json", **await self._headers()}
        async with self._session.request(
            method,
            f"{self._url}{path}",
            data=None if body is None else orjson.dumps(body),
            headers=headers,
            ssl=self._tls(),
            server_hostname=self._server_name,
            allow_redirects=False,
            timeout=limits or aiohttp.ClientTimeout(total=_TIMEOUT),
        ) as response:
            yield response


_OK: Final = 200


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Whatever keeps an answer from coming, as `UnavailableError`."""
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        msg = f"the issuer service does not answer: {type(error).__name__} {error}"
        raise UnavailableError(msg) from error


@contextlib.contextmanager
def _reading(what: str) -> Iterator[None]:
    """An answer that is none of the service's, as `UnavailableError`: what there is goes on."""
    try:
        yield
    except (InputError, ValueError, KeyError) as error:
        msg = f"the issuer service answers {what} as this release does not read it: {error}"
        raise UnavailableError(msg) from error


def _refusal(problem: dict[str, object]) -> UnavailableError | RefusedError:
    reason, detail = str(problem.get("reason") or ""), str(problem.get("detail") or "")
    if not reason or reason in _PASSING:
        return UnavailableError(f"the issuer service cannot answer: {reason} {detail}".rstrip())
    named = problem.get("keyAlgorithm")
    algorithm = next((each for each in KeyAlgorithm if each.value == named), None)
    return RefusedError(reason, detail, final=problem.get("final") is True, key_algorithm=algorithm)


def _trusted(told: dict[str, object]) -> _Trusted:
    bundles: dict[str, Bundle] = {}
    roots: dict[str, bytes] = {}
    found = told.get("bundles")
    for name, each in (found if isinstance(found, dict) else {}).items():
        document = _text(each if isinstance(each, dict) else {}, "document").encode()
        crls = each.get("crls")
        roots[name] = decode_spiffe_bundle(document, TrustDomain.parse(name)).x509.pem
        pem = None
        if isinstance(crls, list):
            pem = b"".join(crl_pem(base64.b64decode(str(crl), validate=True)) for crl in crls)
        bundles[name] = Bundle(document, pem)
    return _Trusted(_text(told, "version"), bundles, roots)


async def _lines(stream: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
    """Lines of bounded length."""
    rest = b""
    async for chunk in stream.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line:
                yield line
        if len(rest) > _MOST_LINE:
            msg = "a line of the stream is too long"
            raise UnavailableError(msg)


def _text(body: Mapping[str, object], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        msg = f"{name} is missing"
        raise InputError(msg)
    return value


def _parsed(body: bytes) -> dict[str, object]:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = None
    return parsed if isinstance(parsed, dict) else {}
