"""Paths with one defect each, and OpenSSL's opinion of the same."""

from __future__ import annotations

import ipaddress
import subprocess
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose
from cryptography.x509.oid import NameOID, ObjectIdentifier

from agentid.errors import InputError, VerificationError
from agentid.errors import VerificationReason as R
from agentid.pki import KeyAlgorithm, generate
from agentid.pki.name_constraints import read_constraints
from agentid.pki.path import Path, PathCertificate, PathRules, find_paths
from agentid.testing.ca import ThrowawayCA
from tests.support.chains import NOW, URI, Entity, authority, leaf, name

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

SECOND = timedelta(seconds=1)
CLIENT = PathRules(purposes=frozenset({"1.3.6.1.5.5.7.3.2"}))
UNKNOWN = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.99999.7"), b"\x05\x00")


def parsed(entity: Entity, what: str = "certificate") -> PathCertificate:
    """As path validation reads it."""
    return PathCertificate.parse(entity.der, what=what)


def find(chain: list[Entity], anchors: list[Entity], rules: PathRules = CLIENT) -> tuple[Path, ...]:
    """The paths of a chain."""
    return find_paths([parsed(each) for each in chain], [parsed(each) for each in anchors], rules)


def validate(chain: list[Entity], anchors: list[Entity]) -> None:
    """Accept a chain at the present; raises as `find_paths` and `check_time` do."""
    for path in find(chain, anchors):
        path.check_time(NOW)


def openssl(folder: pathlib.Path, chain: list[Entity], anchors: list[Entity]) -> str:
    """What `openssl verify` says on its standard error; nothing if it accepts."""
    (folder / "anchors.pem").write_bytes(b"".join(each.pem for each in anchors))
    (folder / "chain.pem").write_bytes(b"".join(each.pem for each in chain))
    (folder / "leaf.pem").write_bytes(chain[0].pem)
    command = "openssl verify -x509_strict -purpose sslclient -CAfile anchors.pem -untrusted"
    result = subprocess.run(
        [*command.split(), "chain.pem", "-attime", str(int(NOW.timestamp())), "leaf.pem"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode == 0) == (result.stderr == "")
    return result.stderr


def uris(*hosts: str) -> list[x509.GeneralName]:
    """Bases of URI subtrees."""
    return [x509.UniformResourceIdentifier(host) for host in hosts]


def permit(*bases: x509.GeneralName) -> tuple[x509.ExtensionType, bool]:
    """Name constraints that permit these subtrees."""
    return x509.NameConstraints(list(bases), None), True


def exclude(*bases: x509.GeneralName) -> tuple[x509.ExtensionType, bool]:
    """Name constraints that exclude these."""
    return x509.NameConstraints(None, list(bases)), True


def purposes(*oids: ObjectIdentifier) -> tuple[x509.ExtensionType, bool]:
    """An extended key usage."""
    return x509.ExtendedKeyUsage(list(oids)), False


ROOT = authority("root")
OTHER_ROOT = authority("other root")
ISSUING = authority("issuing", ROOT, path_length=0)
FINANCE = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Finance")


@dataclass(frozen=True)
class Case:
    """A chain, leaf first, under the root; refused for a reason, or good."""

    chain: Callable[[], list[Entity]]
    reason: R | None = None
    match: str = ""
    openssl: bool | None = None  # whether OpenSSL accepts it; None: as we do
    why: str = ""  # the reason of the difference


def under(
    *extra: tuple[x509.ExtensionType, bool],
    names: tuple[x509.GeneralName, ...] = (x509.UniformResourceIdentifier(URI),),
    subject: x509.Name | str = "reader",
) -> Callable[[], list[Entity]]:
    """A leaf with these names under an intermediate with these extensions."""

    def build() -> list[Entity]:
        issuing = authority("issuing", ROOT, *extra)
        return [leaf(issuing, names=names, subject=subject), issuing]

    return build


def of_depth(*path_lengths: int | None) -> Callable[[], list[Entity]]:
    """A leaf under intermediates with these path lengths, the uppermost first."""

    def build() -> list[Entity]:
        chain: list[Entity] = []
        above = ROOT
        for at, path_length in enumerate(path_lengths):
            above = authority(f"level {at}", above, path_length=path_length)
            chain.insert(0, above)
        return [leaf(above), *chain]

    return build


def self_issued() -> list[Entity]:
    """A path length of 0 with a self-issued certificate below, which does not count."""
    old = authority("issuing", ROOT, path_length=0)
    new = authority("issuing", old, key=ThrowawayCA().key("new"))
    return [leaf(new), new, old]


def forged_leaf() -> list[Entity]:
    """Signed by somebody else in the name of the intermediate."""
    return [leaf(ISSUING, signer=ThrowawayCA().key("forger")), ISSUING]


def forged_intermediate() -> list[Entity]:
    """Signed by somebody else in the name of the root."""
    forged = authority("issuing", ROOT, signer=ThrowawayCA().key("forger"))
    return [leaf(forged), forged]


def small_rsa() -> list[Entity]:
    """A leaf whose key has 2048 bits."""
    return [leaf(ISSUING, key=rsa.generate_private_key(65537, 2048)), ISSUING]


def dns(text: str) -> x509.DNSName:
    """A DNS name, or the base of a subtree of them."""
    return x509.DNSName(text)


def net(text: str) -> x509.IPAddress:
    """The base of a subtree of addresses."""
    return x509.IPAddress(ipaddress.ip_network(text))


def ip(text: str) -> x509.IPAddress:
    """An address."""
    return x509.IPAddress(ipaddress.ip_address(text))


def mail(text: str) -> x509.RFC822Name:
    """An e-mail address, or the base of a subtree of them."""
    return x509.RFC822Name(text)


def directory(*organizations: str) -> x509.DirectoryName:
    """A directory name of organizations, or the base of a subtree of them."""
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in organizations]
    return x509.DirectoryName(x509.Name(attributes))


