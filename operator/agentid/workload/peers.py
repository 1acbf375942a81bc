"""Whom an agent talks to: a set of SPIFFE IDs, which may be a pattern. The empty set is nobody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agentid.errors import InputError
from agentid.identity import SpiffeId, TrustDomain
from agentid.identity.quoting import quoted

__all__ = ["NOBODY", "Peers", "any_of", "exactly", "matching"]


@dataclass(frozen=True, slots=True)
class _Pattern:
    """Segments of a path, each with at most one `*`."""

    trust_domain: TrustDomain
    segments: tuple[str, ...]

    @classmethod
    def parse(cls, text: object) -> _Pattern:
        """Read one; see `matching`."""
        # A '*' stands where letters may, so what is left has to be a SPIFFE ID with one there.
        scheme, slashes, rest = (text if isinstance(text, str) else "").partition("://")
        domain, slash, path = rest.partition("/")
        try:
            plain = SpiffeId.parse(scheme + slashes + domain + slash + path.replace("*", "x"))
        except InputError as error:
            msg = f"pattern {quoted(text)}: {error}"
            raise InputError(msg) from error
        segments = tuple(path.split("/"))
        if not plain.path:
            msg = (
                f"pattern {quoted(text)} has no path; name agents, such as "
                f"{plain}/ns/finance/agent/*, or take any_of({plain.trust_domain.name!r})"
            )
            raise InputError(msg)
        if any(each.count("*") > 1 for each in segments):
            msg = f"pattern {quoted(text)}: one '*' is allowed in a segment; there are more"
            raise InputError(msg)
        return cls(plain.trust_domain, segments)

    def fits(self, peer: SpiffeId) -> bool:
        """Whether every segment fits; the pod of an agent need not be in the pattern."""
        if peer.trust_domain != self.trust_domain:
            return False
        found = peer.path[1:].split("/")
        agent = peer.agent
        # .../agent/NAME/pod/UID is the agent NAME, in one of its pods.
        in_a_pod = agent is not None and agent.pod_uid is not None
        return self._all_fit(found) or (in_a_pod and self._all_fit(found[:-2]))

    def __str__(self) -> str:
        """The pattern as `matching` reads it."""
        return f"{self.trust_domain.id_string}/{'/'.join(self.segments)}"

    def _all_fit(self, found: list[str]) -> bool:
        return len(found) == len(self.segments) and all(
            _segment_fits(pattern, segment)
            for pattern, segment in zip(self.segments, found, strict=True)
        )


def _segment_fits(pattern: str, found: str) -> bool:
    start, star, end = pattern.partition("*")
    if not star:
        return found == pattern
    # At least as long as both ends together: they must not overlap.
    return len(found) >= len(start) + len(end) and found.startswith(start) and found.endswith(end)


@dataclass(frozen=True, slots=True)
class Peers:
    """A set of SPIFFE IDs; `|` joins two. Without any of the three it is nobody.

    Attributes:
        trust_domains: Every workload in these.
        ids: These alone.
        patterns: What `matching` made.
    """

    trust_domains: frozenset[TrustDomain] = frozenset()
    ids: frozenset[SpiffeId] = frozenset()
    patterns: frozenset[_Pattern] = frozenset()

    def __contains__(self, peer: SpiffeId) -> bool:
        """Whether the SPIFFE ID is in the set; nothing is said of who shows it."""
        return (
            peer.trust_domain in self.trust_domains
            or peer in self.ids
            or any(each.fits(peer) for each in self.patterns)
        )

    def __str__(self) -> str:
        """For people: everything that is in it."""
        texts = {each.id_string for each in self.trust_domains}
        texts.update(map(str, self.ids | self.patterns))
        return ", ".join(sorted(texts)) or "nobody"

    def __or__(self, other: Peers) -> Peers:
        """Whoever is in either."""
        return Peers(
            self.trust_domains | other.trust_domains,
            self.ids | other.ids,
            self.patterns | other.patterns,
        )


NOBODY: Final = Peers()
"""The empty set: every handshake fails."""


def any_of(*trust_domains: str | TrustDomain) -> Peers:
    """Every workload of these trust domains.

    Raises:
        InputError: One is not the name of a trust domain, such as `agents.example.org`.
    """
    return Peers(
        trust_domains=frozenset(
            each if isinstance(each, TrustDomain) else TrustDomain.parse(each)
            for each in trust_domains
        )
    )


def exactly(*ids: str | SpiffeId) -> Peers:
    """These SPIFFE IDs, character by character.

    An identity with `instances: PerPod` has a SPIFFE ID for each pod, none of which is that of the
    identity. To allow it whatever pod it runs in, take `matching`.

    Raises:
        InputError: One is not a SPIFFE ID.
    """
    return Peers(
        ids=frozenset(each if isinstance(each, SpiffeId) else SpiffeId.parse(each) for each in ids)
    )


def matching(*patterns: str) -> Peers:
    """Whoever fits one of the patterns, such as `spiffe://example.org/ns/finance/agent/*`.

    A pattern is a SPIFFE ID in whose path each segment may hold one `*`, which stands for any
    letters of that segment, also none, and never for a `/`. A pattern of agents fits them with
    `instances: PerPod` too: the SPIFFE ID of an agent in a pod, `.../agent/NAME/pod/UID`, fits
    where it would without its last two segments. `.../agent/NAME/pod/*` fits such agents alone.

    Raises:
        InputError: One is no such pattern.
    """
    return Peers(patterns=frozenset(_Pattern.parse(each) for each in patterns))
