"""`agentid incident check` reads what people write, and says what it means."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from agentid.api import AgentRevocation
from agentid.cli.app import app
from agentid.errors import InputError

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "manifests" / "samples" / "incident.yaml"

FULL = """
kind: AgentRevocation
metadata: {name: all}
spec:
  reason: superseded
  dryRun: false
  select:
    identities: [{namespace: a, name: b}, {namespace: c, name: d}]
    classNames: [clerk]
    issuerNames: [main]
    serials: ["4FAC"]
    issued: {after: "2026-11-01T08:00:00Z", before: "2026-11-01T12:00:00Z"}
---
kind: Pod
metadata: {name: not-ours}
"""


def run(*arguments: str, stdin: str = "") -> tuple[int, str]:
    """Exit code and everything printed."""
    done = CliRunner().invoke(app, ["incident", "check", *arguments], input=stdin)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def test_the_sample_is_told_in_words() -> None:
    """What is selected, and what becomes of the agents."""
    assert run(str(SAMPLE)) == (
        0,
        (
            "stolen-laptop: a dry run, nothing is revoked; reason keyCompromise\n"
            "  hits certificates issued until it starts, if all of this holds:\n"
            "    namespace is finance\n"
            "    labels of the identity: team=invoicing\n"
            "  holds the identities it selects, also later ones, until spec.release is true\n"
        ),
    )


def test_every_field_is_told() -> None:
    """Entries of a field are alternatives; other kinds in the file are left aside."""
    assert run("-", stdin=FULL) == (
        0,
        (
            "all: executes, once and for good; reason superseded\n"
            "  hits certificates issued until it starts, if all of this holds:\n"
            "    identity is a/b or c/d\n"
            "    class is clerk\n"
            "    issuer is main\n"
            "    serial is 4FAC\n"
            "    issued from 2026-11-01T08:00:00Z until 2026-11-01T12:00:00Z\n"
            "  identities that are hit get new certificates at once\n"
        ),
    )


@pytest.mark.parametrize(
    ("spec", "last"),
    [
        pytest.param(
            "{reason: superseded, hold: true, select: {serials: ['01']}}",
            "  holds the identities that are hit until spec.release is true",
            id="by-serial",
        ),
        pytest.param(
            "{reason: superseded, hold: true, release: true, select: {namespaces: [a]}}",
            "  the hold has been released",
            id="released",
        ),
    ],
)
def test_a_hold_is_told(spec: str, last: str) -> None:
    """Who is held depends on the selection."""
    _, output = run("-", stdin=f"kind: AgentRevocation\nmetadata: {{name: x}}\nspec: {spec}\n")
    assert output.splitlines()[-1] == last


def test_faults_are_those_of_the_api_server() -> None:
    """Exit code 1, every violation, in the words of the parser."""
    text = "kind: AgentRevocation\nmetadata: {name: x}\nspec: {reason: nope, select: {}}\n"
    code, output = run("-", stdin=text)
    assert code == 1
    assert '-: spec.reason: "nope" is not supported; use one of unspecified' in output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("kind: Pod\n", "holds no AgentRevocation", id="another-kind"),
        pytest.param("", "holds no AgentRevocation", id="empty"),
    ],
)
def test_nothing_to_check_is_no_success(text: str, message: str) -> None:
    """A pipeline that checks the wrong file has to notice."""
    code, output = run("-", stdin=text)
    assert code == 1
    assert message in output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("a: [", "is neither YAML nor JSON", id="no-yaml"),
        pytest.param("#" * (1 << 20) + "#", "is larger than the 1048576 octets", id="too-large"),
    ],
)
def test_what_cannot_be_read_is_an_error(text: str, message: str) -> None:
    """One message with the next step, never a traceback."""
    with pytest.raises(InputError, match=message):
        run("-", stdin=text)
    with pytest.raises(InputError, match=r"nowhere\.yaml: cannot be read"):
        run("nowhere.yaml")


def test_examples_of_the_documentation_are_valid() -> None:
    """The first manifest of the page is one that the API server takes, and a dry run."""
    page = (ROOT / "docs" / "operations" / "incidents.md").read_text("utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    resource = AgentRevocation.parse(yaml.safe_load(example))
    assert resource.spec.dry_run
    assert resource.spec.hold
