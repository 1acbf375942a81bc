"""Lists, questions and bundle documents from outside: whatever is wrong, one exception type."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import OCSPNonce, ocsp
from hypothesis import given, settings
from hypothesis import strategies as st

from agentid.errors import InputError
from agentid.identity import RevocationReason, SerialNumber, TrustDomain
from agentid.pki import KeyAlgorithm
from agentid.pki.crl import CrlEntry, make_crl, read_crl, verify_crl
from agentid.pki.ocsp import CertIdTable, parse_request
from agentid.pki.spiffe_bundle import SpiffeBundle, decode_spiffe_bundle, encode_spiffe_bundle
from agentid.testing.ca import NOON, ThrowawayCA

if TYPE_CHECKING:
    from collections.abc import Callable

CA = ThrowawayCA()
DOMAIN = TrustDomain.parse("example.org")
LIST = make_crl(
    CA.authority,
    [CrlEntry(SerialNumber(300 + each.code), NOON, each) for each in RevocationReason][:6],
    7,
    NOON,
    NOON + timedelta(hours=1),
    "http://agentid-responder.agentid-system.svc/crl/0011223344556677/0.crl",
)
REQUEST = (
    ocsp.OCSPRequestBuilder()
    .add_certificate(CA.issue().leaf.certificate, CA.intermediate.certificate, hashes.SHA256())
    .add_extension(OCSPNonce(bytes(16)), critical=False)
    .build()
    .public_bytes(Encoding.DER)
)
DOCUMENT = encode_spiffe_bundle(
    SpiffeBundle(
        CA.bundle, 5, timedelta(minutes=5), ('{"kty":"EC","use":"jwt-svid","kid":"a","x":"AA"}',)
    )
)


def read_whole_list(der: bytes) -> None:
    """Read a list, everything in it, and verify it."""
    view = read_crl(der)
    for entry in view:
        view.find(entry.serial)
    view.require_current(NOON)
    view.require_covers(None)
    verify_crl(view, CA.authority.certificate)


def answerable(der: bytes) -> None:
    """Read a question and look for who can answer it."""
    CertIdTable([CA.intermediate.certificate]).find(parse_request(der))


READERS: dict[str, tuple[Callable[[bytes], object], bytes]] = {
    "list": (read_whole_list, LIST),
    "question": (answerable, REQUEST),
    "bundle": (partial(decode_spiffe_bundle, trust_domain=DOMAIN), DOCUMENT),
}

edits = st.lists(
    st.tuples(
        st.sampled_from(["flip", "set", "cut", "insert", "repeat", "truncate"]),
        st.integers(min_value=0, max_value=1 << 16),
        st.integers(min_value=0, max_value=255),
    ),
    min_size=1,
    max_size=4,
)


def edited(data: bytes, changes: list[tuple[str, int, int]]) -> bytes:
    """The data after some edits."""
    for kind, where, value in changes:
        at = where % (len(data) + 1)
        octet = bytes((value,))
        data = {
            "flip": data[:at] + bytes(each ^ value for each in data[at : at + 1]) + data[at + 1 :],
            "set": data[:at] + octet + data[at + 1 :],
            "cut": data[:at] + data[at + 1 + value :],
            "insert": data[:at] + octet + data[at:],
            "repeat": data[: at + value] + data[at:],
            "truncate": data[:at],
        }[kind]
    return data


@pytest.mark.parametrize("name", list(READERS))
@settings(max_examples=400, deadline=None)
@given(changes=edits)
def test_nothing_else_escapes_from_what_was_altered(
    name: str, changes: list[tuple[str, int, int]]
) -> None:
    """Something good, altered in a few places, is read or refused, and nothing else happens."""
    read, good = READERS[name]
    with suppress(InputError):
        read(edited(good, changes))


@pytest.mark.parametrize("name", list(READERS))
@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=200))
def test_nothing_else_escapes_from_noise(name: str, data: bytes) -> None:
    """Bytes of no meaning are refused."""
    with pytest.raises(InputError):
        READERS[name][0](data)


scalars: st.SearchStrategy[object] = st.sampled_from(
    [None, True, 0, 1, -1, 1 << 70, 0.5, 1e400, "", "a", "\ud800"]
)
values = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.just("a"), scalars)


@settings(max_examples=200, deadline=None)
@given(
    st.fixed_dictionaries(
        {"keys": st.lists(values, max_size=3) | values},
        optional={
            "spiffe_sequence": values,
            "spiffe_refresh_hint": values,
        },
    ),
    st.dictionaries(
        st.sampled_from(["kty", "use", "x5c", "kid", "d", "x"]),
        values | st.sampled_from(["EC", "RSA", "x509-svid", "jwt-svid"]),
    ),
)
def test_nothing_else_escapes_from_json_of_other_shapes(
    document: dict[str, object], key: dict[str, object]
) -> None:
    """Members of any type in any place are read or refused."""
    keys = document["keys"]
    whole = document | {"keys": [*keys, key] if isinstance(keys, list) else keys}
    with suppress(InputError):
        encode_spiffe_bundle(decode_spiffe_bundle(json.dumps(whole).encode(), DOMAIN))


@pytest.mark.parametrize("name", list(READERS))
def test_what_is_altered_here_is_good(name: str) -> None:
    """Each of the readers gets to the end with what it is given; else edits would prove nothing."""
    read, good = READERS[name]
    if name == "list":
        with pytest.raises(InputError, match="the certificate names no distribution point"):
            read(good)
        verify_crl(read_crl(good), CA.authority.certificate)
        return
    read(good)


def test_every_octet_of_a_list_is_protected() -> None:
    """No single octet of a list can be altered without the reader or the signature noticing."""
    ca = ThrowawayCA(algorithm=KeyAlgorithm.ED25519)
    good = make_crl(ca.authority, [CrlEntry(SerialNumber(5), NOON)], 1, NOON, NOON + timedelta(1))
    for at in range(len(good)):
        altered = good[:at] + bytes((good[at] ^ 1,)) + good[at + 1 :]
        with pytest.raises(InputError):
            verify_crl(read_crl(altered), ca.authority.certificate)
