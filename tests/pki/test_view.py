"""Certificates taken apart by our own schema."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from agentid.errors import InputError
from agentid.pki import KeyAlgorithm, schema
from agentid.pki.view import read_certificate, read_tbs
from agentid.testing.ca import ThrowawayCA

VECTORS = sorted((Path(__file__).parent / "vectors").glob("*.pem"))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda path: path.stem)
def test_decoding_and_encoding_changes_no_byte(vector: Path) -> None:
    """The schema holds everything that a certificate holds."""
    der = x509.load_pem_x509_certificate(vector.read_bytes()).public_bytes(Encoding.DER)
    signed = schema.decode(schema.SignedCertificate, der, what="vector")
    assert asn1.encode_der(signed) == der
    tbs = asn1.encode_der(signed.tbs_certificate)
    assert asn1.encode_der(schema.decode(schema.TbsCertificate, tbs, what="vector")) == tbs


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.ECDSAP256, KeyAlgorithm.RSA3072])
def test_it_reads_what_the_library_reads(algorithm: KeyAlgorithm) -> None:
    """Two readers that share no code agree on every field."""
    ca = ThrowawayCA(algorithm=algorithm)
    for certificate in (ca.root.certificate, ca.intermediate.certificate):
        view = read_certificate(certificate.public_bytes(Encoding.DER))
        key_id = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        assert view.tbs.serial_number == certificate.serial_number
        assert view.not_before == certificate.not_valid_before_utc
        assert view.not_after == certificate.not_valid_after_utc
        assert view.subject_der == certificate.subject.public_bytes()
        assert view.issuer_der == certificate.issuer.public_bytes()
        assert view.subject_key_identifier == key_id.digest
        assert view.key_usage == ("keyCertSign", "cRLSign")
        assert list(view.extensions) == [each.oid.dotted_string for each in certificate.extensions]


def test_two_signature_algorithms_in_one_certificate_are_refused() -> None:
    """RFC 5280 §4.1.1.2: the algorithm outside the signed part must be that inside."""
    signed = asn1.decode_der(schema.SignedCertificate, ThrowawayCA().issue().leaf.der)
    signed.signature_algorithm = asn1.decode_der(
        asn1.TLV, bytes.fromhex("300a06082a8648ce3d040302")
    )
    with pytest.raises(InputError, match="is not the one outside; it was altered"):
        read_certificate(asn1.encode_der(signed))


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    """Nothing but InputError comes out."""
    for read in (read_certificate, read_tbs):
        with pytest.raises(InputError, match="certificate does not parse as"):
            read(data)


def test_deep_nesting_is_refused_and_does_not_exhaust_the_stack() -> None:
    """Sixteen kilobytes of nested sequences."""
    nested = b""
    for _ in range(5000):
        nested = b"\x30\x82" + len(nested).to_bytes(2) + nested
        if len(nested) > 16_000:
            break
    with pytest.raises(InputError, match="does not parse"):
        read_certificate(nested)
