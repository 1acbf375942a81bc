"""Whatever the bytes are, a parser reads them or refuses them by the one exception it promises.

`FUZZ_EXAMPLES` tells how many inputs each parser is tried with; the default keeps all of them
together below 20 seconds.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from agentid.errors import InputError
from tests.fuzz.mutations import mutated
from tests.fuzz.parsers import PARSERS, Parser

if TYPE_CHECKING:
    from collections.abc import Callable

# A parser that takes seconds for some bytes is a fault of its own; the rest is a noisy machine.
BOUNDED = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "80")),
    deadline=timedelta(seconds=3),
    suppress_health_check=list(HealthCheck),
)

each_parser = pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)


@each_parser
def test_what_is_valid_is_read(parser: Parser) -> None:
    """The mutations begin from something that gets to the end."""
    found = parser.samples()
    assert found
    for sample in found:
        parser.parse(sample)
        parser.parse(parser.fix(sample))


@each_parser
@BOUNDED
@given(data=st.data())
def test_nothing_else_is_let_out(parser: Parser, data: st.DataObject) -> None:
    """Of anything that is nearly valid, and of anything at all."""
    content = data.draw(mutated(parser.samples(), parser.change, parser.fix))
    with suppress(*([parser.error] if parser.error else [])):
        parser.parse(content)


# That the mutations go deep


def refusal(parse: Callable[[bytes], object], content: bytes) -> str:
    """Why a parser refuses it, empty if it does not."""
    try:
        parse(content)
    except InputError as error:
        return str(error)
    return ""


BY_NAME = {parser.name: parser for parser in PARSERS}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param("certificate", "as TbsCertificate", id="inside-a-certificate"),
        pytest.param("name-constraints", "general name: the tag", id="inside-an-extension"),
        pytest.param("authorization", "windows", id="inside-ours"),
        pytest.param("describe-pem", "1: the certificate does not parse", id="inside-pem"),
        pytest.param("ocsp-request", "nonce", id="inside-a-request"),
        pytest.param("crl", "issuingDistributionPoint", id="inside-a-list"),
        pytest.param("record", "notAfter .* is not a time", id="inside-a-record"),
        pytest.param("segment", "line 1: (covers|heads|created|writer) ", id="inside-a-header"),
        pytest.param("export", "(name|createdAt|lines) .* is not", id="inside-an-export"),
        pytest.param("agent-identity", r"spec\.permissions\.schedule", id="inside-a-spec"),
    ],
)
def test_changes_reach_what_is_deep_inside(name: str, reason: str) -> None:
    """A parser refuses some of them for something that only valid surroundings let it see."""
    parser = BY_NAME[name]
    inputs = mutated(parser.samples(), parser.change, parser.fix)
    bounds = settings(BOUNDED, max_examples=3000, phases=[Phase.generate], database=None)
    find(
        inputs,
        lambda content: bool(re.search(reason, refusal(parser.parse, content))),
        settings=bounds,
    )