OUTSIDE = "is not permitted by the name constraints"
EXCLUDED = "is excluded by the name constraints"

CASES = {
    "direct": Case(lambda: [leaf(ROOT)]),
    "intermediate": Case(lambda: [leaf(ISSUING), ISSUING]),
    "root-sent-along": Case(lambda: [leaf(ISSUING), ISSUING, ROOT]),
    "no-intermediate": Case(lambda: [leaf(ISSUING)], R.UNTRUSTED_ROOT, "leads to no authority"),
    "other-root": Case(
        lambda: [leaf(OTHER_ROOT)], R.UNTRUSTED_ROOT, "the leaf was issued by somebody else"
    ),
    "self-signed-leaf": Case(
        lambda: [leaf(Entity(ISSUING.certificate, ISSUING.key), subject="issuing")],
        R.UNTRUSTED_ROOT,
        "leads to no authority",
    ),
    "wrong-order": Case(
        lambda: [leaf(ISSUING), ROOT, ISSUING],
        R.BROKEN_CHAIN,
        "certificate 1 of the chain does not name certificate 2 as its issuer",
        openssl=True,
        why="OpenSSL sorts the chain; a chain is leaf first here",
    ),
    "forged-leaf": Case(forged_leaf, R.BAD_SIGNATURE, "leaf: its signature is not one of its"),
    "forged-intermediate": Case(forged_intermediate, R.BAD_SIGNATURE, "intermediate 1: its sig"),
    "leaf-of-a-leaf": Case(
        lambda: [leaf(leaf(ROOT, subject="between")), leaf(ROOT, subject="between")],
        R.NOT_AN_AUTHORITY,
        "intermediate 1: it signed a certificate and is not a CA",
    ),
    "may-not-sign": Case(
        lambda: [
            leaf(authority("issuing", ROOT, usage=("crl_sign",))),
            authority("issuing", ROOT, usage=("crl_sign",)),
        ],
        R.NOT_AN_AUTHORITY,
        "its keyUsage does not allow",
    ),
    "path-length": Case(of_depth(1, 0)),
    "path-length-exceeded": Case(
        of_depth(0, None), R.PATH_TOO_LONG, "allows 0 authorities below it, and 1 are there"
    ),
    "path-length-not-widened": Case(of_depth(1, 5, None), R.PATH_TOO_LONG, "allows 1"),
    "self-issued": Case(self_issued),
    "unknown-critical-leaf": Case(
        lambda: [leaf(ISSUING, (UNKNOWN, True)), ISSUING],
        R.UNKNOWN_CRITICAL,
        r"leaf: the critical extension 1\.3\.6\.1\.4\.1\.99999\.7 is not understood",
    ),
    "unknown-critical-intermediate": Case(under((UNKNOWN, True)), R.UNKNOWN_CRITICAL, "mediate 1"),
    "unknown-not-critical": Case(under((UNKNOWN, False))),
    "no-rev-avail-critical": Case(
        lambda: [
            leaf(
                ISSUING,
                (x509.UnrecognizedExtension(ObjectIdentifier("2.5.29.56"), b"\x05\x00"), True),
            ),
            ISSUING,
        ],
        R.UNKNOWN_CRITICAL,
        r"2\.5\.29\.56",
    ),
    "expired-leaf": Case(
        lambda: [leaf(ISSUING, not_after=NOW - SECOND), ISSUING], R.EXPIRED, "leaf: it expired at"
    ),
    "future-leaf": Case(
        lambda: [leaf(ISSUING, not_before=NOW + SECOND), ISSUING], R.NOT_YET_VALID, "check the cl"
    ),
    "expired-intermediate": Case(
        lambda: [
            leaf(authority("old", ROOT, not_after=NOW - SECOND)),
            authority("old", ROOT, not_after=NOW - SECOND),
        ],
        R.EXPIRED,
        "intermediate 1: it expired",
    ),
    "small-rsa": Case(
        small_rsa,
        R.WEAK_KEY,
        "has 2048 bits; 3072 to 8192 are accepted",
        openssl=True,
        why="OpenSSL asks for more only at a higher security level",
    ),
    "purpose": Case(under(purposes(Purpose.CLIENT_AUTH))),
    "any-purpose": Case(
        under(purposes(Purpose.ANY_EXTENDED_KEY_USAGE)),
        openssl=False,
        why="OpenSSL does not take anyExtendedKeyUsage for a purpose of TLS",
    ),
    "other-purpose": Case(
        under(purposes(Purpose.CODE_SIGNING)),
        R.WRONG_PURPOSE,
        r"does not allow it to sign for the purpose 1\.3\.6\.1\.5\.5\.7\.3\.2",
    ),
    "uri-host": Case(under(permit(*uris("example.org")))),
    "uri-other-host": Case(
        under(permit(*uris("example.com"))), R.NAME_CONSTRAINT, f'"{URI}" {OUTSIDE}'
    ),
    "uri-one-of-two": Case(under(permit(*uris("example.com", "example.org")))),
    "uri-parent-domain": Case(under(permit(*uris("org"))), R.NAME_CONSTRAINT, OUTSIDE),
    "uri-beneath": Case(under(permit(*uris(".org")))),
    "uri-not-itself": Case(under(permit(*uris(".example.org"))), R.NAME_CONSTRAINT, OUTSIDE),
    "uri-excluded": Case(under(exclude(*uris("example.org"))), R.NAME_CONSTRAINT, EXCLUDED),
    "uri-excluded-other": Case(under(exclude(*uris("example.com")))),
    "uri-without-host": Case(
        under(permit(*uris("example.org")), names=tuple(uris("urn:example:agent"))),
        R.NAME_CONSTRAINT,
        "has no host name that could be held",
    ),
    "uri-with-user-and-port": Case(
        under(permit(*uris("example.org")), names=tuple(uris("https://example.com@evil.org:8/"))),
        R.NAME_CONSTRAINT,
        OUTSIDE,
    ),
    "uri-with-address": Case(
        under(permit(*uris("10.0.0.1")), names=tuple(uris("https://10.0.0.1/"))),
        R.NAME_CONSTRAINT,
        "has an address in place of the host name",
        openssl=True,
        why="RFC 5280 §4.2.1.10 wants it refused; OpenSSL 3.0 compares the text",
    ),
    "dns-beneath": Case(under(permit(dns("example.org")), names=(dns("a.b.example.org"),))),
    "dns-itself": Case(under(permit(dns("example.org")), names=(dns("EXAMPLE.org"),))),
    "dns-not-a-suffix": Case(
        under(permit(dns("example.org")), names=(dns("badexample.org"),)),
        R.NAME_CONSTRAINT,
        OUTSIDE,
    ),
    "dns-beneath-only": Case(
        under(permit(dns(".example.org")), names=(dns("a.example.org"),)),
        R.NAME_CONSTRAINT,
        "is held against a name constraint that is no DNS name",
        openssl=True,
        why="RFC 5280 has no such constraint on DNS names; verifiers differ on what it means",
    ),
    "dns-excluded-all": Case(
        under(exclude(dns("")), names=(dns("a.org"),)), R.NAME_CONSTRAINT, EXCLUDED
    ),
    "dns-wildcard-reaches-excluded": Case(
        under(exclude(dns("secret.example.org")), names=(dns("*.example.org"),)),
        R.NAME_CONSTRAINT,
        EXCLUDED,
        openssl=True,
        why="OpenSSL takes the wildcard for a label",
    ),
    "other-form-is-free": Case(under(permit(*uris("example.org")), names=(dns("a.org"),))),
    "address-inside": Case(under(permit(net("10.0.0.0/8")), names=(ip("10.9.8.7"),))),
    "address-outside": Case(
        under(permit(net("10.0.0.0/8")), names=(ip("11.0.0.1"),)),
        R.NAME_CONSTRAINT,
        rf"iPAddress 11\.0\.0\.1 {OUTSIDE}",
    ),
    "address-of-other-family": Case(
        under(permit(net("10.0.0.0/8")), names=(ip("::1"),)), R.NAME_CONSTRAINT, OUTSIDE
    ),
    "address-excluded": Case(
        under(exclude(net("::/0")), names=(ip("::1"),)), R.NAME_CONSTRAINT, EXCLUDED
    ),
    "mail-of-host": Case(under(permit(mail("example.org")), names=(mail("a@Example.org"),))),
    "mail-of-other-host": Case(
        under(permit(mail("example.org")), names=(mail("a@b.example.org"),)),
        R.NAME_CONSTRAINT,
        OUTSIDE,
    ),
    "mail-beneath": Case(under(permit(mail(".example.org")), names=(mail("a@b.example.org"),))),
    "mailbox": Case(under(permit(mail("a@example.org")), names=(mail("a@example.org"),))),
    "other-mailbox": Case(
        under(permit(mail("a@example.org")), names=(mail("A@example.org"),)),
        R.NAME_CONSTRAINT,
        OUTSIDE,
    ),
    "mail-with-two-signs": Case(
        under(
            permit(mail("example.org")),
            names=(x509.RFC822Name._init_without_validation("a@b@example.org"),),
        ),
        R.NAME_CONSTRAINT,
        "is no e-mail address that could be held",
        openssl=True,
        why="OpenSSL 3.0 looks at the last one",
    ),
    "mail-in-subject": Case(
        under(
            exclude(mail("example.org")),
            subject=name("x", x509.NameAttribute(NameOID.EMAIL_ADDRESS, "a@example.org")),
        ),
        R.NAME_CONSTRAINT,
        EXCLUDED,
    ),
    "directory": Case(under(permit(directory("finance")), subject=name("reader", FINANCE))),
    "directory-outside": Case(
        under(permit(directory("Sales")), subject=name("reader", FINANCE)),
        R.NAME_CONSTRAINT,
        OUTSIDE,
    ),
    "directory-excluded": Case(
        under(exclude(directory("FINANCE")), subject=name("reader", FINANCE)),
        R.NAME_CONSTRAINT,
        EXCLUDED,
    ),
    "directory-in-names": Case(
        under(exclude(directory("Finance")), names=(*uris(URI), directory("Finance", "x"))),
        R.NAME_CONSTRAINT,
        EXCLUDED,
    ),
    "form-nobody-supports": Case(
        under(
            permit(x509.RegisteredID(ObjectIdentifier("1.2.3"))),
            names=(x509.RegisteredID(ObjectIdentifier("1.2.3")),),
        ),
        R.NAME_CONSTRAINT,
        "a registeredID is constrained by an authority above in a way that is not supported",
    ),
    "form-nobody-supports-unused": Case(
        under(permit(x509.RegisteredID(ObjectIdentifier("1.2.3"))))
    ),
}


