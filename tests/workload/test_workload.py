"""The files of a workload, as they are renewed, spoiled and restored."""

from __future__ import annotations

import logging
import os
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from agentid.pki import KeyAlgorithm
from agentid.testing.clock import ManualClock
from agentid.workload import OwnIdentityError, Reload, Workload
from agentid.workload.files import Directory
from tests.support.api import until
from tests.support.workloads import Domain, as_secret, write_each, write_together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Files = dict[str, bytes]


def serial_in(files: Files) -> int:
    """Of the leaf."""
    return x509.load_pem_x509_certificates(files["tls.crt"])[0].serial_number


@pytest.mark.parametrize(
    ("write", "choose"),
    [
        pytest.param(write_together, dict, id="volume"),
        pytest.param(write_together, as_secret, id="secret"),
        pytest.param(write_each, dict, id="plain-bundle"),
        pytest.param(write_each, as_secret, id="plain"),
    ],
)
def test_every_form_of_the_directory_is_read(
    domain: Domain,
    tmp_path: Path,
    write: Callable[[Path, Files], None],
    choose: Callable[[Files], Files],
) -> None:
    """A projected volume, a Secret, and files that somebody copied; each renewed."""
    first, second = domain.files(domain.issue("reader")), domain.files(domain.issue("reader"))
    write(tmp_path / "agent", choose(first))
    workload = Workload(tmp_path / "agent")
    assert str(workload.identity.spiffe_id) == domain.spiffe_id("reader")
    assert workload.identity.serial.value == serial_in(first)
    write(tmp_path / "agent", choose(second))
    assert workload.identity.serial.value == serial_in(second)


