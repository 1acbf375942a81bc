"""`agentid doctor`: every check, and what to do about what it finds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Final

import typer

from agentid.cli.connection import (
    OPERATOR_NAMESPACE,
    Context,
    Kubeconfig,
    OperatorNamespace,
    connected,
)
from agentid.cli.doctor import admission, installation, node_plane, operation
from agentid.cli.doctor.findings import Finding, Severity
from agentid.cli.output import Format, Line, Output, Tone, print_data, print_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from agentid.cli.doctor.facts import Facts

__all__ = ["CHECKS", "diagnose", "doctor", "lines"]

CHECKS: Final = (
    installation.api_server,
    installation.clock,
    installation.crds,
    installation.policies,
    installation.rights,
    installation.webhooks,
    admission.doors,
    admission.mounting,
    node_plane.node_plane,
    operation.lease,
    operation.ledger,
    operation.authorities,
    operation.crls,
    operation.bundles,
    operation.responder,
    operation.resources,
)
"""From the ground up: what a later one finds may have its cause in an earlier one."""

_TONES: Final = {
    Severity.OK: Tone.GOOD,
    Severity.UNKNOWN: Tone.CARE,
    Severity.WARNING: Tone.CARE,
    Severity.PROBLEM: Tone.BAD,
}


def doctor(
    *,
    operator_namespace: OperatorNamespace = OPERATOR_NAMESPACE,
    service_account: Annotated[
        str, typer.Option(help="That the controller runs as.")
    ] = "agentid-controller",
    output: Output = Format.TABLE,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Look at the whole installation: what is wrong, and how to mend it. Nothing is changed.

    -o wide shows what is right as well. Exit 1 if there is a problem; warnings are none.
    """
    facts = asyncio.run(_facts(operator_namespace, service_account, kubeconfig, context))
    findings = tuple(diagnose(facts))
    match output:
        case Format.JSON | Format.YAML:
            print_data([each.to_json() for each in findings], output)
        case Format.NAME:
            for each in findings:
                typer.echo(f"{each.severity.value} {each.about}")
        case Format.TABLE | Format.WIDE:
            print_lines(lines(findings, wide=output is Format.WIDE))
    if any(each.severity is Severity.PROBLEM for each in findings):
        raise typer.Exit(1)


def diagnose(facts: Facts) -> Iterator[Finding]:
    """What all checks find, in their order."""
    for check in CHECKS:
        yield from check(facts)


def lines(findings: Iterable[Finding], *, wide: bool) -> Iterator[Line]:
    """Findings as lines, each with its remedy, and how many there are of each sort."""
    counted = dict.fromkeys(Severity, 0)
    for each in findings:
        counted[each.severity] += 1
        if each.severity is Severity.OK and not wide:
            continue
        yield Line(each.severity.value, f"{each.about}: {each.found}", _TONES[each.severity])
        if each.remedy:
            yield Line("", f"→ {each.remedy}")
    said = ", ".join(f"{count} {severity.value}" for severity, count in counted.items() if count)
    yield Line("checked", said)


async def _facts(
    namespace: str, account: str, kubeconfig: Path | None, context: str | None
) -> Facts:
    # It knows the names of the operator's parts, and loads them for that.
    from agentid.cli.doctor.gathering import gather  # noqa: PLC0415

    async with connected(kubeconfig, context) as cluster:
        return await gather(cluster, namespace, account)
