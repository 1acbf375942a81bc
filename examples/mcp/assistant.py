"""An MCP client that talks to the server it means, whoever else has its address.

AGENT_URL is where, such as `https://tools:8443/mcp`; AGENT_SERVERS names who has to be there,
patterns of SPIFFE IDs with blanks between; AGENT_EVERY is seconds from one session to the next.
What each session brought is a line of JSON.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, TextContent

from agentid.workload import Workload, WorkloadContext, matching


async def session(context: WorkloadContext, url: str, number: int) -> dict[str, object]:
    """Call both tools in one session."""
    # The client of the package httpx2, which mcp brings, with our context.
    async with (
        httpx2.AsyncClient(verify=context, trust_env=False) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        tools = await client.list_tools()
        read = await client.call_tool("read_invoice", {"number": number})
        approved = await client.call_tool("approve_invoice", {"number": number})
    return {
        "tools": [each.name for each in tools.tools],
        "read": said(read),
        "approved": said(approved),
    }


def said(result: CallToolResult) -> str:
    """The text of an answer, or of a refusal."""
    return " ".join(each.text for each in result.content if isinstance(each, TextContent))


def causes(error: BaseException) -> str:
    """What lies at the bottom of an error that was handed on by many."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(map(causes, error.exceptions))
    return str(error) or type(error).__name__


async def main() -> None:
    """Begin sessions until somebody ends it."""
    workload = Workload()
    context = workload.client_context(matching(*os.environ.get("AGENT_SERVERS", "").split()))
    pause = float(os.environ.get("AGENT_EVERY", "1"))
    url = os.environ["AGENT_URL"]
    for number in itertools.count(1):
        told: dict[str, object] = {"serial": str(workload.identity.serial)}
        try:
            told |= {"ok": True, **await session(context, url, number)}
        except Exception as error:  # noqa: BLE001 - whatever it is, the next session may do better
            told |= {"ok": False, "why": causes(error)}
        print(json.dumps(told), flush=True)
        await asyncio.sleep(pause)


if __name__ == "__main__":
    asyncio.run(main())
