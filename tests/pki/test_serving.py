"""The certificate of a Service, and its authority: what others accept, and all they do not."""

from __future__ import annotations

import ipaddress
import shutil
import socket
import ssl
import subprocess
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from agentid.clock import SystemClock
from agentid.errors import InputError
from agentid.identity import SerialNumber, Validity
from agentid.pki.serving import ServingCertificate, make_serving_certificate

if TYPE_CHECKING:
    from pathlib import Path

NAME = "agentid-admission.agentid-system.svc"
NOW = SystemClock().now()


def made(name: str = NAME, number: int = 1) -> ServingCertificate:
    """A certificate that is valid now."""
    validity = Validity.of(NOW, timedelta(days=7), timedelta(minutes=1))
    return make_serving_certificate(
        name,
        validity,
        SerialNumber((1 << 64) + 2 * number),
        SerialNumber((1 << 64) + 2 * number + 1),
    )


def extensions(certificate: x509.Certificate) -> dict[str, tuple[bool, x509.ExtensionType]]:
    """Criticality and value by name, without key identifiers."""
    return {
        each.oid._name: (each.critical, each.value)
        for each in certificate.extensions
        if "KeyIdentifier" not in each.oid._name
    }


def usage(*, ca: bool) -> x509.KeyUsage:
    """Of an authority, or of a server."""
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


def test_the_authority_can_sign_for_that_name_and_nothing_else() -> None:
    """One name, no address, no authority below it; each extension with its criticality."""
    authority = made().authority
    addresses = [
        x509.IPAddress(ipaddress.ip_network("0.0.0.0/0")),
        x509.IPAddress(ipaddress.ip_network("::/0")),
    ]
    assert extensions(authority) == {
        "basicConstraints": (True, x509.BasicConstraints(ca=True, path_length=0)),
        "keyUsage": (True, usage(ca=True)),
        "extendedKeyUsage": (False, SERVER),
        "nameConstraints": (True, x509.NameConstraints([x509.DNSName(NAME)], addresses)),
    }
    authority.verify_directly_issued_by(authority)


def test_the_leaf_is_a_server_of_that_name() -> None:
    """And no client, and no SPIFFE ID."""
    serving = made()
    assert extensions(serving.leaf) == {
        "basicConstraints": (True, x509.BasicConstraints(ca=False, path_length=None)),
        "keyUsage": (True, usage(ca=False)),
        "extendedKeyUsage": (False, SERVER),
        "subjectAltName": (False, x509.SubjectAlternativeName([x509.DNSName(NAME)])),
    }
    serving.leaf.verify_directly_issued_by(serving.authority)
    assert serving.leaf.public_key() == serving.private_key.public_key()


def test_the_key_of_the_authority_is_nowhere() -> None:
    """What is handed back holds the leaf's key alone, and shows none."""
    serving = made()
    assert serving.authority.public_key() != serving.private_key.public_key()
    assert serving.private_key_pem.count(b"PRIVATE KEY") == 2
    assert "private_key" not in repr(serving)


def test_each_authority_has_a_name_of_its_own() -> None:
    """So that a bundle of two is no riddle."""
    assert made(number=1).authority.subject != made(number=2).authority.subject


@pytest.mark.parametrize(
    "name",
    ["", "svc", "a..svc", "*.a.svc", "A.svc", "a.svc.", "a_b.svc", "-a.svc", f"{'a' * 64}.svc",
     ".".join(["a" * 60] * 5), "10.0.0.1/8.svc", "ä.svc"],
)  # fmt: skip
def test_what_is_no_dns_name_is_refused(name: str) -> None:
    """Before anything is signed."""
    with pytest.raises(InputError, match=r"DNS name: .* is not one of .* give the name that"):
        made(name)


def test_a_strict_verifier_accepts_that_name_and_no_other() -> None:
    """The library's own, by the rules of the web."""
    serving = made()
    builder = PolicyBuilder().store(Store([serving.authority])).time(NOW)
    builder.build_server_verifier(x509.DNSName(NAME)).verify(serving.leaf, [])
    other = builder.build_server_verifier(x509.DNSName(f"x.{NAME}"))
    with pytest.raises(VerificationError, match="leaf certificate has no matching subjectAltName"):
        other.verify(serving.leaf, [])


