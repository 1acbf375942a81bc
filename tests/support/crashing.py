"""The operator as it ships, with one fault: it kills itself at a chosen write.

Run as `python -m tests.support.crashing operator …`, with CRASH_AT=n and CRASH=before|after in the
environment: SIGKILL before the n-th write is sent, or after its answer came and before anybody
saw it. Requests about the Lease are not counted; CRLs, which follow a revocation at their own pace,
only with CRASH_OF=crls, and then nothing else is. With CRASH_IN=<namespace> only what is written in
there is counted, and segments of the ledger. With CRASH_AT=0 it only counts, into CRASH_COUNT.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from agentid.cli import main
from agentid.kube.transport import Transport
from agentid.ledger.store import LABEL_SEGMENT

if TYPE_CHECKING:
    from agentid.kube.transport import Request

_AT = int(os.environ["CRASH_AT"])
_BEFORE = os.environ.get("CRASH") == "before"
_COUNT = Path(os.environ["CRASH_COUNT"])
_OF_CRLS = os.environ.get("CRASH_OF") == "crls"
_IN = os.environ.get("CRASH_IN")


def _counts(request: Request) -> bool:
    if request.method == "GET" or request.call.resource == "leases":
        return False
    if "agentid.dev/publication" in str(request.body):
        return _OF_CRLS
    concerned = _IN in {None, request.call.namespace} or LABEL_SEGMENT in str(request.body)
    return concerned and not _OF_CRLS


def _arm() -> None:
    send = Transport.send
    seen: list[str] = []

    async def sending(self: Transport, request: Request) -> bytes:
        if not _counts(request):
            return await send(self, request)
        seen.append(f"{request.call.verb} {request.call.resource}")
        _COUNT.write_text("\n".join(seen))  # noqa: ASYNC240 - whatever comes next may be the end
        fatal = len(seen) == _AT
        if fatal and _BEFORE:
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return await send(self, request)
        finally:  # a refusal is an answer too
            if fatal:
                os.kill(os.getpid(), signal.SIGKILL)

    Transport.send = sending  # type: ignore[method-assign] # the fault


if __name__ == "__main__":
    _arm()
    main()
