"""Certificate revocation lists: what is signed, and what is read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from agentid.errors import InputError, InternalError
from agentid.identity import RevocationReason, SerialNumber
from agentid.pki import Authority, KeyAlgorithm, LocalSigner, crl_lint, schema
from agentid.pki.crl import CrlEntry, crl_pem, make_crl, read_crl, verify_crl
from agentid.pki.crl_view import MAX_CRL_BYTES, read_tbs_crl
from agentid.pki.revocation_schema import SignedCertList, TbsCertList
from agentid.testing.ca import NOON, ThrowawayCA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agentid.pki import Signer

URI = "http://agentid-responder.agentid-system.svc/crl/0011223344556677/3.crl"
HOUR = timedelta(hours=1)
FINAL = [reason for reason in RevocationReason if reason.is_final]


@pytest.fixture(scope="module")
def ca() -> ThrowawayCA:
    """Whose lists they are."""
    return ThrowawayCA()


def entries(count: int = 3) -> list[CrlEntry]:
    """Revoked certificates, one reason after the other."""
    return [
        CrlEntry(
            SerialNumber(1000 + number),
            NOON - timedelta(minutes=number),
            FINAL[number % len(FINAL)],
        )
        for number in range(count)
    ]


def make(
    ca: ThrowawayCA,
    listed: Iterable[CrlEntry] = (),
    *,
    number: int = 7,
    uri: str | None = URI,
    this_update: datetime = NOON,
    next_update: datetime = NOON + HOUR,
) -> bytes:
    """A list of this authority."""
    return make_crl(ca.authority, listed, number, this_update, next_update, uri)


def point(
    *,
    name: x509.GeneralName | None = x509.UniformResourceIdentifier(URI),  # noqa: B008 - a value
    user: bool = True,
    ca: bool = False,
    reasons: frozenset[x509.ReasonFlags] | None = None,
    indirect: bool = False,
) -> x509.IssuingDistributionPoint:
    """An issuingDistributionPoint; that of a shard unless told otherwise."""
    return x509.IssuingDistributionPoint(
        full_name=None if name is None else [name],
        relative_name=None,
        only_contains_user_certs=user,
        only_contains_ca_certs=ca,
        only_some_reasons=reasons,
        indirect_crl=indirect,
        only_contains_attribute_certs=False,
    )


@pytest.mark.parametrize("algorithm", list(KeyAlgorithm))
def test_the_library_reads_what_was_ordered(algorithm: KeyAlgorithm) -> None:
    """Another parser finds each field as it was ordered, for authorities of every algorithm."""
    ca = ThrowawayCA(algorithm=algorithm)
    listed = entries(len(FINAL))
    found = x509.load_der_x509_crl(make(ca, reversed(listed)))
    assert found.issuer == ca.intermediate.certificate.subject
    assert (found.last_update_utc, found.next_update_utc) == (NOON, NOON + HOUR)
    assert found.is_signature_valid(ca.authority.public_key)
    assert {(each.value, each.critical) for each in found.extensions} == {
        (x509.CRLNumber(7), False),
        (x509.AuthorityKeyIdentifier(ca.authority.key_id, None, None), False),
        (point(), True),
    }
    assert [
        (
            each.serial_number,
            each.revocation_date_utc,
            [(one.value.reason.value, one.critical) for one in each.extensions],
        )
        for each in found
    ] == [
        (
            entry.serial.value,
            entry.revoked_at,
            [] if entry.reason is RevocationReason.UNSPECIFIED else [(entry.reason.value, False)],
        )
        for entry in listed
    ]


def test_a_list_reads_as_it_was_made(ca: ThrowawayCA) -> None:
    """Reading gives back number, times, place and entries; a serial that is not there is None."""
    listed = entries()
    view = read_crl(make(ca, listed))
    verify_crl(view, ca.authority.certificate)
    assert list(view) == listed
    assert (len(view), view.number, view.distribution_uris) == (3, 7, (URI,))
    assert (view.this_update, view.next_update) == (NOON, NOON + HOUR)
    assert (view.only_user_certs, view.only_ca_certs) == (True, False)
    assert view.find(listed[1].serial) == listed[1]
    assert view.find(SerialNumber(5)) is None


def test_an_empty_list_has_no_sequence_of_entries(ca: ThrowawayCA) -> None:
    """RFC 5280 §5.1.2.6 wants the field left out, and the list is as good as any."""
    view = read_crl(make(ca))
    verify_crl(view, ca.authority.certificate)
    assert view.tbs.revoked_certificates is None
    assert (len(view), list(view)) == (0, [])


def test_a_root_lists_its_intermediates(ca: ThrowawayCA) -> None:
    """The list of a root names no distribution point, so it is about whatever the root signed."""
    root = ca.root.certificate
    authority = Authority(ca.trust_domain, (root,), root, LocalSigner(ca.root.private_key))
    revoked = CrlEntry(SerialNumber(ca.intermediate.certificate.serial_number), NOON)
    view = read_crl(make_crl(authority, [revoked], 1, NOON, NOON + HOUR))
    verify_crl(view, root)
    view.require_covers(None)
    assert (view.find(revoked.serial), view.only_user_certs) == (revoked, False)
    with pytest.raises(InputError, match="its issuer is another authority"):
        verify_crl(view, ca.intermediate.certificate)


@pytest.mark.parametrize(
    ("instant", "kind"),
    [
        pytest.param(datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC), asn1.UTCTime, id="2049"),
        pytest.param(datetime(2050, 1, 1, tzinfo=UTC), asn1.GeneralizedTime, id="2050"),
    ],
)
def test_times_change_their_encoding_with_2050(
    instant: datetime, kind: type, ca: ThrowawayCA
) -> None:
    """RFC 5280 §5.1.2.4 to §5.1.2.6: UTCTime through 2049, GeneralizedTime from 2050 on."""
    listed = [CrlEntry(SerialNumber(1), instant)]
    view = read_crl(make(ca, listed, this_update=instant, next_update=instant + HOUR))
    revoked = view.tbs.revoked_certificates
    assert revoked is not None
    assert isinstance(view.tbs.this_update, kind)
    assert isinstance(revoked[0].revocation_date, kind)
    assert list(view) == listed


def test_the_longest_serial_fits_an_entry(ca: ThrowawayCA) -> None:
    """Serials with and without a leading zero octet, up to 20 octets, stand as they are."""
    serials = [1, 127, 128, 255, 256, (1 << 126), (1 << 127), (1 << 159) - 1]
    listed = [
        CrlEntry(
            SerialNumber(serial),
            datetime(2051, 1, 1, tzinfo=UTC),
            RevocationReason.KEY_COMPROMISE,
        )
        for serial in serials
    ]
    assert [each.serial_number for each in x509.load_der_x509_crl(make(ca, listed))] == serials


def test_an_entry_holds_the_encoding_the_list_shows() -> None:
    """An entry made by hand is byte for byte what the library's builder makes."""
    entry = CrlEntry(SerialNumber(1 << 126), NOON, RevocationReason.SUPERSEDED)
    built = (
        x509.RevokedCertificateBuilder()
        .serial_number(1 << 126)
        .revocation_date(NOON)
        .add_extension(x509.CRLReason(x509.ReasonFlags.superseded), critical=False)
        .build()
    )
    ca = ThrowawayCA()
    listed = (
        x509.CertificateRevocationListBuilder(revoked_certificates=[built])
        .issuer_name(ca.authority.certificate.subject)
        .last_update(NOON)
        .next_update(NOON + HOUR)
        .sign(ca.intermediate.private_key, None)
    )
    assert entry.der in listed.tbs_certlist_bytes


