"""OCSP answers, from the ledger as it is at this moment.

```
 request ─► known bytes? ─► which authority, which serial ─► standing ─► signed before? ─► answer
                │ no                                             ▲            │ no
                └─► parse ─► CertIdTable                      ledger          └─► sign, keep
```

An answer without a nonce is signed once in each window and kept. It is given again only if the
ledger, asked at that moment, still says what it said: so a revocation is in the very next answer.
`thisUpdate` is the beginning of the window, in all replicas alike, or the moment of the revocation
if that came later; it never goes back.

When the ledger has not been heard of for too long, nothing is called good or unknown any more: the
answer is `tryLater`. What is known to be revoked stays so, and is said. Where a later release has
written into the ledger, nothing is called unknown: it may be on record where this one cannot read.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog

from agentid.errors import InputError
from agentid.pki import ocsp
from agentid.pki.ocsp_http import OCSP_RESPONSE_TYPE
from agentid.responder.documents import Document

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryptography import x509

    from agentid.ledger import Revoked
    from agentid.pki.ocsp import OcspQuestion
    from agentid.responder.metrics import ResponderMetrics
    from agentid.responder.register import Register, Standing
    from agentid.responder.settings import Periods
    from agentid.responder.signers import OcspSigner, SignerShelf

__all__ = ["OcspAnswer", "OcspService"]

_log = structlog.stdlib.get_logger(__name__)

_KEPT: Final = 16_384
"""Answers that are kept. With a request of 80 bytes and an answer of 900 each, about 60 MB when
full; 30,000 certificates that are asked about within a window are served without signing."""

_SKEW: Final = 300
"""Seconds that the clock may be set back without `thisUpdate` following it. Verifiers allow about
five minutes (`openssl ocsp` does); a clock that was further ahead was wrong, and all they got from
it is refused anyway."""


@dataclass(frozen=True, slots=True)
class OcspAnswer:
    """An answer.

    Attributes:
        status: `good`, `revoked`, `unknown`, or why there is none: `malformed`, `unauthorized`,
            `try_later`.
        body: In DER.
        document: The same with the headers of a cache; None if no cache may keep it.
    """

    status: str
    body: bytes = field(repr=False)
    document: Document | None = field(default=None, repr=False)


_MALFORMED: Final = OcspAnswer("malformed", ocsp.unsuccessful(ocsp.OcspError.MALFORMED_REQUEST))
_UNAUTHORIZED: Final = OcspAnswer("unauthorized", ocsp.unsuccessful(ocsp.OcspError.UNAUTHORIZED))
_TRY_LATER: Final = OcspAnswer("try_later", ocsp.unsuccessful(ocsp.OcspError.TRY_LATER))


@dataclass(frozen=True, slots=True)
class _Kept:
    authority: str
    serial: int
    window: datetime
    signer: OcspSigner
    known: bool
    revoked: Revoked | None
    answer: OcspAnswer


class OcspService:
    """Answers OCSP requests.

    Args:
        register: What the ledger says.
        signers: Who signs.
        periods: Windows, validity and how long caches may keep answers.
        now: The time.
        metrics: Counts answers and signatures.
    """

    def __init__(
        self,
        register: Register,
        signers: SignerShelf,
        periods: Periods,
        now: Callable[[], datetime],
        metrics: ResponderMetrics,
    ) -> None:
        self._register = register
        self._signers = signers
        self._window_seconds = int(periods.ocsp_window.total_seconds())
        self._validity = periods.ocsp_validity
        self._max_age = int(periods.max_age.total_seconds())
        self._now = now
        self._metrics = metrics
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._table = ocsp.CertIdTable(())
        self._ids: dict[x509.Certificate, str] = {}
        self._latest = 0
        self._window = datetime.fromtimestamp(0, UTC)

    def serve(self, authorities: Mapping[str, x509.Certificate]) -> None:
        """Answer for these authorities from now on, by their ids; of roots, nothing is known here.

        Raises:
            InputError: One does not parse.
        """
        self._ids = {
            certificate: name
            for name, certificate in authorities.items()
            if certificate.issuer != certificate.subject
        }
        self._table = ocsp.CertIdTable(self._ids)

    def malformed(self) -> OcspAnswer:
        """The answer to what is no request."""
        return self._counted(_MALFORMED)

    def answer(self, request: bytes) -> OcspAnswer:
        """The answer to a request in DER, of whatever length; every fault has its OCSP error."""
        now = self._now()
        window = self._current_window(now)
        kept = self._kept.get(request)
        if kept is not None and self._holds(kept, window):
            return self._counted(kept.answer)
        try:
            question = ocsp.parse_request(request)
        except InputError:
            return self._counted(_MALFORMED)
        certificate = self._table.find(question)
        if certificate is None:
            return self._counted(_UNAUTHORIZED)
        return self._counted(self._sign(request, question, self._ids[certificate], now, window))

    def _counted(self, answer: OcspAnswer) -> OcspAnswer:
        self._metrics.count_ocsp(answer.status)
        return answer

    def _holds(self, kept: _Kept, window: datetime) -> bool:
        if kept.window != window or kept.signer is not self._signers.get(kept.authority):
            return False
        standing = self._register.standing(kept.authority, kept.serial)
        return (
            standing.known == kept.known
            and standing.revoked is kept.revoked
            and (kept.revoked is not None or self._register.is_fresh)
            and (standing.known or self._register.is_whole)
        )

    def _sign(
        self,
        request: bytes,
        question: OcspQuestion,
        authority: str,
        now: datetime,
        window: datetime,
    ) -> OcspAnswer:
        signer = self._signers.get(authority)
        standing = self._register.standing(authority, question.serial.value)
        if signer is None or not (
            self._register.is_fresh or (standing.revoked is not None and self._register.is_read)
        ):
            return _TRY_LATER
        if not (standing.known or self._register.is_whole):
            return _TRY_LATER
        status, this_update = _status(standing, window, now)
        validity = signer.validity
        next_update = min(window + self._validity, validity.not_after)
        produced = max(this_update, validity.not_before)
        if question.nonce is not None:
            produced = max(produced, now.replace(microsecond=0))
        if produced >= next_update:
            return _TRY_LATER
        try:
            body = signer.responder.answer(question, status, this_update, next_update, produced)
        except InputError as error:
            _log.warning("ocsp_not_signed", authority=authority, error=str(error))
            return _TRY_LATER
        self._metrics.signatures.inc()
        word = "revoked" if isinstance(status, ocsp.Revoked) else status.name.lower()
        if question.nonce is not None:
            return OcspAnswer(word, body)
        document = Document(body, OCSP_RESPONSE_TYPE, this_update, next_update, self._max_age)
        answer = OcspAnswer(word, body, document)
        self._keep(
            request,
            _Kept(
                authority,
                question.serial.value,
                window,
                signer,
                standing.known,
                standing.revoked,
                answer,
            ),
        )
        return answer

    def _keep(self, request: bytes, kept: _Kept) -> None:
        self._kept[request] = kept
        self._kept.move_to_end(request)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)

    def _current_window(self, now: datetime) -> datetime:
        start = int(now.timestamp()) // self._window_seconds * self._window_seconds
        if start != self._latest:
            if start < self._latest and self._latest - start <= _SKEW:
                return self._window
            self._latest = start
            self._window = datetime.fromtimestamp(start, UTC)
        return self._window


def _status(
    standing: Standing, window: datetime, now: datetime
) -> tuple[ocsp.OcspStatus, datetime]:
    """What is said, and since when it is known (RFC 6960 §2.4)."""
    if standing.revoked is None:
        return ocsp.CertState.GOOD if standing.known else ocsp.CertState.UNKNOWN, window
    at = standing.revoked.revoked_at.replace(microsecond=0)
    # Another clock may be ahead of ours; verifiers refuse what is to come.
    since = min(at, now.replace(microsecond=0))
    return ocsp.Revoked(at, standing.revoked.reason), max(window, since)


def lifetime_left(signer: OcspSigner, now: datetime) -> timedelta:
    """How long a signer may sign yet; negative afterwards."""
    return signer.validity.not_after - now
