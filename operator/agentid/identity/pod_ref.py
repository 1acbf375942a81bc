"""The pod that a certificate is for."""

from __future__ import annotations

from dataclasses import dataclass, fields

from agentid.errors import InputError

__all__ = ["PodRef"]


@dataclass(frozen=True, slots=True)
class PodRef:
    """A pod, and how it asked.

    Attributes:
        name: Of the pod, in the namespace of its AgentIdentity.
        uid: Of the pod: a namesake that comes later has another one.
        node: Name of the node that it runs on.
        request: UID of the PodCertificateRequest that the certificate answers, or what else tells
            one request of the pod from another.
    """

    name: str
    uid: str
    node: str
    request: str

    def __post_init__(self) -> None:
        """Refuse a reference that leads nowhere.

        Raises:
            InputError: A text is empty.
        """
        for each in fields(self):
            if not getattr(self, each.name):
                msg = f"pod: its {each.name} is empty; a certificate is for one pod, told in full"
                raise InputError(msg)
