"""Takes revocations to the ledger, each serial once however many want it at the same time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from agentid.api.conditions import Reason
from agentid.errors import UnavailableError
from agentid.services.failure import PassError
from agentid.telemetry import tracing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from agentid.identity import RevocationReason, SerialNumber
    from agentid.ledger import Ledger
    from agentid.policy.observed import Held, Observed
    from agentid.services.witness import Witness
    from agentid.telemetry.metrics import Metrics

__all__ = ["Revocations"]

_log = structlog.stdlib.get_logger(__name__)


class Revocations:
    """For one actor; who asks for what is being revoked already waits for that commit."""

    def __init__(self, *, ledger: Ledger, metrics: Metrics, witness: Witness, actor: str) -> None:
        """Take the parts.

        Args:
            ledger: Where revocations are recorded.
            metrics: Counts them.
            witness: Told of them.
            actor: Who revokes, as it stands on the ledger.
        """
        self._ledger = ledger
        self._metrics = metrics
        self._witness = witness
        self._actor = actor
        self._commits: dict[SerialNumber, asyncio.Event] = {}

    async def revoke(
        self,
        revoke: tuple[tuple[Held, RevocationReason], ...],
        whose: Mapping[SerialNumber, Observed],
        now: datetime,
    ) -> None:
        """Return once all of these are revoked on the ledger; those that are already stay so.

        Args:
            revoke: Which, and why.
            whose: By serial, what the decision was made from where it is known.
            now: When it was decided.

        Raises:
            PassError: The ledger is away.
        """
        while (under_way := self._commit_of(revoke)) is not None:
            await under_way.wait()
        reasons: dict[SerialNumber, RevocationReason] = {}
        for held, reason in revoke:
            reasons.setdefault(held.serial, reason)
        records = [
            entry.revocation(reason, at=now, actor=self._actor)
            for serial, reason in reasons.items()
            if (entry := self._ledger.state.by_serial(serial)) is not None and entry.revoked is None
        ]
        if not records:
            return
        commit = asyncio.Event()
        self._commits.update((record.serial, commit) for record in records)
        try:
            for record in records:
                self._witness.will_revoke((record.serial,), whose.get(record.serial))
            with tracing.step("ledger revocation"):
                await self._ledger.append(*records)
        except UnavailableError as error:
            raise PassError(
                Reason.LEDGER_UNAVAILABLE, str(error), retry_after=error.retry_after
            ) from error
        finally:
            for record in records:
                del self._commits[record.serial]
            commit.set()
        for record in records:
            self._metrics.revocations.labels(record.reason.value).inc()
            _log.info("serial_revoked", serial=str(record.serial), reason=record.reason.value)

    def _commit_of(self, revoke: tuple[tuple[Held, RevocationReason], ...]) -> asyncio.Event | None:
        """A commit that revokes one of these already, by a pass or by `revoke_due`."""
        found = (self._commits.get(held.serial) for held, _ in revoke)
        return next((commit for commit in found if commit is not None), None)