@pytest.mark.parametrize("case", [pytest.param(case, id=key) for key, case in CASES.items()])
def test_a_path_is_accepted_or_refused_by_name(case: Case) -> None:
    """Each defect alone, with its reason."""
    chain = case.chain()
    if case.reason is None:
        validate(chain, [ROOT])
        return
    with pytest.raises(VerificationError, match=case.match) as refused:
        validate(chain, [ROOT])
    assert refused.value.reason is case.reason


@pytest.mark.parametrize("case", [pytest.param(case, id=key) for key, case in CASES.items()])
def test_openssl_says_the_same(case: Case, tmp_path: pathlib.Path) -> None:
    """The verdict of `openssl verify -x509_strict`, but where the table says why not."""
    accepted = openssl(tmp_path, case.chain(), [ROOT]) == ""
    assert accepted == (case.reason is None if case.openssl is None else case.openssl)
    assert (case.openssl is None) == (case.why == "")


def test_constraints_of_every_authority_hold() -> None:
    """What one permits, another above it does not make good."""
    upper = authority("upper", ROOT, permit(*uris(".org")))
    lower = authority("lower", upper, permit(*uris("example.com")))
    with pytest.raises(VerificationError, match="is not permitted"):
        find([leaf(lower), lower, upper], [ROOT])


