"""Credentials: a ServiceAccount's directory, as the kubelet keeps it, and kubeconfigs."""

from __future__ import annotations

import base64
import os
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agentid.errors import InputError
from agentid.kube.credentials import (
    ServiceAccountCredentials,
    load_credentials,
)
from agentid.kube.kubeconfig import KubeconfigCredentials

if TYPE_CHECKING:
    from agentid.testing.clock import ManualClock

POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "6443"}


def make_certificate(name: str) -> tuple[str, str]:
    """Return a self-signed certificate, good as CA and as client, and its key, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode(),
    )


CA, CA_KEY = make_certificate("cluster-ca")
NEXT_CA, _ = make_certificate("next-cluster-ca")


class Mount:
    """A projected volume as the kubelet writes it: a directory swapped by one rename."""

    def __init__(self, root: Path) -> None:
        self.path = root
        self._generation = 0
        self.write(token="first", ca=CA)
        for name in ("token", "ca.crt", "namespace"):
            (root / name).symlink_to(f"..data/{name}")

    def write(self, *, token: str, ca: str) -> None:
        """Swap in new contents."""
        self._generation += 1
        folder = self.path / f"..{self._generation}"
        folder.mkdir()
        for name, text in (("token", token), ("ca.crt", ca), ("namespace", "agentid-system\n")):
            (folder / name).write_text(text)
        (self.path / "..new").symlink_to(folder.name)
        (self.path / "..new").rename(self.path / "..data")


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    """Return a ServiceAccount's directory."""
    return Mount(tmp_path)


def trusted(context: ssl.SSLContext | None) -> set[str]:
    """Return the names of the authorities that a context trusts."""
    assert context is not None
    return {dict(part[0] for part in ca["subject"])["commonName"] for ca in context.get_ca_certs()}  # type: ignore[misc]


# In a pod


async def test_a_pod_finds_everything_by_itself(mount: Mount, clock: ManualClock) -> None:
    """Server from the environment, the rest from the directory; only the cluster's CA counts."""
    found = ServiceAccountCredentials.from_environment(POD, clock=clock, directory=mount.path)
    assert (found.server, found.namespace) == ("https://10.96.0.1:6443", "agentid-system")
    assert await found.headers() == {"Authorization": "Bearer first"}
    assert trusted(found.ssl_context) == {"cluster-ca"}
    assert found.ssl_context is not None
    assert found.ssl_context.verify_mode is ssl.CERT_REQUIRED
    assert found.ssl_context.check_hostname


async def test_the_directory_can_be_elsewhere(mount: Mount, clock: ManualClock) -> None:
    """Outside a pod the operator runs with a directory that a variable names."""
    environ = POD | {"AGENTID_SERVICEACCOUNT_DIR": str(mount.path)}
    found = await load_credentials(clock=clock, environ=environ)
    assert isinstance(found, ServiceAccountCredentials)
    assert found.namespace == "agentid-system"


def test_kopf_gets_the_same(mount: Mount, clock: ManualClock) -> None:
    """The fields are those of kopf.ConnectionInfo."""
    found = ServiceAccountCredentials.from_environment(POD, clock=clock, directory=mount.path)
    assert found.as_kopf_fields() == {
        "server": "https://10.96.0.1:6443",
        "ca_data": CA.strip(),
        "scheme": "Bearer",
        "token": "first",
        "default_namespace": "agentid-system",
    }


@pytest.mark.parametrize(
    ("host", "server"),
    [("fd00::1", "https://[fd00::1]:6443"), ("[fd00::1]", "https://[fd00::1]:6443")],
)
def test_an_ipv6_server_is_put_into_brackets(
    mount: Mount, clock: ManualClock, host: str, server: str
) -> None:
    """The environment gives a bare address."""
    environ = POD | {"KUBERNETES_SERVICE_HOST": host}
    found = ServiceAccountCredentials.from_environment(environ, clock=clock, directory=mount.path)
    assert found.server == server


async def test_a_rotated_token_is_used_within_seconds(mount: Mount, clock: ManualClock) -> None:
    """The file is looked at every ten seconds, and read when it was swapped."""
    found = ServiceAccountCredentials.from_environment(POD, clock=clock, directory=mount.path)
    mount.write(token="second", ca=CA)
    clock.advance(9)
    assert await found.headers() == {"Authorization": "Bearer first"}
    clock.advance(1)
    assert await found.headers() == {"Authorization": "Bearer second"}


async def test_a_refused_token_is_looked_for_at_once(mount: Mount, clock: ManualClock) -> None:
    """After a 401 the file is read without waiting; an unchanged one offers nothing new."""
    found = ServiceAccountCredentials.from_environment(POD, clock=clock, directory=mount.path)
    refused = await found.headers()
    assert not await found.renew(refused)
    mount.write(token="second", ca=CA)
    assert await found.renew(refused)
    assert await found.headers() == {"Authorization": "Bearer second"}


