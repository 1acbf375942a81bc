"""OpenSSL's and Python's TLS, both sides with certificates of ours, and CRLs for both."""

from __future__ import annotations

import socket
import subprocess
import threading
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from agentid.pki import KeyAlgorithm
from e2e.install import openssl
from tests.support.api import until
from tests.support.mounted import write_together
from tests.support.peer import Files, call, serve
from tests.support.presented import Presented
from tests.support.probing import ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Handshake = Callable[[Presented, str, str], str]

# OpenSSL knows ML-DSA from 3.5 on, and Python what its OpenSSL knows.
ALGORITHMS = [each for each in KeyAlgorithm if not each.startswith("MLDSA")]
HELLO = "GET / HTTP/1.0\r\n\r\n"


@contextmanager
def served(shown: Presented, name: str, verified: list[str]) -> Iterator[int]:
    """`openssl s_server` for an agent that asks callers for certificates; the port."""
    (port,) = ports(1)
    own = ["-cert", f"{name}.crt", "-cert_chain", f"{name}.crt", "-key", f"{name}.key"]
    command = [openssl(), "s_server", "-accept", f"127.0.0.1:{port}", "-www", "-Verify", "3", *own]
    with (shown.folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [*command, *verified], cwd=shown.folder, stdin=subprocess.DEVNULL,
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        until("the server", lambda: "ACCEPT" in (shown.folder / "server.log").read_text(), 5)
        yield port
    finally:
        process.kill()
        process.wait()


def by_openssl(shown: Presented, server: str, client: str) -> str:
    """One handshake of `s_client` with `s_server`; what it was refused for, empty if it was not.

    CAfile may hold CRLs as well; the option -CRL reads one alone.
    """
    bundle = (shown.folder / "ca.crt").read_bytes() + (shown.folder / "crl.pem").read_bytes()
    (shown.folder / "trust.pem").write_bytes(bundle)
    verified = ["-CAfile", "trust.pem", "-x509_strict", "-crl_check_all", "-verify_return_error"]
    own = ["-cert", f"{client}.crt", "-cert_chain", f"{client}.crt", "-key", f"{client}.key"]
    with served(shown, server, verified) as port:
        command = [openssl(), "s_client", "-connect", f"127.0.0.1:{port}", "-quiet", "-verify", "3"]
        done = subprocess.run(
            [*command, *own, *verified],
            cwd=shown.folder, input=HELLO, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if "HTTP/1.0 200" in done.stdout:
        return ""
    return done.stderr + (shown.folder / "server.log").read_text()


def by_python(shown: Presented, server: str, client: str) -> str:
    """One handshake of the module ssl with itself, strict, and with a CRL for each certificate."""
    made = {}
    for name in {server, client}:
        sources = {"tls.crt": f"{name}.crt", "tls.key": f"{name}.key"}
        sources |= {"ca.crt": "ca.crt", "crl.pem": "crl.pem"}
        write_together(
            shown.folder / f"mounted-{name}",
            {file: (shown.folder / source).read_bytes() for file, source in sources.items()},
        )
        made[name] = Files(shown.folder / f"mounted-{name}")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        arguments = (made[server], listener, shown.spiffe_id(client))
        threading.Thread(target=serve, args=arguments, daemon=True).start()
        outcome = call(made[client], listener.getsockname()[1], shown.spiffe_id(server))
        return "" if outcome["ok"] else str(outcome["error"])


HANDSHAKES = [pytest.param(by_openssl, id="openssl"), pytest.param(by_python, id="python")]
pytestmark = pytest.mark.parametrize("handshake", HANDSHAKES)


@pytest.fixture
def shown(tmp_path: Path) -> Presented:
    """A trust domain with two agents on different shards."""
    made = Presented(tmp_path)
    made.agent("left", shard=0)
    made.agent("right", shard=1)
    return made


def test_two_agents_talk(handshake: Handshake, shown: Presented) -> None:
    """Each is looked up in its own shard, the intermediate in the list of the root."""
    assert handshake(shown, "left", "right") == ""
    assert handshake(shown, "right", "left") == ""


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_with_keys_of_every_kind(
    handshake: Handshake, shown: Presented, algorithm: KeyAlgorithm
) -> None:
    """On the side of the server and on that of the client."""
    shown.agent("other", algorithm=algorithm)
    assert handshake(shown, "other", "left") == ""
    assert handshake(shown, "left", "other") == ""


def test_a_revoked_agent_is_refused(handshake: Handshake, shown: Presented) -> None:
    """Whichever side it is on; others of its shard go on."""
    gone = shown.agent("gone", shard=1)
    assert handshake(shown, "gone", "left") == ""
    shown.publish(gone)
    assert "certificate revoked" in handshake(shown, "gone", "left")
    # By the alert of the server, which the end of the connection may beat.
    assert handshake(shown, "left", "gone") != ""
    assert handshake(shown, "left", "right") == ""


def test_agents_of_a_revoked_intermediate_are_refused(
    handshake: Handshake, shown: Presented
) -> None:
    """Its root has it on its list."""
    shown.publish(intermediate=True)
    assert "certificate revoked" in handshake(shown, "left", "right")


def test_an_overdue_list_refuses_everybody(handshake: Handshake, shown: Presented) -> None:
    """Whoever insists on fresh lists learns when there are none."""
    shown.publish(age=timedelta(hours=2))
    assert "CRL has expired" in handshake(shown, "left", "right")


def test_a_foreign_agent_is_refused(handshake: Handshake, shown: Presented, tmp_path: Path) -> None:
    """Of the same name, by authorities that are not in the bundle."""
    other = Presented(tmp_path / "other", seed="another")
    other.agent("right")
    for end in ("crt", "key"):
        (shown.folder / f"right.{end}").write_bytes((other.folder / f"right.{end}").read_bytes())
    assert "unable to get local issuer certificate" in handshake(shown, "right", "left")
    # By the alert of the server, which the end of the connection may beat.
    assert handshake(shown, "left", "right") != ""


def test_an_ephemeral_agent_is_refused_by_who_insists_on_lists(
    handshake: Handshake, shown: Presented
) -> None:
    """It stands on none; OpenSSL 3.0 does not know noRevAvail (RFC 9608)."""
    shown.agent("brief", crl_uri=None, ocsp_uri=None, no_rev_avail=True)
    assert "CRL" in handshake(shown, "brief", "left")
