"""An agent that is asked: it answers only callers that it knows, and tells each who it is.

AGENT_CALLERS names who may call, patterns of SPIFFE IDs with blanks between; AGENT_PORT the port.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from agentid.workload import Workload, matching
from agentid.workload.uvicorn import peer_of, secure

if TYPE_CHECKING:
    from starlette.requests import Request


async def invoice(request: Request) -> JSONResponse:
    """What is on file, and for whom it was taken out."""
    number = request.path_params["number"]
    return JSONResponse({"invoice": number, "for": str(peer_of(request.scope))})


def main() -> None:
    """Answer until somebody ends it."""
    workload = Workload()
    callers = matching(*os.environ.get("AGENT_CALLERS", "").split())
    print(f"{workload.identity.spiffe_id} answers: {callers}", flush=True)
    app = Starlette(routes=[Route("/invoices/{number:int}", invoice)])
    port = int(os.environ.get("AGENT_PORT", "8443"))
    config = uvicorn.Config(app, host="0.0.0.0", port=port, access_log=False)  # noqa: S104 - a pod
    uvicorn.Server(secure(config, workload, callers)).run()


if __name__ == "__main__":
    main()
