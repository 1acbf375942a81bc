"""Looking at identities and acting on them, on a real cluster with a running operator."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.controller.conftest import api, make_class, running
from tests.support.api import until
from tests.support.command import Command
from tests.support.manifests import identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.api import Api

__all__ = ["api", "make_class", "running"]

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("running")]


@pytest.fixture
def run(api: Api) -> Command:
    """The command line of the cluster's admin."""
    return Command(str(api.cluster.kubeconfig))


def manifest(namespace: str, name: str, class_name: str, **spec: object) -> str:
    """An AgentIdentity as a file."""
    body = identity(name, class_name, **spec)
    body["metadata"]["namespace"] = namespace
    return yaml.safe_dump({"apiVersion": "agentid.dev/v1alpha1", "kind": "AgentIdentity", **body})


def test_a_list_and_a_portrait(
    api: Api, run: Command, namespace: str, make_class: Callable[..., str]
) -> None:
    """Who is there, how each is, and why one is not Ready, in words and for programs."""
    class_name = make_class(description="Reads")
    ours = ("-n", namespace)
    assert run("list", *ours).err == f"No agent identity in namespace {namespace}.\n"
    for name in ("alpha", "beta"):
        body = identity(name, class_name)
        body["metadata"]["labels"] = {"team": name}
        api.create("agentidentities", body, namespace)
        api.until_ready(namespace, name)
    api.create("agentidentities", identity("greedy", class_name, lifetime="24h"), namespace)
    api.until_reason(namespace, "greedy", "Stalled", "ExceedsClass")

    head, *rows = run("list", *ours).out.splitlines()
    assert head.split("   ")[0] == "NAME"
    assert [row.split()[:3] for row in rows] == [
        ["alpha", "Ready", class_name],
        ["beta", "Ready", class_name],
        ["greedy", "ExceedsClass", class_name],
    ]
    assert run("list", *ours, "-o", "name", "-l", "team=beta").out == (
        "agentidentity.agentid.dev/beta\n"
    )
    listed = json.loads(run("list", *ours, "--expiring", "61m", "-o", "json").out)
    assert [each["metadata"]["name"] for each in listed["items"]] == ["alpha", "beta"]
    assert "managedFields" not in listed["items"][0]["metadata"]
    assert run("list", *ours, "--expiring", "1m").err == (
        f"No agent identity as asked for in namespace {namespace}.\n"
    )
    everywhere = run("list", "-A", "--class", class_name, "--not-ready").out.splitlines()
    assert everywhere[1].split()[:3] == [namespace, "greedy", "ExceedsClass"]
    piped = api.cluster.kubectl("apply", "--dry-run=server", "-f", "-", stdin=json.dumps(listed))
    assert piped.stdout.count("(server dry run)") == 2

    good = run("show", "alpha", *ours)
    assert good.code == 0
    assert f"class              {class_name}: Reads\n" in good.out
    assert api.serial(namespace, "alpha") in good.out
    bad = run("show", "greedy", *ours)
    assert bad.code == 1
    assert "status             ExceedsClass\n" in bad.out
    assert "spec.lifetime: 24h is above the 1h ceiling of AgentClass" in bad.out
    assert "next step          ask for less" in bad.out
    told = yaml.safe_load(run("show", "greedy", *ours, "-o", "yaml").out)
    assert told["explanation"]["standing"] == "ExceedsClass"
    assert told["explanation"]["upToDate"] is True
    assert told["identity"]["metadata"]["name"] == "greedy"