def test_the_directory_comes_from_the_environment(
    domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AGENTID_DIR names it where the caller does not; what the caller says counts first."""
    monkeypatch.setenv("AGENTID_DIR", str(domain.agent("reader")))
    assert str(Workload().identity.spiffe_id) == domain.spiffe_id("reader")
    assert str(Workload(domain.agent("writer")).identity.spiffe_id) == domain.spiffe_id("writer")


def test_without_files_there_is_no_workload(tmp_path: Path) -> None:
    """And the reader learns where they were looked for, and what a pod needs."""
    with pytest.raises(OwnIdentityError, match=rf"^{tmp_path}: no credentials.pem.* label agentid"):
        Workload(tmp_path)
    with pytest.raises(OwnIdentityError, match=r"no credentials.pem"):
        Workload(tmp_path / "absent")


def encrypted(files: Files) -> Files:
    """The same key, with a password."""
    key = load_pem_private_key(files["tls.key"], None)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    return {**files, "credentials.pem": text + files["tls.crt"]}


def without(files: Files, name: str) -> Files:
    """All but one."""
    return {each: content for each, content in files.items() if each != name}


def cut(files: Files, name: str) -> Files:
    """One of them half written."""
    return {**files, name: files[name][: len(files[name]) // 2]}


SPOILED = [
    pytest.param(lambda files, _: without(files, "ca.crt"), "no credentials.pem", id="no-bundle"),
    pytest.param(lambda files, _: {"ca.crt": files["ca.crt"]}, "no credentials.pem", id="no-key"),
    pytest.param(lambda files, _: cut(files, "credentials.pem"), "has no END line", id="half"),
    pytest.param(lambda files, _: cut(as_secret(files), "tls.crt"), "no END line", id="half-chain"),
    pytest.param(lambda files, _: cut(as_secret(files), "tls.key"), "no END line", id="half-key"),
    pytest.param(lambda files, _: cut(files, "ca.crt"), "ca.crt.* no END line", id="half-bundle"),
    pytest.param(lambda files, _: {**files, "ca.crt": b""}, "ca.crt .* is empty", id="empty"),
    pytest.param(
        lambda files, _: {**files, "ca.crt": files["tls.key"]},
        "ca.crt holds no certificate",
        id="bundle-of-keys",
    ),
    pytest.param(
        lambda files, _: {**files, "credentials.pem": files["tls.crt"]},
        "found 0 blocks beside certificates, one private key",
        id="chain-alone",
    ),
    pytest.param(
        lambda files, _: {**files, "credentials.pem": files["tls.key"]},
        "found 0 certificates",
        id="key-alone",
    ),
    pytest.param(
        lambda files, other: {**files, "credentials.pem": other["tls.key"] + files["tls.crt"]},
        "the private key is not the one of the certificate",
        id="key-of-another",
    ),
    pytest.param(
        lambda files, other: {**as_secret(files), "tls.key": other["tls.key"]},
        "tls.key and tls.crt .* the private key is not the one of the certificate",
        id="secret-key-of-another",
    ),
    pytest.param(lambda files, _: encrypted(files), "is encrypted", id="password"),
    pytest.param(
        lambda files, _: {**files, "credentials.pem": b"x" * 300_000}, "more than", id="giant"
    ),
    pytest.param(
        lambda files, _: {**files, "credentials.pem": files["tls.key"] + files["ca.crt"]},
        "is no X509-SVID: .*a leaf must not be a CA",
        id="root-as-leaf",
    ),
    pytest.param(
        lambda files, _: {**files, "credentials.pem": files["tls.key"] + 5 * files["tls.crt"]},
        "found 10 certificates, 1 to 8",
        id="long-chain",
    ),
]


@pytest.mark.parametrize(("spoil", "message"), SPOILED)
def test_files_that_cannot_be_used_at_the_start(
    domain: Domain, tmp_path: Path, spoil: Callable[[Files, Files], Files], message: str
) -> None:
    """There is no workload, and the message says what is wrong with which file."""
    files, other = domain.files(domain.issue("reader")), domain.files(domain.issue("reader"))
    write_together(tmp_path / "agent", spoil(files, other))
    with pytest.raises(OwnIdentityError, match=message):
        Workload(tmp_path / "agent")


@pytest.mark.parametrize(("spoil", "message"), SPOILED)
def test_files_that_cannot_be_used_later(
    domain: Domain,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Files, Files], Files],
    message: str,
) -> None:
    """The last good ones stay in force, it is told once, and good ones take over again."""
    first, second = domain.files(domain.issue("reader")), domain.files(domain.issue("reader"))
    folder = tmp_path / "agent"
    write_together(folder, first)
    told: list[Reload] = []
    workload = Workload(folder, on_reload=told.append)
    write_together(folder, spoil(second, first))
    for _ in range(3):
        assert workload.identity.serial.value == serial_in(first)
    (reload,) = told
    assert reload.problem is not None
    assert reload.problem.endswith("the certificate of before stays in use")
    assert reload.identity.serial.value == serial_in(first)
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.WARNING, reload.problem)
    with pytest.raises(OwnIdentityError, match=message):
        raise OwnIdentityError(reload.problem)
    write_together(folder, second)
    assert workload.identity.serial.value == serial_in(second)
    assert told[1:] == [Reload(workload.identity)]


def test_no_key_is_in_a_text(domain: Domain) -> None:
    """Neither of what is public nor of what is inside."""
    workload = Workload(domain.agent("reader"))
    inside = repr(workload.present()) + repr(Directory(domain.folder / "reader").read())
    assert repr(workload) == (
        f"Workload('{domain.folder / 'reader'}', {domain.spiffe_id('reader')})"
    )
    assert "PRIVATE" not in inside


def test_files_that_vanish_change_nothing(domain: Domain) -> None:
    """A running agent goes on with what it has."""
    folder = domain.agent("reader")
    workload = Workload(folder)
    before = workload.identity
    folder.rename(folder.with_name("elsewhere"))
    assert workload.identity == before
    folder.with_name("elsewhere").rename(folder)
    assert workload.identity == before
    fresh = domain.issue("reader")
    domain.agent("reader", fresh)
    assert workload.identity.serial.value == serial_in(domain.files(fresh))


def test_a_file_completed_within_a_tick_is_seen_after_a_second(
    domain: Domain, tmp_path: Path
) -> None:
    """Files that look the same as those that could not be used are read again."""
    folder, clock = tmp_path / "agent", ManualClock()
    first, second = domain.files(domain.issue("reader")), domain.files(domain.issue("reader"))
    write_each(folder, first)
    workload = Workload(folder, clock=clock)
    broken = folder / "credentials.pem"
    broken.write_bytes(b"#" * len(second["credentials.pem"]))
    when = broken.stat()
    assert workload.identity.serial.value == serial_in(first)
    broken.write_bytes(second["credentials.pem"])
    os.utime(broken, ns=(when.st_atime_ns, when.st_mtime_ns))
    assert workload.identity.serial.value == serial_in(first)
    clock.step(timedelta(seconds=-50))  # the wall clock has no say in it
    clock.advance(timedelta(seconds=1))
    assert workload.identity.serial.value == serial_in(second)


@pytest.fixture(params=[dict, as_secret], ids=["volume", "secret"])
def swapping(domain: Domain, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A directory that is renewed without a pause; a Secret's key and chain are two files."""
    choose: Callable[[Files], Files] = request.param
    versions = [domain.issue("reader") for _ in range(6)]
    folder = domain.folder / "reader"
    write_together(folder, choose(domain.files(versions[0])))
    ended = threading.Event()

    def swap() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            write_together(folder, choose(domain.files(versions[number % len(versions)])))

    thread = threading.Thread(target=swap)
    thread.start()
    yield folder
    ended.set()
    thread.join()


def test_what_is_read_is_from_one_moment(swapping: Path) -> None:
    """A thousand readings while files are exchanged all the time; key and chain are a pair."""
    directory = Directory(swapping)
    for _ in range(1000):
        _, files = directory.read()
        key = load_pem_private_key(files.key_and_chain, None)
        leaf = x509.load_pem_x509_certificate(files.key_and_chain)
        assert key.public_key() == leaf.public_key()


def test_a_workload_in_a_directory_that_changes_all_the_time(
    swapping: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Every version is good, so none is complained of."""
    seen: set[int] = set()
    workload = Workload(swapping, on_reload=lambda reload: seen.add(reload.identity.serial.value))
    until("five versions", lambda: workload.identity is not None and len(seen) >= 5)
    assert caplog.messages == []


def test_an_expired_certificate_is_told_of(
    domain: Domain, caplog: pytest.LogCaptureFixture
) -> None:
    """With whose it was, since when, and where to look, once in the log; until it is renewed."""
    clock = ManualClock(domain.now)
    folder = domain.agent("reader")
    workload = Workload(folder, clock=clock)
    end = workload.identity.not_after
    clock.advance(end - domain.now)
    workload.require_valid(workload.identity)
    clock.advance(timedelta(seconds=1))
    for _ in range(2):
        with pytest.raises(
            OwnIdentityError,
            match=rf"agent/reader expired at {end:%FT%TZ}, and {folder} .* AgentIdentity",
        ):
            workload.require_valid(workload.identity)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    domain.now = clock.now()
    domain.roots = [domain.authority("first")]
    domain.agent("reader")
    workload.require_valid(workload.identity)


def test_a_key_that_openssl_does_not_know(domain: Domain, tmp_path: Path) -> None:
    """The message says that it is this Python's OpenSSL; with one that knows it, it is used."""
    made = domain.issue("reader", algorithm=KeyAlgorithm.MLDSA65)
    write_together(tmp_path / "agent", domain.files(made))
    try:
        workload = Workload(tmp_path / "agent")
    except OwnIdentityError as error:
        assert "the OpenSSL of this Python" in str(error)  # noqa: PT017 - either may be here
    else:
        assert str(workload.identity.spiffe_id) == domain.spiffe_id("reader")
