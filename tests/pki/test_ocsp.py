"""OCSP: which questions are understood, and what is answered."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import OCSPExtensionOID

from agentid.errors import InputError, InternalError
from agentid.identity import RevocationReason, SerialNumber, Validity
from agentid.pki import CertifiedKey, KeyAlgorithm, generate, schema
from agentid.pki.keys import verify_signature
from agentid.pki.ocsp import (
    MAX_REQUEST_BYTES,
    CertIdTable,
    CertState,
    OcspError,
    OcspQuestion,
    OcspResponder,
    Revoked,
    parse_request,
    unsuccessful,
)
from agentid.pki.ocsp_schema import (
    BasicOcspResponse,
    CertId,
    OcspRequest,
    OcspResponse,
    Request,
    ResponseData,
    TbsRequest,
)
from agentid.pki.ocsp_signer import make_ocsp_responder, responder_key_algorithm
from agentid.testing.ca import NOON, ThrowawayCA

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.pki.ocsp import OcspStatus

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
NONCE = bytes(range(32))
HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


@pytest.fixture(scope="module")
def ca() -> ThrowawayCA:
    """The authority that is asked about."""
    return ThrowawayCA()


def delegate(ca: ThrowawayCA, validity: Validity | None = None) -> CertifiedKey:
    """Key and certificate of its responder."""
    key = ca.key("ocsp", responder_key_algorithm(ca.authority.algorithm))
    period = validity or Validity.of(NOON, 7 * DAY, timedelta(minutes=1))
    return make_ocsp_responder(ca.authority, key, period, ca.serial())


@pytest.fixture(scope="module")
def responder(ca: ThrowawayCA) -> OcspResponder:
    """What answers for it."""
    made = delegate(ca)
    return OcspResponder(ca.intermediate.certificate, made.certificate, made.private_key)


def request(
    ca: ThrowawayCA,
    leaf: x509.Certificate,
    algorithm: hashes.HashAlgorithm | None = None,
    nonce: bytes | None = None,
) -> bytes:
    """A question as the library asks it."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(
        leaf, ca.intermediate.certificate, algorithm or hashes.SHA256()
    )
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


@pytest.mark.parametrize("name", list(HASHES))
@pytest.mark.parametrize("nonce", [None, b"n", bytes(128)], ids=["none", "shortest", "longest"])
def test_a_question_is_read_and_its_authority_found(
    name: str, nonce: bytes | None, ca: ThrowawayCA
) -> None:
    """By any of the four hashes, with and without a nonce of any length the standard allows."""
    leaf = ca.issue().leaf.certificate
    question = parse_request(request(ca, leaf, HASHES[name], nonce))
    assert (question.hash_algorithm, question.nonce) == (name, nonce)
    assert question.serial == SerialNumber(leaf.serial_number)
    stranger = ThrowawayCA(seed="stranger").intermediate.certificate
    table = CertIdTable([stranger, ca.root.certificate, ca.intermediate.certificate])
    assert table.find(question) == ca.intermediate.certificate
    assert CertIdTable([stranger]).find(question) is None
    assert repr(table) == "CertIdTable(3 authorities)"


def cert_id(**changes: object) -> CertId:
    """Names a certificate by SHA-256."""
    fields: dict[str, object] = {
        "hash_algorithm": schema.decode(
            asn1.TLV, bytes.fromhex("300b0609608648016503040201"), what="hash"
        ),
        "issuer_name_hash": bytes(32),
        "issuer_key_hash": bytes(32),
        "serial_number": 5,
    }
    return CertId(**(fields | changes))  # type: ignore[arg-type]


def extension(oid: str, value: bytes, *, critical: bool = False) -> schema.Extension:
    """One extension."""
    return schema.Extension(oid=x509.ObjectIdentifier(oid), critical=critical, value=value)


def nonce_of(value: bytes) -> schema.Extension:
    """A nonce, or what stands for one."""
    return extension(OCSPExtensionOID.NONCE.dotted_string, value)


def raw(
    *ids: CertId,
    version: int = 0,
    found: list[schema.Extension] | None = None,
    single: list[schema.Extension] | None = None,
) -> bytes:
    """A request, however wrong."""
    return asn1.encode_der(
        OcspRequest(
            tbs_request=TbsRequest(
                version=version,
                requestor_name=None,
                request_list=[Request(req_cert=each, extensions=single) for each in ids],
                extensions=found,
            ),
            signature=None,
        )
    )


