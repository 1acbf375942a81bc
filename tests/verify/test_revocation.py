"""Revocation lists: which one answers for which certificate, and what OpenSSL says of the same."""

from __future__ import annotations

import subprocess
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agentid.errors import InputError, VerificationError
from agentid.errors import VerificationReason as R
from agentid.pki.crl import crl_pem
from agentid.testing.ca import NOON, ThrowawayCA
from agentid.verify import BundleSet, CrlSet, RevocationState, Verifier
from agentid.verify.revocation import Crl, read_crls
from tests.support import chains
from tests.support.verifying import CRL_URI, chain_of, crl, root_crl, with_crl_uri

if TYPE_CHECKING:
    import pathlib

    from agentid.pki import PrivateKey

CA = ThrowawayCA()
STRANGER = ThrowawayCA(seed="stranger")
CHAIN = chain_of(CA, tweak=with_crl_uri(CRL_URI))
SERIAL = x509.load_der_x509_certificate(CHAIN[0]).serial_number
ISSUING_SERIAL = CA.intermediate.certificate.serial_number
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def verify(
    *lists: bytes,
    chain: list[bytes] = CHAIN,
    at: datetime = NOON,
    max_age: timedelta | None = None,
    whole_chain: bool = False,
) -> RevocationState:
    """What is known about the leaf, with these lists at hand."""
    crls = CrlSet(map(Crl.parse, lists), max_age=max_age, whole_chain=whole_chain)
    return Verifier(BundleSet([CA.bundle]), crls=crls).verify(chain, at=at).revocation