async def test_a_new_cluster_ca_is_trusted_without_a_restart(
    mount: Mount, clock: ManualClock
) -> None:
    """Sessions keep their context, which learns the new authority beside the old one."""
    found = ServiceAccountCredentials.from_environment(POD, clock=clock, directory=mount.path)
    context = found.ssl_context
    mount.write(token="first", ca=NEXT_CA)
    clock.advance(10)
    await found.headers()
    assert found.ssl_context is context
    assert trusted(context) == {"cluster-ca", "next-cluster-ca"}
    assert found.as_kopf_fields()["ca_data"] == NEXT_CA.strip()


@pytest.mark.parametrize("spoil", ["empty", "gone", "ca-nonsense"])
async def test_unusable_files_do_not_replace_usable_ones(
    mount: Mount, clock: ManualClock, spoil: str
) -> None:
    """Half-written or vanished files leave what was read before in use, until they are right."""
    found = ServiceAccountCredentials.from_environment(POD, clock=clock, directory=mount.path)
    match spoil:
        case "empty":
            mount.write(token="", ca=CA)
        case "gone":
            (mount.path / "token").unlink()
        case _:
            mount.write(token="second", ca="-----BEGIN CERTIFICATE-----\n!")
    clock.advance(10)
    assert await found.headers() == {"Authorization": "Bearer first"}
    if spoil != "gone":
        mount.write(token="third", ca=CA)
        clock.advance(10)
        assert await found.headers() == {"Authorization": "Bearer third"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("token", None, r"token: cannot be read as text .* AGENTID_SERVICEACCOUNT_DIR says where"),
        ("token", b"", r"token: is empty"),
        ("token", b"a\nb", r"token: a ServiceAccount token is one line of ASCII text"),
        ("token", "tökén".encode(), r"found 5 characters of something else"),
        ("token", b"x" * 20_000, r"at most 16384 bytes, found 20000 characters"),
        ("token", b"\xff\xfe", r"token: cannot be read as text"),
        ("ca.crt", b"hello", r"ca.crt: holds no CA certificate in PEM"),
        ("ca.crt", None, r"ca.crt: cannot be read"),
        ("namespace", None, r"namespace: cannot be read"),
    ],
)
def test_a_directory_that_is_not_right_says_what(
    mount: Mount, clock: ManualClock, name: str, text: bytes | None, message: str
) -> None:
    """The file, what is wrong with it, and what it should be; never what a token says."""
    (mount.path / name).unlink()
    if text is not None:
        (mount.path / name).write_bytes(text)
    with pytest.raises(InputError, match=message):
        ServiceAccountCredentials.from_environment(POD, clock=clock, directory=mount.path)


def test_outside_a_pod_the_environment_is_named(clock: ManualClock) -> None:
    """No server in the environment: the message says what to set, or use instead."""
    with pytest.raises(InputError, match="KUBERNETES_SERVICE_HOST is not set, so this is no pod"):
        ServiceAccountCredentials.from_environment({}, clock=clock)


@pytest.mark.parametrize("server", ["10.0.0.1:6443", "ftp://a", "https://", "https://a:b"])
def test_an_address_that_is_no_url_is_refused(
    mount: Mount, clock: ManualClock, server: str
) -> None:
    """What cannot be a server is not tried."""
    with pytest.raises(InputError, match=r"is a URL such as https://10\.0\.0\.1:6443, found "):
        ServiceAccountCredentials(server, mount.path, clock=clock)


def test_the_official_client_is_imported_for_kubeconfigs_only() -> None:
    """The operator does not carry 25 MB for what only the command line needs."""
    program = (
        "import sys, agentid.kube.client, agentid.kube.credentials, agentid.kube.lease; "
        "sys.exit(any(name.split('.')[0] == 'kubernetes' for name in sys.modules))"
    )
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", program], env=environ, check=False).returncode == 0


# Kubeconfigs


def kubeconfig(folder: Path, *, user: dict[str, object] | None, **cluster: object) -> Path:
    """Write a kubeconfig of one context."""
    fields = {
        "server": "https://10.0.0.1:6443/",
        "certificate-authority-data": base64.b64encode(CA.encode()).decode(),
    }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": fields | cluster}],
        "contexts": [
            {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "ops"}}
        ],
        "users": [{"name": "u", "user": user}] if user is not None else [],
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


