"""py-spiffe on the Workload API socket that SPIFFE_ENDPOINT_SOCKET names, in a process of its own.

Its generated messages and ours have the same names, so one process cannot load both. Reads words
from standard input and answers each with a line of JSON.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from spiffe import JwtSource, WorkloadApiClient, X509Source
from spiffe.svid.jwt_svid import JwtSvid

if TYPE_CHECKING:
    from collections.abc import Callable

__all__: list[str] = []


def main() -> None:
    """Answer until standard input ends."""
    client = WorkloadApiClient()
    x509 = X509Source(client)
    tokens = JwtSource(WorkloadApiClient())

    def svid() -> object:
        held = x509.svid
        return {"id": str(held.spiffe_id), "serial": f"{held.leaf.serial_number:x}"}

    def jwt() -> object:
        held = tokens.fetch_svid({"erp"})
        domain = held.spiffe_id.trust_domain
        bundle = client.fetch_jwt_bundles().get_bundle_for_trust_domain(domain)
        if bundle is None:
            return None
        checked = JwtSvid.parse_and_validate(held.token, bundle, {"erp"})
        return {"id": str(checked.spiffe_id), "audience": sorted(checked.audience)}

    def fresh() -> object:
        return str(WorkloadApiClient().fetch_x509_svid().spiffe_id)

    answers: dict[str, Callable[[], object]] = {
        "svid": svid, "jwt": jwt, "fresh": fresh
    }  # fmt: skip
    for line in sys.stdin:
        try:
            answer: object = {"ok": answers[line.strip()]()}
        except Exception as error:  # noqa: BLE001 - it is what the test looks at
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
