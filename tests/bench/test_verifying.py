"""The benchmark of verification measures what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentid.pki import KeyAlgorithm
from bench.verifying import main, measure

if TYPE_CHECKING:
    import pytest


def test_a_chain_that_is_remembered_is_faster() -> None:
    """Rates of a handful of chains; the exact figures are the machine's."""
    rates = measure(KeyAlgorithm.ECDSAP256, chains=20, rounds=3, revoked=10)
    assert 0 < rates.first < rates.with_crl
    assert rates.first < rates.again


def test_it_tells_a_line_for_each_algorithm(capsys: pytest.CaptureFixture[str]) -> None:
    """Under a head."""
    main(["--chains", "2", "--rounds", "1", "--revoked", "1", "--algorithm", "ED25519"])
    head, line = capsys.readouterr().out.splitlines()
    assert (head.split()[0], line.split()[0]) == ("algorithm", "ED25519")