async def test_a_token_in_a_kubeconfig(tmp_path: Path, clock: ManualClock) -> None:
    """Server, CA, namespace and token are found; asked for by path, by variable, or by home."""
    path = kubeconfig(tmp_path, user={"token": "t"}, **{"tls-server-name": "api.example"})
    for found in (
        await load_credentials(clock=clock, kubeconfig=path, environ=POD),
        await load_credentials(clock=clock, environ={"KUBECONFIG": f"/nowhere:{path}"}),
        await load_credentials(clock=clock, context="here", environ={"KUBECONFIG": str(path)}),
    ):
        assert (found.server, found.namespace) == ("https://10.0.0.1:6443", "ops")
        assert await found.headers() == {"Authorization": "Bearer t"}
        assert trusted(found.ssl_context) == {"cluster-ca"}
        assert found.server_hostname == "api.example"
        fields = found.as_kopf_fields()
        assert (fields["scheme"], fields["token"], fields["insecure"]) == ("Bearer", "t", False)


async def test_a_client_certificate_in_a_kubeconfig(tmp_path: Path) -> None:
    """No header is needed; the certificate speaks in the TLS handshake."""
    user: dict[str, object] = {
        "client-certificate-data": base64.b64encode(CA.encode()).decode(),
        "client-key-data": base64.b64encode(CA_KEY.encode()).decode(),
    }
    found = await KubeconfigCredentials.load(str(kubeconfig(tmp_path, user=user)))
    assert await found.headers() == {}
    assert not await found.renew({})
    fields = found.as_kopf_fields()
    assert Path(str(fields["certificate_path"])).read_text() == CA  # noqa: ASYNC240 - a test
    assert fields["token"] is None


def plugin(folder: Path) -> dict[str, object]:
    """Make an exec plug-in that hands out another token each time it runs."""
    script = folder / "plugin.py"
    script.write_text(
        "import json, pathlib\n"
        f"count = pathlib.Path({str(folder / 'count')!r})\n"
        "number = int(count.read_text()) + 1 if count.exists() else 1\n"
        "count.write_text(str(number))\n"
        "version = 'client.authentication.k8s.io/v1'\n"
        "status = {'token': f't{number}'}\n"
        "print(json.dumps({'apiVersion': version, 'kind': 'ExecCredential', 'status': status}))\n"
    )
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": sys.executable,
            "args": [str(script)],
        }
    }


async def test_a_plugins_token_is_fetched_anew_when_refused(tmp_path: Path) -> None:
    """Once, however many requests were refused with the old one."""
    found = await KubeconfigCredentials.load(str(kubeconfig(tmp_path, user=plugin(tmp_path))))
    refused = await found.headers()
    assert refused == {"Authorization": "Bearer t1"}
    assert await found.renew(refused)
    assert await found.renew(refused)
    assert await found.headers() == {"Authorization": "Bearer t2"}


async def test_skipping_verification_is_obeyed(tmp_path: Path) -> None:
    """A user who says insecure-skip-tls-verify gets it, for that cluster."""
    path = kubeconfig(tmp_path, user={"token": "t"}, **{"insecure-skip-tls-verify": True})
    found = await KubeconfigCredentials.load(str(path))
    assert found.ssl_context is not None
    assert found.ssl_context.verify_mode is ssl.CERT_NONE
    assert found.as_kopf_fields()["insecure"] is True


async def test_a_proxy_of_kubectl_needs_no_credentials(tmp_path: Path) -> None:
    """Clear text to one's own machine: no context, no user."""
    path = kubeconfig(
        tmp_path, user={}, server="http://127.0.0.1:8001", **{"proxy-url": "http://p"}
    )
    found = await KubeconfigCredentials.load(str(path))
    assert (found.ssl_context, found.proxy) == (None, "http://p")


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ({}, "its user offers neither token nor certificate"),
        (None, "cannot be used"),
        ({"client-certificate": "/nowhere.crt"}, r"cannot be used \(File does not exists"),
        (
            {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "false"}},
            "an exec plug-in's own error is logged",
        ),
    ],
)
async def test_a_kubeconfig_without_a_usable_user_says_so(
    tmp_path: Path, user: dict[str, object] | None, message: str
) -> None:
    """Which file, and what to do; an API server lets nobody in anonymously."""
    path = kubeconfig(tmp_path, user=user)
    with pytest.raises(InputError, match=message) as caught:
        await KubeconfigCredentials.load(str(path))
    assert str(caught.value).startswith(f"kubeconfig {path}: ")


@pytest.mark.parametrize("text", ["", "- a", "{", "current-context: x"])
async def test_a_file_that_is_no_kubeconfig_says_so(tmp_path: Path, text: str) -> None:
    """Whatever the loader stumbles over, one error comes out."""
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(InputError, match="cannot be used"):
        await KubeconfigCredentials.load(str(path))


async def test_an_unknown_file_or_context_says_so(tmp_path: Path, clock: ManualClock) -> None:
    """The name that was asked for stands in the message."""
    with pytest.raises(InputError, match="no such file; name one with KUBECONFIG"):
        await load_credentials(clock=clock, kubeconfig=tmp_path / "none")
    path = kubeconfig(tmp_path, user={"token": "t"})
    with pytest.raises(InputError, match="context there: cannot be used"):
        await load_credentials(clock=clock, kubeconfig=path, context="there")
