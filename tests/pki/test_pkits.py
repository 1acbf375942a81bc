"""Path validation gives the verdict that NIST PKITS asks for.

Run are the tests of paths: sections 4.1 to 4.3, 4.6 to 4.13 and 4.16, and 4.5 as far as it is about
paths, under the default settings of PKITS. Those that need a CRL are run in
`tests/verify/test_pkits_crls.py`.
"""

from __future__ import annotations

import re

import pytest

from agentid.errors import InputError, VerificationError
from agentid.errors import VerificationReason as R
from agentid.pki.path import PathCertificate, PathRules, find_paths
from agentid.pki.strength import KeyPolicy
from tests.support import pkits

RULES = PathRules(keys=KeyPolicy(min_rsa_bits=2048))  # PKITS has RSA 2048, and SHA-256

# What tests are left out, by their names without Test<number>EE, and why.
LEFT_OUT = {
    "ValidDSASignatures": "DSA keys are refused (FIPS 186-5 withdrew them)",
    "ValidDSAParameterInheritance": "DSA keys are refused (FIPS 186-5 withdrew them)",
}

# Tests whose path is good, and whose verdict depends on a CRL.
NEEDS_CRL = re.compile(
    "InvalidMissingCRL|InvalidRevoked(CA|EE)|InvalidBadCRL(Signature|IssuerName)|InvalidWrongCRL"
    "|InvalidUnknownCRL(Entry)?Extension|InvalidOldCRLnextUpdate|Invalidpre2000CRLnextUpdate"
    "|InvalidLongSerialNumber|InvalidSeparateCertificateandCRLKeys"
    "|InvalidBasicSelfIssued(OldWithNew|NewWithOld|CRLSigningKey)"
    "|InvalidkeyUsage(Not)?CriticalcRLSignFalse|InvaliddistributionPoint|InvalidonlyContains.*"
    "|InvalidonlySomeReasons|InvalidIDPwithindirectCRL|InvalidcRLIssuer|InvaliddeltaCRL.*"
)

# Why the path is refused, by the names of the tests without Test<number>EE.
REFUSED = {
    "InvalidCASignature": R.BAD_SIGNATURE,
    "InvalidEESignature": R.BAD_SIGNATURE,
    "InvalidDSASignature": R.WEAK_KEY,
    "InvalidCAnotBeforeDate": R.NOT_YET_VALID,
    "InvalidEEnotBeforeDate": R.NOT_YET_VALID,
    "InvalidCAnotAfterDate": R.EXPIRED,
    "InvalidEEnotAfterDate": R.EXPIRED,
    "Invalidpre2000UTCEEnotAfterDate": R.EXPIRED,
    "InvalidNameChaining": R.BROKEN_CHAIN,
    "InvalidNameChainingOrder": R.BROKEN_CHAIN,
    "InvalidMissingbasicConstraints": R.NOT_AN_AUTHORITY,
    "InvalidcAFalse": R.NOT_AN_AUTHORITY,
    "InvalidkeyUsageCriticalkeyCertSignFalse": R.NOT_AN_AUTHORITY,
    "InvalidkeyUsageNotCriticalkeyCertSignFalse": R.NOT_AN_AUTHORITY,
    "InvalidpathLenConstraint": R.PATH_TOO_LONG,
    "InvalidSelfIssuedpathLenConstraint": R.PATH_TOO_LONG,
    "InvalidDNnameConstraints": R.NAME_CONSTRAINT,
    "InvalidRFC822nameConstraints": R.NAME_CONSTRAINT,
    "InvalidDNandRFC822nameConstraints": R.NAME_CONSTRAINT,
    "InvalidDNSnameConstraints": R.NAME_CONSTRAINT,
    "InvalidURInameConstraints": R.NAME_CONSTRAINT,
    "InvalidUnknownCriticalCertificateExtension": R.UNKNOWN_CRITICAL,
    "InvalidMappingFromanyPolicy": R.CERTIFICATE_POLICY,
    "InvalidMappingToanyPolicy": R.CERTIFICATE_POLICY,
    "InvalidPolicyMapping": R.CERTIFICATE_POLICY,
    "InvalidrequireExplicitPolicy": R.CERTIFICATE_POLICY,
    "InvalidSelfIssuedrequireExplicitPolicy": R.CERTIFICATE_POLICY,
    "InvalidinhibitPolicyMapping": R.CERTIFICATE_POLICY,
    "InvalidSelfIssuedinhibitPolicyMapping": R.CERTIFICATE_POLICY,
    "InvalidinhibitAnyPolicy": R.CERTIFICATE_POLICY,
    "InvalidSelfIssuedinhibitAnyPolicy": R.CERTIFICATE_POLICY,
}
EXCEPTIONS = {
    "InvalidNegativeSerialNumberTest15EE": R.MALFORMED,
    # That certificate is about CRLs and no CA's, so it does not sign certificates.
    "InvalidBasicSelfIssuedCRLSigningKeyTest8EE": R.NOT_AN_AUTHORITY,
    # PKITS 4.8: not named after their verdict. Under default settings these are refused.
    "DifferentPoliciesTest4EE": R.CERTIFICATE_POLICY,
    "DifferentPoliciesTest5EE": R.CERTIFICATE_POLICY,
    "DifferentPoliciesTest7EE": R.CERTIFICATE_POLICY,
    "DifferentPoliciesTest8EE": R.CERTIFICATE_POLICY,
    "DifferentPoliciesTest9EE": R.CERTIFICATE_POLICY,
    "DifferentPoliciesTest12EE": R.CERTIFICATE_POLICY,
    # And these accepted.
    "AllCertificatesNoPoliciesTest2EE": None,
    "DifferentPoliciesTest3EE": None,
    "OverlappingPoliciesTest6EE": None,
    "AllCertificatesSamePoliciesTest10EE": None,
    "AllCertificatesanyPolicyTest11EE": None,
    "AllCertificatesSamePoliciesTest13EE": None,
    "AnyPolicyTest14EE": None,
    "UserNoticeQualifierTest15EE": None,
    "UserNoticeQualifierTest16EE": None,
    "UserNoticeQualifierTest17EE": None,
    "UserNoticeQualifierTest18EE": None,
    "UserNoticeQualifierTest19EE": None,
    "CPSPointerQualifierTest20EE": None,
    "inhibitAnyPolicyTest3EE": None,
}


