"""SPIFFE bundle documents as somebody else would serve them."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentid.testing.ca import ThrowawayCA

__all__ = ["document"]


def document(ca: ThrowawayCA, sequence: int | None = 1, **members: object) -> bytes:
    """The document of a CA, with a number unless there is to be none, and other members."""
    keys = [
        {"kty": "OKP", "use": "x509-svid", "x5c": [base64.b64encode(der).decode()]}
        for der in ca.bundle.der
    ]
    body = {"keys": keys, "spiffe_sequence": sequence, "spiffe_refresh_hint": 60, **members}
    return json.dumps({name: each for name, each in body.items() if each is not None}).encode()