def test_what_is_foretold_comes_about(
    api: Api, run: Command, namespace: str, make_class: Callable[..., str]
) -> None:
    """`explain` changes nothing, and says what applying the same manifest then does."""
    class_name = make_class()

    def explain(code: int = 0, **spec: object) -> str:
        told = run("explain", "-f", "-", stdin=manifest(namespace, "oracle", class_name, **spec))
        assert told.code == code, told
        return told.out

    def apply(**spec: object) -> None:
        text = manifest(namespace, "oracle", class_name, **spec)
        api.cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)

    first = explain()
    assert "oracle: gets a certificate" in first
    assert "a certificate is issued: the first of this identity" in first
    assert api.identity(namespace, "oracle") is None
    apply()
    status = api.until_ready(namespace, "oracle")
    assert f"tier               {status['classification']['tier']}, score" in first
    assert f"SPIFFE ID          {status['spiffeID']}\n" in first
    certificate = status["certificate"]
    assert f"certificate        {certificate['keyAlgorithm']}, valid for 1h\n" in first

    assert "the one in use stays" in explain()
    apply()
    assert api.until_ready(namespace, "oracle")["certificate"] == certificate

    # Less than before: another certificate, and the old one is revoked.
    less: dict[str, Any] = {"permissions": {"systems": ["erp.invoices"], "operations": []}}
    shrunk = explain(**less)
    assert "a new certificate is issued at once: the permissions changes" in shrunk
    assert "the one in use is revoked 1s later" in shrunk
    apply(**less)
    until("another", lambda: api.serial(namespace, "oracle") != certificate["serial"])
    until("revoked", lambda: certificate["serial"] in api.ledger().revoked)

    # More than before: the old one may run out.
    grown = explain()
    assert "the one in use runs out by itself: nothing is taken away" in grown

    beyond = explain(1, permissions={"systems": ["hr.pay"], "operations": ["read"]})
    assert "oracle: gets no certificate, its class does not allow it" in beyond
    assert '"hr.pay" is outside the ceiling' in beyond
    another = explain(1, subject={"serviceAccountName": "other"})
    assert "oracle: is not taken by the API server" in another
    assert "spec.subject" in another
    suspended = explain(suspend=True)
    assert "every certificate of it is revoked at once, for good" in suspended

    # Suspended by somebody else: applying the manifest again does not end that.
    assert run("suspend", "oracle", "-n", namespace).code == 0
    assert "somebody else has suspended it" in explain(1)
    apply()
    assert (api.identity(namespace, "oracle") or {})["spec"]["suspend"] is True
    assert (api.identity(namespace, "oracle") or {})["spec"]["subject"] == {
        "serviceAccountName": "default"
    }


def test_explaining_for_programs_and_faults(run: Command, namespace: str) -> None:
    """Faults of a manifest are told one by one; misspelt fields too."""
    text = manifest(namespace, "x", "none", sponser="somebody", lifetime="2 weeks")
    told = run("explain", "-f", "-", "-o", "json", stdin=text)
    assert told.code == 1
    (found,) = json.loads(told.out)
    assert found["outcome"] == "Malformed"
    assert "is not a duration" in found["said"]["malformed"][0]
    missing = run("explain", "-f", "-", stdin=manifest(namespace, "x", "none", sponser="somebody"))
    assert missing.code == 1
    assert "spec.sponser is no field of an AgentIdentity" in missing.out
    assert "waits for          AgentClass none, which does not exist" in missing.out
    run("explain", "-f", "-", stdin="kind: Pod").fails_in_one_line("holds no AgentIdentity")


def test_renewals(api: Api, run: Command, namespace: str, make_class: Callable[..., str]) -> None:
    """By name, and many at once; who cannot be renewed is told at once and not waited for."""
    class_name = make_class()
    names = ["one", "two", "three"]
    for name in names:
        api.create("agentidentities", identity(name, class_name), namespace)
    before = {name: api.until_ready(namespace, name)["certificate"]["serial"] for name in names}

    done = run("renew", "one", "-n", namespace, "--wait")
    assert (done.code, done.out) == (0, f"{namespace}/one renewed\n"), done.err
    assert api.serial(namespace, "one") != before["one"]
    assert api.serial(namespace, "two") == before["two"]
    # Renewed at once after it was issued: the same second must not make it a request of the past.
    again = api.serial(namespace, "one")
    assert run("renew", "one", "-n", namespace, "--wait").code == 0
    assert api.serial(namespace, "one") != again

    run("renew", "-n", namespace).fails_in_one_line("nothing is named; give names")
    run("renew", "--all", "-n", namespace).fails_in_one_line("Renew the certificates of 3", "--yes")
    code, shown = run.at_terminal(
        "renew", "--all", "-n", namespace, "--wait", answers=[("of 3 identities? [y/N]:", "y")]
    )
    assert code == 0, shown
    assert "3/3" in shown
    assert api.serial(namespace, "two") != before["two"]

    api.patch("agentidentities", "three", {"spec": {"suspend": True}}, namespace)
    api.until_reason(namespace, "three", "Suspended", "Suspended")
    refused = run("renew", "two", "three", "-n", namespace, "--wait")
    assert (refused.code, refused.out) == (1, f"{namespace}/two renewed\n")
    assert "three not renewed: spec.suspend is true" in refused.err
    nobody = run("renew", "-l", "team=none", "-n", namespace)
    assert (nobody.code, nobody.err) == (1, "No agent identity is selected.\n")


def test_suspending_and_resuming(
    api: Api, run: Command, namespace: str, make_class: Callable[..., str]
) -> None:
    """Suspended: revoked, its Secret empty, when the command returns. Resumed: another one."""
    api.create("agentidentities", identity("agent", make_class()), namespace)
    serial = api.until_ready(namespace, "agent")["certificate"]["serial"]
    done = run("suspend", "agent", "-n", namespace)
    assert (done.code, done.out) == (0, f"{namespace}/agent suspended\n"), done.err
    assert serial in api.ledger().revoked
    assert api.delivered(namespace, "agent-agentid") == ""
    assert run("suspend", "--all", "-n", namespace).err == (
        "No agent identity that is not suspended is selected.\n"
    )
    code, shown = run.at_terminal(
        "resume", "--all", "-n", namespace, answers=[("Resume 1 identity? [y/N]:", "n")]
    )
    assert code == 1, shown
    assert api.serial(namespace, "agent") == ""
    assert run("resume", "--all", "-n", namespace, "--yes").out == f"{namespace}/agent resumed\n"
    assert api.delivered(namespace, "agent-agentid") not in {"", serial}


