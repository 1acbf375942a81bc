"""Certificate policies along a path, RFC 5280 §6.1 as RFC 9618 corrects it.

Every policy is acceptable to a verifier of agentid (the initial policy set is anyPolicy), so all
that is asked is whether some policy holds along the whole path where an authority requires one.
Only the lowest level of the tree says that, and its nodes of the same policy count once; so the
memory is that of one certificate, where the tree of RFC 5280 can grow beyond all bounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from agentid.errors import InputError, VerificationError, VerificationReason
from agentid.pki import schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agentid.pki.view import CertificateView

__all__ = ["POLICY_EXTENSIONS", "check_policies"]

_MAPPINGS: Final = "2.5.29.33"
_CONSTRAINTS: Final = "2.5.29.36"
_INHIBIT_ANY: Final = "2.5.29.54"
_ANY: Final = "2.5.29.32.0"

POLICY_EXTENSIONS: Final = frozenset({_MAPPINGS, _CONSTRAINTS, _INHIBIT_ANY})
"""What `check_policies` reads, beside certificatePolicies."""

_Level: TypeAlias = "dict[str, frozenset[str]]"  # valid policy: expected policies one level down


def check_policies(path: Sequence[tuple[CertificateView, bool]]) -> None:
    """Ask that some policy holds along the path if an authority requires one.

    Args:
        path: The certificates without the trust anchor, leaf last, each with whether it is
            self-issued.

    Raises:
        VerificationError: CertificatePolicy, or Malformed if an extension does not parse.
    """
    if not any(_CONSTRAINTS in view.extensions or _MAPPINGS in view.extensions for view, _ in path):
        return  # nothing requires a policy, and none is mapped in a way that is forbidden
    try:
        _walk(path)
    except InputError as error:
        raise VerificationError(VerificationReason.MALFORMED, str(error)) from error


def _walk(path: Sequence[tuple[CertificateView, bool]]) -> None:
    # RFC 5280 §6.1.2 d to f: nothing is inhibited or required at first.
    explicit = mapping = inhibit_any = len(path) + 1
    level: _Level = {_ANY: frozenset({_ANY})}
    for depth, (view, self_issued) in enumerate(path, start=1):
        is_leaf = depth == len(path)
        may_be_any = inhibit_any > 0 or (self_issued and not is_leaf)
        level = _next_level(level, view, may_be_any=may_be_any)
        _require(explicit, level)
        constraints = _constraints(view)
        if is_leaf:  # §6.1.5 a and b
            required = constraints.require_explicit_policy
            _require(0 if required == 0 else max(explicit - 1, 0), level)
            return
        _map(level, _mappings(view), allowed=mapping > 0)  # §6.1.4 a and b
        if not self_issued:  # §6.1.4 h
            explicit, mapping, inhibit_any = (
                max(count - 1, 0) for count in (explicit, mapping, inhibit_any)
            )
        explicit = _lower(explicit, constraints.require_explicit_policy)  # §6.1.4 i
        mapping = _lower(mapping, constraints.inhibit_policy_mapping)
        inhibit_any = _lower(inhibit_any, _inhibit_any(view))  # §6.1.4 j


def _require(explicit: int, level: _Level) -> None:
    if explicit == 0 and not level:
        msg = (
            "an authority of the chain requires a certificate policy, and no policy holds along "
            "all of the chain; ask who runs the authority for a certificate with a policy"
        )
        raise VerificationError(VerificationReason.CERTIFICATE_POLICY, msg)


def _next_level(level: _Level, view: CertificateView, *, may_be_any: bool) -> _Level:
    """§6.1.3 d and e."""
    policies = view.policies
    if policies is None:
        return {}
    stated = {policy.oid.dotted_string for policy in policies.items}
    expected = frozenset().union(*level.values()) if level else frozenset()
    below = {
        policy: frozenset({policy})
        for policy in stated - {_ANY}
        if policy in expected or _ANY in level
    }
    if _ANY in stated and may_be_any:
        for policy in expected.difference(below):
            below[policy] = frozenset({policy})
    return below


def _map(level: _Level, mappings: Mapping[str, frozenset[str]], *, allowed: bool) -> None:
    for issuer_policy, subject_policies in mappings.items():
        if issuer_policy == _ANY or _ANY in subject_policies:
            msg = "policyMappings: anyPolicy is mapped, which RFC 5280 §4.2.1.5 forbids"
            raise VerificationError(VerificationReason.CERTIFICATE_POLICY, msg)
    for issuer_policy, subject_policies in mappings.items():
        if not allowed:
            level.pop(issuer_policy, None)
        elif issuer_policy in level or _ANY in level:
            level[issuer_policy] = subject_policies


def _mappings(view: CertificateView) -> Mapping[str, frozenset[str]]:
    extension = view.extensions.get(_MAPPINGS)
    if extension is None:
        return {}
    found: dict[str, set[str]] = {}
    decoded = schema.decode_list(schema.PolicyMappings, extension.value, what="policyMappings")
    for item in decoded.items:
        subjects = found.setdefault(item.issuer_domain_policy.dotted_string, set())
        subjects.add(item.subject_domain_policy.dotted_string)
    return {issuer: frozenset(subjects) for issuer, subjects in found.items()}


def _constraints(view: CertificateView) -> schema.PolicyConstraints:
    extension = view.extensions.get(_CONSTRAINTS)
    if extension is None:
        return schema.PolicyConstraints(require_explicit_policy=None, inhibit_policy_mapping=None)
    return schema.decode(schema.PolicyConstraints, extension.value, what="policyConstraints")


def _inhibit_any(view: CertificateView) -> int | None:
    extension = view.extensions.get(_INHIBIT_ANY)
    return (
        None if extension is None else schema.decode(int, extension.value, what="inhibitAnyPolicy")
    )


def _lower(count: int, limit: int | None) -> int:
    return count if limit is None else min(count, max(limit, 0))
