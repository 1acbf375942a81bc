"""What was issued and what was revoked: on record before in use, and never forgotten.

Records become durable in segments, immutable objects that are chained by their hashes, one chain
for each run of each process. In memory they add up to `LedgerState`. What has to be issued or
revoked is decided by others. Why it is built like this: `docs/adr/0002`.
"""

from __future__ import annotations

from agentid.identity import PodRef
from agentid.ledger.committer import CommitLimits
from agentid.ledger.compactor import Archive, Compaction
from agentid.ledger.intake import Durable
from agentid.ledger.ledger import Ledger, LedgerObserver
from agentid.ledger.naming import new_writer
from agentid.ledger.records import Issued, Record, Revoked
from agentid.ledger.state import Entry, LedgerState
from agentid.ledger.store import (
    CreateOutcome,
    SegmentEvent,
    SegmentEventType,
    SegmentSource,
    SegmentStore,
    StoredSegment,
)
from agentid.ledger.verify import Alarm, AlarmKind, VerifyReport, verify_segments
from agentid.ledger.view import LedgerStats, LedgerView

__all__ = [
    "Alarm",
    "AlarmKind",
    "Archive",
    "CommitLimits",
    "Compaction",
    "CreateOutcome",
    "Durable",
    "Entry",
    "Issued",
    "Ledger",
    "LedgerObserver",
    "LedgerState",
    "LedgerStats",
    "LedgerView",
    "PodRef",
    "Record",
    "Revoked",
    "SegmentEvent",
    "SegmentEventType",
    "SegmentSource",
    "SegmentStore",
    "StoredSegment",
    "VerifyReport",
    "new_writer",
    "verify_segments",
]
