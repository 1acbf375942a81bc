"""So many a second, and so many at once after a silence."""

from __future__ import annotations

from collections import OrderedDict

__all__ = ["TokenBucket", "TokenBuckets"]


class TokenBucket:
    """So many a second, and so many at once after a silence.

    Args:
        rate: Tokens a second; 0 for any number.
        burst: Tokens at most.
        now: Seconds from an arbitrary start.
    """

    __slots__ = ("_burst", "_rate", "_seen", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = max(burst, 1.0)
        self._tokens = self._burst
        self._seen = now

    def take(self, now: float) -> float:
        """Take a token.

        Returns:
            0 if there was one, else the seconds until there will be one.
        """
        if self._rate <= 0:
            return 0.0
        passed = max(now - self._seen, 0.0)
        self._seen = now
        self._tokens = min(self._burst, self._tokens + passed * self._rate)
        if self._tokens < 1:
            return (1 - self._tokens) / self._rate
        self._tokens -= 1
        return 0.0


class TokenBuckets:
    """A bucket for each of those that took last; who is forgotten begins with a full one.

    Args:
        rate: Tokens a second of each; 0 for any number.
        burst: Tokens at most.
        most: Keys that are remembered.
    """

    def __init__(self, rate: float, burst: float, most: int) -> None:
        self._rate = rate
        self._burst = burst
        self._most = most
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, key: str, now: float) -> float:
        """Take a token of a key's.

        Returns:
            0 if there was one, else the seconds until there will be one.
        """
        if self._rate <= 0:
            return 0.0
        bucket = self._buckets.pop(key, None) or TokenBucket(self._rate, self._burst, now)
        self._buckets[key] = bucket
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return bucket.take(now)