UNKNOWN_EXTENSION = "1.3.6.1.4.1.99999.1"
GOOD = raw(cert_id())
MALFORMED = [
    pytest.param(b"", "does not parse", id="nothing"),
    pytest.param(b"\x30\x00", "does not parse", id="empty-sequence"),
    pytest.param(GOOD[:-1], "does not parse", id="cut-short"),
    pytest.param(GOOD + b"\x00", "does not parse", id="one-byte-more"),
    pytest.param(bytes(1024 * 1024), "has 1048576 bytes, at most 4096", id="megabyte"),
    pytest.param(
        raw(*(cert_id(serial_number=each) for each in range(1, 10_001))),
        "bytes, at most 4096",
        id="ten-thousand-serials",
    ),
    pytest.param(raw(cert_id(), cert_id()), "asks about 2 certificates", id="two-serials"),
    pytest.param(raw(), "asks about 0 certificates", id="zero-serials"),
    pytest.param(raw(cert_id(), version=1), "is of version 2", id="version"),
    pytest.param(raw(cert_id(serial_number=0)), "out of range", id="serial-zero"),
    pytest.param(raw(cert_id(serial_number=-5)), "out of range", id="serial-negative"),
    pytest.param(raw(cert_id(serial_number=1 << 160)), "out of range", id="serial-too-long"),
    pytest.param(raw(cert_id(issuer_key_hash=bytes(20))), "which sha256 does not make", id="hash"),
    pytest.param(
        raw(cert_id(hash_algorithm=schema.decode(asn1.TLV, b"\x05\x00", what="null"))),
        "hash algorithm does not parse",
        id="hash-algorithm-null",
    ),
    pytest.param(
        raw(cert_id(), found=[nonce_of(asn1.encode_der(b""))]), "nonce has 0 octets", id="no-nonce"
    ),
    pytest.param(
        raw(cert_id(), found=[nonce_of(asn1.encode_der(bytes(129)))]),
        "nonce has 129 octets",
        id="long-nonce",
    ),
    pytest.param(
        raw(cert_id(), found=[nonce_of(bytes(16))]), "OCSP nonce does not parse", id="bare-nonce"
    ),
    pytest.param(
        raw(cert_id(), found=[nonce_of(asn1.encode_der(b"a")), nonce_of(asn1.encode_der(b"b"))]),
        "stands more than once",
        id="two-nonces",
    ),
    pytest.param(
        raw(cert_id(), found=[extension(UNKNOWN_EXTENSION, b"", critical=True)]),
        "is critical and not understood",
        id="critical",
    ),
    pytest.param(
        raw(cert_id(), single=[extension(UNKNOWN_EXTENSION, b"", critical=True)]),
        "is critical and not understood",
        id="critical-single",
    ),
]


@pytest.mark.parametrize(("der", "message"), MALFORMED)
def test_a_malformed_request_is_refused(der: bytes, message: str) -> None:
    """Whatever is not one well-formed question is refused by name, with one exception type."""
    with pytest.raises(InputError, match=message):
        parse_request(der)


def test_the_longest_requests_fit() -> None:
    """The bound leaves room for a requestor with a certificate."""
    assert len(raw(cert_id(), found=[nonce_of(asn1.encode_der(bytes(128)))])) < 300
    padded = raw(cert_id(), found=[extension(UNKNOWN_EXTENSION, bytes(MAX_REQUEST_BYTES - 150))])
    assert MAX_REQUEST_BYTES - 30 < len(padded) <= MAX_REQUEST_BYTES
    assert parse_request(padded).serial == SerialNumber(5)


def test_an_unknown_hash_is_no_malformed_request() -> None:
    """SHA3-256 may be asked with; nobody is found for it, so the answer is `unauthorized`."""
    sha3 = schema.decode(asn1.TLV, bytes.fromhex("300b0609608648016503040208"), what="hash")
    question = parse_request(raw(cert_id(hash_algorithm=sha3, issuer_key_hash=bytes(7))))
    assert question.hash_algorithm is None
    assert CertIdTable([ThrowawayCA().intermediate.certificate]).find(question) is None


