"""Assembled leaves are, byte for byte, what the library's own builder makes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    ExtendedKeyUsageOID,
    NameOID,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from agentid.identity import SerialNumber, SpiffeId, Validity
from agentid.pki import KeyAlgorithm, LeafProfile, PublicKey, lint, oids, prepare
from agentid.pki.authorization import AgentAuthorization, AuthorizedPolicy
from agentid.pki.der import SEQUENCE, tlv
from agentid.pki.keys import public_key_der
from agentid.pki.leaf import key_identifier
from agentid.testing.ca import ThrowawayCA

CA = ThrowawayCA()
KEY = CA.key("agent").public_key()


def built(profile: LeafProfile, key: PublicKey, ca: ThrowawayCA, serial: SerialNumber) -> bytes:
    """The TBSCertificate as `x509.CertificateBuilder` encodes it."""
    agent = profile.spiffe_id.agent
    shown = f"{agent.namespace}/{agent.name}" if agent else profile.spiffe_id.path
    subject = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, profile.spiffe_id.trust_domain.name[:64]),
        x509.NameAttribute(NameOID.COMMON_NAME, shown[:64]),
    ]
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=False,
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            ),
            True,
        ),
        (
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            ),
            False,
        ),
        (
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(profile.spiffe_id))]),
            False,
        ),
    ]
    builder = x509.CertificateBuilder(
        ca.intermediate.certificate.subject,
        x509.Name(subject),
        key,
        serial.value,
        profile.validity.not_before,
        profile.validity.not_after,
    )
    for extension, critical in [*extensions, *optional(profile, key, ca)]:
        builder = builder.add_extension(extension, critical)
    signed = builder.sign(ca.authority.draft_key, ca.authority.algorithm.signature_hash)
    return signed.tbs_certificate_bytes


def optional(
    profile: LeafProfile, key: PublicKey, ca: ThrowawayCA
) -> list[tuple[x509.ExtensionType, bool]]:
    """The extensions that differ from leaf to leaf."""
    # RFC 7093 §2, method 1, which the library does not have.
    named = key_identifier(public_key_der(key))
    found: list[tuple[x509.ExtensionType, bool]] = [
        (x509.SubjectKeyIdentifier(named), False),
        (x509.AuthorityKeyIdentifier(ca.authority.key_id, None, None), False),
    ]
    if profile.policy_oid is not None:
        qualifiers: list[str | x509.UserNotice] | None = (
            None if profile.cps_uri is None else [profile.cps_uri]
        )
        policy = x509.PolicyInformation(x509.ObjectIdentifier(profile.policy_oid), qualifiers)
        found.append((x509.CertificatePolicies([policy]), False))
    if profile.no_rev_avail:
        null = asn1.encode_der(asn1.Null())
        found.append((x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.56"), null), False))
    if profile.crl_uri is not None:
        names = [x509.UniformResourceIdentifier(profile.crl_uri)]
        points = [x509.DistributionPoint(names, None, None, None)]
        found.append((x509.CRLDistributionPoints(points), False))
    places = [
        x509.AccessDescription(method, x509.UniformResourceIdentifier(uri))
        for method, uri in (
            (AuthorityInformationAccessOID.OCSP, profile.ocsp_uri),
            (AuthorityInformationAccessOID.CA_ISSUERS, profile.ca_issuers_uri),
        )
        if uri is not None
    ]
    if places:
        found.append((x509.AuthorityInformationAccess(places), False))
    if profile.authorization is not None:
        oid = x509.ObjectIdentifier(oids.AUTHORIZATION)
        value = x509.UnrecognizedExtension(oid, profile.authorization.der)
        found.append((value, profile.authorization_critical))
    return found


uris = st.none() | st.from_regex(r"http://[a-z]{1,300}/[a-z0-9]{0,150}", fullmatch=True)
policies = st.none() | st.lists(st.integers(0, 2**40), min_size=1, max_size=6).map(
    lambda arcs: ".".join(map(str, (1, 3, *arcs)))
)
granted = st.none() | st.lists(
    st.from_regex(r"[a-z]{1,200}", fullmatch=True), max_size=6, unique=True
).map(
    lambda systems: AgentAuthorization.of(
        agent_class="assistant",
        tier="Low",
        sponsor=None,
        policy=AuthorizedPolicy(tuple(sorted(systems))),
    )
)


@settings(max_examples=120)
@given(data=st.data())
def test_every_leaf_is_what_the_builder_makes(data: st.DataObject) -> None:
    """Any profile, serial and period; the lint takes its short way, and its rules say the same."""
    no_rev_avail = data.draw(st.booleans())
    policy_oid, authorization = data.draw(policies), data.draw(granted)
    begins = data.draw(
        st.datetimes(datetime(1950, 1, 1), datetime(2100, 1, 1)).map(  # noqa: DTZ001
            lambda found: found.replace(microsecond=0, tzinfo=UTC)
        )
    )
    ca = ThrowawayCA(now=begins)
    profile = LeafProfile(
        spiffe_id=SpiffeId.parse(
            "spiffe://example.org"
            + data.draw(st.from_regex(r"(/ns/[a-z]{1,70}/agent)?/[a-z]{1,300}", fullmatch=True))
        ),
        class_name="assistant",
        validity=Validity(begins, begins + timedelta(seconds=data.draw(st.integers(0, 86400)))),
        key_algorithm=KeyAlgorithm.ED25519,
        policy_oid=policy_oid,
        cps_uri=data.draw(uris) if policy_oid else None,
        no_rev_avail=no_rev_avail,
        crl_uri=None if no_rev_avail else data.draw(uris),
        ocsp_uri=None if no_rev_avail else data.draw(uris),
        ca_issuers_uri=data.draw(uris),
        authorization=authorization,
        authorization_critical=authorization is not None and data.draw(st.booleans()),
    )
    serial = SerialNumber(data.draw(st.integers(1, (1 << 159) - 1)))
    prepared = prepare(profile, KEY, ca.authority, serial)
    assert prepared.tbs == built(profile, KEY, ca, serial)
    # Without the short way the rules are silent as well.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lint, "is_exact", lambda *_: False)
        prepare(profile, KEY, ca.authority, serial)
    # And without the rules the short way.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lint, "read_tbs", None)
        patch.setattr(lint, "_SAMPLE", serial.value + 1)
        prepare(profile, KEY, ca.authority, serial)


@pytest.mark.parametrize("algorithm", list(KeyAlgorithm))
def test_leaves_of_every_algorithm_are_what_the_builder_makes(algorithm: KeyAlgorithm) -> None:
    """Keys and AlgorithmIdentifiers of all of them."""
    ca = ThrowawayCA(algorithm=algorithm)
    key = ca.key("agent").public_key()
    profile = ca.profile()
    serial = ca.serial()
    assert prepare(profile, key, ca.authority, serial).tbs == built(profile, key, ca, serial)


@given(st.integers(0, 70_000), st.integers(0, 255))
def test_lengths_are_written_as_the_library_reads_them(size: int, octet: int) -> None:
    """In the fewest octets, whatever the size."""
    contents = bytes((octet,)) * size
    assert asn1.decode_der(bytes, tlv(0x04, contents)) == contents
    assert tlv(0x04, contents) == asn1.encode_der(contents)
    assert tlv(SEQUENCE, b"") == b"\x30\x00"
