"""What may stand in a leaf."""

from __future__ import annotations

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from agentid.errors import InputError
from agentid.identity import SpiffeId
from agentid.pki import KeyAlgorithm, LeafProfile, oids
from agentid.pki.authorization import AgentAuthorization, AuthorizedPolicy
from agentid.testing.ca import ThrowawayCA

CA = ThrowawayCA()
VALIDITY = CA.profile().validity
POLICY = "1.3.6.1.4.1.99999.1"


def profile(
    *,
    spiffe_id: str = "spiffe://example.org/a",
    policy_oid: str | None = None,
    cps_uri: str | None = None,
) -> LeafProfile:
    """A profile with one thing out of the ordinary."""
    return LeafProfile(
        spiffe_id=SpiffeId.parse(spiffe_id),
        class_name="assistant",
        validity=VALIDITY,
        key_algorithm=KeyAlgorithm.ED25519,
        policy_oid=policy_oid,
        cps_uri=cps_uri,
    )


def test_a_leaf_needs_a_path() -> None:
    """The ID of the trust domain belongs to authorities."""
    with pytest.raises(InputError, match="names the trust domain itself; a leaf needs a path"):
        profile(spiffe_id="spiffe://example.org")


@pytest.mark.parametrize(
    "oid",
    ["", "1", "1.3.", ".1.3", "1..3", "3.1", "1.40", "01.3", "1.3.06", "one.two", "1.3 ", "1,3"],
)
def test_what_is_no_oid_is_refused(oid: str) -> None:
    """Dotted numbers within the limits of X.660 and nothing else."""
    with pytest.raises(InputError, match="is not an object identifier; write dotted numbers"):
        profile(policy_oid=oid)


@pytest.mark.parametrize("oid", ["2.5.29.32.0", "1.3." + "9" * 200])
def test_an_oid_that_says_nothing_or_too_much_is_refused(oid: str) -> None:
    """AnyPolicy is for authorities; a policy OID has at most 128 characters."""
    with pytest.raises(InputError, match=r"anyPolicy says nothing|longer than 128 characters"):
        profile(policy_oid=oid)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "ftp://example.org",
        "javascript:alert(1)",
        "https://",
        "https://example.org/a b",
        "https://example.org/\n",
        "https://ex\xe4mple.org",
        'https://example.org/"',
        "https://example.org/" + "a" * 500,
    ],
)
def test_what_is_no_cps_uri_is_refused(uri: str) -> None:
    """An http or https URI in the characters of RFC 3986, of bounded length."""
    with pytest.raises(InputError, match="is not an http or https URI of at most 512"):
        profile(policy_oid=POLICY, cps_uri=uri)


def test_a_cps_uri_explains_a_policy() -> None:
    """Alone it would stand nowhere."""
    with pytest.raises(InputError, match="no policy OID is given; give one as well"):
        profile(cps_uri="https://pki.example.org/cps")


AUTHORIZATION = AgentAuthorization.of(
    agent_class="assistant", tier="Low", sponsor=None, policy=AuthorizedPolicy()
)


@pytest.mark.parametrize("field", ["crl_uri", "ocsp_uri", "ca_issuers_uri"])
@pytest.mark.parametrize(
    "uri", ["", "ldap://a/", "http://", "http://a/ b", "http://a/" + "b" * 504]
)
def test_what_is_no_uri_of_revocation_is_refused(field: str, uri: str) -> None:
    """As for the CPS; the message names which."""
    names = {"crl_uri": "CRL", "ocsp_uri": "OCSP", "ca_issuers_uri": "caIssuers"}
    with pytest.raises(InputError, match=f"{names[field]} URI: .* is not an http or https URI"):
        CA.profile(**{field: uri})  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["crl_uri", "ocsp_uri"])
def test_what_will_not_be_revoked_names_no_place_to_look(field: str) -> None:
    """RFC 9608 §2; where its issuer is found may be named all the same."""
    with pytest.raises(InputError, match="noRevAvail: it says that no CRL and no OCSP answer"):
        CA.profile(no_rev_avail=True, **{field: "http://a/"})  # type: ignore[arg-type]
    CA.issue(CA.profile(no_rev_avail=True, ca_issuers_uri="http://a/"))


def test_an_authorization_is_of_the_class_of_the_leaf() -> None:
    """And can be critical only where it is."""
    other = AgentAuthorization.of(
        agent_class="other", tier="Low", sponsor=None, policy=AuthorizedPolicy()
    )
    with pytest.raises(InputError, match='of the class "other", and the leaf of "assistant"'):
        CA.profile(authorization=other)
    with pytest.raises(InputError, match="it is to be critical and is not given"):
        CA.profile(authorization_critical=True)
    leaf = CA.issue(CA.profile(authorization=AUTHORIZATION, authorization_critical=True)).leaf
    extension = leaf.certificate.extensions.get_extension_for_oid(
        x509.ObjectIdentifier(oids.AUTHORIZATION)
    )
    assert extension.critical
    assert extension.value.public_bytes() == AUTHORIZATION.der


@given(st.text(max_size=200), st.text(max_size=600))
def test_any_text_is_accepted_or_refused_with_input_error(oid: str, uri: str) -> None:
    """Nothing but InputError comes out, and what passes can be issued."""
    try:
        accepted = profile(policy_oid=oid, cps_uri=uri)
    except InputError:
        return
    CA.issue(accepted)
