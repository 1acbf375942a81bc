"""An agent that asks: it reaches only the archive, whoever else has its address.

AGENT_URL is where; AGENT_SERVERS names who has to be there, patterns of SPIFFE IDs with blanks
between; AGENT_EVERY is seconds from one question to the next. Each answer is a line of JSON.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os

import httpx

from agentid.workload import Workload, matching
from agentid.workload.httpx import async_client, peer_of


async def main() -> None:
    """Ask until somebody ends it."""
    workload = Workload()
    servers = matching(*os.environ.get("AGENT_SERVERS", "").split())
    pause = float(os.environ.get("AGENT_EVERY", "1"))
    url = os.environ["AGENT_URL"]
    async with async_client(workload, servers, base_url=url) as client:
        for number in itertools.count(1):
            told: dict[str, object] = {"serial": str(workload.identity.serial)}
            try:
                # A connection keeps the certificates that it began with. Closing it each time shows
                # how they change; an agent of yours need not.
                answer = await client.get(f"/invoices/{number}", headers={"Connection": "close"})
                told |= {"ok": True, "peer": str(peer_of(answer)), "answer": answer.json()}
            except httpx.HTTPError as error:
                told |= {"ok": False, "why": str(error) or type(error).__name__}
            print(json.dumps(told), flush=True)
            await asyncio.sleep(pause)


if __name__ == "__main__":
    asyncio.run(main())
