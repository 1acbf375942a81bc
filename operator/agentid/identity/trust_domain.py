"""The trust domain, SPIFFE-ID §2.1."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agentid.errors import InputError
from agentid.identity.quoting import quoted

__all__ = ["TrustDomain"]

_MAX_BYTES = 255  # SPIFFE-ID §2.1, after the host name limit of RFC 1035 §2.3.4.
_ALLOWED = re.compile(r"[a-z0-9._-]+", re.ASCII)
_HOST_NAME = re.compile(
    r"(?!(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\Z)"  # WHATWG URL §3.5: a number as last label means IPv4
    r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class TrustDomain:
    """The name of a trust domain: `[a-z0-9._-]`, 1 to 255 characters, no scheme and no path.

    Make one with `parse`. Equality is that of the standard, since a parsed name is lower case.
    """

    name: str

    def __post_init__(self) -> None:
        """Refuse what `parse` would not have returned.

        Raises:
            InputError: The name is not a lower-case trust domain name.
        """
        if not self.name:
            raise InputError(_required(self.name))
        if len(self.name) > _MAX_BYTES:
            msg = (
                f"trust domain: {quoted(self.name)} is longer than the {_MAX_BYTES} characters "
                "allowed; choose a shorter name"
            )
            raise InputError(msg)
        if not _ALLOWED.fullmatch(self.name):
            msg = (
                f"trust domain: {quoted(self.name)} holds characters other than a-z, 0-9, '.', '-' "
                "and '_'; write the bare name, without scheme, port, user or path, such as "
                "agents.example.org"
            )
            raise InputError(msg)

    @classmethod
    def parse(cls, text: object) -> TrustDomain:
        """Read a trust domain name, without `spiffe://`.

        Upper-case ASCII letters are lowered: trust domains compare case-insensitively.

        Raises:
            InputError: It is no text, is empty, is longer than 255 characters, or holds other
                characters.
        """
        if not isinstance(text, str):
            raise InputError(_required(text))
        return cls(_lower_ascii(text))

    def require_host_name(self) -> str:
        """The name, if it can stand as the host in a URI name constraint (RFC 5280 §4.2.1.10).

        SPIFFE allows more: empty labels, labels that begin with a hyphen, and what reads as an IPv4
        address. Verifiers refuse or misread those in a constraint, so an authority of ours cannot
        serve such a trust domain.

        Raises:
            InputError: The name is not a host name.
        """
        if not _HOST_NAME.fullmatch(self.name):
            msg = (
                f"trust domain: {quoted(self.name)} cannot be the host of a name constraint; every "
                "label must be 1 to 63 characters, begin and end with a letter, digit or '_', and "
                "the last must not be a number; choose a name such as agents.example.org"
            )
            raise InputError(msg)
        return self.name

    @property
    def id_string(self) -> str:
        """The SPIFFE ID of the trust domain itself, `spiffe://<name>`."""
        return f"spiffe://{self.name}"

    def __str__(self) -> str:
        """The bare name."""
        return self.name


def _required(found: object) -> str:
    return (
        f"trust domain: found {quoted(found)}, but a name is required; "
        "write one such as agents.example.org"
    )


def _lower_ascii(text: str) -> str:
    """Lower case for A-Z only; `str.lower` would turn the Kelvin sign into a `k`."""
    return text.lower() if text.isascii() else text
