"""Whatever is wrong with cluster, rights or input: one line and a next step, never a traceback."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.support.api import until
from tests.support.command import Command, kubeconfig_of
from tests.support.manifests import identity

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.providers import Cluster

pytestmark = pytest.mark.integration

MANIFEST = yaml.safe_dump(
    {"apiVersion": "agentid.dev/v1alpha1", "kind": "AgentIdentity", **identity("x", "none")}
)
ASKING = (
    ("list",),
    ("list", "-A", "-o", "json"),
    ("show", "x"),
    ("explain", "-f", "-"),
    ("renew", "x"),
    ("renew", "--all", "-A", "--yes"),
    ("suspend", "x"),
    ("resume", "-l", "a=b", "--yes"),
    ("revoke", "x", "--reason", "superseded"),
    ("bundle", "x"),
    ("init", "x", "--class", "y"),
    ("issuer", "show", "x"),
    ("issuer", "rotate", "x"),
    ("ledger", "list"),
    ("doctor",),
)
"""Every command that asks a cluster."""


SOME = (("list",), ("explain", "-f", "-"), ("suspend", "x"), ("issuer", "show", "x"))
"""A few of them that ask in different ways."""


def each(run: Command, commands: tuple[tuple[str, ...], ...], *words: str) -> None:
    """Each fails in one line with these words."""
    for arguments in commands:
        run(*arguments, stdin=MANIFEST).fails_in_one_line(*words)


def test_a_cluster_that_is_not_there(cluster: Cluster, tmp_path: Path) -> None:
    """A closed port: which address, and how to choose another."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    gone = kubeconfig_of(cluster, tmp_path / "config", server=f"https://127.0.0.1:{port}")
    each(
        gone,
        ASKING,
        "no connection to the API server",
        f"127.0.0.1:{port}",
        "--context and --kubeconfig",
    )