def revocations(api: Api) -> set[str]:
    """Names of the AgentRevocations there are."""
    listed = api.cluster.kubectl("get", "agentrevocations", "-o", "name").stdout
    return set(listed.split())


def test_revoking(api: Api, run: Command, namespace: str, make_class: Callable[..., str]) -> None:
    """Nothing is revoked without a yes; with one, exactly what was shown."""
    class_name = make_class()
    for name in ("leaked", "other"):
        api.create("agentidentities", identity(name, class_name), namespace)
    leaked = api.until_ready(namespace, "leaked")["certificate"]["serial"]
    other = api.until_ready(namespace, "other")["certificate"]["serial"]
    there, ours = revocations(api), ("leaked", "-n", namespace, "--reason", "keyCompromise")

    run_without = run("revoke", *ours)
    assert run_without.code == 2
    assert "Nobody is there to be asked; say --yes" in run_without.err
    code, shown = run.at_terminal(
        "revoke", *ours, answers=[("Revoke 1 certificate of 1 identity for good", "n")]
    )
    assert code == 1, shown
    assert leaked in shown
    gone = run("revoke", "nobody", "-n", namespace, "--reason", "superseded")
    assert gone.code == 1
    assert "Nothing is revoked: no certificate that is still good is selected" in gone.err
    assert revocations(api) == there
    assert leaked not in api.ledger().revoked

    done = run("revoke", *ours, "--yes", "--hold", "--contact", "soc@example.com", "--name", "leak")
    assert done.code == 0, done.err
    assert "Revoked by AgentRevocation leak: 1 certificate." in done.err
    assert api.ledger().revoked[leaked].reason.value == "keyCompromise"
    assert other not in api.ledger().revoked
    held = run("show", "leaked", "-n", namespace)
    assert held.code == 1
    assert "status             Held" in held.out
    assert "Ask soc@example.com" in held.out
    foretold = run("explain", "-f", "-", stdin=manifest(namespace, "leaked", class_name))
    assert foretold.code == 1
    assert "gets no certificate, an incident holds it" in foretold.out
    api.delete("agentrevocations", "leak")

    by_serial = ":".join(other[at : at + 2] for at in range(0, len(other), 2)).upper()
    dry = run("revoke", "--serial", by_serial, "--reason", "superseded", "--dry-run", "-o", "name")
    assert dry.code == 0, dry.err
    (name,) = revocations(api) - there
    assert dry.out.strip() == name
    assert other not in api.ledger().revoked
    api.cluster.kubectl("delete", name)
    run("revoke", "--reason", "superseded").fails_in_one_line(
        "give names of identities or --serial"
    )


def test_the_bundle_is_what_agents_are_verified_with(
    api: Api, run: Command, namespace: str, make_class: Callable[..., str], tmp_path: Path
) -> None:
    """As PEM and as a SPIFFE document; `agentid verify` takes both."""
    api.create("agentidentities", identity("agent", make_class()), namespace)
    api.until_ready(namespace, "agent")
    files = api.files(namespace, "agent-agentid") or {}
    (tmp_path / "chain.pem").write_bytes(files["tls.crt"])
    for form, options in (("pem", ()), ("spiffe", ("--trust-domain", "agents.test"))):
        printed = run("bundle", "test", "--format", form)
        assert printed.code == 0, printed.err
        (tmp_path / form).write_text(printed.out)
        verified = run(
            "verify", str(tmp_path / "chain.pem"), "--bundle", str(tmp_path / form), *options
        )
        assert verified.code == 0, verified.err
    run("bundle", "none").fails_in_one_line('agentissuers.agentid.dev "none" not found')
    run("bundle", "test", "-n", namespace).fails_in_one_line("agentid.dev/trust-bundle=enabled")


