"""Lists and questions made by others: NIST's PKITS and the vectors of the library."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from importlib.resources import files

import pytest

from agentid.errors import InputError
from agentid.identity import RevocationReason, SerialNumber
from agentid.pki.crl import CrlEntry, read_crl
from agentid.pki.ocsp import parse_request

VECTORS = files("cryptography_vectors") / "x509"

# What PKITS holds beyond full and direct lists, and why each is refused.
PKITS_REFUSED = {
    r"BadCRLSignatureCACRL": "signature is not of whole octets",
    r"BasicSelfIssued(CRLSigningKeyCRL|OldKeySelfIssued)CertCRL": "named by no URI",
    r"NegativeSerialNumberCACRL": "out of range",  # RFC 5280 §4.1.2.2; PKITS is older
    r"deltaCRL(CA\ddelta|IndicatorNoBaseCA)CRL": r"2\.5\.29\.27 is critical and not understood",
    r"distributionPoint1CACRL": "named by no URI",
    r"distributionPoint2CACRL": "has no full name",
    r"indirectCRLCA(1|5)CRL": "indirect",
    r"indirectCRLCA\dcRLIssuerCRL": "indirect",
    r"indirectCRLCA3CRL": "named by no URI",
    r"onlyContainsAttributeCertsCACRL": "about attribute certificates",
    r"onlySomeReasonsCA\d(compromise|otherreasons)CRL": "some reasons only",
    r"onlySomeReasonsCA2CRL\d": "some reasons only",
    r"UnknownCRL(Entry)?ExtensionCACRL": r"2\.16\.840\.1\.101\.2\.1\.12\.2 is critical",
}


def refusal(name: str) -> str | None:
    """Why a list of PKITS is refused, or None."""
    return next(
        (message for pattern, message in PKITS_REFUSED.items() if re.fullmatch(pattern, name)), None
    )


def test_pkits_is_read_or_refused_by_name() -> None:
    """Each of NIST's 173 lists is read, unless it is one of those that we say we do not read."""
    read, refused = 0, 0
    for each in (VECTORS / "PKITS_data" / "crls").iterdir():
        message = refusal(each.name.removesuffix(".crl"))
        if message is None:
            read_crl(each.read_bytes())
            read += 1
            continue
        with pytest.raises(InputError, match=message):
            read_crl(each.read_bytes())
        refused += 1
    assert (read, refused) == (147, 26)


def test_what_pkits_says_is_found() -> None:
    """Serial numbers, times and reasons as NIST's documentation has them."""
    crls = VECTORS / "PKITS_data" / "crls"
    good = read_crl((crls / "GoodCACRL.crl").read_bytes())
    eight_thirty = datetime(2010, 1, 1, 8, 30, tzinfo=UTC)
    compromise = RevocationReason.KEY_COMPROMISE
    assert list(good) == [
        CrlEntry(SerialNumber(14), eight_thirty, compromise),
        CrlEntry(SerialNumber(15), eight_thirty + timedelta(seconds=1), compromise),
    ]
    assert (good.number, good.this_update) == (1, eight_thirty)
    held = read_crl((crls / "deltaCRLCA1CRL.crl").read_bytes())
    found = held.find(SerialNumber(4))
    assert found is not None
    assert found.reason is RevocationReason.CERTIFICATE_HOLD
    users = read_crl((crls / "onlyContainsUserCertsCACRL.crl").read_bytes())
    authorities = read_crl((crls / "onlyContainsCACertsCACRL.crl").read_bytes())
    assert (users.only_user_certs, users.only_ca_certs) == (True, False)
    assert (authorities.only_user_certs, authorities.only_ca_certs) == (False, True)


CUSTOM = [
    ("crl_bad_version.pem", "not of version 2"),
    ("crl_delta_crl_indicator.pem", r"2\.5\.29\.27 is critical"),
    ("crl_idp_fullname_indirect_crl.pem", "indirect"),
    ("crl_idp_reasons_only.pem", "some reasons only"),
    ("crl_invalid_time.der", "does not parse as TbsCertList"),
    ("crl_no_next_update.pem", "nextUpdate is missing"),
    ("crl_all_reasons.pem", "cRLNumber is missing"),
    ("valid_signature_crl.pem", "authorityKeyIdentifier .* is missing"),
]


@pytest.mark.parametrize(("name", "message"), CUSTOM)
def test_malformed_lists_of_the_library_are_refused(name: str, message: str) -> None:
    """What the library's own tests hold against it is refused here as well."""
    with pytest.raises(InputError, match=message):
        read_crl(der("custom", name))


def test_a_list_with_other_extensions_is_read() -> None:
    """Extensions that are not critical are passed over."""
    assert len(read_crl(der("custom", "crl_ian_aia_aki.pem"))) == 0


REQUESTS = [
    ("req-duplicate-ext.der", "stands more than once"),
    ("req-invalid-version.der", "is of version 2"),
    ("req-multi-sha1.der", "asks about 2 certificates"),
    ("req-sha1.der", "out of range"),
    ("req-invalid-hash-alg.der", "out of range"),
]


@pytest.mark.parametrize(("name", "message"), REQUESTS)
def test_malformed_questions_of_the_library_are_refused(name: str, message: str) -> None:
    """The last two ask about a serial number of 160 bits, which RFC 5280 §4.1.2.2 forbids."""
    with pytest.raises(InputError, match=message):
        parse_request(der("ocsp", name))


@pytest.mark.parametrize(
    ("name", "nonce"),
    [
        ("req-acceptable-responses.der", False),
        ("req-ext-nonce.der", True),
        ("req-ext-unknown-oid.der", False),
        ("ocsp-army.valid-req.der", False),
    ],
)
def test_questions_of_others_are_understood(name: str, *, nonce: bool) -> None:
    """Real questions, with extensions that we know and that we do not."""
    question = parse_request(der("ocsp", name))
    assert question.hash_algorithm == "sha1"
    assert isinstance(question.serial, SerialNumber)
    assert (question.nonce is not None) == nonce


def der(folder: str, name: str) -> bytes:
    """One vector in DER."""
    data = (VECTORS / folder / name).read_bytes()
    if not name.endswith(".pem"):
        return data
    body = re.search(rb"-----BEGIN X509 CRL-----(.*)-----END", data, re.DOTALL)
    assert body is not None
    return base64.b64decode(body[1])