def test_pem_is_what_the_library_reads(ca: ThrowawayCA) -> None:
    """The PEM form holds the same list, under the label of RFC 7468 §6."""
    der = make(ca, entries())
    pem = crl_pem(der)
    assert pem.startswith(b"-----BEGIN X509 CRL-----\n")
    assert x509.load_pem_x509_crl(pem).public_bytes(Encoding.DER) == der
    assert x509.load_pem_x509_crl(pem).public_bytes(Encoding.PEM) == pem


NAIVE = datetime(2026, 11, 1, 12)  # noqa: DTZ001 - that is what is wrong with it


@pytest.mark.parametrize(
    ("order", "message"),
    [
        pytest.param(lambda ca: make(ca, entries(1) * 2), "03e8 is given twice", id="twice"),
        pytest.param(
            lambda ca: make(
                ca, [CrlEntry(SerialNumber(1), NOON, RevocationReason.CERTIFICATE_HOLD)]
            ),
            "the reason certificateHold is given; only final",
            id="hold",
        ),
        pytest.param(
            lambda ca: make(
                ca, [CrlEntry(SerialNumber(1), NOON, RevocationReason.REMOVE_FROM_CRL)]
            ),
            "the reason removeFromCRL is given; only final",
            id="remove-from-crl",
        ),
        pytest.param(lambda ca: make(ca, number=-1), "number -1 is negative", id="negative"),
        pytest.param(lambda ca: make(ca, number=1 << 159), "longer than 20 octets", id="number"),
        pytest.param(
            lambda ca: make(ca, next_update=NOON), "is not after thisUpdate", id="no-time-at-all"
        ),
        pytest.param(
            lambda ca: make(ca, this_update=NAIVE), "thisUpdate is 2026-.*must be UTC", id="naive"
        ),
        pytest.param(
            lambda ca: make(ca, next_update=NOON + HOUR + timedelta(microseconds=1)),
            "nextUpdate is .* must be UTC in whole seconds",
            id="fraction",
        ),
        pytest.param(
            lambda ca: make(ca, uri="ldap://directory/cn=crl"), "is not an http or https", id="ldap"
        ),
        pytest.param(lambda ca: make(ca, uri="http://a/ b"), "is not an http or https", id="space"),
        pytest.param(
            lambda ca: make(ca, uri="http://a/" + "b" * 512), "at most 512 characters", id="long"
        ),
        pytest.param(
            lambda _: CrlEntry(SerialNumber(1), NAIVE), "revocationDate is .* UTC", id="entry-naive"
        ),
        pytest.param(
            lambda _: CrlEntry(SerialNumber(1), datetime(1949, 1, 1, tzinfo=UTC)),
            "not before 1950",
            id="entry-1949",
        ),
    ],
)
def test_a_list_that_must_not_be_is_refused(
    order: Callable[[ThrowawayCA], object], message: str, ca: ThrowawayCA
) -> None:
    """What would be a malformed or misleading list is refused before anything is signed."""
    with pytest.raises(InputError, match=message):
        order(ca)