def openssl(folder: pathlib.Path, *lists: bytes, at: datetime, whole_chain: bool) -> str:
    """The same by `openssl verify`; nothing if it accepts."""
    pems = [x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in CHAIN]
    (folder / "leaf.pem").write_bytes(pems[0])
    (folder / "chain.pem").write_bytes(pems[1])
    (folder / "root.pem").write_bytes(CA.bundle.pem)
    (folder / "crls.pem").write_bytes(b"".join(map(crl_pem, lists)))
    files = ["-CAfile", "root.pem", "-untrusted", "chain.pem", "-CRLfile", "crls.pem"]
    check = "-crl_check_all" if whole_chain else "-crl_check"
    when = ["-attime", str(int(at.timestamp()))]
    result = subprocess.run(
        ["openssl", "verify", "-x509_strict", check, *when, *files, "leaf.pem"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stderr


def plain_list(
    issuer: x509.Certificate,
    key: PrivateKey,
    *entries: tuple[int, x509.ReasonFlags],
    issued: datetime = NOON,
) -> bytes:
    """A list for an hour that no lint has seen."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(issued)
        .next_update(issued + HOUR)
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            ),
            critical=False,
        )
    )
    for serial, reason in entries:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder()
            .serial_number(serial)
            .revocation_date(issued)
            .add_extension(x509.CRLReason(reason), critical=False)
            .build()
        )
    return builder.sign(key, None).public_bytes(Encoding.DER)


GOOD = crl(CA)
OTHER_SHARD = crl(CA, uri="http://agentid-responder.agentid-system.svc/crl/0011223344556677/1.crl")
CASES = [
    pytest.param([GOOD], NOON, False, None, "", id="not-listed"),
    pytest.param([crl(CA, 5, SERIAL)], NOON, False, R.REVOKED, "leaf: the cert", id="listed"),
    pytest.param([crl(CA, uri=None)], NOON, False, None, "", id="list-of-everything"),
    pytest.param([crl(CA, SERIAL, uri=None)], NOON, False, R.REVOKED, "keyComp", id="in-it"),
    pytest.param([OTHER_SHARD], NOON, False, R.REVOCATION_UNKNOWN, "another dist", id="shard"),
    pytest.param([OTHER_SHARD, GOOD], NOON, False, None, "", id="both-shards"),
    pytest.param([root_crl(CA)], NOON, False, R.REVOCATION_UNKNOWN, "there is no", id="root's"),
    pytest.param(
        [crl(STRANGER)], NOON, False, R.REVOCATION_UNKNOWN, "there is no CRL", id="stranger's"
    ),
    pytest.param([GOOD], NOON + HOUR - SECOND, False, None, "", id="last-second"),
    pytest.param(
        [GOOD], NOON - SECOND, False, R.REVOCATION_UNKNOWN, "it is in force from", id="future"
    ),
    pytest.param([GOOD], NOON, True, R.REVOCATION_UNKNOWN, "intermediate 1: whe", id="no-root's"),
    pytest.param([GOOD, root_crl(CA)], NOON, True, None, "", id="whole-chain"),
    pytest.param(
        [GOOD, root_crl(CA, ISSUING_SERIAL)], NOON, True, R.REVOKED, "intermediate 1", id="issuer"
    ),
]


@pytest.mark.parametrize(("lists", "at", "whole_chain", "reason", "words"), CASES)
def test_a_list_revokes_what_it_covers(
    lists: list[bytes], at: datetime, *, whole_chain: bool, reason: R | None, words: str
) -> None:
    """By issuer, key, distribution point and time."""
    if reason is None:
        assert verify(*lists, at=at, whole_chain=whole_chain) is RevocationState.NOT_REVOKED
        return
    with pytest.raises(VerificationError) as refused:
        verify(*lists, at=at, whole_chain=whole_chain)
    assert refused.value.reason is reason
    assert words in str(refused.value)


@pytest.mark.parametrize(("lists", "at", "whole_chain", "reason", "words"), CASES)
def test_openssl_says_the_same_of_every_list(
    lists: list[bytes],
    at: datetime,
    *,
    whole_chain: bool,
    reason: R | None,
    words: str,
    tmp_path: pathlib.Path,
) -> None:
    """`-crl_check` and `-crl_check_all` of OpenSSL accept and refuse the same."""
    stderr = openssl(tmp_path, *lists, at=at, whole_chain=whole_chain)
    assert (stderr == "") == (reason is None), (stderr, words)
    assert ("certificate revoked" in stderr) == (reason is R.REVOKED)


def test_a_list_is_due_at_its_next_update() -> None:
    """From that second on it says nothing good any more."""
    with pytest.raises(VerificationError, match=r"its successor was due at .* fetch the current"):
        verify(GOOD, at=NOON + HOUR)


def test_a_stale_list_still_revokes() -> None:
    """What was revoked for good does not come back because nobody published."""
    chain = chain_of(CA, tweak=with_crl_uri(CRL_URI))
    serial = x509.load_der_x509_certificate(chain[0]).serial_number
    old = crl(CA, serial, issued=NOON - 2 * HOUR)
    with pytest.raises(VerificationError) as refused:
        verify(old, chain=chain)
    assert refused.value.reason is R.REVOKED


@pytest.mark.parametrize(
    ("reason", "age", "expected"),
    [
        pytest.param(x509.ReasonFlags.certificate_hold, timedelta(0), R.REVOKED, id="on-hold"),
        pytest.param(
            x509.ReasonFlags.certificate_hold, 2 * HOUR, R.REVOCATION_UNKNOWN, id="hold-stale"
        ),
        pytest.param(x509.ReasonFlags.remove_from_crl, timedelta(0), None, id="released"),
        pytest.param(x509.ReasonFlags.superseded, 2 * HOUR, R.REVOKED, id="final-stale"),
    ],
)
def test_a_hold_counts_while_its_list_is_fresh(
    reason: x509.ReasonFlags, age: timedelta, expected: R | None
) -> None:
    """It may have ended since; what is final has not."""
    issuing = CA.intermediate
    der = plain_list(issuing.certificate, issuing.private_key, (SERIAL, reason), issued=NOON - age)
    if expected is None:
        assert verify(der) is RevocationState.NOT_REVOKED
        return
    with pytest.raises(VerificationError) as refused:
        verify(der)
    assert refused.value.reason is expected


def test_a_verifier_may_ask_for_a_younger_list() -> None:
    """Than its issuer promises."""
    at = NOON + timedelta(minutes=10)
    verify(GOOD, at=at, max_age=timedelta(minutes=10))
    with pytest.raises(VerificationError, match=r"more than 0:09:59 ago") as refused:
        verify(GOOD, at=at, max_age=timedelta(minutes=9, seconds=59))
    assert refused.value.reason is R.REVOCATION_UNKNOWN


def test_an_intermediate_that_a_list_names_is_refused_unasked() -> None:
    """Lists of its issuer are not required by default, and are heeded where they are there."""
    verify(GOOD, root_crl(CA))
    with pytest.raises(VerificationError, match="intermediate 1: the certificate with serial"):
        verify(GOOD, root_crl(CA, ISSUING_SERIAL))


def test_nothing_is_asked_of_a_leaf_that_says_none_is_published() -> None:
    """RFC 9608 §4: it runs out soon. Its issuer is asked about all the same."""
    leaf = CA.issue(CA.profile(no_rev_avail=True)).leaf
    chain = [leaf.der, *CA.authority.chain_der]
    assert verify(chain=chain) is RevocationState.NONE_PUBLISHED
    with pytest.raises(VerificationError, match="intermediate 1"):
        verify(root_crl(CA, ISSUING_SERIAL), chain=chain)


def test_without_lists_nothing_is_said_about_revocation() -> None:
    """The outcome says so; a verifier with an empty set of lists refuses."""
    by = Verifier(BundleSet([CA.bundle]))
    assert by.verify(CHAIN, at=NOON).revocation is RevocationState.NOT_CHECKED
    with pytest.raises(VerificationError, match="there is no CRL"):
        verify()


def test_lists_are_exchanged_without_a_new_verifier() -> None:
    """Bundles and remembered chains stay."""
    by = Verifier(BundleSet([CA.bundle]), crls=CrlSet(read_crls(GOOD)))
    assert by.verify(CHAIN, at=NOON).revocation is RevocationState.NOT_REVOKED
    later = by.with_crls(CrlSet(read_crls(crl(CA, SERIAL, number=2))))
    with pytest.raises(VerificationError, match="was revoked at"):
        later.verify(CHAIN, at=NOON)
    assert by.verify(CHAIN, at=NOON).revocation is RevocationState.NOT_REVOKED


def test_a_forged_list_says_nothing() -> None:
    """Neither that a certificate is revoked nor that it is not."""
    forged = crl(CA, SERIAL).replace(SERIAL.to_bytes(16), (SERIAL ^ 1).to_bytes(16))
    with pytest.raises(VerificationError, match="its signature is not one of its issuer") as no:
        verify(forged)
    assert no.value.reason is R.REVOCATION_UNKNOWN
    assert verify(forged, GOOD) is RevocationState.NOT_REVOKED


def test_an_authority_that_may_not_sign_lists_signs_none() -> None:
    """RFC 5280 §6.3.3 f: cRLSign."""
    root = chains.authority("root", usage=("key_cert_sign",))
    der = plain_list(root.certificate, root.key)
    bundle = type(CA.bundle)(CA.trust_domain, (root.certificate,))
    by = Verifier(BundleSet([bundle]), crls=CrlSet(read_crls(der)))
    with pytest.raises(VerificationError, match="does not allow it to sign CRLs"):
        by.verify([chains.leaf(root).der], at=NOON)


def test_a_file_holds_one_list_in_der_or_several_in_pem() -> None:
    """In the order in which they stand."""
    pem = crl_pem(GOOD) + crl_pem(OTHER_SHARD)
    assert [each.view.der for each in read_crls(pem)] == [GOOD, OTHER_SHARD]
    assert [each.view.der for each in read_crls(GOOD)] == [GOOD]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"", "holds no PEM block", id="empty"),
        pytest.param(b"\x30\x00", "CRL does not parse", id="no-crl"),
        pytest.param(CA.bundle.pem, "found PEM CERTIFICATE, wanted X509 CRL", id="certificate"),
    ],
)
def test_what_is_no_list_is_refused(data: bytes, words: str) -> None:
    """With a message that says what was found."""
    with pytest.raises(InputError, match=words):
        read_crls(data)
