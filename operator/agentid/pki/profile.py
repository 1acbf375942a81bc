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
    from agentid.pki.authorization import AgentAuthorization

__all__ = ["LeafProfile", "check_uri"]

_MAX_OID_CHARACTERS: Final = 128
_MAX_URI_CHARACTERS: Final = 512
# RFC 3986 §2: the characters of a URI. All of ours are IA5Strings (RFC 5280 §4.2.1.4, §4.2.1.6).
_URI: Final = re.compile(r"https?://[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+", re.ASCII)


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
        crl_uri: Where the CRL shard that would list it is found, an http or https URI, or None.
        ocsp_uri: Where an OCSP responder answers for it, likewise.
        ca_issuers_uri: Where the certificate of its issuer is found, likewise.
        authorization: What the agent may do, or None to say nothing of that.
        authorization_critical: Whether verifiers that do not know that extension must refuse it.
    """

    spiffe_id: SpiffeId
    class_name: str
    validity: Validity
    key_algorithm: KeyAlgorithm
    policy_oid: str | None = None
    cps_uri: str | None = None
    no_rev_avail: bool = False
    crl_uri: str | None = None
    ocsp_uri: str | None = None
    ca_issuers_uri: str | None = None
    authorization: AgentAuthorization | None = None
    authorization_critical: bool = False

    def __post_init__(self) -> None:
        """Refuse what must not stand in a leaf.

        Raises:
            InputError: The SPIFFE ID has no path, the OID is malformed or anyPolicy, or a URI is
                malformed; the CPS URI stands alone; revocation is denied and yet has a place; or
                the authorization is of another class, or critical and not there.
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
            check_uri("CPS URI", self.cps_uri)
            if self.policy_oid is None:
                msg = "CPS URI: it explains a policy, and no policy OID is given; give one as well"
                raise InputError(msg)
        self._check_revocation()
        self._check_authorization()

    def _check_revocation(self) -> None:
        if self.crl_uri is not None:
            check_uri("CRL URI", self.crl_uri)
        if self.ocsp_uri is not None:
            check_uri("OCSP URI", self.ocsp_uri)
        if self.ca_issuers_uri is not None:
            check_uri("caIssuers URI", self.ca_issuers_uri)
        if self.no_rev_avail and not (self.crl_uri is None and self.ocsp_uri is None):
            # RFC 9608 §2
            msg = (
                "noRevAvail: it says that no CRL and no OCSP answer will tell of the leaf, so "
                "leave out their URIs, or leave out noRevAvail"
            )
            raise InputError(msg)

    def _check_authorization(self) -> None:
        if self.authorization is None:
            if self.authorization_critical:
                msg = "agent authorization: it is to be critical and is not given; give one"
                raise InputError(msg)
        elif self.authorization.agent_class != self.class_name:
            msg = (
                "agent authorization: it is of the class "
                f"{quoted(self.authorization.agent_class)}, and the leaf of "
                f"{quoted(self.class_name)}; grant it under the same class"
            )
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


@lru_cache(maxsize=1024)  # one for each class, and for each shard of each authority
def check_uri(what: str, text: str) -> None:
    """Ask for an http or https URI of at most 512 characters.

    Raises:
        InputError: It is something else; the message begins with `what`.
    """
    if len(text) > _MAX_URI_CHARACTERS or not _URI.fullmatch(text):
        msg = (
            f"{what}: {quoted(text)} is not an http or https URI of at most "
            f"{_MAX_URI_CHARACTERS} characters; write one such as https://pki.example.org/cps"
        )
        raise InputError(msg)