def test_a_stolen_authority_would_make_no_other_server() -> None:
    """Its constraints hold, had its key been kept: a leaf for another name is refused."""
    key, victim = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    real = made()
    forged = x509.CertificateBuilder(
        extensions=[
            each for each in real.authority.extensions if "KeyIdentifier" not in each.oid._name
        ]
    )
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    named = x509.AuthorityKeyIdentifier(key_id.digest, None, None)
    authority = (
        forged.serial_number(5)
        .subject_name(real.authority.subject)
        .issuer_name(real.authority.subject)
        .not_valid_before(real.authority.not_valid_before_utc)
        .not_valid_after(real.authority.not_valid_after_utc)
        .public_key(key.public_key())
        .add_extension(key_id, critical=False)
        .add_extension(named, critical=False)
        .sign(key, hashes.SHA256())
    )

    def leaf(name: str) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .serial_number(6)
            .subject_name(real.leaf.subject)
            .issuer_name(authority.subject)
            .not_valid_before(real.leaf.not_valid_before_utc)
            .not_valid_after(real.leaf.not_valid_after_utc)
            .public_key(victim.public_key())
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(SERVER, critical=False)
            .add_extension(named, critical=False)
            .sign(key, hashes.SHA256())
        )

    builder = PolicyBuilder().store(Store([authority])).time(NOW)
    builder.build_server_verifier(x509.DNSName(NAME)).verify(leaf(NAME), [])
    api = builder.build_server_verifier(x509.DNSName("kubernetes.default.svc"))
    with pytest.raises(VerificationError, match="no permitted name constraints matched"):
        api.verify(leaf("kubernetes.default.svc"), [])


def test_python_shakes_hands_strictly(tmp_path: Path) -> None:
    """As Python 3.13 does by default, with a bundle of two authorities; not under another name."""
    serving, before = made(), made(number=2)
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    certificate.write_bytes(serving.leaf_pem)
    key.write_bytes(serving.private_key_pem)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate, key)
    bundle = (before.authority_pem + serving.authority_pem).decode()
    client_side = ssl.create_default_context(cadata=bundle)
    client_side.verify_flags |= ssl.VERIFY_X509_STRICT
    assert handshake(server_side, client_side, NAME) == "TLSv1.3"
    for name in ("agentid-admission.other.svc", "kubernetes.default.svc", "127.0.0.1"):
        with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
            handshake(server_side, client_side, name)
    stranger = ssl.create_default_context(cadata=before.authority_pem.decode())
    with pytest.raises(ssl.SSLCertVerificationError, match=r"unable to get local issuer|signature"):
        handshake(server_side, stranger, NAME)


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str | None:
    """The version that two sides agree on."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            with server.wrap_socket(theirs, server_side=True) as wrapped:
                wrapped.recv(1)
        except (ssl.SSLError, OSError):
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(ours, server_hostname=name) as wrapped:
            version = wrapped.version()
            wrapped.send(b"x")
            return version
    finally:
        ours.close()
        thread.join()


def test_openssl_accepts_it_strictly(tmp_path: Path) -> None:
    """By its program, for the purpose of a server, with every check on."""
    serving = made()
    (tmp_path / "ca.crt").write_bytes(serving.authority_pem)
    (tmp_path / "tls.crt").write_bytes(serving.leaf_pem)
    openssl = shutil.which("openssl")
    assert openssl is not None, "openssl is not on PATH"

    def verify(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [openssl, "verify", "-x509_strict", "-check_ss_sig", "-CAfile", "ca.crt", *options,
             "tls.crt"],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert verify("-purpose", "sslserver", "-verify_hostname", NAME).returncode == 0
    client = verify("-purpose", "sslclient")
    assert "unsuitable certificate purpose" in client.stderr
    other = verify("-verify_hostname", "kubernetes.default.svc")
    assert "hostname mismatch" in other.stderr
