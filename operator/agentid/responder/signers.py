"""The delegated OCSP signers, one for each authority that has one (RFC 6960 §4.2.2.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from agentid.errors import InputError
from agentid.pki.keys import load_private_key
from agentid.pki.ocsp import OcspResponder
from agentid.pki.parse import parse_certificate
from agentid.pki.pem import MAX_CHAIN_PEM_BYTES, read_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from cryptography import x509

    from agentid.identity import Validity

__all__ = ["OcspSigner", "SignerShelf"]

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class OcspSigner:
    """Signs OCSP answers for one authority.

    Attributes:
        authority: Its id.
        issuer: The AgentIssuer.
        responder: Signs.
        content: What it was made of, to see whether that has changed.
    """

    authority: str
    issuer: str
    responder: OcspResponder
    content: tuple[x509.Certificate, bytes, bytes] = field(repr=False)

    @property
    def validity(self) -> Validity:
        """The period in which it may sign."""
        return self.responder.validity


class SignerShelf:
    """All signers by authority id."""

    def __init__(self) -> None:
        self._signers: dict[str, OcspSigner] = {}

    def publish(
        self, authority: str, issuer: str, own: x509.Certificate, certificate: bytes, key: bytes
    ) -> None:
        """Sign with this from now on.

        Args:
            authority: Id of the authority.
            issuer: The AgentIssuer.
            own: The authority's certificate.
            certificate: The delegate's, in PEM.
            key: The delegate's, in PEM.

        Raises:
            InputError: It cannot be used; what was used before still is.
        """
        known = self._signers.get(authority)
        if known is not None and known.content == (own, certificate, key):
            return
        what = f"OCSP signer of {authority}"
        blocks = read_blocks(certificate, what=what, limit=MAX_CHAIN_PEM_BYTES)
        if len(blocks) != 1:
            msg = f"{what}: {len(blocks)} PEM blocks, exactly one certificate is wanted"
            raise InputError(msg)
        delegate, _ = parse_certificate(blocks[0].der, what=what)
        responder = OcspResponder(own, delegate, load_private_key(key, what=f"key of {what}"))
        self._signers[authority] = OcspSigner(authority, issuer, responder, (own, certificate, key))
        _log.info(
            "ocsp_signer_loaded",
            issuer=issuer,
            authority=authority,
            not_after=responder.validity.not_after.isoformat(),
        )

    def keep(self, authorities: AbstractSet[str]) -> None:
        """Drop the signers of all other authorities."""
        for gone in self._signers.keys() - authorities:
            del self._signers[gone]

    def get(self, authority: str) -> OcspSigner | None:
        """The signer of an authority."""
        return self._signers.get(authority)

    def __iter__(self) -> Iterator[OcspSigner]:
        """All signers."""
        return iter(self._signers.values())
