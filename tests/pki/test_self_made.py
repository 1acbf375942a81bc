"""Roots and intermediates of our own."""

from __future__ import annotations

import ipaddress
from datetime import timedelta

import pytest
from cryptography import x509

from agentid.errors import InputError
from agentid.identity import TrustDomain, Validity
from agentid.pki import make_intermediate, make_root
from agentid.pki.assemble import distribution_points, information_access
from agentid.testing.ca import NOON, ThrowawayCA

CA = ThrowawayCA()
DAY = Validity.of(NOON, timedelta(days=1), timedelta(0))


def extensions(certificate: x509.Certificate) -> dict[str, tuple[bool, x509.ExtensionType]]:
    """Criticality and value by name."""
    return {each.oid._name: (each.critical, each.value) for each in certificate.extensions}


USAGE = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
SPIFFE_ID = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://example.org")])


def test_a_root_says_what_a_root_must_say_and_no_more() -> None:
    """Each extension, with its criticality."""
    found = extensions(CA.root.certificate)
    key_id = found.pop("subjectKeyIdentifier")
    assert key_id[0] is False
    assert found == {
        "basicConstraints": (True, x509.BasicConstraints(ca=True, path_length=None)),
        "keyUsage": (True, USAGE),
        "subjectAltName": (False, SPIFFE_ID),
    }
    assert CA.root.certificate.issuer == CA.root.certificate.subject


def test_an_intermediate_may_say_where_it_would_be_revoked() -> None:
    """The CRL of the root, and the root's certificate; malformed URIs are refused."""

    def made(**uris: str) -> dict[str, tuple[bool, x509.ExtensionType]]:
        return extensions(
            make_intermediate(
                CA.root, CA.trust_domain, CA.key("b"), DAY, CA.serial(), **uris
            ).certificate
        )

    crl, ca = "http://a.example/crl/0/root.crl", "http://a.example/ca/0.crt"
    found = made(crl_uri=crl, ca_issuers_uri=ca)
    points, access = found["cRLDistributionPoints"], found["authorityInfoAccess"]
    assert points == (False, distribution_points(crl))
    assert access == (False, information_access(None, ca))
    assert {"cRLDistributionPoints", "authorityInfoAccess"}.isdisjoint(made())
    for name in ("crl_uri", "ca_issuers_uri"):
        with pytest.raises(InputError, match=r"URI: .* is not an http or https URI"):
            made(**{name: "ldap://a"})


def test_an_intermediate_is_constrained() -> None:
    """Leaves only, URIs of the trust domain only, no DNS name and no address; every policy."""
    found = extensions(CA.intermediate.certificate)
    found.pop("subjectKeyIdentifier")
    root_id = extensions(CA.root.certificate)["subjectKeyIdentifier"][1]
    assert isinstance(root_id, x509.SubjectKeyIdentifier)
    assert found == {
        "basicConstraints": (True, x509.BasicConstraints(ca=True, path_length=0)),
        "keyUsage": (True, USAGE),
        "subjectAltName": (False, SPIFFE_ID),
        "authorityKeyIdentifier": (False, x509.AuthorityKeyIdentifier(root_id.digest, None, None)),
        "nameConstraints": (
            True,
            x509.NameConstraints(
                [x509.UniformResourceIdentifier("example.org")],
                [
                    x509.DNSName(""),
                    x509.IPAddress(ipaddress.ip_network("0.0.0.0/0")),
                    x509.IPAddress(ipaddress.ip_network("::/0")),
                ],
            ),
        ),
        "certificatePolicies": (
            False,
            x509.CertificatePolicies(
                [x509.PolicyInformation(x509.ObjectIdentifier("2.5.29.32.0"), None)]
            ),
        ),
    }


def test_each_authority_has_a_name_of_its_own() -> None:
    """Two roots of one trust domain are told apart by name, as rotation needs."""
    names = {
        make_root(CA.trust_domain, CA.key("root"), DAY, CA.serial()).certificate.subject
        for _ in range(3)
    }
    assert len(names) == 3


def test_an_intermediate_never_outlives_its_root() -> None:
    """Nor does it begin before it."""
    root = make_root(CA.trust_domain, CA.key("root"), DAY, CA.serial())
    second = timedelta(seconds=1)
    for validity in (
        Validity(DAY.not_before, DAY.not_after + second),
        Validity(DAY.not_before - second, DAY.not_after),
    ):
        with pytest.raises(InputError, match="reaches beyond that of the root"):
            make_intermediate(root, CA.trust_domain, CA.key("i"), validity, CA.serial())


@pytest.mark.parametrize("name", ["10.0.0.1", "a..b", ".example.org"])
def test_a_trust_domain_that_no_constraint_can_hold_gets_no_authority(name: str) -> None:
    """An authority that cannot be constrained is not made."""
    trust_domain = TrustDomain.parse(name)
    with pytest.raises(InputError, match="cannot be the host of a name constraint"):
        make_root(trust_domain, CA.key("root"), DAY, CA.serial())
    with pytest.raises(InputError, match="cannot be the host of a name constraint"):
        make_intermediate(CA.root, trust_domain, CA.key("i"), DAY, CA.serial())


def test_a_long_trust_domain_is_cut_in_the_name_only() -> None:
    """X.520 allows 64 characters; SAN and constraint keep all of them."""
    ca = ThrowawayCA(".".join(["a" * 60] * 4))
    found = extensions(ca.intermediate.certificate)
    constraints = found["nameConstraints"][1]
    assert isinstance(constraints, x509.NameConstraints)
    assert constraints.permitted_subtrees == [x509.UniformResourceIdentifier(ca.trust_domain.name)]
