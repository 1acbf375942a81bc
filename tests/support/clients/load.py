"""Four callers that ask an HTTP port on this machine without pause, each time on a new connection.

They begin once it has answered, and go on until standard input ends. Each line there is answered by
one of JSON that says what they have met so far.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from collections import Counter

__all__: list[str] = []

CALLERS = 4
BREATH = 0.02
"""Seconds between two requests of a caller: some hundred a second leave the cores to others."""
PATIENCE = 60.0
"""Seconds within which the port has to answer for the first time."""

TOLD = ("x-caller", "x-caller-serial", "x-server-since")
OK = 200


def ask(port: int) -> tuple[int, str, dict[str, str]]:
    """One request: status, or 0; the reason; and what the proxies said of each other."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        text = answer.read().decode()
        return answer.status, text, {each: answer.headers[each] or "" for each in TOLD}
    except (OSError, http.client.HTTPException) as error:
        return 0, f"{type(error).__name__}: {error}", {}
    finally:
        connection.close()


def main(port: int) -> None:
    """Answer until standard input ends."""
    deadline = time.monotonic() + PATIENCE
    while ask(port)[0] != OK and time.monotonic() < deadline:
        time.sleep(0.1)
    lock, end = threading.Lock(), threading.Event()
    failures: Counter[str] = Counter()
    seen: dict[str, Counter[str]] = {each: Counter() for each in TOLD}

    def call() -> None:
        while not end.wait(BREATH):
            status, text, told = ask(port)
            with lock:
                if status != OK:
                    failures[f"{status} {text}"] += 1
                for name, value in told.items():
                    seen[name][value] += 1

    threads = [threading.Thread(target=call) for _ in range(CALLERS)]
    for each in threads:
        each.start()
    for _ in sys.stdin:
        with lock:
            answer = {"failures": failures, **seen}
            print(json.dumps({"ok": answer}), flush=True)  # noqa: T201
    end.set()
    for each in threads:
        each.join()


if __name__ == "__main__":
    main(int(sys.argv[1]))
