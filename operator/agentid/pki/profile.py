"""What one leaf is to say: the certificate template, filled in and validated."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.x509.oid import CertificatePoliciesOID

from agentid.errors import InputError
from agentid.identity.quoting import quoted
from agentid.pki.boundary import reading

if TYPE_CHECKING:
    from agentid.identity import SpiffeId, Validity
    from agentid.pki.algorithm import KeyAlgorithm

__all__ = ["LeafProfile"]

_MAX_OID_CHARACTERS: Final = 128
_MAX_CPS_CHARACTERS: Final = 512
# RFC 3986 §2: the characters of a URI. CPSuri is an IA5String (RFC 5280 §4.2.1.4).
_CPS_URI: Final = re.compile(r"https?://[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class LeafProfile:
    """Everything that decides the contents of a leaf, apart from its key, serial and issuer.

    Attributes:
        spiffe_id: The agent; it must have a path, since one without names a trust domain.
        class_name: The AgentClass that it was granted under; for messages.
        validity: Its period, which must lie within that of the whole chain.
        key_algorithm: What its key must be.
        policy_oid: The certificate policy of the class in dotted form, or None for none.
        cps_uri: Where the policy is explained, an http or https URI; only beside a policy.
        no_rev_avail: Whether it says that no revocation information will exist (RFC 9608).
    """

    spiffe_id: SpiffeId
    class_name: str
    validity: Validity
    key_algorithm: KeyAlgorithm
    policy_oid: str | None = None
    cps_uri: str | None = None
    no_rev_avail: bool = False

    def __post_init__(self) -> None:
        """Refuse what must not stand in a leaf.

        Raises:
            InputError: The SPIFFE ID has no path, the OID is malformed or anyPolicy, or the URI is
                malformed or stands alone.
        """
        if not self.spiffe_id.path:
            msg = (
                f"SPIFFE ID: {quoted(str(self.spiffe_id))} names the trust domain itself; "
                "a leaf needs a path, such as /ns/<namespace>/agent/<name>"
            )
            raise InputError(msg)
        if self.policy_oid is not None:
            _check_policy_oid(self.policy_oid)
        if self.cps_uri is not None:
            _check_cps_uri(self.cps_uri)
            if self.policy_oid is None:
                msg = "CPS URI: it explains a policy, and no policy OID is given; give one as well"
                raise InputError(msg)


@lru_cache(maxsize=256)  # one entry per class; classes come in tens
def _check_policy_oid(text: str) -> None:
    if len(text) > _MAX_OID_CHARACTERS:
        msg = f"policy OID: {quoted(text)} is longer than {_MAX_OID_CHARACTERS} characters"
        raise InputError(msg)
    refusal = (
        f"policy OID: {quoted(text)} is not an object identifier; write dotted numbers such as "
        "1.3.6.1.4.1.99999.1"
    )
    with reading(refusal):
        oid = x509.ObjectIdentifier(text)
    if oid.dotted_string != text:  # the library takes leading zeros
        raise InputError(refusal)
    if oid == CertificatePoliciesOID.ANY_POLICY:
        msg = "policy OID: anyPolicy says nothing of a leaf; write the OID of the class"
        raise InputError(msg)


@lru_cache(maxsize=256)
def _check_cps_uri(text: str) -> None:
    if len(text) > _MAX_CPS_CHARACTERS or not _CPS_URI.fullmatch(text):
        msg = (
            f"CPS URI: {quoted(text)} is not an http or https URI of at most "
            f"{_MAX_CPS_CHARACTERS} characters; write one such as https://pki.example.org/cps"
        )
        raise InputError(msg)