class WrongSigner:
    """Signs something else."""

    def __init__(self, good: Signer) -> None:
        self._good = good

    @property
    def algorithm(self) -> KeyAlgorithm:
        """As promised."""
        return self._good.algorithm

    def sign(self, data: bytes) -> bytes:
        """Not over the data."""
        return self._good.sign(data + b"!")


def test_a_signature_that_does_not_verify_never_leaves(ca: ThrowawayCA) -> None:
    """A signer that errs is noticed before the list is handed out."""
    chain = (ca.intermediate.certificate,)
    signer = WrongSigner(ca.authority.signer)
    authority = Authority(ca.trust_domain, chain, ca.root.certificate, signer)
    with pytest.raises(InternalError, match=r"example\.org made a signature that does not verify"):
        make_crl(authority, [], 1, NOON, NOON + HOUR)


def retold(der: bytes, change: Callable[[TbsCertList], object]) -> bytes:
    """The part to be signed, with a change."""
    signed = schema.decode(SignedCertList, der, what="CRL")
    tbs = schema.decode(TbsCertList, asn1.encode_der(signed.tbs_cert_list), what="CRL")
    change(tbs)
    return asn1.encode_der(tbs)


def extension(oid: str, value: bytes, *, critical: bool = False) -> schema.Extension:
    """One extension."""
    return schema.Extension(oid=x509.ObjectIdentifier(oid), critical=critical, value=value)


def put(value: x509.ExtensionType, *, critical: bool = False) -> Callable[[TbsCertList], object]:
    """Replace an extension, or add one."""
    new = extension(value.oid.dotted_string, value.public_bytes(), critical=critical)

    def change(tbs: TbsCertList) -> None:
        kept = [each for each in tbs.extensions or () if each.oid != value.oid]
        tbs.extensions = [*kept, new]

    return change


def drop(oid: x509.ObjectIdentifier) -> Callable[[TbsCertList], object]:
    """Leave an extension out."""

    def change(tbs: TbsCertList) -> None:
        tbs.extensions = [each for each in tbs.extensions or () if each.oid != oid]

    return change


def entry_with(*found: schema.Extension) -> Callable[[TbsCertList], object]:
    """Give the first entry these extensions."""

    def change(tbs: TbsCertList) -> None:
        assert tbs.revoked_certificates
        tbs.revoked_certificates[0].extensions = [
            schema.decode(asn1.TLV, asn1.encode_der(each), what="extension") for each in found
        ]

    return change


