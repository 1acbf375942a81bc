"""What an operator says of itself over HTTP: its probes and its metrics."""

from __future__ import annotations

import re
import socket
import urllib.error
import urllib.request

__all__ = ["ask", "leads", "metric", "ports"]


def ask(port: int, path: str) -> tuple[int, str]:
    """Ask a probe; code and text, or 0 while nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except urllib.error.URLError:
        return 0, ""


def metric(port: int, name: str) -> float:
    """One metric without labels."""
    found = re.search(rf"^{name} (\S+)$", ask(port, "/metrics")[1], re.MULTILINE)
    return float(found[1]) if found else float("nan")


def leads(port: int) -> bool:
    """Whether the replica behind the port says that it is the leader."""
    return metric(port, "agentid_leader") == 1


def ports(count: int) -> list[int]:
    """Several ports that nobody listens on."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for each in probes:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in probes]
    finally:
        for each in probes:
            each.close()
