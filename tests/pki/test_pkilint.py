"""pkilint has nothing to object to, apart from what is explained here."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
import validators  # type: ignore[import-untyped]
from cryptography.hazmat.primitives.serialization import Encoding
from pkilint import loader  # type: ignore[import-untyped]
from pkilint.bin import (  # type: ignore[import-untyped]
    lint_pkix_signer_signee_cert_chain as signer_signee,
)
from pkilint.pkix import certificate, extension, name  # type: ignore[import-untyped]
from pkilint.validation import (  # type: ignore[import-untyped]
    ValidationFindingSeverity,
    ValidatorContainer,
)

from agentid.pki import KeyAlgorithm, make_intermediate
from agentid.pki.authorization import AgentAuthorization, AuthorizedPolicy
from agentid.pki.oids import class_policy_oid
from agentid.testing.ca import ThrowawayCA

if TYPE_CHECKING:
    from cryptography import x509
    from pkilint.pkix.certificate import RFC5280Certificate  # type: ignore[import-untyped]


class Finding(NamedTuple):
    """One thing that pkilint says."""

    severity: int
    code: str
    path: str
    text: str


def linter() -> ValidatorContainer:
    """Every RFC 5280 rule that the command `lint_pkix_cert lint` applies."""
    return certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(
            name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS
        ),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )


LINTER = linter()


LOADER = loader.RFC5280CertificateDocumentLoader()
CHAIN_DECODER = signer_signee.create_decoder_validation_container()
CHAIN_LINTERS = {
    "issuer": signer_signee.create_issuer_validation_container(),
    "subject": signer_signee.create_subject_validation_container(),
}


def serious(container: ValidatorContainer, document: RFC5280Certificate) -> list[Finding]:
    """What is at least a warning."""
    return [
        Finding(each.finding.severity, each.finding.code, result.node.path, each.message or "")
        for result in container.validate(document.root)
        for each in result.finding_descriptions
        if each.finding.severity <= ValidationFindingSeverity.WARNING
    ]


def findings(linted: x509.Certificate) -> list[Finding]:
    """What there is to say about one certificate."""
    return serious(LINTER, LOADER.load_der_document(linted.public_bytes(Encoding.DER), "linted"))


def chain_findings(issuer: x509.Certificate, subject: x509.Certificate) -> list[Finding]:
    """What the command `lint_pkix_signer_signee_cert_chain` says about two certificates."""
    documents: dict[str, RFC5280Certificate] = {}
    for role, each in (("issuer", issuer), ("subject", subject)):
        der = each.public_bytes(Encoding.DER)
        documents[role] = LOADER.load_der_document(der, role, role, documents)
    found = [each for made in documents.values() for each in serious(CHAIN_DECODER, made)]
    for role, container in CHAIN_LINTERS.items():
        found += serious(container, documents[role])
    return found


def accepted(finding: Finding) -> bool:
    """Whether a finding is about pkilint and not about us.

    `pkix.invalid_uri_syntax` on a SPIFFE ID: pkilint asks the package `validators`, which knows
    nine schemes, such as http and ssh, and takes a URI of any other for malformed. The same URI
    under a scheme that it knows has to pass.
    """
    spiffe_id = finding.text.removeprefix('Invalid URI syntax: "').removesuffix('"')
    return (
        finding.code == "pkix.invalid_uri_syntax"
        and finding.path.endswith("subjectAltName.0.uniformResourceIdentifier")
        and spiffe_id.startswith("spiffe://")
        and validators.url(spiffe_id.replace("spiffe://", "https://")) is True
    )


BASE = "http://responder.example.org"
SMALL = ("erp.invoices",)
LARGE = tuple(f"system-{at:03}.example" for at in range(128))


def authorization(tier: str, *systems: str) -> AgentAuthorization:
    """An authorization, by reference where it has many systems."""
    return AgentAuthorization.of(
        agent_class="assistant",
        tier=tier,
        sponsor="finance@example.org",
        policy=AuthorizedPolicy(systems, ("read",)),
        base_uri=BASE,
    )


@pytest.mark.parametrize("algorithm", list(KeyAlgorithm))
def test_no_certificate_has_a_finding(algorithm: KeyAlgorithm) -> None:
    """Authorities and leaves, each plain and with everything in it, for each algorithm."""
    ca = ThrowawayCA("agents.example.org", algorithm=algorithm)
    ephemeral = ca.profile(
        policy_oid=class_policy_oid("assistant"),
        cps_uri="https://pki.example.org/cps",
        no_rev_avail=True,
        ca_issuers_uri=f"{BASE}/ca/0011223344556677.crt",
        authorization=authorization("Low", *SMALL),
        authorization_critical=True,
    )
    listed = ca.profile(
        policy_oid=class_policy_oid("assistant"),
        cps_uri="https://pki.example.org/cps",
        crl_uri=f"{BASE}/crl/0011223344556677/7.crl",
        ocsp_uri=f"{BASE}/ocsp",
        ca_issuers_uri=f"{BASE}/ca/0011223344556677.crt",
        authorization=authorization("High", *LARGE),
    )
    made = {
        "root": ca.root.certificate,
        "intermediate": ca.intermediate.certificate,
        "intermediate that can be revoked": make_intermediate(
            ca.root,
            ca.trust_domain,
            ca.key("another"),
            ca.authority.validity,
            ca.serial(),
            crl_uri=f"{BASE}/crl/8899aabbccddeeff/root.crl",
            ca_issuers_uri=f"{BASE}/ca/8899aabbccddeeff.crt",
        ).certificate,
        "leaf": ca.issue().leaf.certificate,
        "ephemeral leaf": ca.issue(ephemeral).leaf.certificate,
        "listed leaf": ca.issue(listed).leaf.certificate,
    }
    left = {
        role: [finding for finding in findings(each) if not accepted(finding)]
        for role, each in made.items()
    }
    assert left == {role: [] for role in made}

    for issuer, subject in (
        ("root", "intermediate"),
        ("root", "intermediate that can be revoked"),
        ("intermediate", "leaf"),
        ("intermediate", "ephemeral leaf"),
        ("intermediate", "listed leaf"),
    ):
        assert chain_findings(made[issuer], made[subject]) == []


def test_the_linter_is_awake() -> None:
    """It objects to a leaf that is not in order, so its silence above means something."""
    ca = ThrowawayCA()
    wrong = ca.issue_tweaked(lambda parts: setattr(parts, "serial_number", 1 << 158))
    assert findings(wrong) != []
    spoiled = ca.issue_tweaked(lambda parts: parts.extensions.pop())
    assert "pkix.authority_key_identifier_extension_absent" in {
        finding.code for finding in findings(spoiled)
    }
    stranger = ThrowawayCA(seed="stranger")
    assert chain_findings(stranger.intermediate.certificate, ca.issue().leaf.certificate) != []
