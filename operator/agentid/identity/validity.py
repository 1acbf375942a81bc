"""The validity period of a certificate, RFC 5280 §4.1.2.5."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from agentid.errors import InputError

__all__ = ["Validity"]

_SECOND = timedelta(seconds=1)
_FIRST_YEAR = 1950  # RFC 5280 §4.1.2.5.1: the two digits of a UTCTime begin here.


@dataclass(frozen=True, slots=True, order=True)
class Validity:
    """From `not_before` to `not_after`, aware UTC in whole seconds; both ends count.

    So a certificate whose two ends are equal is valid for one second.
    """

    not_before: datetime
    not_after: datetime

    def __post_init__(self) -> None:
        """Refuse what cannot stand in a certificate.

        Raises:
            InputError: An end is not aware UTC in whole seconds or lies before 1950, or the period
                ends before it begins.
        """
        for label, end in (("notBefore", self.not_before), ("notAfter", self.not_after)):
            if end.utcoffset() != timedelta(0) or end.microsecond:
                msg = (
                    f"validity: {label} is {end.isoformat()}, but must be UTC in whole seconds; "
                    "convert it first"
                )
                raise InputError(msg)
            if end.year < _FIRST_YEAR:
                msg = (
                    f"validity: {label} is {end.isoformat()}, but a certificate cannot say a time "
                    f"before {_FIRST_YEAR}; check the clock"
                )
                raise InputError(msg)
        if self.not_after < self.not_before:
            msg = (
                f"validity: it would end at {_text(self.not_after)}, before it begins at "
                f"{_text(self.not_before)}; ask for a longer lifetime, or renew the authority that "
                "cuts it"
            )
            raise InputError(msg)

    @classmethod
    def of(
        cls,
        now: datetime,
        lifetime: timedelta,
        backdate: timedelta,
        not_beyond: datetime | None = None,
    ) -> Validity:
        """The period that serves for `lifetime` from `now` on.

        The last second counts, so notAfter is `now + lifetime` less one second. Back-dating comes
        on top: it forgives verifiers whose clock is behind, and takes nothing from the lifetime. A
        fraction of a second in `now` or `lifetime` is dropped.

        Args:
            now: The present, aware UTC.
            lifetime: How long the certificate is to serve; at least one second.
            backdate: How far notBefore lies before `now`; not negative.
            not_beyond: A notAfter that must not be passed, such as the authority's; the period is
                cut there.

        Raises:
            InputError: The lifetime is shorter than a second, the back-dating is negative, a time
                cannot be represented, or nothing is left before `not_beyond`.
        """
        if lifetime < _SECOND:
            msg = (
                f"validity: a lifetime of {lifetime} was asked for; it must be at least one second"
            )
            raise InputError(msg)
        if backdate < timedelta(0):
            msg = f"validity: a back-dating of {backdate} was asked for; it must not be negative"
            raise InputError(msg)
        if now.utcoffset() is None:
            msg = f"validity: the present was given as {now.isoformat()}, without a time zone"
            raise InputError(msg)
        present = now.astimezone(UTC).replace(microsecond=0)
        try:
            not_before = (present - backdate).replace(microsecond=0)
            not_after = present + timedelta(seconds=lifetime // _SECOND) - _SECOND
        except OverflowError as error:
            msg = (
                f"validity: {lifetime} from {_text(present)} on ends after the year 9999; "
                "ask for a shorter lifetime"
            )
            raise InputError(msg) from error
        if not_beyond is not None and not_beyond < not_after:
            if not_beyond < present:
                msg = (
                    f"validity: nothing may be valid beyond {_text(not_beyond)}, and it is "
                    f"{_text(present)} already; renew the authority that ends then"
                )
                raise InputError(msg)
            not_after = not_beyond
        return cls(not_before, not_after)

    @property
    def lifetime(self) -> timedelta:
        """How long the period lasts, both ends and the back-dating included."""
        return self.not_after - self.not_before + _SECOND

    def contains(self, instant: datetime) -> bool:
        """Whether the instant lies inside; all of the last second does."""
        return self.not_before <= instant < self.not_after + _SECOND

    def within(self, outer: Validity) -> bool:
        """Whether the whole period lies inside the other one."""
        return outer.not_before <= self.not_before and self.not_after <= outer.not_after

    def __str__(self) -> str:
        """Both ends in RFC 3339."""
        return f"{_text(self.not_before)} to {_text(self.not_after)}"


def _text(instant: datetime) -> str:
    """RFC 3339 in UTC, as Kubernetes writes times."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
