"""`agentid verify`: whether a chain is an agent's, and what the agent may do."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from agentid.cli.files import read_input
from agentid.clock import SystemClock
from agentid.errors import InputError, VerificationError, VerificationReason
from agentid.identity import SpiffeId, TrustDomain
from agentid.identity.quoting import quoted
from agentid.pki.crl_view import MAX_CRL_BYTES
from agentid.pki.pem import MAX_BUNDLE_PEM_BYTES, MAX_CHAIN_PEM_BYTES
from agentid.pki.view import read_certificate
from agentid.verify import (
    AuthorizationState,
    BundleSet,
    CrlSet,
    RevocationState,
    VerifiedAgent,
    Verifier,
    Wanted,
    read_bundle,
)
from agentid.verify.revocation import read_crls

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentid.pki import X509Bundle

__all__ = ["verify"]

_MAX_POLICY: Final = 1 << 20
_REVOCATION: Final = {
    RevocationState.NOT_CHECKED: "not checked, no CRL was given",
    RevocationState.NOT_REVOKED: "not on its issuer's CRL",
    RevocationState.NONE_PUBLISHED: "none will be published (RFC 9608); it runs out",
}
_GRANTS_NOTHING: Final = {
    AuthorizationState.ABSENT: "the certificate does not say, so nothing",
    AuthorizationState.UNKNOWN_VERSION: "in a version unknown here, so nothing",
    AuthorizationState.UNREADABLE: "it cannot be read, so nothing",
}


def verify(
    chain: Annotated[str, typer.Argument(help="Leaf first; PEM or DER, - is standard input.")],
    *,
    bundle: Annotated[str, typer.Option(help="Who is trusted: PEM, or a SPIFFE bundle.")],
    trust_domain: Annotated[
        str | None, typer.Option(help="Whose bundle that is. Default: what its roots say.")
    ] = None,
    crl: Annotated[
        list[str] | None, typer.Option(help="Revocation lists, PEM or DER; may be repeated.")
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help="The policy document that the certificate names.")
    ] = None,
    at: Annotated[str | None, typer.Option(help="When, in RFC 3339. Default: now.")] = None,
    system: Annotated[str | None, typer.Option(help="What it wants to reach.")] = None,
    operation: Annotated[str | None, typer.Option(help="What it wants to do there.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Verify a chain; exit 1 and say why if it is refused, 2 if something cannot be read."""
    wanted = _wanted(system, operation)
    when = SystemClock().now() if at is None else _time(at)
    verifier = Verifier(
        BundleSet([_bundle(read_input(bundle, limit=MAX_BUNDLE_PEM_BYTES), trust_domain)]),
        crls=_crls(crl),
    )
    document = None if policy is None else read_input(policy, limit=_MAX_POLICY)
    content = read_input(chain, limit=MAX_CHAIN_PEM_BYTES)
    try:
        agent = verifier.verify(
            [content] if content[:1] == b"\x30" else content,
            at=when,
            wanted=wanted,
            policy=document,
        )
    except VerificationError as refusal:
        if refusal.reason is VerificationReason.MALFORMED:
            raise InputError(str(refusal)) from refusal
        if as_json:
            _print_json({"verified": False, "reason": refusal.reason, "message": str(refusal)})
        else:
            typer.echo(f"refused, {refusal.reason}: {refusal}", err=True)
        raise typer.Exit(1) from refusal
    if as_json:
        _print_json({"verified": True, **_to_json(agent)})
        return
    for label, text in _lines(agent, wanted):
        typer.echo(f"{label:<18} {text}")


def _wanted(system: str | None, operation: str | None) -> Wanted | None:
    if system is None and operation is None:
        return None
    if system is None or operation is None:
        msg = "--system and --operation belong together; give both"
        raise InputError(msg)
    return Wanted(system, operation)


def _time(text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        msg = f"--at: {quoted(text)} is no time; write it as 2026-11-01T12:00:00Z"
        raise InputError(msg) from error
    if when.utcoffset() is None:
        msg = f"--at: {quoted(text)} has no time zone; write it as 2026-11-01T12:00:00Z"
        raise InputError(msg)
    return when


def _bundle(data: bytes, trust_domain: str | None) -> X509Bundle:
    if trust_domain is not None:
        return read_bundle(data, TrustDomain.parse(trust_domain))
    bundle = read_bundle(data, TrustDomain("unknown"))
    said = {
        SpiffeId.parse(uri).trust_domain
        for der in bundle.der
        for uri in read_certificate(der).uri_names
    }
    if len(said) != 1:
        found = f"name {len(said)} trust domains" if said else "do not say whose they are"
        msg = f"bundle: its roots {found}; give --trust-domain"
        raise InputError(msg)
    return type(bundle)(said.pop(), bundle.authorities)


def _crls(files: Sequence[str] | None) -> CrlSet | None:
    if not files:
        return None
    return CrlSet(
        crl for file in files for crl in read_crls(read_input(file, limit=2 * MAX_CRL_BYTES))
    )


def _lines(agent: VerifiedAgent, wanted: Wanted | None) -> Iterator[tuple[str, str]]:
    named = agent.spiffe_id.agent
    yield (
        "verified",
        f"agent {named.name} in namespace {named.namespace}" if named else "a workload",
    )
    yield "SPIFFE ID", str(agent.spiffe_id)
    if agent.agent_class is not None:
        yield "class", f"{agent.agent_class}, tier {agent.tier}"
        yield "sponsor", agent.sponsor or "nobody is named"
    yield from _permission_lines(agent)
    if wanted is not None:
        yield "granted", f"{wanted.operation} on {wanted.system}"
    yield "revocation", _REVOCATION[agent.revocation]
    yield "valid until", f"{agent.not_after:%Y-%m-%d %H:%M:%S} UTC"
    yield "serial", str(agent.serial)
    yield "authority", agent.authority


def _permission_lines(agent: VerifiedAgent) -> Iterator[tuple[str, str]]:
    permissions = agent.permissions
    if permissions is None:
        said = f"what {agent.policy_uri} says; give --policy"
        yield "may do", _GRANTS_NOTHING.get(agent.authorization, said)
        return
    yield "may reach", ", ".join(permissions.systems) or "nothing"
    yield "may do there", ", ".join(permissions.operations) or "nothing"
    yield "may do it", "always" if permissions.schedule is None else str(permissions.schedule)
    yield "compliance", ", ".join(permissions.compliance) or "none"


def _to_json(agent: VerifiedAgent) -> dict[str, object]:
    return {
        "spiffeId": str(agent.spiffe_id),
        "class": agent.agent_class,
        "tier": agent.tier,
        "sponsor": agent.sponsor,
        "authorization": agent.authorization,
        "permissions": None if agent.permissions is None else agent.permissions.to_json(),
        "policyUri": agent.policy_uri,
        "revocation": agent.revocation,
        "notAfter": agent.not_after.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "serial": str(agent.serial),
        "authority": agent.authority,
    }


def _print_json(value: dict[str, object]) -> None:
    typer.echo(json.dumps(value, indent=2))