def stem(name: str) -> str:
    """The name of a test without its number."""
    return re.sub(r"Test\d+EE$", "", name)


def wanted(name: str) -> R | None:
    """The reason to refuse the path of a test, or None to accept it."""
    if name in EXCEPTIONS:
        return EXCEPTIONS[name]
    if stem(name) in REFUSED:
        return REFUSED[stem(name)]
    assert name.startswith("Valid") or NEEDS_CRL.fullmatch(stem(name))
    return None


def verdict(name: str) -> R | None:
    """The reason for which the path of a test is refused, or None."""
    try:
        chain = pkits.chain(name)
    except InputError:
        return R.MALFORMED
    try:
        for path in find_paths(chain, [pkits.certificate(pkits.ANCHOR)], RULES):
            path.check_time(pkits.NOW)
    except VerificationError as error:
        return error.reason
    return None


RUN = [name for name in pkits.end_entities() if stem(name) not in LEFT_OUT]


@pytest.mark.parametrize("name", RUN)
def test_a_path_of_pkits_gets_its_verdict(name: str) -> None:
    """Accepted, or refused for the reason that the test is about."""
    assert verdict(name) == wanted(name)


def test_all_of_pkits_is_there_and_run_or_left_out_by_name() -> None:
    """None is missing from the package, and no entry of the tables is about nothing."""
    everything = pkits.end_entities()
    stems = {stem(name) for name in everything}
    assert (len(everything), len(RUN)) == (223, 221)
    assert stems.issuperset(LEFT_OUT)
    assert stems.issuperset(REFUSED)
    assert set(everything).issuperset(EXCEPTIONS)


@pytest.mark.parametrize("name", sorted(LEFT_OUT))
def test_what_is_left_out_is_refused(name: str) -> None:
    """Left out are tests of what nobody may rely on; none of them is accepted."""
    for each in (each for each in pkits.end_entities() if stem(each) == name):
        with pytest.raises((InputError, VerificationError)):
            find_paths(pkits.chain(each), [pkits.certificate(pkits.ANCHOR)], RULES)


def test_by_default_the_keys_of_pkits_are_too_weak() -> None:
    """RSA 2048 is accepted only where a policy says so."""
    with pytest.raises(VerificationError, match="has 2048 bits; 3072 to 8192 are accepted") as got:
        find_paths(
            pkits.chain("ValidCertificatePathTest1EE"),
            [pkits.certificate(pkits.ANCHOR)],
            PathRules(),
        )
    assert got.value.reason is R.WEAK_KEY


def test_paths_are_read_from_certificates_of_the_library_too() -> None:
    """`of` and `parse` give the same."""
    root = pkits.certificate(pkits.ANCHOR)
    assert PathCertificate.of(root.certificate, what="root").der == root.der
