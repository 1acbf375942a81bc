"""Every exception of the HTTP library has its place in agentid's own errors."""

from __future__ import annotations

import asyncio
import inspect
import ssl
from types import SimpleNamespace
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import client_exceptions, http_exceptions
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from agentid.errors import ConflictError, UnavailableError
from agentid.kube.failures import TRANSPORT_ERRORS, Call, from_status, from_transport
from agentid.kube.resources import SECRETS
from agentid.testing.api_server import FakeApiServer

if TYPE_CHECKING:
    from collections.abc import Iterator

NOT_RAISED_BY_REQUESTS = {
    "WSMessageTypeError": "raised when a WebSocket message is of another type than asked for",
}

UID = "2dc384c0-4200-48d1-b67e-542b2509cc1d"
HERE = URL("https://10.0.0.1/api")
REQUEST = aiohttp.RequestInfo(HERE, "GET", CIMultiDictProxy(CIMultiDict()), HERE)
KEY = SimpleNamespace(host="10.0.0.1", port=443, ssl=True, is_ssl=True)
REFUSED = ConnectionRefusedError(111, "Connection refused")
ARGUMENTS: dict[type[Exception], tuple[object, ...]] = {
    client_exceptions.UnixClientConnectorError: ("/run/x.sock", KEY, REFUSED),
    aiohttp.ClientConnectorCertificateError: (KEY, ssl.SSLCertVerificationError("who?")),
    aiohttp.ClientConnectorError: (KEY, REFUSED),
    aiohttp.ClientResponseError: (REQUEST, ()),
    aiohttp.ServerFingerprintMismatch: (b"a", b"b", "10.0.0.1", 443),
    aiohttp.InvalidURL: ("https://",),
    http_exceptions.ContentEncodingError: ("gzip",),
    http_exceptions.LineTooLong: (b"GET", 10),
    http_exceptions.InvalidHeader: ("X",),
    http_exceptions.BadStatusLine: ("HTTP/9",),
}


def walk() -> Iterator[type[Exception]]:
    """Yield every exception class of the library's two modules of exceptions."""
    for module in (client_exceptions, http_exceptions):
        for _, found in inspect.getmembers(module, inspect.isclass):
            if issubclass(found, Exception) and found.__module__.startswith("aiohttp"):
                yield found


def make(kind: type[Exception]) -> Exception:
    """Return an exception of this class, as the library would make it."""
    for base, arguments in ARGUMENTS.items():
        if issubclass(kind, base):
            return kind(*arguments)
    return kind(message="what") if kind is http_exceptions.HttpProcessingError else kind("what")


@pytest.mark.parametrize("kind", list(walk()), ids=lambda kind: kind.__name__)
async def test_no_exception_of_the_library_gets_out(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever aiohttp raises, a caller gets UnavailableError, with the cause kept."""
    if kind.__name__ in NOT_RAISED_BY_REQUESTS:
        assert not issubclass(kind, TRANSPORT_ERRORS)
        return
    error = make(kind)

    async def fail(*_: object, **__: object) -> None:
        raise error

    async with FakeApiServer() as server, server.client() as client:
        monkeypatch.setattr(aiohttp.ClientSession, "_request", fail)
        with pytest.raises(UnavailableError, match=r"^get secrets finance/reader: ") as caught:
            await client.get(SECRETS, "reader", "finance")
        assert caught.value.__cause__ is error
        if kind is aiohttp.SocketTimeoutError:
            return  # silence is how a watch may end
        with pytest.raises(UnavailableError, match=r"^watch secrets: "):
            _ = [event async for event in client.watch(SECRETS, resource_version="1")]


@pytest.mark.parametrize(
    "error", [TimeoutError(), OSError("disk?"), ConnectionResetError(104, "reset"), ssl.SSLError()]
)
def test_errors_of_the_operating_system_are_translated_too(error: Exception) -> None:
    """They pass through aiohttp as they are."""
    assert isinstance(error, TRANSPORT_ERRORS)
    message = str(from_transport(Call("update", "secrets", "a", "b"), error, seconds=30))
    assert message.startswith("update secrets a/b: ")
    assert message.endswith("; it may have been carried out")


def test_cancellation_is_no_error() -> None:
    """A caller that is cancelled stays cancelled."""
    assert not issubclass(asyncio.CancelledError, TRANSPORT_ERRORS)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (Call("get", "secrets", "finance", "reader"), "get secrets finance/reader"),
        (Call("list", "pods"), "list pods"),
        (Call("watch", "pods", "finance"), "watch pods finance"),
        (Call("get", "agentclasses", "", "batch"), "get agentclasses batch"),
    ],
)
def test_a_call_is_named_as_rbac_names_it(call: Call, text: str) -> None:
    """What a message begins with is what a role would have to allow."""
    assert str(call) == text


@pytest.mark.parametrize(
    ("said", "uid"),
    [
        ("the object has been modified; please apply your changes", None),
        (f"UID in precondition: {'0' * 36}, UID in object meta: {UID}", UID),
        (f"{'x' * 600} UID in object meta: {UID}", UID),
        ("UID in object meta: none", None),
    ],
)
def test_a_conflict_tells_which_object_is_there(said: str, uid: str | None) -> None:
    """Where a precondition named another one's UID, however long the server's sentence is."""
    call = Call("update", "secrets", "finance", "reader")
    error = from_status(call, {"code": 409, "reason": "Conflict", "message": said})
    assert isinstance(error, ConflictError)
    assert error.uid == uid