def test_constraints_hold_for_authorities_too(tmp_path: pathlib.Path) -> None:
    """An intermediate whose own name is outside is refused, whatever its leaf is called."""
    upper = authority("upper", ROOT, permit(*uris("example.org")))
    own = x509.SubjectAlternativeName(uris("spiffe://example.com"))
    lower = authority("lower", upper, (own, False))
    chain = [leaf(lower), lower, upper]
    with pytest.raises(VerificationError, match=r"intermediate 1: .* is not permitted"):
        find(chain, [ROOT])
    assert "permitted subtree violation" in openssl(tmp_path, chain, [ROOT])


def test_a_signature_over_a_weak_hash_is_refused() -> None:
    """Whatever the key; SHA-1 can be collided, and SHA-224 nobody needs."""
    root = authority("root", key=generate(KeyAlgorithm.ECDSAP256))
    with pytest.raises(VerificationError, match="leaf: it is signed over sha224") as refused:
        find([leaf(root, digest=hashes.SHA224())], [root])
    assert refused.value.reason is R.WEAK_KEY


def test_the_reason_is_that_of_the_shortest_path() -> None:
    """What comes behind it in the chain matters less."""
    forged = leaf(ROOT, signer=ThrowawayCA().key("forger"))
    with pytest.raises(VerificationError) as refused:
        find([forged, OTHER_ROOT], [ROOT])
    assert refused.value.reason is R.BAD_SIGNATURE


