"""The certificates and CRLs of NIST PKITS, out of the package `cryptography-vectors`.

PKITS (Public Key Interoperability Test Suite, version 1.0.1) tests path validation by RFC 5280.
Each test is about one end entity, whose file is named after it; the chain of that end entity is
found here by names and key identifiers, as the test descriptions give it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final

import cryptography_vectors

from agentid.pki.path import PathCertificate

__all__ = ["ANCHOR", "NOW", "certificate", "chain", "crl_files", "end_entities"]

NOW: Final = datetime(2026, 11, 1, 12, tzinfo=UTC)
"""Inside the validity of everything in PKITS that is meant to be valid."""

ANCHOR: Final = "TrustAnchorRootCertificate"

_DATA: Final = Path(cryptography_vectors.__file__).parent / "x509" / "PKITS_data"
_END_ENTITY: Final = "EE"
_UNREADABLE: Final = frozenset(
    # Authorities that do not parse: their key has no parameters of its own.
    {"DSAParametersInheritedCACert"}
)
# The issuer that is meant where the point of the test is that the names do not chain.
_MEANT: Final = {
    "InvalidNameChainingTest1EE": "GoodCACert",
    "InvalidNameChainingOrderTest2EE": "NameOrderingCACert",
}


def end_entities() -> list[str]:
    """The names of all end entities."""
    return [name for name in _names() if name.endswith(_END_ENTITY)]


def crl_files() -> list[Path]:
    """All CRLs, in DER."""
    return sorted((_DATA / "crls").glob("*.crl"))


@cache
def certificate(name: str) -> PathCertificate:
    """One certificate, read."""
    return PathCertificate.parse((_DATA / "certs" / f"{name}.crt").read_bytes(), what=name)


def chain(end_entity: str) -> tuple[PathCertificate, ...]:
    """The chain of an end entity, leaf first, without the trust anchor."""
    anchor = certificate(ANCHOR)
    if meant := _MEANT.get(end_entity):
        return certificate(end_entity), certificate(meant)
    found = [certificate(end_entity)]
    while not found[-1].issued_by(anchor):
        issuers = [
            each for each in _authorities() if found[-1].issued_by(each) and each not in found
        ]
        # Some CAs have a second certificate that signs CRLs only, with another key.
        (issuer,) = [each for each in issuers if each.is_authority] or issuers
        found.append(issuer)
    return tuple(found)


@cache
def _names() -> list[str]:
    return sorted(path.stem for path in (_DATA / "certs").glob("*.crt"))


@cache
def _authorities() -> list[PathCertificate]:
    return [
        certificate(name)
        for name in _names()
        if not name.endswith(_END_ENTITY) and name != ANCHOR and name not in _UNREADABLE
    ]