def set_field(name: str, value: object) -> Callable[[TbsCertList], object]:
    """Set a field."""
    return lambda tbs: setattr(tbs, name, value)


def swap_entries(tbs: TbsCertList) -> None:
    """The first two entries change places."""
    assert tbs.revoked_certificates
    tbs.revoked_certificates[:2] = reversed(tbs.revoked_certificates[:2])


def repeat_entry(tbs: TbsCertList) -> None:
    """The first entry stands twice."""
    assert tbs.revoked_certificates
    tbs.revoked_certificates.append(tbs.revoked_certificates[0])


def drop_entry(tbs: TbsCertList) -> None:
    """The last entry is gone."""
    assert tbs.revoked_certificates
    tbs.revoked_certificates.pop()


def first_serial(serial: int) -> Callable[[TbsCertList], object]:
    """Give the first entry another serial number."""

    def change(tbs: TbsCertList) -> None:
        assert tbs.revoked_certificates
        tbs.revoked_certificates[0].serial_number = serial

    return change


REASON = "2.5.29.21"
INVALIDITY = "2.5.29.24"
INVALIDITY_DATE = x509.InvalidityDate(NOON.replace(tzinfo=None)).public_bytes()
UNREADABLE = [
    pytest.param(set_field("version", None), "not of version 2", id="version-1"),
    pytest.param(set_field("version", 2), "not of version 2", id="version-3"),
    pytest.param(set_field("next_update", None), "nextUpdate is missing", id="no-next-update"),
    pytest.param(
        set_field("revoked_certificates", []), "revokedCertificates is empty", id="empty-sequence"
    ),
    pytest.param(drop(x509.CRLNumber.oid), "cRLNumber is missing", id="no-number"),
    pytest.param(
        drop(x509.AuthorityKeyIdentifier.oid), "authorityKeyIdentifier .* is missing", id="no-aki"
    ),
    pytest.param(
        put(x509.UnrecognizedExtension(x509.CRLNumber.oid, b"\x02\x01\xff")),
        "cRLNumber is negative",
        id="negative-number",
    ),
    pytest.param(
        put(x509.UnrecognizedExtension(x509.CRLNumber.oid, b"\x02\x02\x00\x01")),
        "cRLNumber does not parse",
        id="number-not-minimal",
    ),
    pytest.param(
        put(x509.DeltaCRLIndicator(1), critical=True),
        r"2\.5\.29\.27 is critical and not understood",
        id="delta",
    ),
    pytest.param(
        put(point()), "issuingDistributionPoint must be critical", id="point-not-critical"
    ),
    pytest.param(put(point(indirect=True), critical=True), "indirect", id="indirect"),
    pytest.param(
        put(point(reasons=frozenset({x509.ReasonFlags.key_compromise})), critical=True),
        "some reasons only",
        id="some-reasons",
    ),
    pytest.param(
        put(
            x509.UnrecognizedExtension(
                x509.IssuingDistributionPoint.oid, bytes.fromhex("30068101ff8201ff")
            ),
            critical=True,
        ),
        "about leaves only and about authorities only",
        id="both-only",
    ),
    pytest.param(
        put(
            point(name=x509.DNSName("a.example")),
            critical=True,
        ),
        "named by no URI",
        id="point-by-dns",
    ),
    pytest.param(
        put(
            x509.UnrecognizedExtension(
                x509.IssuingDistributionPoint.oid, bytes.fromhex("3002a000")
            ),
            critical=True,
        ),
        "has no full name",
        id="point-without-name",
    ),
    pytest.param(
        lambda tbs: tbs.extensions.append(tbs.extensions[0]),
        r"2\.5\.29\.20 stands more than once",
        id="extension-twice",
    ),
    pytest.param(repeat_entry, "3e8 stands more than once", id="entry-twice"),
    pytest.param(first_serial(0), "out of range", id="serial-zero"),
    pytest.param(first_serial(-1), "out of range", id="serial-negative"),
    pytest.param(first_serial(1 << 159), "out of range", id="serial-too-long"),
    pytest.param(
        entry_with(extension("2.5.29.29", b"\x30\x00", critical=True)),
        r"CRL entry: the extension 2\.5\.29\.29 is critical and not understood",
        id="certificate-issuer",
    ),
    pytest.param(
        entry_with(extension(REASON, b"\x0a\x01\x07")), "is no reasonCode", id="reason-seven"
    ),
    pytest.param(
        entry_with(extension(REASON, b"\x02\x01\x01")), "is no reasonCode", id="reason-integer"
    ),
    pytest.param(
        entry_with(extension(REASON, b"\x0a\x01\x01"), extension(REASON, b"\x0a\x01\x01")),
        "stands more than once",
        id="reason-twice",
    ),
]


