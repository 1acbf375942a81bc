"""An MCP server over streamable HTTP: agents that it knows may call its tools, each as itself.

AGENT_CALLERS names who may connect, AGENT_APPROVERS who of them may approve, as patterns of SPIFFE
IDs with blanks between; AGENT_PORT is the port.
"""

from __future__ import annotations

import os
from typing import Final

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request

from agentid.workload import SpiffeId, Workload, matching
from agentid.workload.uvicorn import peer_of, secure

server: Final = MCPServer("invoices")
approvers: Final = matching(*os.environ.get("AGENT_APPROVERS", "").split())


@server.tool()
def read_invoice(number: int, context: Context) -> str:
    """Read an invoice."""
    return f"invoice {number}, read by {caller(context)}"


@server.tool()
def approve_invoice(number: int, context: Context) -> str:
    """Approve an invoice, which not every caller may."""
    agent = caller(context)
    if agent not in approvers:
        msg = f"{agent} may not approve"
        raise ToolError(msg)
    return f"invoice {number}, approved by {agent}"


def caller(context: Context) -> SpiffeId:
    """Who called the tool: the peer of the connection, which was verified in its handshake."""
    request = context.request_context.request
    if not isinstance(request, Request):
        msg = "this server is reached by HTTP"
        raise TypeError(msg)
    return peer_of(request.scope)


def main() -> None:
    """Serve until somebody ends it."""
    workload = Workload()
    callers = matching(*os.environ.get("AGENT_CALLERS", "").split())
    print(f"{workload.identity.spiffe_id} serves: {callers}", flush=True)
    app = server.streamable_http_app(
        stateless_http=True,
        # It is against web pages, which have no certificate of an agent, and would refuse the name
        # of a Service.
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    port = int(os.environ.get("AGENT_PORT", "8443"))
    config = uvicorn.Config(app, host="0.0.0.0", port=port, access_log=False)  # noqa: S104 - a pod
    uvicorn.Server(secure(config, workload, callers)).run()


if __name__ == "__main__":
    main()
