"""Every failure that a plugin may meet, in the one form that it is told, counted and shown."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from agentid.api.conditions import Reason
from agentid.errors import ForbiddenError, UnavailableError
from agentid.issuing.reasons import PASSING, RefusalReason, RefusedError
from agentid.services.failure import PassError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentid.services.pods import Pod

__all__ = ["Telling", "as_refusals", "internal"]


class Telling:
    """Counts answers of one kind, and shows people the refusals that are about a pod."""

    def __init__(
        self, count: Callable[[str], None], show: Callable[[Pod, RefusedError], None]
    ) -> None:
        """Take the parts.

        Args:
            count: Given the reason of each refusal, and an empty one for what was given.
            show: Given pod and refusal.
        """
        self._count = count
        self._show = show

    def given(self) -> None:
        """Something was given."""
        self._count("")

    def refused(self, refusal: RefusedError, pod: Pod | None) -> None:
        """A refusal is about to be told.

        Args:
            refusal: It.
            pod: Whom it is about; None where that was not attested, so that nobody fills the status
                of an identity with what its pods never asked.
        """
        self._count(refusal.reason)
        if pod is not None and refusal.reason not in PASSING:
            self._show(pod, refusal)


@contextlib.contextmanager
def as_refusals() -> Iterator[None]:
    """Turn what services and the API server raise into refusals."""
    try:
        yield
    except PassError as error:
        overloaded = error.reason is Reason.RATE_LIMITED
        reason = RefusalReason.OVERLOADED if overloaded else error.reason
        raise RefusedError(reason, str(error), retry_after=error.retry_after) from error
    except UnavailableError as error:
        raise RefusedError(
            RefusalReason.UNAVAILABLE, str(error), retry_after=error.retry_after
        ) from error
    except ForbiddenError as error:
        raise RefusedError(RefusalReason.UNAVAILABLE, str(error)) from error


def internal() -> RefusedError:
    """What is told of a defect."""
    return RefusedError(
        RefusalReason.INTERNAL, "agentid has a defect that its log tells of; ask again"
    )