@pytest.mark.parametrize(("change", "message"), UNREADABLE)
def test_a_list_outside_the_profile_is_not_read(
    change: Callable[[TbsCertList], object], message: str, ca: ThrowawayCA
) -> None:
    """What breaks RFC 5280 §5, or what would be misunderstood, is refused by name."""
    tbs = retold(make(ca, entries()), change)
    with pytest.raises(InputError, match=message):
        read_tbs_crl(tbs)


def test_what_is_read_but_never_made(ca: ThrowawayCA) -> None:
    """Lists of others may hold certificates on hold, and say when a key began to be untrusted."""
    hold = extension(REASON, b"\x0a\x01\x06")
    since = extension(INVALIDITY, INVALIDITY_DATE)
    view = read_tbs_crl(retold(make(ca, entries()), entry_with(since, hold)))
    assert next(iter(view)).reason is RevocationReason.CERTIFICATE_HOLD
    view = read_tbs_crl(retold(make(ca, entries()), entry_with(since)))
    assert next(iter(view)).reason is RevocationReason.UNSPECIFIED


def expected(ca: ThrowawayCA, **changes: object) -> crl_lint.ExpectedCrl:
    """What a list of three entries must say."""
    order: dict[str, object] = {
        "issuer": ca.authority.subject_der,
        "issuer_key_id": ca.authority.key_id,
        "number": 7,
        "this_update": NOON,
        "next_update": NOON + HOUR,
        "distribution_uri": URI,
        "entries": entries(),
    }
    return crl_lint.ExpectedCrl(**(order | changes))  # type: ignore[arg-type]


NOT_ORDERED = "the entries are not those that were ordered"
OTHER_KEY = x509.AuthorityKeyIdentifier(b"another key", None, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            set_field("issuer", schema.decode(asn1.TLV, b"\x30\x00", what="name")),
            "issuer: it is not the subject",
            id="issuer",
        ),
        pytest.param(
            set_field("this_update", asn1.UTCTime(NOON - HOUR)), "thisUpdate: it is", id="earlier"
        ),
        pytest.param(
            set_field("next_update", asn1.UTCTime(NOON + 2 * HOUR)), "nextUpdate: it is", id="later"
        ),
        pytest.param(
            set_field("next_update", asn1.UTCTime(NOON)), "it is not after thisUpdate", id="none"
        ),
        pytest.param(
            set_field("next_update", asn1.GeneralizedTime(NOON + HOUR)),
            "2026 is encoded as GeneralizedTime",
            id="generalized",
        ),
        pytest.param(put(x509.CRLNumber(8)), "cRLNumber: it is 8, but 7", id="number"),
        pytest.param(
            put(x509.CRLNumber(7), critical=True), "crlExtensions: they are", id="number-critical"
        ),
        pytest.param(put(x509.FreshestCRL([])), "crlExtensions: they are", id="freshest"),
        pytest.param(put(OTHER_KEY), "authorityKeyIdentifier: it is not", id="aki"),
        pytest.param(drop(x509.IssuingDistributionPoint.oid), "crlExtensions", id="no-point"),
        pytest.param(
            put(
                point(name=x509.UniformResourceIdentifier("http://a.example/0.crl")), critical=True
            ),
            "does not name",
            id="other-uri",
        ),
        pytest.param(put(point(user=False), critical=True), "about leaves only", id="not-user"),
        pytest.param(
            put(point(user=False, ca=True), critical=True), "about leaves only", id="only-ca"
        ),
        pytest.param(swap_entries, NOT_ORDERED, id="order"),
        pytest.param(drop_entry, NOT_ORDERED, id="entry-missing"),
        pytest.param(first_serial(5), NOT_ORDERED, id="other-serial"),
        pytest.param(entry_with(extension(REASON, b"\x0a\x01\x01")), NOT_ORDERED, id="reason"),
        pytest.param(
            set_field("revoked_certificates", None),
            "revokedCertificates: it is missing",
            id="no-entries",
        ),
    ],
)
def test_the_lint_sees_what_was_not_ordered(
    change: Callable[[TbsCertList], object], message: str, ca: ThrowawayCA
) -> None:
    """Each field that differs from the order is a fault, and a list as ordered has none."""
    good = make(ca, entries())
    assert crl_lint.crl_faults(retold(good, lambda _: None), expected(ca)) == ()
    faults = crl_lint.crl_faults(retold(good, change), expected(ca))
    assert any(message in fault for fault in faults), faults