def test_the_trust_anchor_is_bound_by_what_it_says() -> None:
    """Its constraints, path length and validity count, as OpenSSL has it."""
    root = authority("bound", None, permit(*uris("example.com")), path_length=0)
    with pytest.raises(VerificationError, match="is not permitted"):
        find([leaf(root)], [root])
    issuing = authority("issuing", root)
    with pytest.raises(VerificationError, match="trust anchor: its path length allows 0"):
        find([leaf(issuing), issuing], [root])
    (path,) = find([leaf(ROOT)], [ROOT])
    with pytest.raises(VerificationError, match="leaf: it expired"):
        path.check_time(NOW + timedelta(days=1) + SECOND)


def test_the_whole_last_second_counts() -> None:
    """RFC 5280 §4.1.2.5: notAfter is inclusive."""
    (path,) = find([leaf(ROOT, not_after=NOW)], [ROOT])
    path.check_time(NOW + timedelta(microseconds=999_999))
    with pytest.raises(VerificationError, match="it expired at"):
        path.check_time(NOW + SECOND)
    path.check_time(NOW - timedelta(days=1))


def test_a_cross_certificate_serves_the_old_root_and_the_new() -> None:
    """In a rotation of roots the same chain leads to either."""
    old, new = authority("old root"), authority("new root")
    cross = authority("new root", old)
    issuing = authority("issuing", new)
    chain = [leaf(issuing), issuing, cross]
    assert [len(path.certificates) for path in find(chain, [new])] == [2]
    assert [len(path.certificates) for path in find(chain, [old])] == [3]
    assert [len(path.certificates) for path in find(chain, [old, new])] == [2, 3]