def test_something_else_that_listens(cluster: Cluster, tmp_path: Path) -> None:
    """A socket that takes connections and speaks no TLS."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        port = server.getsockname()[1]
        there = kubeconfig_of(cluster, tmp_path / "config", server=f"http://127.0.0.1:{port}")

        def answer() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

        thread = threading.Thread(target=answer)
        thread.start()
        there("list").fails_in_one_line("is no JSON", "is this a Kubernetes API server?")
        thread.join()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(None, ("no such file", "--kubeconfig"), id="missing"),
        pytest.param("", ("cannot be used", "kubectl config view"), id="empty"),
        pytest.param("a: [", ("cannot be used", "kubectl config view"), id="no-yaml"),
        pytest.param("\x00\x01", ("cannot be used", "kubectl config view"), id="binary"),
        pytest.param("[1, 2]", ("cannot be used", "kubectl config view"), id="a-list"),
        pytest.param("just words", ("cannot be used", "kubectl config view"), id="words"),
        pytest.param(
            "{apiVersion: v1, kind: Config, current-context: a, contexts: [{name: a}]}",
            ("cannot be used", "kubectl config view"), id="hollow",
        ),
    ],
)  # fmt: skip
def test_a_broken_kubeconfig(content: str | None, words: tuple[str, ...], tmp_path: Path) -> None:
    """Which file, what is wrong with it, and how to look at it."""
    path = tmp_path / "config"
    if content is not None:
        path.write_text(content)
    Command("/nowhere")("list", "--kubeconfig", str(path)).fails_in_one_line(str(path), *words)


def test_a_plugin_of_the_kubeconfig_that_fails(tmp_path: Path) -> None:
    """What it says itself, then that one has to log in again."""
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never",
        "command": "sh", "args": ["-c", "echo session is over >&2; exit 1"],
    }  # fmt: skip
    view = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"exec": plugin}}],
    }
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(view))
    done = Command(str(path))("list")
    assert done.code == 2
    first, last = done.err.strip().splitlines()
    assert "session is over" in first
    assert "its user offers neither token nor certificate" in last
    assert "log in again" in last


def test_a_context_that_is_not_there(cluster: Cluster, tmp_path: Path) -> None:
    """And a folder in place of a file."""
    run = Command(str(cluster.kubeconfig))
    run("list", "--context", "moon").fails_in_one_line("context moon", "kubectl config view")
    Command(str(tmp_path))("list").fails_in_one_line(str(tmp_path), "kubectl config view")


def test_a_token_that_has_expired(installed: Cluster, tmp_path: Path) -> None:
    """Or was never one: log in again."""
    stale = kubeconfig_of(installed, tmp_path / "config", token="stale")
    each(stale, (*SOME, ("doctor",)), "401", "log in again")


def test_somebody_without_rights(
    installed: Cluster, tmp_path: Path, make_namespace: Callable[[], str]
) -> None:
    """Which right is missing, and which role to ask for; what is open to all still works."""
    namespace = make_namespace()
    installed.kubectl("create", "serviceaccount", "nobody", "-n", namespace)
    token = installed.kubectl("create", "token", "nobody", "-n", namespace).stdout
    nobody = kubeconfig_of(installed, tmp_path / "config", token=token)
    for arguments, role in (
        (("list", "-n", namespace), "agentid-view"),
        (("list", "-A"), "agentid-view"),
        (("show", "x", "-n", namespace), "agentid-view"),
        (("renew", "x", "-n", namespace), "agentid-edit"),
        (("revoke", "x", "-n", namespace, "--reason", "superseded"), "agentid-security-officer"),
        (("issuer", "rotate", "x"), "agentid-catalogue-view"),
        (("ledger", "list"), "may read ConfigMaps in the operator's namespace"),
        (("bundle", "x"), "may read ConfigMaps in the operator's namespace"),
    ):
        nobody(*arguments).fails_in_one_line("403 Forbidden", role)
    told = nobody("explain", "-f", "-", "-n", namespace, stdin=MANIFEST)
    assert told.code == 1
    assert "API server         refuses it: create agentidentities" in told.out
    assert "you                may not use this class; ask its owner for it" in told.out
    looked = nobody("doctor")
    assert "unknown            ledger: list configmaps agentid-system: 403 Forbidden" in looked.out
    assert "Traceback" not in looked.err


def test_an_agent_team(
    installed: Cluster, tmp_path: Path, make_namespace: Callable[[], str]
) -> None:
    """It is offered the classes that it may use, and told what would become of the others."""
    namespace = make_namespace()
    for name in ("allowed", "denied"):
        body = {
            "apiVersion": "agentid.dev/v1alpha1", "kind": "AgentClass",
            "metadata": {"name": f"{namespace}-{name}"},
            "spec": {"issuerName": "test", "namespaces": {"names": [namespace]},
                     "permissions": {"systems": ["*"], "operations": ["read"]}},
        }  # fmt: skip
        installed.kubectl("create", "-f", "-", stdin=yaml.safe_dump(body))
    installed.kubectl("create", "serviceaccount", "team", "-n", namespace)
    account = f"--serviceaccount={namespace}:team"
    installed.kubectl(
        "create", "rolebinding", "team", "-n", namespace, "--clusterrole=edit", account
    )
    rule = {
        "apiGroups": ["agentid.dev"], "resources": ["agentclasses"], "verbs": ["use"],
        "resourceNames": [f"{namespace}-allowed"],
    }  # fmt: skip
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": f"{namespace}-use"}, "rules": [rule],
    }  # fmt: skip
    installed.kubectl("create", "-f", "-", stdin=yaml.safe_dump(role))
    installed.kubectl(
        "create",
        "clusterrolebinding",
        f"{namespace}-use",
        f"--clusterrole={namespace}-use",
        account,
    )
    token = installed.kubectl("create", "token", "team", "-n", namespace).stdout
    team = kubeconfig_of(installed, tmp_path / "config", token=token)

    whole = ("init", "bot", "-n", namespace, "--sponsor", "a@example.com")
    until("rights", lambda: team("list", "-n", namespace).code == 0)
    mine = team(*whole, "--class", f"{namespace}-allowed")
    assert (mine.code, mine.err) == (0, "")
    other = team(*whole, "--class", f"{namespace}-denied")
    assert "is no AgentClass that you may use" in other.err
    told = team("explain", "-f", "-", stdin=other.out)
    assert told.code == 1
    assert f"may not use AgentClass {namespace}-denied" in told.out
    assert "is not taken by the API server" in told.out
    team("list", "-A").fails_in_one_line("403 Forbidden", "agentid-view")
    for name in ("allowed", "denied"):
        installed.kubectl("delete", "agentclass", f"{namespace}-{name}")
    for kind in ("clusterrole", "clusterrolebinding"):
        installed.kubectl("delete", kind, f"{namespace}-use")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("a: [", ("is neither YAML nor JSON", "mend it there"), id="no-yaml"),
        pytest.param("\x00", ("is neither YAML nor JSON",), id="binary"),
        pytest.param("[" * 20000, ("is neither YAML nor JSON",), id="deep"),
        pytest.param("", ("holds no AgentIdentity",), id="empty"),
        pytest.param("42", ("holds no AgentIdentity",), id="a-number"),
        pytest.param("#" * (1 << 20) + "#", ("is larger than the 1048576 octets",), id="large"),
    ],
)
def test_nonsense_for_a_manifest(installed: Cluster, text: str, words: tuple[str, ...]) -> None:
    """Which file, and what is wrong."""
    run = Command(str(installed.kubeconfig))
    run("explain", "-f", "-", stdin=text).fails_in_one_line("-:", *words)
    run("explain", "-f", "/no/such.yaml").fails_in_one_line("/no/such.yaml: cannot be read")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("list", "-n", "a", "-A"), "--namespace and --all-namespaces contradict one another"),
        (("list", "--expiring", "soon"), '--expiring: "soon" is not a duration'),
        (("list", "-l", "a=b=c!"), "400"),
        (("show", "../x"), "404"),
        (("show", ".."), "give its real name"),
        (("renew", "x", "-A"), "names and --all-namespaces contradict one another"),
        (("renew", "x", "-l", "a=b"), "names and --selector contradict one another"),
        (("suspend",), "nothing is named"),
        (("renew", "x", "--wait", "--timeout", "never"), '"never" is not a duration'),
        (("revoke", "x", "--reason", "superseded", "--contact", "x y"), "spec.contact"),
        (("revoke", "--serial", "zz", "--reason", "superseded"), "is not a serial number"),
        (("init", "x y", "--class", "a", "--sponsor", "s", "--offline"), ""),
    ],
)
def test_options_that_make_no_sense(
    installed: Cluster, arguments: tuple[str, ...], words: str
) -> None:
    """What was found, and what to write instead."""
    done = Command(str(installed.kubeconfig))(*arguments)
    assert done.code in {1, 2}
    assert done.out == ""
    assert words in done.err
    assert "Traceback" not in done.err