def test_the_lint_wants_the_key_identifier_alone(ca: ThrowawayCA) -> None:
    """An authorityKeyIdentifier that names a certificate as well was not ordered."""
    name = [x509.DirectoryName(ca.intermediate.certificate.issuer)]
    change = put(x509.AuthorityKeyIdentifier(ca.authority.key_id, name, 5))
    faults = crl_lint.crl_faults(retold(make(ca, entries()), change), expected(ca))
    assert faults == (
        "authorityKeyIdentifier: it is not the key identifier of the authority alone",
    )


def test_the_lint_looks_at_what_was_ordered(ca: ThrowawayCA) -> None:
    """An order out of its order, with a serial twice, or with a hold, is a fault itself."""
    hold = CrlEntry(SerialNumber(1000), NOON, RevocationReason.CERTIFICATE_HOLD)
    tbs = retold(make(ca, entries(1)), entry_with(extension(REASON, b"\x0a\x01\x06")))
    faults = crl_lint.crl_faults(tbs, expected(ca, entries=[hold]))
    assert faults == ("revokedCertificates: the reason certificateHold is not final",)
    for change, order in (
        (swap_entries, [entries()[at] for at in (1, 0, 2)]),
        (repeat_entry, [entries()[at] for at in (0, 1, 2, 0)]),
    ):
        faults = crl_lint.crl_faults(
            retold(make(ca, entries()), change), expected(ca, entries=order)
        )
        assert faults == ("revokedCertificates: the serial numbers do not ascend",)


def test_an_empty_order_has_no_entries(ca: ThrowawayCA) -> None:
    """Entries that were not ordered at all are a fault."""
    tbs = retold(make(ca, entries()), lambda _: None)
    assert crl_lint.crl_faults(tbs, expected(ca, entries=[])) == (
        "revokedCertificates: there are entries, and none was ordered",
    )


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param(asn1.encode_der(asn1.UTCTime(NOON + HOUR)), id="other-time"),
        pytest.param(asn1.encode_der(asn1.GeneralizedTime(NOON)), id="other-encoding"),
        pytest.param(
            asn1.encode_der(asn1.UTCTime(NOON)) + bytes.fromhex("300c300a0603551d1504030a0101"),
            id="reason",
        ),
    ],
)
def test_an_entry_is_linted_when_it_is_made(rest: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slip in the encoding by hand shows before the entry stands in any list."""
    monkeypatch.setattr("agentid.pki.crl_entry._rest", lambda *_: rest)
    with pytest.raises(InternalError, match="CRL entry of 05 fails the lint"):
        CrlEntry(SerialNumber(5), NOON)


def test_what_fails_the_lint_is_not_signed(
    ca: ThrowawayCA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`make_crl` asks the lint."""
    monkeypatch.setattr("agentid.pki.crl.crl_faults", lambda *_: ("it is Sunday",))
    with pytest.raises(InternalError, match=r"CRL of example\.org fails the lint: it is Sunday"):
        make(ca)


def test_a_list_that_is_too_long_is_not_looked_at() -> None:
    """8 MiB are read and not one byte more."""
    with pytest.raises(InputError, match="at most 8388608 are read"):
        read_crl(bytes(MAX_CRL_BYTES + 1))


def test_an_altered_list_is_refused(ca: ThrowawayCA) -> None:
    """A list with one entry less has a signature that does not verify."""
    signed = schema.decode(SignedCertList, make(ca, entries()), what="CRL")
    signed.tbs_cert_list = schema.decode(
        asn1.TLV, retold(make(ca, entries()), drop_entry), what="CRL"
    )
    with pytest.raises(InputError, match="its signature does not verify"):
        verify_crl(read_crl(asn1.encode_der(signed)), ca.authority.certificate)
    signed.signature_algorithm = schema.decode(asn1.TLV, b"\x30\x00", what="algorithm")
    with pytest.raises(InputError, match="algorithm inside the signed part is not the one outside"):
        read_crl(asn1.encode_der(signed))


def test_every_octet_of_a_list_is_protected(ca: ThrowawayCA) -> None:
    """No bit of a list can be altered without the reader or the signature noticing.

    The signature ends with a zero bit, which could be left out of its count of bits.
    """
    made = (make(ca, entries(1), number=number) for number in range(64))
    good = next(each for each in made if each[-1] % 2 == 0)
    for at in range(len(good)):
        for bit in range(8):
            altered = good[:at] + bytes((good[at] ^ 1 << bit,)) + good[at + 1 :]
            with pytest.raises(InputError):
                verify_crl(read_crl(altered), ca.authority.certificate)


def test_a_list_of_another_key_is_refused(ca: ThrowawayCA) -> None:
    """The same name with another key is another authority."""
    name = ca.intermediate.certificate.subject
    other = ca.key("another")
    forged = (
        x509.CertificateRevocationListBuilder(name, NOON, NOON + HOUR)
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(OTHER_KEY, critical=False)
    )
    with pytest.raises(InputError, match="names another key of its issuer"):
        verify_crl(
            read_crl(forged.sign(other, None).public_bytes(Encoding.DER)), ca.authority.certificate
        )


def test_a_leaf_signs_no_list(ca: ThrowawayCA) -> None:
    """RFC 5280 §6.3.3 (f): keyUsage of the issuer must allow it."""
    issued = ca.issue()
    leaf = issued.leaf.certificate
    key_id = leaf.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    forged = (
        x509.CertificateRevocationListBuilder(leaf.subject, NOON, NOON + HOUR)
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(key_id, None, None), critical=False)
        .sign(issued.private_key, None)
    )
    with pytest.raises(InputError, match="lacks cRLSign"):
        verify_crl(read_crl(forged.public_bytes(Encoding.DER)), leaf)


