"""PEM within bounds."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentid.errors import InputError
from agentid.identity import SpiffeId
from agentid.pki import KeyAlgorithm
from agentid.pki.authorization import AgentAuthorization, AuthorizedPolicy
from agentid.pki.oids import class_policy_oid
from agentid.pki.pem import (
    MAX_CERTIFICATE_BYTES,
    MAX_CHAIN_CERTIFICATES,
    MAX_CHAIN_PEM_BYTES,
    certificate_pem,
    read_blocks,
)
from agentid.testing.ca import ThrowawayCA


@given(
    ders=st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=5),
    windows=st.booleans(),
)
def test_what_is_written_reads_back(*, ders: list[bytes], windows: bool) -> None:
    """Any number of blocks, with either kind of line end and text around them."""
    pem = b"".join(b"subject=somebody\n" + certificate_pem(der) for der in ders) + b"\nthe end"
    if windows:
        pem = pem.replace(b"\n", b"\r\n")
    blocks = read_blocks(pem, what="chain", limit=len(pem))
    assert [block.der for block in blocks] == ders
    assert {block.label for block in blocks} == {"CERTIFICATE"}


@given(st.binary(max_size=500))
def test_any_bytes_are_read_or_refused_with_input_error(data: bytes) -> None:
    """Nothing but InputError leaves the reader."""
    with pytest.raises(InputError, match="input holds no PEM block"):
        read_blocks(data.replace(b"-", b""), what="input", limit=1000)


GOOD = certificate_pem(b"contents of a certificate")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "chain holds no PEM block, it is empty", id="empty"),
        pytest.param(b"hello\x1b", r'it begins with "hello\\x1b"', id="text"),
        pytest.param(GOOD[:-5], "block 1, CERTIFICATE, has no END line", id="no-end"),
        pytest.param(GOOD + GOOD[:40], "block 2, CERTIFICATE, has no END line", id="second"),
        pytest.param(GOOD[:40] + b"\n" + GOOD, "block 1, CERTIFICATE, has no END", id="nested"),
        pytest.param(GOOD.replace(b"END CERT", b"END XERT"), "has no END line", id="other-end"),
        pytest.param(GOOD.replace(b"Y29", b"Y2*"), "block 1, .* is not Base64", id="not-base64"),
        pytest.param(GOOD.replace(b"Y29", b"Y2"), "block 1, .* is not Base64", id="one-lost"),
        pytest.param(
            GOOD.replace(b"Y29", b"Proc-Type: 4,ENCRYPTED\n\nY29"), "is not Base64", id="headers"
        ),
        pytest.param(b"x" * 1001, "chain has 1001 bytes, at most 1000 are read", id="too-long"),
    ],
)
def test_malformed_pem_is_refused_by_block(data: bytes, message: str) -> None:
    """The message says which block, and what is wrong with it."""
    with pytest.raises(InputError, match=message):
        read_blocks(data, what="chain", limit=1000)


def test_the_arithmetic_of_the_bounds_holds() -> None:
    """The longest chain of the longest certificates fits into the bound of its PEM."""
    longest = certificate_pem(bytes(MAX_CERTIFICATE_BYTES))
    assert len(longest) * MAX_CHAIN_CERTIFICATES <= MAX_CHAIN_PEM_BYTES


def test_hostile_pem_takes_linear_time() -> None:
    """A megabyte of markers is refused at once, not after a quadratic search."""
    for hostile in (
        b"-----BEGIN CERTIFICATE-----\n" * 37_000,
        b"-----BEGIN " * 95_000,
        b"-----BEGIN A-----\n-----END B-----\n" * 30_000,
        b"-----" * 200_000,
    ):
        start = time.process_time()
        with pytest.raises(InputError):
            read_blocks(hostile, what="chain", limit=2_000_000)
        assert time.process_time() - start < 1


def test_a_block_does_not_show_its_contents() -> None:
    """It may hold a private key."""
    assert repr(read_blocks(GOOD, what="chain", limit=1000)[0]) == (
        "PemBlock(label='CERTIFICATE', der=<25 bytes>)"
    )


def test_the_largest_leaf_is_far_from_the_bound() -> None:
    """ML-DSA-87, a SPIFFE ID of 2 KiB and every extension at its longest."""
    ca = ThrowawayCA(".".join(["a" * 60] * 4), algorithm=KeyAlgorithm.MLDSA87)
    authority = f"spiffe://{ca.trust_domain}"
    uri = "http://" + "a" * 505
    granted = AgentAuthorization.of(
        agent_class="assistant",
        tier="High",
        sponsor="s" * 253,
        policy=AuthorizedPolicy(tuple(f"{at}" * 250 for at in range(6))),
    )
    ordinary = ca.profile(
        policy_oid=class_policy_oid("assistant"),
        cps_uri=uri,
        crl_uri=uri,
        ocsp_uri=uri,
        ca_issuers_uri=uri,
        authorization=granted,
    )
    path = "/p" * ((2048 - len(authority)) // 2)
    profile = replace(ordinary, spiffe_id=SpiffeId.parse(authority + path))
    assert 2046 <= len(str(profile.spiffe_id)) <= 2048
    assert len(granted.der) > 1800
    assert 12_000 < len(ca.issue(profile).leaf.der) < MAX_CERTIFICATE_BYTES - 2048
