"""The SPIFFE ID, SPIFFE-ID §2, and the path that agentid gives to agents."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agentid.errors import InputError
from agentid.identity.quoting import quoted
from agentid.identity.trust_domain import TrustDomain

__all__ = ["MAX_SPIFFE_ID_BYTES", "AgentPath", "SpiffeId"]

# SPIFFE-ID §2.3: implementations must support 2048 bytes and should not make longer ones.
MAX_SPIFFE_ID_BYTES = 2048

_SCHEME = "spiffe://"
_SEGMENT = re.compile(r"(?!\.{1,2}\Z)[a-zA-Z0-9._-]+", re.ASCII)
_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[a-zA-Z0-9._-]+)*", re.ASCII)
_AGENT = re.compile(r"/ns/([^/]+)/agent/([^/]+)(?:/pod/([^/]+))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class AgentPath:
    """What the path of an agent's SPIFFE ID says.

    Attributes:
        namespace: The Kubernetes namespace of the AgentIdentity.
        name: The name of the AgentIdentity.
        pod_uid: The pod that the identity is for, or None if all pods of the agent share it.
    """

    namespace: str
    name: str
    pod_uid: str | None = None


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """A valid SPIFFE ID of at most 2048 bytes.

    Attributes:
        trust_domain: The trust domain; compares case-insensitively because it is kept in lower
            case.
        path: Empty, or `/` and the segments joined by `/`; compares exactly.
    """

    trust_domain: TrustDomain
    path: str

    def __post_init__(self) -> None:
        """Refuse what `parse` would not have returned.

        Raises:
            InputError: The path is malformed or the whole is too long.
        """
        length = len(_SCHEME) + len(self.trust_domain.name) + len(self.path)
        if length > MAX_SPIFFE_ID_BYTES:
            msg = (
                f"SPIFFE ID: {quoted(str(self))} has {length} characters, {MAX_SPIFFE_ID_BYTES} "
                "are allowed; shorten the names it is made of"
            )
            raise InputError(msg)
        if not _PATH.fullmatch(self.path):
            msg = (
                f"SPIFFE ID: the path {quoted(self.path)} is malformed; every segment must be made "
                "of a-z, A-Z, 0-9, '.', '-' and '_', and none may be empty, '.' or '..'; "
                "there is no trailing '/', query or fragment"
            )
            raise InputError(msg)

    @classmethod
    def parse(cls, text: object) -> SpiffeId:
        """Read a SPIFFE ID.

        Scheme and trust domain are lowered (they compare case-insensitively), the path is kept.

        Raises:
            InputError: The text is not a SPIFFE ID, or is longer than 2048 bytes.
        """
        if not isinstance(text, str) or text[: len(_SCHEME)].lower() != _SCHEME:
            msg = (
                f"SPIFFE ID: {quoted(text)} does not begin with {_SCHEME}; "
                "write spiffe://<trust domain>/<path>"
            )
            raise InputError(msg)
        if len(text) > MAX_SPIFFE_ID_BYTES:
            msg = (
                f"SPIFFE ID: {quoted(text)} is longer than the {MAX_SPIFFE_ID_BYTES} characters "
                "allowed; shorten the names it is made of"
            )
            raise InputError(msg)
        name, slash, rest = text[len(_SCHEME) :].partition("/")
        return cls(TrustDomain.parse(name), slash + rest)

    @classmethod
    def for_agent(
        cls, trust_domain: TrustDomain, namespace: str, name: str, *, pod_uid: str | None = None
    ) -> SpiffeId:
        """The SPIFFE ID of an agent: `spiffe://<td>/ns/<namespace>/agent/<name>[/pod/<uid>]`.

        Raises:
            InputError: A part is not one path segment, or the whole is longer than 2048 bytes.
        """
        parts: list[tuple[str, object]] = [("namespace", namespace), ("name", name)]
        if pod_uid is not None:
            parts.append(("pod UID", pod_uid))
        for what, part in parts:
            if not isinstance(part, str) or not _SEGMENT.fullmatch(part):
                msg = (
                    f"SPIFFE ID: the {what} {quoted(part)} is not a path segment; it must be made "
                    "of a-z, A-Z, 0-9, '.', '-' and '_' and be neither empty nor '.' nor '..'"
                )
                raise InputError(msg)
        pod = "" if pod_uid is None else f"/pod/{pod_uid}"
        return cls(trust_domain, f"/ns/{namespace}/agent/{name}{pod}")

    @property
    def agent(self) -> AgentPath | None:
        """Namespace, name and pod, or None if the path is not one that `for_agent` makes."""
        match = _AGENT.fullmatch(self.path)
        return AgentPath(match[1], match[2], match[3]) if match else None

    def __str__(self) -> str:
        """The ID as it stands in a URI SAN."""
        return f"{_SCHEME}{self.trust_domain.name}{self.path}"
