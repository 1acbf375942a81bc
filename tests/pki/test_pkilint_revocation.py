"""pkilint has nothing to object to in lists, answers and the certificates of responders."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pkilint import loader, pkix  # type: ignore[import-untyped]
from pkilint.pkix import certificate, crl, extension, name, ocsp  # type: ignore[import-untyped]
from pkilint.validation import (  # type: ignore[import-untyped]
    ValidationFindingSeverity,
    ValidatorContainer,
)

from agentid.identity import RevocationReason, SerialNumber, Validity
from agentid.pki import Authority, KeyAlgorithm, LocalSigner
from agentid.pki.crl import CrlEntry, make_crl
from agentid.pki.ocsp import (
    CertState,
    OcspError,
    OcspQuestion,
    OcspResponder,
    Revoked,
    unsuccessful,
)
from agentid.pki.ocsp_request import issuer_hashes
from agentid.pki.ocsp_signer import make_ocsp_responder, responder_key_algorithm
from agentid.testing.ca import NOON, ThrowawayCA

if TYPE_CHECKING:
    from pkilint.document import Document  # type: ignore[import-untyped]

    from agentid.pki.ocsp import OcspStatus

HOUR = timedelta(hours=1)
URI = "http://agentid-responder.agentid-system.svc/crl/0011223344556677/0.crl"
FINAL = [reason for reason in RevocationReason if reason.is_final]
STATUSES: list[OcspStatus] = [
    CertState.GOOD,
    CertState.UNKNOWN,
    *(Revoked(NOON, reason) for reason in FINAL),
]


class Finding(NamedTuple):
    """One thing that pkilint says."""

    code: str
    path: str
    text: str


def decoders() -> list[object]:
    """What takes names and extensions apart."""
    return [
        pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
        pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
    ]


# As the commands `lint_crl --profile pkix`, `lint_ocsp_response` and `lint_pkix_cert` make them.
CRL_LINTER: ValidatorContainer = crl.create_pkix_crl_validator_container(
    decoders(),
    [
        crl.create_issuer_validator_container([]),
        crl.create_validity_validator_container([]),
        crl.create_extensions_validator_container([]),
    ],
)
OCSP_LINTER: ValidatorContainer = ocsp.create_pkix_ocsp_response_validator_container(
    [ocsp.create_response_decoder(), *decoders()], []
)
CERTIFICATE_LINTER: ValidatorContainer = certificate.create_pkix_certificate_validator_container(
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
CRL_LOADER = loader.RFC5280CertificateListDocumentLoader()
OCSP_LOADER = loader.RFC6960OCSPResponseDocumentLoader()
CERTIFICATE_LOADER = loader.RFC5280CertificateDocumentLoader()


def serious(container: ValidatorContainer, document: Document) -> list[Finding]:
    """What is at least a warning."""
    return [
        Finding(each.finding.code, result.node.path, each.message or "")
        for result in container.validate(document.root)
        for each in result.finding_descriptions
        if each.finding.severity <= ValidationFindingSeverity.WARNING
    ]


def about_list(der: bytes) -> list[Finding]:
    """What there is to say about a list."""
    return serious(CRL_LINTER, CRL_LOADER.load_der_document(der, "list"))


def about_answer(der: bytes) -> list[Finding]:
    """What there is to say about an answer."""
    return serious(OCSP_LINTER, OCSP_LOADER.load_der_document(der, "answer"))


def about_certificate(linted: x509.Certificate) -> list[Finding]:
    """What there is to say about a certificate."""
    der = linted.public_bytes(Encoding.DER)
    return serious(CERTIFICATE_LINTER, CERTIFICATE_LOADER.load_der_document(der, "certificate"))


@pytest.mark.parametrize("algorithm", list(KeyAlgorithm))
def test_nothing_has_a_finding(algorithm: KeyAlgorithm) -> None:
    """A full shard, an empty one, a root's list, a delegate and each kind of answer."""
    ca = ThrowawayCA(algorithm=algorithm)
    entries = [CrlEntry(SerialNumber(1000 + at), NOON, each) for at, each in enumerate(FINAL)]
    root = ca.root.certificate
    above = Authority(ca.trust_domain, (root,), root, LocalSigner(ca.root.private_key))
    for authority, listed, uri in (
        (ca.authority, entries, URI),
        (ca.authority, [], URI),
        (above, entries[:1], None),
    ):
        assert about_list(make_crl(authority, listed, 1, NOON, NOON + HOUR, uri)) == []

    made = make_ocsp_responder(
        ca.authority,
        ca.key("ocsp", responder_key_algorithm(algorithm)),
        Validity.of(NOON, timedelta(days=7), timedelta(minutes=1)),
        ca.serial(),
    )
    assert about_certificate(made.certificate) == []

    responder = OcspResponder(ca.intermediate.certificate, made.certificate, made.private_key)
    for digest, hashes in issuer_hashes(ca.intermediate.certificate).items():
        question = OcspQuestion(digest, *hashes, SerialNumber(1000), bytes(32))
        for status in STATUSES:
            answer = responder.answer(question, status, NOON, NOON + HOUR, NOON)
            assert about_answer(answer) == []


def test_errors_have_no_finding() -> None:
    """An answer without a body is in order."""
    assert [about_answer(unsuccessful(error)) for error in OcspError] == [[]] * len(OcspError)


def test_the_linters_are_awake() -> None:
    """They object to what is not in order, so their silence above means something."""
    ca = ThrowawayCA()
    builder = x509.CertificateRevocationListBuilder(
        ca.intermediate.certificate.subject, NOON, NOON + HOUR
    )
    bare = builder.sign(ca.intermediate.private_key, None).public_bytes(Encoding.DER)
    codes = {finding.code for finding in about_list(bare)}
    assert {"pkix.crl_number_missing", "pkix.authority_key_identifier_missing"} <= codes
    assert [finding.code for finding in about_answer(bytes.fromhex("30030a0104"))] == [
        "pkix.ocsp_response_status_code_4"
    ]
