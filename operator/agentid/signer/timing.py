"""The times that the API server takes: how long a certificate serves, and when it is refreshed.

It counts from notBefore to notAfter (`certificates/validation`), so the back-dating counts too:

```
 notBefore        now                                             notAfter
     ├── BACKDATE ──┼──────────────── lifetime ─────────────────────┤ + 1 s
     └───────────── at least 1 h, at most maxExpirationSeconds ─────┘
          └ 10 min ┘ ... beginRefreshAt ...               └ 10 min ┘
```
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from agentid.issuers import BACKDATE

if TYPE_CHECKING:
    from datetime import datetime

    from agentid.identity import Validity

__all__ = ["LEAST", "lifetime_within", "refresh_within", "total"]

LEAST: Final = timedelta(hours=1)
"""From notBefore to notAfter at least."""

_MARGIN: Final = timedelta(minutes=10)
"""Between either end and beginRefreshAt at least."""

_LAST_SECOND: Final = timedelta(seconds=1)


def lifetime_within(granted: timedelta, longest: timedelta) -> timedelta:
    """How long a certificate may serve from now on.

    Args:
        granted: What the class gives.
        longest: From notBefore to notAfter, as the request has it.
    """
    return min(granted, longest - BACKDATE + _LAST_SECOND)


def total(validity: Validity) -> timedelta:
    """From notBefore to notAfter, as the API server counts: the last second is left out."""
    return validity.not_after - validity.not_before


def refresh_within(validity: Validity, due: datetime) -> datetime:
    """When the kubelet is to ask anew: when it is due, or as near to it as is taken."""
    earliest, latest = validity.not_before + _MARGIN, validity.not_after - _MARGIN
    return max(earliest, min(due, latest))