def test_a_weak_hash_is_refused() -> None:
    """A list signed with SHA-224 verifies and is refused all the same."""
    ca = ThrowawayCA(algorithm=KeyAlgorithm.ECDSAP256)
    weak = (
        x509.CertificateRevocationListBuilder(
            ca.intermediate.certificate.subject, NOON, NOON + HOUR
        )
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(ca.authority.authority_key_identifier, critical=False)
        .sign(ca.intermediate.private_key, hashes.SHA224())
    )
    with pytest.raises(InputError, match="signed with sha224"):
        verify_crl(read_crl(weak.public_bytes(Encoding.DER)), ca.authority.certificate)


@pytest.mark.parametrize(
    ("seconds", "message"),
    [
        pytest.param(-1, "in force from 2026-11-01T12:00:00", id="before"),
        pytest.param(0, None, id="first"),
        pytest.param(3599, None, id="last"),
        pytest.param(3600, "successor was due at 2026-11-01T13:00:00", id="overdue"),
    ],
)
def test_a_list_is_in_force_from_this_to_next_update(
    seconds: int, message: str | None, ca: ThrowawayCA
) -> None:
    """The list counts from thisUpdate on, and no longer once its successor is due."""
    view, at = read_crl(make(ca)), NOON + timedelta(seconds=seconds)
    if message is None:
        view.require_current(at)
        return
    with pytest.raises(InputError, match=message):
        view.require_current(at)


def test_a_shard_answers_for_its_own_leaves_only(ca: ThrowawayCA) -> None:
    """A certificate that names another distribution point, or none, is not found good here."""
    view = read_crl(make(ca))
    view.require_covers(URI)
    other = URI.replace("/3.crl", "/4.crl")
    with pytest.raises(
        InputError, match=r"names \"\.\.\.er\.agentid-system\.svc/crl/0011223344556677/4\.crl\""
    ):
        view.require_covers(other)
    with pytest.raises(InputError, match="the certificate names no distribution point"):
        view.require_covers(None)
    authorities = read_tbs_crl(
        retold(make(ca), put(point(name=None, user=False, ca=True), critical=True))
    )
    with pytest.raises(InputError, match="certificates of authorities only"):
        authorities.require_covers(URI)


def test_entries_are_values() -> None:
    """Two entries that say the same are the same, and a `repr` shows no bytes."""
    first, second = (CrlEntry(SerialNumber(5), NOON) for _ in range(2))
    assert first == second
    assert len({first, second}) == 1
    assert "der" not in repr(first)
    assert cast("object", first.der) == second.der
