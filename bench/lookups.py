"""How a verifier looks a certificate up: on CRLs and by OCSP, over HTTP."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.x509 import ocsp

from e2e.errors import E2EError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp

__all__ = ["Lookups"]

_LOOK: Final = 0.02
"""Seconds between two looks, which is how exact the figures are."""

_OK: Final = 200


class Lookups:
    """Looks until something is revoked; a CRL is read again when its ETag is another."""

    def __init__(self, http: aiohttp.ClientSession, patience: float) -> None:
        """Look at one responder.

        Args:
            http: With the address of the responder as its base.
            patience: Seconds to look for at most.
        """
        self._http = http
        self._patience = patience
        self._read: dict[str, tuple[str, frozenset[int]]] = {}

    async def listed_at(self, path: str, serials: frozenset[int]) -> dict[int, float]:
        """When the CRL at a path first named each of these, in seconds of `time.monotonic`.

        One look serves all of them: it is the responder that is measured, not how many ask it.

        Raises:
            E2EError: It does not name all of them in time.
        """
        at: dict[int, float] = {}

        async def are_listed() -> bool:
            listed = await self._listed(path)
            now = time.monotonic()
            at.update((serial, now) for serial in serials & listed if serial not in at)
            return len(at) == len(serials)

        await self._until(are_listed, f"the CRL {path} does not name all {len(serials)}")
        return at

    async def until_revoked(self, question: bytes) -> float:
        """When OCSP says that what is asked about is revoked, likewise.

        Args:
            question: An OCSP request, DER.
        """

        async def is_revoked() -> bool:
            headers = {"Content-Type": "application/ocsp-request"}
            async with self._http.post("/ocsp", data=question, headers=headers) as answer:
                told = ocsp.load_der_ocsp_response(await answer.read())
            return (
                told.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
                and told.certificate_status is ocsp.OCSPCertStatus.REVOKED
            )

        return await self._until(is_revoked, "OCSP does not say revoked")

    async def _until(self, holds: Callable[[], Awaitable[bool]], otherwise: str) -> float:
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            if await holds():
                return time.monotonic()
            await asyncio.sleep(_LOOK)
        msg = f"{otherwise} after {self._patience:.0f} s"
        raise E2EError(msg)

    async def _listed(self, path: str) -> frozenset[int]:
        etag, serials = self._read.get(path, ("", frozenset()))
        headers = {"If-None-Match": etag} if etag else {}
        async with self._http.get(path, headers=headers) as answer:
            if answer.status != _OK:
                return serials
            listed = x509.load_der_x509_crl(await answer.read())
            serials = frozenset(each.serial_number for each in listed)
            self._read[path] = (answer.headers["ETag"], serials)
        return serials
