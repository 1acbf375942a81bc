"""Object identifiers of agentid's own."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from uuid import UUID

from cryptography import x509
from cryptography.hazmat import asn1
from hypothesis import given
from hypothesis import strategies as st

from agentid.pki import oids

REFERENCE = Path(__file__).parents[2] / "docs/reference"
PAGE = (REFERENCE / "oids.md").read_text("utf-8")
MODULE = (REFERENCE / "agentid-authorization.asn1").read_text("utf-8")


def test_the_arc_is_the_uuid_cut_as_microsoft_documents_it() -> None:
    """Seven numbers of 4, 4, 4, 4, 4, 6 and 6 hexadecimal digits behind Microsoft's arc."""
    (text,) = re.findall(r"UUID `([0-9a-f-]{36})`", PAGE)
    digits = UUID(text).hex
    cuts = (0, 4, 8, 12, 16, 20, 26, 32)
    numbers = [str(int(digits[a:b], 16)) for a, b in pairwise(cuts)]
    assert ".".join(("1.2.840.113556.1.8000.2554", *numbers)) == oids.ARC


def test_page_and_module_name_the_arc_of_the_code() -> None:
    """Nobody has to look at three places to know which number holds."""
    assert f"\n{oids.ARC}\n" in PAGE
    assert f"`{oids.class_policy_oid('assistant')}`" in PAGE
    last = oids.ARC.removeprefix("1.2.840.113556.1.8000.2554.").replace(".", " ")
    assert MODULE.count(last) == 2
    assert f"{oids.ARC}.1.1" == oids.AUTHORIZATION


@given(st.text(max_size=80))
def test_every_class_has_a_policy_that_everybody_can_read(name: str) -> None:
    """No number above 28 bits and no more than 39 octets, which RustCrypto's const-oid refuses."""
    oid = oids.class_policy_oid(name)
    assert oid == oids.class_policy_oid(name)
    assert oid.startswith(f"{oids.CLASS_POLICIES}.")
    assert all(int(number) < 2**28 for number in oid.split("."))
    assert len(asn1.encode_der(x509.ObjectIdentifier(oid))) <= 2 + 39


def test_two_classes_have_two_policies() -> None:
    """Of ten thousand names none share one."""
    assert len({oids.class_policy_oid(f"class-{at}") for at in range(10_000)}) == 10_000
