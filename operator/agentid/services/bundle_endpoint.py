"""One request to the bundle endpoint of a foreign trust domain (SPIFFE Federation §5).

`https_web`: its certificate is verified by the system's roots, and its host name is checked.
`https_spiffe`: its certificate is an X509-SVID of the SPIFFE ID that was agreed on, verified by the
bundle of that trust domain alone; its host name means nothing.

What comes back is bounded and not looked at; failures are told in words that stay the same while
the failure does, since they are written into a status.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import aiohttp
from yarl import URL

from agentid.errors import InputError, UnavailableError
from agentid.identity import SpiffeId
from agentid.identity.quoting import quoted
from agentid.kube.failures import TRANSPORT_ERRORS
from agentid.kube.session import USER_AGENT
from agentid.pki import svid
from agentid.pki.parse import parse_certificate
from agentid.pki.pem import certificate_pem
from agentid.pki.spiffe_bundle import MAX_BUNDLE_DOCUMENT_BYTES
from agentid.sockets import make_socket

__all__ = ["Endpoint", "fetch_bundle"]

_TIMEOUT: Final = aiohttp.ClientTimeout(total=20.0, sock_connect=10.0)
"""Seconds; a bundle is a few kilobytes. Whoever takes longer is asked again at the next round."""

_REDIRECTS: Final = 3
"""Followed at most (SPIFFE Federation §5.2.1.4); each is verified like the first."""

_CHUNK: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a bundle is, and how whoever answers there proves who it is.

    Attributes:
        url: An https URL.
        roots: In DER. With `https_web` trusted beside those of the system, with `https_spiffe`
            alone.
        spiffe_id: Of the endpoint with `https_spiffe`, None with `https_web`.
    """

    url: str
    roots: tuple[bytes, ...] = field(default=(), repr=False)
    spiffe_id: SpiffeId | None = None


async def fetch_bundle(endpoint: Endpoint) -> bytes:
    """Return what the endpoint answers.

    Raises:
        InputError: It proves to be somebody else, answers too much, or the URL is none to be
            followed.
        UnavailableError: There is no answer, or one that says so.
    """
    url = _parsed(endpoint.url)
    try:
        context = await asyncio.to_thread(_context, endpoint)
    except ssl.SSLError as error:
        msg = f"the roots by which {url.host} is to be verified cannot be used for TLS here"
        raise InputError(msg) from error
    try:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=context, limit=1, force_close=True, socket_factory=make_socket
            ),
            headers={
                "User-Agent": USER_AGENT,
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=_TIMEOUT,
            auto_decompress=False,
        ) as session:
            for _ in range(_REDIRECTS + 1):
                async with session.get(url, allow_redirects=False) as answer:
                    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
                        url = _redirected(url, answer)
                        continue
                    if answer.status != HTTPStatus.OK:
                        msg = f"{url.host} answers {answer.status} in place of a bundle"
                        raise UnavailableError(msg)
                    return await _body(url, answer)
    # ValueError: a host that cannot be written for DNS.
    except (*TRANSPORT_ERRORS, ValueError) as error:
        raise _translated(url, error) from error
    msg = f"{url.host} redirects more than {_REDIRECTS} times"
    raise UnavailableError(msg)


async def _body(url: URL, answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) > MAX_BUNDLE_DOCUMENT_BYTES:
            msg = f"{url.host} answers with more than {MAX_BUNDLE_DOCUMENT_BYTES} bytes"
            raise InputError(msg)
    return bytes(body)


def _redirected(url: URL, answer: aiohttp.ClientResponse) -> URL:
    location = answer.headers.get("Location", "")
    try:
        return _checked(url.join(URL(location)))
    except ValueError as error:
        msg = f"{url.host} redirects to what is no URL: {quoted(location)}"
        raise InputError(msg) from error


def _parsed(text: str) -> URL:
    try:
        return _checked(URL(text))
    except ValueError as error:
        msg = f"{quoted(text)} is no URL; write one such as https://foreign.example/bundle"
        raise InputError(msg) from error


def _checked(url: URL) -> URL:
    """SPIFFE Federation §5.2.1.1 and §5.2.2.1: https, and nobody's name or password."""
    if url.scheme != "https" or not url.host:
        msg = f"{quoted(str(url.with_user(None)))} is no https URL, so nothing is fetched from it"
        raise InputError(msg)
    if url.raw_user is not None or url.raw_password is not None:
        msg = f"the URL of {url.host} has a user or password in it; leave them out"
        raise InputError(msg)
    return url


def _context(endpoint: Endpoint) -> ssl.SSLContext:
    roots = b"".join(map(certificate_pem, dict.fromkeys(endpoint.roots))).decode("ascii")
    if endpoint.spiffe_id is None:
        context = ssl.create_default_context()
        if roots:
            context.load_verify_locations(cadata=roots)
        return context
    if not roots:
        msg = (
            f"there is no root by which {endpoint.spiffe_id} could be verified; give the present "
            "bundle of its trust domain in spec.federation[].bundle"
        )
        raise InputError(msg)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # whose certificate it is says the SPIFFE ID
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A bundle holds trust anchors, and they need not be self-signed (SPIFFE X509-SVID §5).
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=roots)
    context.sslobject_class = _proving(endpoint.spiffe_id)
    return context


class _SomebodyElseError(ssl.SSLCertVerificationError):
    """The chain is good, and it is that of somebody else."""


def _proving(wanted: SpiffeId) -> type[ssl.SSLObject]:
    """A TLS connection whose handshake fails unless the peer is this one."""

    class Proving(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            der = self.getpeercert(binary_form=True)
            if der is None:
                message = "it shows no certificate"
                raise _SomebodyElseError(message)
            try:
                _, view = parse_certificate(der, what="its certificate")
                faults = svid.leaf_faults(view)
                found = view.uri_names
            except InputError as error:
                raise _SomebodyElseError(str(error)) from error
            if faults:
                message = f"its certificate is no X509-SVID: {'; '.join(faults)}"
                raise _SomebodyElseError(message)
            if SpiffeId.parse(found[0]) != wanted:
                message = f"it is {quoted(found[0])}, and not {wanted}"
                raise _SomebodyElseError(message)

    return Proving


def _translated(url: URL, error: BaseException) -> InputError | UnavailableError:
    """The failure in words without anything that differs from one time to the next."""
    where = f"{url.host}:{url.port}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
        if isinstance(cause, _SomebodyElseError):
            return InputError(f"{where} is not the endpoint: {cause.args[0]}")
        said = getattr(cause, "verify_message", "") or "its certificate does not verify"
        return InputError(f"{where} does not prove who it is: {said}")
    said = next(text for kind, text in _FAILURES if isinstance(error, kind))
    if type(error) is aiohttp.ClientConnectorError:
        said = f"cannot be reached: {error.os_error.strerror}"
    return UnavailableError(f"{where} {said}")


_FAILURES: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (aiohttp.ClientConnectorDNSError, "is not found in DNS"),
    (aiohttp.ClientSSLError, "does not speak TLS with us"),
    (TimeoutError, "does not answer in time"),
    (aiohttp.ClientConnectorError, "cannot be reached"),
    (BaseException, "breaks off its answer, or it is no HTTP"),
)
"""The first that fits."""