def test_parameters_of_a_hash_may_be_null() -> None:
    """RFC 5754 §2: absent or NULL, both are met and mean the same."""
    bare = cert_id()
    null = cert_id(
        hash_algorithm=schema.decode(
            asn1.TLV, bytes.fromhex("300d06096086480165030402010500"), what="hash"
        )
    )
    found = [parse_request(raw(each)) for each in (bare, null)]
    assert [each.hash_algorithm for each in found] == ["sha256", "sha256"]
    assert [each.null_parameters for each in found] == [False, True]


def test_a_requestor_and_its_signature_are_passed_over() -> None:
    """RFC 9919 §3.1.2: a signed request is answered like any other."""
    name = bytes.fromhex("a10c820a612e6578616d706c652e")  # [1] { [2] dNSName }
    plain = asn1.encode_der(schema.decode(OcspRequest, GOOD, what="request").tbs_request)
    contents = name + plain[2:]
    tbs = b"\x30" + bytes([len(contents)]) + contents
    signature = bytes.fromhex("a00f300d300506032b6570030400010203")
    whole = b"\x30" + bytes([len(tbs) + len(signature)]) + tbs + signature
    assert parse_request(whole) == parse_request(GOOD)


def test_extensions_that_are_not_critical_are_passed_over() -> None:
    """RFC 6960 §4.4: what is not understood and not critical is ignored."""
    extra = [extension(UNKNOWN_EXTENSION, b"\x05\x00")]
    assert parse_request(raw(cert_id(), found=extra, single=extra)) == parse_request(GOOD)


@pytest.mark.parametrize(
    ("error", "der"),
    [
        (OcspError.MALFORMED_REQUEST, "30030a0101"),
        (OcspError.INTERNAL_ERROR, "30030a0102"),
        (OcspError.TRY_LATER, "30030a0103"),
        (OcspError.UNAUTHORIZED, "30030a0106"),
    ],
    ids=lambda value: value.name if isinstance(value, OcspError) else "",
)
def test_errors_are_five_bytes(error: OcspError, der: str) -> None:
    """RFC 6960 §4.2.1: a status and nothing else."""
    assert unsuccessful(error).hex() == der


STATUSES: list[tuple[OcspStatus, ocsp.OCSPCertStatus, datetime | None, x509.ReasonFlags | None]] = [
    (CertState.GOOD, ocsp.OCSPCertStatus.GOOD, None, None),
    (CertState.UNKNOWN, ocsp.OCSPCertStatus.UNKNOWN, None, None),
    (Revoked(NOON - HOUR), ocsp.OCSPCertStatus.REVOKED, NOON - HOUR, None),
    *(
        (
            Revoked(NOON, reason),
            ocsp.OCSPCertStatus.REVOKED,
            NOON,
            x509.ReasonFlags(reason.value),
        )
        for reason in RevocationReason
        if reason is not RevocationReason.UNSPECIFIED
    ),
]


@pytest.mark.parametrize(("status", "state", "at", "reason"), STATUSES)
def test_an_answer_says_what_was_ordered(
    status: OcspStatus,
    state: ocsp.OCSPCertStatus,
    at: datetime | None,
    reason: x509.ReasonFlags | None,
    ca: ThrowawayCA,
    responder: OcspResponder,
) -> None:
    """Another parser finds each status, time and reason, and the question's own words."""
    question = parse_request(request(ca, ca.issue().leaf.certificate))
    found = ocsp.load_der_ocsp_response(
        responder.answer(question, status, NOON - HOUR, NOON + HOUR, NOON)
    )
    assert found.certificate_status is state
    assert (found.revocation_time_utc, found.revocation_reason) == (at, reason)
    assert (found.this_update_utc, found.produced_at_utc) == (NOON - HOUR, NOON)
    assert found.next_update_utc == NOON + HOUR
    assert found.serial_number == question.serial.value
    assert found.issuer_name_hash == question.issuer_name_hash
    assert found.issuer_key_hash == question.issuer_key_hash
    assert list(found.extensions) == []


