"""Policies by their hash, for certificates that carry a hash and a URL in place of the lists.

They are made of the grants on the ledger, so whoever can read the ledger serves them; the verifier
compares the hash that the certificate states, so nobody has to be trusted for it.

A policy that fits into a certificate stands there, and is not served. The JSON of a grant is longer
than the DER in the certificate, whatever is in it, so the length of the grant tells: of 100,000
small ones none has to be parsed.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

import structlog

from agentid.errors import InputError
from agentid.ledger import Issued
from agentid.pki.authorization import MAX_INLINE_BYTES
from agentid.policy.grant import Grant
from agentid.responder.documents import Document

if TYPE_CHECKING:
    from datetime import datetime

    from agentid.ledger import Durable
    from agentid.responder.register import LedgerSource

__all__ = ["PolicyIndex", "policy_document"]

_log = structlog.stdlib.get_logger(__name__)

_MAX_AGE: Final = 86_400
"""Seconds that a cache may keep one: its name is its hash, so it never changes."""


class PolicyIndex:
    """The policies of certificates on record that are too large for them, by their SHA-256."""

    def __init__(self) -> None:
        self._documents: dict[str, Document] = {}
        self._last: dict[str, datetime] = {}
        self._hashes: dict[str, str] = {}

    def follow(self, ledger: LedgerSource) -> None:
        """Take in what stands on the ledger, and whatever comes to it."""
        ledger.subscribe(self.learn)
        for entry in ledger.state.entries():
            self._add(entry.issued)

    def learn(self, durable: Durable) -> None:
        """Records became durable; a listener of the ledger's."""
        for record in durable.records:
            if isinstance(record, Issued):
                self._add(record)

    def _add(self, issued: Issued) -> None:
        if len(issued.grant) <= MAX_INLINE_BYTES:
            return
        name = self._hashes.get(issued.grant)
        if name is None:
            try:
                body = policy_document(issued.grant)
            except InputError as error:
                _log.warning("policy_not_readable", serial=str(issued.serial), error=str(error))
                return
            name = self._hashes[issued.grant] = sha256(body).hexdigest()
            if name not in self._documents:
                document = Document(body, "application/json", None, None, _MAX_AGE)
                self._documents[name] = document
        self._last[name] = max(issued.not_after, self._last.get(name, issued.not_after))

    def get(self, name: str) -> Document | None:
        """The document with this SHA-256, 64 lower-case hexadecimal digits."""
        return self._documents.get(name)

    def forget_expired(self, now: datetime) -> None:
        """Let go of policies whose last certificate has expired."""
        for name in [name for name, last in self._last.items() if last < now]:
            del self._last[name], self._documents[name]
        self._hashes = {
            grant: name for grant, name in self._hashes.items() if name in self._documents
        }


def policy_document(grant: str) -> bytes:
    """The canonical policy document of a grant, the one that a certificate states the hash of.

    Raises:
        InputError: The grant is malformed.
    """
    read = Grant.from_json(grant)
    return read.authorized.document(
        agent_class=read.class_name, tier=read.tier.value, sponsor=read.sponsor
    )
