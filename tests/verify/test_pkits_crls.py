"""Revocation gives the verdict that NIST PKITS asks for.

Every test whose path is good is run again, with all CRLs of PKITS at hand and one wanted for every
certificate of the path: sections 4.4, 4.5, 4.14 and 4.15 are about CRLs, all others need them too.
"""

from __future__ import annotations

import pytest

from agentid.errors import InputError, VerificationError
from agentid.errors import VerificationReason as R
from agentid.pki.path import PathRules, find_paths
from agentid.pki.strength import KeyPolicy
from agentid.verify import CrlSet, RevocationState
from agentid.verify.revocation import Crl, read_crls
from tests.support import pkits

RULES = PathRules(keys=KeyPolicy(min_rsa_bits=2048))

INDIRECT = "indirect CRLs, signed by another than the issuer, are not supported: unknown"
OTHER_KEY = "a CRL signed with a key whose certificate is not on the path is not taken: unknown"
DIRECTORY = "distribution points named by a directory name are not supported: unknown"
REASONS = "CRLs of some reasons only are not supported: unknown"
DELTA = "delta CRLs are not read (RFC 5280 §5.2.4 leaves that open)"

# Tests left out, each with the reason; what is refused for it is refused as unknown.
LEFT_OUT = {
    "ValidNegativeSerialNumberTest14EE": "its CRL has a negative serial number: unknown",
    "ValidSeparateCertificateandCRLKeysTest19EE": OTHER_KEY,
    "ValidBasicSelfIssuedNewWithOldTest3EE": OTHER_KEY,
    "ValidBasicSelfIssuedNewWithOldTest4EE": OTHER_KEY,
    "ValidBasicSelfIssuedCRLSigningKeyTest6EE": OTHER_KEY,
    "ValiddistributionPointTest1EE": DIRECTORY,
    "ValiddistributionPointTest4EE": DIRECTORY,
    "ValiddistributionPointTest5EE": DIRECTORY,
    "ValiddistributionPointTest7EE": DIRECTORY,
    "ValidonlySomeReasonsTest18EE": REASONS,
    "ValidonlySomeReasonsTest19EE": REASONS,
    "ValidIDPwithindirectCRLTest22EE": INDIRECT,
    "ValidIDPwithindirectCRLTest24EE": INDIRECT,
    "ValidIDPwithindirectCRLTest25EE": INDIRECT,
    "ValidcRLIssuerTest28EE": INDIRECT,
    "ValidcRLIssuerTest29EE": INDIRECT,
    "ValidcRLIssuerTest30EE": INDIRECT,
    "ValidcRLIssuerTest33EE": INDIRECT,
    "InvaliddeltaCRLTest4EE": DELTA,  # revoked in the delta only
    "ValiddeltaCRLTest5EE": DELTA,  # on hold, and the delta releases it
}

REVOKED = {
    "InvalidBasicSelfIssuedOldWithNewTest2EE",
    "InvalidRevokedCATest2EE",
    "InvalidRevokedEETest3EE",
    "InvalidLongSerialNumberTest18EE",
    "InvaliddeltaCRLTest3EE",
    "InvaliddeltaCRLTest6EE",
    "InvaliddeltaCRLTest9EE",
}
# Not named after their verdict; their paths are good under default settings.
PREFIXES = (
    "Valid",
    "All",
    "AnyPolicy",
    "CPS",
    "DifferentPoliciesTest3EE",
    "Overlapping",
    "UserNotice",
    "inhibitAny",
)


def readable() -> CrlSet:
    """All CRLs of PKITS that are full, direct and well-formed."""
    crls: list[Crl] = []
    for file in pkits.crl_files():
        try:
            crls += read_crls(file.read_bytes(), what=file.name)
        except InputError:
            continue
    return CrlSet(crls, whole_chain=True)


CRLS = readable()


def verdict(name: str) -> R | RevocationState | None:
    """Of a test; None if its path is refused, which `tests/pki/test_pkits.py` is about."""
    try:
        paths = find_paths(pkits.chain(name), [pkits.certificate(pkits.ANCHOR)], RULES)
        paths[0].check_time(pkits.NOW)
    except (InputError, VerificationError):
        return None
    try:
        return CRLS.check(paths[0], at=pkits.NOW)
    except VerificationError as error:
        return error.reason


def wanted(name: str) -> R | RevocationState:
    """What PKITS asks for, with the reason that we give."""
    if name in REVOKED:
        return R.REVOKED
    if name.startswith("Invalid"):
        return R.REVOCATION_UNKNOWN
    assert name.startswith(PREFIXES)
    return RevocationState.NOT_REVOKED


RUN = [name for name in pkits.end_entities() if verdict(name) and name not in LEFT_OUT]


@pytest.mark.parametrize("name", RUN)
def test_revocation_in_pkits_gets_its_verdict(name: str) -> None:
    """Revoked, unknown, or known to be good."""
    assert verdict(name) == wanted(name)


def test_all_good_paths_of_pkits_are_run_or_left_out_by_name() -> None:
    """No entry of a table is about nothing."""
    assert (len(RUN), len(LEFT_OUT)) == (125, 20)
    assert set(pkits.end_entities()).issuperset({*LEFT_OUT, *REVOKED})


@pytest.mark.parametrize("name", [name for name, why in LEFT_OUT.items() if why is not DELTA])
def test_what_is_not_supported_is_refused_as_unknown(name: str) -> None:
    """Nothing that is left out is accepted, but for what only a delta CRL knows."""
    assert verdict(name) is R.REVOCATION_UNKNOWN