@pytest.mark.parametrize("algorithm", list(KeyAlgorithm))
def test_a_delegate_signs_for_every_authority(algorithm: KeyAlgorithm) -> None:
    """The answer holds the delegate's certificate, which the authority signed, and its key hash."""
    ca = ThrowawayCA(algorithm=algorithm)
    made = delegate(ca)
    responder = OcspResponder(ca.intermediate.certificate, made.certificate, made.private_key)
    question = parse_request(request(ca, ca.issue().leaf.certificate, nonce=NONCE))
    found = ocsp.load_der_ocsp_response(
        responder.answer(question, CertState.GOOD, NOON, NOON + HOUR, NOON)
    )
    assert found.certificates == [made.certificate]
    key_id = x509.SubjectKeyIdentifier.from_public_key(made.private_key.public_key()).digest
    assert (found.responder_key_hash, found.responder_name) == (key_id, None)
    assert found.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == NONCE
    own = responder_key_algorithm(algorithm)
    verify_signature(made.private_key.public_key(), own, found.signature, found.tbs_response_bytes)
    made.certificate.verify_directly_issued_by(ca.intermediate.certificate)


@pytest.mark.parametrize(
    ("authority", "own"),
    [
        (KeyAlgorithm.ECDSAP256, KeyAlgorithm.ECDSAP256),
        (KeyAlgorithm.ECDSAP384, KeyAlgorithm.ECDSAP256),
        (KeyAlgorithm.ECDSAP521, KeyAlgorithm.ECDSAP256),
        (KeyAlgorithm.RSA3072, KeyAlgorithm.ECDSAP256),
        (KeyAlgorithm.RSA4096, KeyAlgorithm.ECDSAP256),
        (KeyAlgorithm.ED25519, KeyAlgorithm.ED25519),
        (KeyAlgorithm.MLDSA44, KeyAlgorithm.MLDSA44),
        (KeyAlgorithm.MLDSA65, KeyAlgorithm.MLDSA65),
        (KeyAlgorithm.MLDSA87, KeyAlgorithm.MLDSA87),
    ],
)
def test_the_key_of_a_delegate_is_of_the_authority_s_family(
    authority: KeyAlgorithm, own: KeyAlgorithm
) -> None:
    """Verifiers of the authority can verify its delegate."""
    assert responder_key_algorithm(authority) is own


def test_a_delegate_s_certificate_does_one_thing(ca: ThrowawayCA) -> None:
    """It signs OCSP answers, need not be checked itself, and names nobody."""
    made = delegate(ca)
    assert {(type(each.value), each.critical) for each in made.certificate.extensions} == {
        (x509.BasicConstraints, True),
        (x509.KeyUsage, True),
        (x509.ExtendedKeyUsage, False),
        (x509.SubjectKeyIdentifier, False),
        (x509.AuthorityKeyIdentifier, False),
        (x509.OCSPNoCheck, False),
    }
    purposes = made.certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [each.dotted_string for each in purposes] == ["1.3.6.1.5.5.7.3.9"]
    assert "PrivateKey" not in repr(made)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        pytest.param(
            lambda ca: delegate(ca, Validity.of(NOON, timedelta(days=91), HOUR)),
            "reaches beyond that of the issuing chain",
            id="too-long",
        ),
        pytest.param(
            lambda ca: make_ocsp_responder(
                ca.authority, ca.intermediate.private_key, ca.authority.validity, ca.serial()
            ),
            "its key is that of the authority",
            id="authority-key",
        ),
    ],
)
def test_a_delegate_that_must_not_be_is_refused(
    order: Callable[[ThrowawayCA], object], message: str, ca: ThrowawayCA
) -> None:
    """A delegate has a key of its own and ends with its authority."""
    with pytest.raises(InputError, match=message):
        order(ca)