def test_a_new_agent_out_of_questions(
    api: Api, run: Command, namespace: str, make_class: Callable[..., str], tmp_path: Path
) -> None:
    """A wrong answer is asked again, with the reason; the manifest is one that becomes Ready."""
    class_name = make_class(description="Reads invoices")
    file = tmp_path / "agent.yaml"
    code, shown = run.at_terminal(
        "init", "-n", namespace, into=file,
        answers=[
            ("Name of the agent:", "My Agent"),
            ("Name of the agent:", "asked"),
            ("Its AgentClass:", class_name),
            ("Who answers for it", ""),
            ("Who answers for it", "team@example.com"),
            ("What it is for", "Reads"),
            ("ServiceAccount of its pods [asked]:", ""),
            ("the class allows erp.*, crm.*", "hr.pay"),
            ("the class allows erp.*, crm.*", "erp.invoices, crm.x"),
            ("the class allows list, read", "read"),
        ],
    )  # fmt: skip
    assert code == 0, shown
    assert f"{class_name}" in shown
    assert "Reads invoices" in shown
    assert '"hr.pay" is outside the ceiling' in shown
    text = file.read_text("utf-8")
    assert text.startswith("apiVersion:")
    assert yaml.safe_load(text)["spec"]["permissions"] == {
        "systems": ["erp.invoices", "crm.x"], "operations": ["read"],
    }  # fmt: skip
    api.cluster.kubectl("apply", "-f", "-", stdin=text)
    api.until_ready(namespace, "asked")


def test_a_new_agent_out_of_options(
    run: Command, namespace: str, make_class: Callable[..., str]
) -> None:
    """Away from a terminal nothing is asked: it is written, refused, or what lacks is named."""
    class_name = make_class()
    known = ("init", "bot", "-n", namespace, "--class", class_name)
    run(*known).fails_in_one_line("--sponsor: not given")
    whole = (*known, "--sponsor", "a@example.com", "--operation", "read")
    beyond = run(*whole, "--system", "hr.pay")
    assert (beyond.code, beyond.out) == (1, "")
    assert '"hr.pay" is outside the ceiling' in beyond.err
    good = run(*whole, "--system", "erp.invoices")
    assert good.code == 0
    assert yaml.safe_load(good.out)["spec"]["subject"] == {"serviceAccountName": "bot"}
    offline = Command("/nowhere")("init", "bot", "--class", "any", "--offline")
    assert offline.code == 0
    assert yaml.safe_load(offline.out)["metadata"]["namespace"] == "default"


def test_a_terminal_has_colours_and_a_pipe_has_none(
    api: Api, run: Command, namespace: str, make_class: Callable[..., str]
) -> None:
    """And NO_COLOR takes them away."""
    api.create("agentidentities", identity("agent", make_class()), namespace)
    api.until_ready(namespace, "agent")
    assert "\x1b[" not in run("list", "-n", namespace).out
    assert "\x1b[32mReady\x1b[0m" in run.at_terminal("list", "-n", namespace)[1]
    assert "\x1b[" not in run.at_terminal("list", "-n", namespace, NO_COLOR="1")[1]


def test_kubectl_finds_the_plugin(api: Api, tmp_path: Path) -> None:
    """`kubectl agentid` is this program, its usage says so, and kubectl completes it."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    for name, entry in scripts.items():
        module, function = entry.split(":")
        text = f"#!{sys.executable}\nfrom {module} import {function}\n{function}()\n"
        (tmp_path / name).write_text(text, "utf-8")
        (tmp_path / name).chmod(0o755)

    def kubectl(*arguments: str) -> str:
        environment = {**os.environ, "KUBECONFIG": str(api.cluster.kubeconfig)}
        environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
        done = subprocess.run(
            [*api.cluster.kubectl_command, *arguments],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout + done.stderr

    assert "Usage: kubectl agentid list [OPTIONS]" in kubectl("agentid", "list", "--help")
    assert kubectl("agentid", "show", "x").startswith("kubectl agentid: get agentidentities")
    assert kubectl("__complete", "agentid", "re").splitlines()[:2] == ["renew", "resume"]
    assert "--expiring" in kubectl("__complete", "agentid", "list", "--e").splitlines()


@pytest.mark.parametrize(
    "seconds", [pytest.param(-3600, id="behind"), pytest.param(3600, id="ahead")]
)
def test_the_time_of_a_request_is_the_servers(
    seconds: int, api: Api, namespace: str, make_class: Callable[..., str], tmp_path: Path
) -> None:
    """A wrong clock on the caller's machine asks neither for the past nor for the future."""
    skew = tmp_path / "skew"
    skew.write_text(str(seconds))
    wrong = Command(str(api.cluster.kubeconfig), "tests.support.skewed")
    api.create("agentidentities", identity("agent", make_class()), namespace)
    before = api.until_ready(namespace, "agent")["certificate"]["serial"]
    done = wrong("renew", "agent", "-n", namespace, "--wait", CLOCK_SKEW=str(skew))
    assert done.code == 0, done.err
    assert api.serial(namespace, "agent") != before
    told = wrong("doctor", CLOCK_SKEW=str(skew)).out
    way = "ahead of" if seconds > 0 else "behind"
    # The server's time is told in whole seconds, and it took a moment to ask for it.
    assert re.search(rf"this machine is (3599|360[0-2]) s {way} the API server", told), told
