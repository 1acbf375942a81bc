"""What the authorization extension of a certificate says, for programs and for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agentid.errors import InputError
from agentid.pki import authorization
from agentid.pki.view import Oid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agentid.pki.view import CertificateView

__all__ = [
    "AuthorizationDescription",
    "ScheduleDescription",
    "authorization_lines",
    "describe_authorization",
]

_DAY: Final = 24 * 60
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True, slots=True)
class ScheduleDescription:
    """When the agent may: minutes of the week, Monday 00:00 is 0, the end does not count."""

    time_zone: str
    windows: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class AuthorizationDescription:
    """What the extension says. All of it is printable ASCII.

    Attributes:
        grants_nothing_because: Why it cannot be read, in a sentence; then all else but `critical`
            is empty. None if it was read.
        critical: Whether verifiers that do not know it must refuse the certificate.
        agent_class: The AgentClass that granted it.
        tier: Low, Moderate, High or Critical.
        sponsor: Who answers for the agent, or None.
        systems: What it may reach.
        operations: What it may do there.
        schedule: When; None for always, unless there is a `policy_uri`.
        compliance: The regimes whose data it may touch.
        policy_hash: SHA-256 of the policy document, hexadecimal.
        policy_uri: Where the policy is, if it is not in the certificate; or None.
    """

    grants_nothing_because: str | None
    critical: bool
    agent_class: str | None = None
    tier: str | None = None
    sponsor: str | None = None
    systems: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    schedule: ScheduleDescription | None = None
    compliance: tuple[str, ...] = ()
    policy_hash: str | None = None
    policy_uri: str | None = None


def describe_authorization(view: CertificateView) -> AuthorizationDescription | None:
    """Describe the extension, also one that cannot be read; None if there is none."""
    extension = view.extensions.get(Oid.AGENT_AUTHORIZATION)
    if extension is None:
        return None
    try:
        read = authorization.decode(extension.value)
    except InputError as error:
        return AuthorizationDescription(str(error), extension.critical)
    policy = read.policy or authorization.AuthorizedPolicy()
    return AuthorizationDescription(
        grants_nothing_because=None,
        critical=extension.critical,
        agent_class=read.agent_class,
        tier=read.tier,
        sponsor=read.sponsor,
        systems=policy.systems,
        operations=policy.operations,
        schedule=None
        if policy.schedule is None
        else ScheduleDescription(policy.schedule.time_zone, policy.schedule.windows),
        compliance=policy.compliance,
        policy_hash=read.policy_hash.hex(),
        policy_uri=read.policy_uri,
    )


def authorization_lines(described: AuthorizationDescription) -> Iterator[tuple[str, str]]:
    """Labels and texts, top to bottom."""
    who = ", and who does not know it refuses the certificate" if described.critical else ""
    if described.grants_nothing_because is not None:
        yield "authorization", f"cannot be read, so it grants nothing{who}"
        return
    yield "authorization", f"class {described.agent_class}, tier {described.tier}{who}"
    yield "sponsor", described.sponsor or "nobody is named"
    if described.policy_uri is not None:
        yield "may do", f"what {described.policy_uri} says"
    else:
        yield "may reach", ", ".join(described.systems) or "nothing"
        yield "may do there", ", ".join(described.operations) or "nothing"
        yield "may do it", "always" if described.schedule is None else _times(described.schedule)
        yield "compliance", ", ".join(described.compliance) or "none"
    yield "policy hash", described.policy_hash or ""


def _times(schedule: ScheduleDescription) -> str:
    """The windows, days with the same hours together: `Mon, Tue 08:00 to 18:00; Europe/Berlin`."""
    days: dict[str, list[str]] = {}
    for start, end in schedule.windows:
        first, last = start // _DAY, (end - 1) // _DAY
        until = _clock(end - last * _DAY)
        if last != first:
            until = f"{_DAYS[last]} {until}"
        days.setdefault(f"{_clock(start % _DAY)} to {until}", []).append(_DAYS[first])
    spans = [f"{', '.join(names)} {hours}" for hours, names in days.items()]
    return f"{'; '.join(spans)}; {schedule.time_zone}"


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
