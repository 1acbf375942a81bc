"""Tokens of the fake issuer service, validated by the keys in the pod's own bundles."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import grpc
import pytest

from agentid.clock import SystemClock
from agentid.node.proto import workload_pb2 as api
from agentid.node.validation import Validation
from tests.support.node import POD, SteeredSource, call, served

if TYPE_CHECKING:
    from pathlib import Path

    from agentid.testing.node_issuer import FakeNodeIssuer

ID = "spiffe://example.org/ns/finance/agent/invoice-reader"


async def test_own_tokens_hold(issuer: FakeNodeIssuer, short_path: Path) -> None:
    """A token holds for its audience, and for no other, nor altered, nor once it has expired."""
    source = SteeredSource(issuer)
    await source.renew()
    token = (await issuer.jwt(POD, ("erp",))).token
    issuer.jwt_lifetime = timedelta(minutes=-5)
    expired = (await issuer.jwt(POD, ("erp",))).token
    async with served(short_path, source, Validation(SystemClock())) as path:
        asked = api.ValidateJWTSVIDRequest(audience="erp", svid=token)
        answer = api.ValidateJWTSVIDResponse.FromString(await call(path, "ValidateJWTSVID", asked))
        assert answer.spiffe_id == ID
        assert answer.claims["sub"] == ID
        for audience, svid in (("crm", token), ("erp", token[:-8] + "AAAAAAAA"), ("erp", expired)):
            asked = api.ValidateJWTSVIDRequest(audience=audience, svid=svid)
            with pytest.raises(grpc.aio.AioRpcError, match="token") as caught:
                await call(path, "ValidateJWTSVID", asked)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