def test_of_two_roots_with_one_name_the_right_one_is_taken() -> None:
    """By key identifier."""
    twin = authority("root", key=ThrowawayCA().key("twin"))
    for anchors in ([ROOT, twin], [twin, ROOT]):
        (path,) = find([leaf(ROOT)], anchors)
        assert path.anchor.der == ROOT.der


def test_without_key_identifiers_every_root_with_the_name_is_tried() -> None:
    """Names alone do for a chain of others."""
    key = ThrowawayCA().key("twin")
    twins = [authority("root", key_ids=False), authority("root", key_ids=False, key=key)]
    (path,) = find([leaf(twins[1], key_ids=False)], twins)
    assert path.anchor.der == twins[1].der


@pytest.mark.parametrize("algorithm", list(KeyAlgorithm))
def test_every_algorithm_that_agentid_issues_verifies(algorithm: KeyAlgorithm) -> None:
    """From ECDSA to ML-DSA."""
    ca = ThrowawayCA(algorithm=algorithm)
    chain = [ca.issue().leaf.certificate, ca.intermediate.certificate]
    root = PathCertificate.of(ca.root.certificate, what="root")
    paths = find_paths([PathCertificate.of(each, what="x") for each in chain], [root], PathRules())
    assert len(paths) == 1


def test_a_key_of_another_kind_than_the_signature_is_a_bad_signature() -> None:
    """An ECDSA signature under a root whose key is RSA, of the same name."""
    ec_key, rsa_key = generate(KeyAlgorithm.ECDSAP256), generate(KeyAlgorithm.RSA3072)
    signed = authority("root", key=ec_key, key_ids=False)
    shown = authority("root", key=rsa_key, key_ids=False)
    with pytest.raises(VerificationError, match="signature is not one of its issuer") as refused:
        find([leaf(signed, key_ids=False)], [shown])
    assert refused.value.reason is R.BAD_SIGNATURE


def test_a_curve_that_is_said_by_its_parameters_is_refused(tmp_path: pathlib.Path) -> None:
    """RFC 5480 §2.1.1; with parameters of one's own a key passes for another's (CVE-2020-0601)."""
    parameters = "-pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit"
    subprocess.run(
        f"openssl req -x509 -newkey ec {parameters} -nodes -keyout key -out root -subj /CN=root "
        "-outform DER".split(),
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    with pytest.raises(InputError, match="its key is not one on a named curve, uncompressed"):
        PathCertificate.parse((tmp_path / "root").read_bytes(), what="root")


def test_nothing_is_believed_that_nobody_signed() -> None:
    """A forged intermediate is called forged, whatever else is wrong with it."""
    forged = authority(
        "issuing", ROOT, (UNKNOWN, True), ca=False, signer=ThrowawayCA().key("forger")
    )
    with pytest.raises(VerificationError, match="intermediate 1: its signature"):
        find([leaf(forged), forged], [ROOT])


def test_too_many_names_are_refused_before_they_are_compared() -> None:
    """Sixteen kilobytes of names under as many constraints would take minutes."""
    upper = authority("upper", ROOT, permit(*(uris(*(f"a{n}" for n in range(400))))))
    many = leaf(upper, names=[*uris(*(f"s://a{n}/" for n in range(400)))])
    with pytest.raises(VerificationError, match="401 names and 400 subtrees are too many"):
        find([many, upper], [ROOT])


@pytest.mark.parametrize(
    ("value", "match"),
    [
        pytest.param("3000", "nameConstraints: it is empty", id="empty"),
        pytest.param("300ca00a30088203612e62800101", "has a minimum or maximum", id="minimum"),
        pytest.param("3009a0073005020361_2e62".replace("_", ""), "the tag 02 is none", id="tag"),
        pytest.param("0500", "nameConstraints does not parse", id="null"),
    ],
)
def test_malformed_constraints_are_refused(value: str, match: str) -> None:
    """With the words of the fault."""
    with pytest.raises(InputError, match=match):
        read_constraints(bytes.fromhex(value))


def test_no_chain_at_all_leads_nowhere() -> None:
    """An empty list, and an empty bundle."""
    for chain, anchors in (([], [ROOT]), ([leaf(ROOT)], [])):
        with pytest.raises(VerificationError, match="leads to no authority of the bundle"):
            find(chain, anchors)