def test_what_fails_the_lint_is_not_certified(
    ca: ThrowawayCA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slip in the builder shows before a signature exists."""
    monkeypatch.setattr(
        x509, "OCSPNoCheck", lambda: x509.TLSFeature([x509.TLSFeatureType.status_request])
    )
    with pytest.raises(InternalError, match="fails the lint: extensions: they are"):
        delegate(ca)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(
            lambda _, made, key: (ThrowawayCA().root.certificate, made, key),
            "not one that the authority has issued",
            id="other-issuer",
        ),
        pytest.param(
            lambda issuer, made, _: (issuer, made, generate(KeyAlgorithm.ED25519)),
            "the private key is not that of its certificate",
            id="other-key",
        ),
        pytest.param(
            lambda issuer, _, key: (issuer, ThrowawayCA().issue().leaf.certificate, key),
            "lacks the purpose OCSPSigning",
            id="leaf",
        ),
    ],
)
def test_a_responder_is_made_of_what_belongs_together(
    spoil: Callable[..., tuple[x509.Certificate, x509.Certificate, object]], message: str
) -> None:
    """A certificate of another authority, another key or a leaf of an agent makes no responder."""
    ca = ThrowawayCA()
    made = delegate(ca)
    parts = spoil(ca.intermediate.certificate, made.certificate, made.private_key)
    with pytest.raises(InputError, match=message):
        OcspResponder(*parts)  # type: ignore[arg-type]


def test_a_responder_answers_for_its_own_authority_only(
    ca: ThrowawayCA, responder: OcspResponder
) -> None:
    """A question that was taken to the wrong responder is a defect, not an answer."""
    leaf = ca.issue().leaf.certificate
    about_root = OcspQuestion("sha256", bytes(32), bytes(32), SerialNumber(leaf.serial_number))
    unknown = OcspQuestion(None, b"", b"", SerialNumber(5))
    for question in (about_root, unknown):
        with pytest.raises(InternalError, match="was taken to the responder of another"):
            responder.answer(question, CertState.GOOD, NOON, NOON + HOUR, NOON)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        pytest.param((8 * DAY, 9 * DAY, 8 * DAY), "is valid 2026-.*give it a new one", id="late"),
        pytest.param((-DAY, DAY, -DAY), "is valid 2026-.*give it a new one", id="early"),
        pytest.param((HOUR, 2 * HOUR, 0 * HOUR), "which is not between thisUpdate", id="future"),
        pytest.param((-2 * HOUR, -HOUR, 0 * HOUR), "which is not between thisUpdate", id="stale"),
        pytest.param(
            (timedelta(microseconds=1), HOUR, HOUR), "thisUpdate is .* whole seconds", id="fraction"
        ),
        pytest.param(
            (0 * HOUR, HOUR, timedelta(microseconds=1)), "producedAt is .* whole", id="now-fraction"
        ),
    ],
)
def test_an_answer_with_impossible_times_is_refused(
    times: tuple[timedelta, timedelta, timedelta],
    message: str,
    ca: ThrowawayCA,
    responder: OcspResponder,
) -> None:
    """Nothing is signed that was known in the future only, is over, or by an expired delegate."""
    question = parse_request(request(ca, ca.issue().leaf.certificate))
    this_update, next_update, produced_at = (NOON + each for each in times)
    with pytest.raises(InputError, match=message):
        responder.answer(question, CertState.GOOD, this_update, next_update, produced_at)


@pytest.mark.parametrize("null_parameters", [False, True])
@pytest.mark.parametrize("name", list(HASHES))
def test_an_answer_names_the_certificate_as_the_question_did(
    name: str, ca: ThrowawayCA, responder: OcspResponder, *, null_parameters: bool
) -> None:
    """Clients compare the CertID, some of them to the last byte."""
    leaf = ca.issue().leaf.certificate
    question = parse_request(request(ca, leaf, HASHES[name]))
    question = dataclasses.replace(question, null_parameters=null_parameters)
    answer = responder.answer(question, CertState.GOOD, NOON, NOON + HOUR, NOON)
    held = schema.decode(OcspResponse, answer, what="answer").response_bytes
    assert held is not None
    basic = schema.decode(BasicOcspResponse, held.response, what="answer")
    data = schema.decode(ResponseData, asn1.encode_der(basic.tbs_response_data), what="answer")
    assert parse_request(raw(data.responses[0].cert_id)) == question


def test_an_answer_ends_with_the_delegate(ca: ThrowawayCA, responder: OcspResponder) -> None:
    """Whoever kept an answer beyond the end of its signer's certificate would refuse it."""
    question = parse_request(request(ca, ca.issue().leaf.certificate))
    found = ocsp.load_der_ocsp_response(
        responder.answer(question, CertState.GOOD, NOON, NOON + 30 * DAY, NOON)
    )
    assert found.next_update_utc == responder.validity.not_after
    assert "masked" in repr(responder)
