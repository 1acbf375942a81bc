"""What responders answer with: there for each authority, renewed in time, and nobody else's."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from agentid.errors import UnavailableError
from agentid.issuers import carried_out
from agentid.kube.stores import SecretFiles, SecretVersion
from agentid.pki.load import read_certificates
from agentid.policy.authorities import Promote, Remove, StageIssuing
from agentid.services.responder_credentials import ResponderCredentials
from agentid.services.world import IssuerState
from agentid.testing.ca import NOON
from tests.issuers.test_authorities import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from tests.services.conftest import Cluster

    Open = Callable[[], AbstractAsyncContextManager[Cluster]]

SECRET = "/api/v1/namespaces/agentid-system/secrets/agentid-responder"
DAY = timedelta(days=1)


def service_of(c: Cluster) -> ResponderCredentials:
    """The service on a cluster."""
    store = SecretFiles(
        c.client,
        namespace="agentid-system",
        name="agentid-responder",
        labels={"agentid.dev/managed": "true"},
    )
    return ResponderCredentials(world=c.world, store=store, clock=c.clock, random=c.ca.random)


def files(c: Cluster) -> dict[str, bytes]:
    """What a responder reads."""
    body: Any = c.server.objects[SECRET]
    return {name: base64.b64decode(content) for name, content in body["data"].items()}


def leaf(c: Cluster, name: str) -> x509.Certificate:
    """The first certificate of a file."""
    return read_certificates(files(c)[name], what=name, limit=1 << 20, most=8)[0]


def authority(c: Cluster) -> str:
    """The id of the authority that signs."""
    state = c.world.issuer_states["test"]
    assert state.authorities is not None
    signing = state.authorities.records.signing
    assert signing is not None
    return signing.id


async def test_each_authority_has_a_delegate_and_each_issuer_an_svid(cluster: Open) -> None:
    """Short-lived both; the delegate can answer and sign nothing, the SVID is no agent's."""
    async with cluster() as c:
        c.put_issuer()
        c.set_up_issuer()
        service, name = service_of(c), authority(c)
        assert await service.renew()
        assert sorted(files(c)) == sorted(
            [f"{name}.ocsp.crt", f"{name}.ocsp.key", "test.tls.crt", "test.tls.key"]
        )
        delegate = leaf(c, f"{name}.ocsp.crt")
        delegate.verify_directly_issued_by(c.ca.intermediate.certificate)
        purposes = delegate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(purposes) == [ExtendedKeyUsageOID.OCSP_SIGNING]
        assert delegate.not_valid_after_utc - c.clock.now() < 7 * DAY
        svid = leaf(c, "test.tls.crt")
        names = svid.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
            "spiffe://example.org/agentid/responder"
        ]
        assert c.world.served_ocsp == {name}
        metadata: Any = c.server.objects[SECRET]["metadata"]
        assert metadata["labels"] == {"agentid.dev/managed": "true"}
        assert not await service.renew(), "nothing is due, so nothing is written"


async def test_renewed_daily_long_before_their_end(cluster: Open) -> None:
    """So that a week without a leader is survived."""
    async with cluster() as c:
        c.put_issuer()
        c.set_up_issuer()
        service, name = service_of(c), authority(c)
        await service.renew()
        before = leaf(c, f"{name}.ocsp.crt")
        c.clock.advance(DAY)
        assert await service.renew()
        after = leaf(c, f"{name}.ocsp.crt")
        assert after.not_valid_before_utc - before.not_valid_before_utc == DAY
        assert after.public_key() != before.public_key()


async def test_what_is_damaged_is_made_anew(cluster: Open) -> None:
    """It is nobody's trust anchor: nothing hangs on the old one."""
    async with cluster() as c:
        c.put_issuer()
        c.set_up_issuer()
        service, name = service_of(c), authority(c)
        await service.renew()
        body: Any = c.server.objects[SECRET]
        c.server.put(SECRET, body | {"data": body["data"] | {f"{name}.ocsp.crt": "AAAA"}})
        assert await service.renew()
        leaf(c, f"{name}.ocsp.crt").verify_directly_issued_by(c.ca.intermediate.certificate)


async def test_follows_the_authorities(cluster: Open) -> None:
    """A successor has a delegate before it signs; the key of one that is gone goes too."""
    async with cluster() as c:
        c.put_issuer()
        c.set_up_issuer()
        service, old = service_of(c), authority(c)
        await service.renew()
        state = c.world.issuer_states["test"]
        assert state.authorities is not None
        (root,) = state.authorities.roots
        step = StageIssuing(root, "a test")
        staged = carried_out(state.authorities, step, SETTINGS, NOON, c.ca.random)
        new = staged.records.issuing[0].id
        c.world.issuer_states["test"] = replace(state, authorities=staged)
        await service.renew()
        assert c.world.served_ocsp == {old, new}
        gone = staged
        for last in (Promote(new), Remove(old)):
            gone = carried_out(gone, last, SETTINGS, NOON, c.ca.random)
        c.world.issuer_states["test"] = replace(state, authorities=gone)
        await service.renew()
        assert not any(file.startswith(old) for file in files(c))


async def test_an_issuer_that_cannot_be_read_loses_nothing(cluster: Open) -> None:
    """Its authorities may be back in a moment."""
    async with cluster() as c:
        c.put_issuer()
        c.set_up_issuer()
        service = service_of(c)
        await service.renew()
        before = files(c)
        c.world.issuer_states["test"] = IssuerState(None, "away", passing=True)
        assert not await service.renew()
        assert files(c) == before


class Slow(SecretFiles):
    """Somebody else writes between its read and its write."""

    cluster: Cluster

    async def read(self) -> SecretVersion | None:
        """Read, and then be overtaken."""
        found = await super().read()
        server = self.cluster.server
        server.put(SECRET, dict(server.objects[SECRET]))
        return found


async def test_a_rival_is_not_overwritten(cluster: Open) -> None:
    """Whoever was a leader a moment ago may write still; the next look starts from there."""
    async with cluster() as c:
        c.put_issuer()
        c.set_up_issuer()
        await service_of(c).renew()
        c.clock.advance(DAY)
        before = files(c)
        slow = Slow(c.client, namespace="agentid-system", name="agentid-responder", labels={})
        slow.cluster = c
        late = ResponderCredentials(world=c.world, store=slow, clock=c.clock, random=c.ca.random)
        with pytest.raises(UnavailableError, match="changed by somebody else"):
            await late.renew()
        assert files(c) == before
        assert await service_of(c).renew()


async def test_a_leader_that_has_not_looked_at_an_issuer_yet_keeps_its_credentials(
    cluster: Open,
) -> None:
    """As each leader begins: responders would have nothing to answer with until it has looked."""
    async with cluster() as c:
        c.put_issuer()
        c.set_up_issuer()
        assert await service_of(c).renew()
        before = files(c)
        del c.world.issuer_states["test"]
        assert not await service_of(c).renew()
        assert files(c) == before


async def test_an_issuer_may_be_set_up_while_credentials_are_made(cluster: Open) -> None:
    """Making them takes a while, and the leader looks at issuers meanwhile."""
    async with cluster() as c:
        c.put_issuer()
        c.set_up_issuer()
        renewal = asyncio.create_task(service_of(c).renew())
        number = 0
        while not renewal.done():
            number += 1
            c.world.issuer_states[f"other-{number}"] = IssuerState(None, "not looked at")
            await asyncio.sleep(0)
        assert await renewal
        assert "test.tls.crt" in files(c)
