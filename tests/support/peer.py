"""An agent that talks: mTLS as server and as client, with files that change under its feet.

Run as `python -m tests.support.peer FOLDER --listen PORT --dial PORT --expect ID --log FILE`. It
reads `tls.crt`, `tls.key`, `ca.crt` and, if it is there, `crl.pem` anew whenever `..data` in the
folder points elsewhere, as the files of a kubelet do, and keeps what it read for connections that
begin before. Each handshake is a connection of its own, checked by the rules of RFC 5280
(VERIFY_X509_STRICT) and, with `crl.pem`, for revocation of leaf and intermediates. Every outcome of
its own calls is one line of JSON in the log.
"""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

TIMEOUT: Final = 5.0


class Files:
    """The folder, and the TLS contexts that were made of what lies in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._seen: Path | None = None
        self._made: tuple[ssl.SSLContext, ssl.SSLContext] | None = None

    def contexts(self) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        """The server's context and the client's, of the files that are there now."""
        with self._lock:
            now = (self._folder / "..data").resolve(strict=True)
            if self._made is None or now != self._seen:
                self._made = (
                    context(now, ssl.PROTOCOL_TLS_SERVER),
                    context(now, ssl.PROTOCOL_TLS_CLIENT),
                )
                self._seen = now
            return self._made


def context(folder: Path, protocol: ssl._SSLMethod) -> ssl.SSLContext:
    """A context that proves who we are, and asks as much of the other side."""
    made = ssl.SSLContext(protocol)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False  # a SPIFFE ID is no host name; `checked` compares it
    made.verify_mode = ssl.CERT_REQUIRED
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    made.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    made.load_verify_locations(folder / "ca.crt")
    if (folder / "crl.pem").exists():
        made.load_verify_locations(folder / "crl.pem")
        made.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    return made


def checked(connection: ssl.SSLSocket, expected: str) -> str:
    """The serial of the other side, after a look at who it is."""
    found: dict[str, Any] = connection.getpeercert() or {}
    names = [value for kind, value in found.get("subjectAltName", ()) if kind == "URI"]
    if names != [expected]:
        message = f"the peer is {names}, not {expected}"
        raise ssl.SSLError(message)
    return str(found["serialNumber"]).lower()


def serve(files: Files, listener: socket.socket, expected: str) -> None:
    """Answer every caller with its own serial."""
    while True:
        plain, _ = listener.accept()
        threading.Thread(target=answer, args=(files, plain, expected), daemon=True).start()


def answer(files: Files, plain: socket.socket, expected: str) -> None:
    """One connection; whoever is refused learns it from the alert, and tells of it itself."""
    plain.settimeout(TIMEOUT)
    with suppress(OSError), files.contexts()[0].wrap_socket(plain, server_side=True) as connection:
        serial = checked(connection, expected)
        connection.recv(1)
        connection.sendall(serial.encode())


def call(files: Files, port: int, expected: str, host: str = "127.0.0.1") -> dict[str, object]:
    """One handshake, and a word in both directions: TLS 1.3 tells a refusal of the client late."""
    began = time.time()
    try:
        made = files.contexts()[1]
        with (
            socket.create_connection((host, port), TIMEOUT) as plain,
            made.wrap_socket(plain) as connection,
        ):
            theirs = checked(connection, expected)
            connection.sendall(b"?")
            ours = connection.recv(64).decode()
            if not ours:
                return {"at": began, "ok": False, "error": "closed without an answer"}
            return {"at": began, "ok": True, "ours": ours, "theirs": theirs}
    except OSError as error:
        return {"at": began, "ok": False, "error": str(error)}


def listens(port: int) -> bool:
    """Whether the other side is there already."""
    try:
        socket.create_connection(("127.0.0.1", port), TIMEOUT).close()
    except OSError:
        return False
    return True


def main() -> None:
    """Serve and call until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--listen", type=int, required=True)
    parser.add_argument("--dial", type=int, required=True)
    parser.add_argument("--expect", required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--every", type=float, default=0.1)
    args = parser.parse_args()
    files = Files(args.folder)
    listener = socket.create_server(("127.0.0.1", args.listen), backlog=64)
    threading.Thread(target=serve, args=(files, listener, args.expect), daemon=True).start()
    while not listens(args.dial):
        time.sleep(0.05)
    due = time.monotonic()
    with args.log.open("a", buffering=1, encoding="utf-8") as log:
        while True:
            log.write(json.dumps(call(files, args.dial, args.expect)) + "\n")
            due = max(due + args.every, time.monotonic())
            time.sleep(max(due - time.monotonic(), 0.0))


if __name__ == "__main__":
    main()
