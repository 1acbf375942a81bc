"""Keys for JWT-SVIDs of a running operator: published, told, exchanged and dropped."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agentid.api.agentissuer import AgentIssuer
from agentid.errors import UnavailableError, VerificationError
from agentid.issuers import BuiltinIssuer, JwtRequest
from agentid.pki.jwt_bundle import JwtBundle
from agentid.pki.jwt_validation import validate
from agentid.pki.spiffe_bundle import SpiffeBundle, decode_spiffe_bundle
from agentid.policy.authorities import Stage
from agentid.services.bundles import BundlePublisher
from agentid.services.foreign import ForeignBundles
from agentid.services.issuers import IssuerService, Looked
from agentid.services.world import Parsed
from agentid.testing.ledger import in_virtual_time
from tests.support.api import condition

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from agentid.identity import TrustDomain
    from agentid.pki.jwt_svid import JwtSvid
    from tests.services.conftest import Cluster

    Open = Callable[[], AbstractAsyncContextManager[Cluster]]

ISSUER = "/apis/agentid.dev/v1alpha1/agentissuers/test"
SECRET = "/api/v1/namespaces/agentid-system/secrets/agentid-ca-test"
OWN = "/api/v1/namespaces/agentid-system/configmaps/agentid-bundle-test"
DAY, HOUR, MINUTE, SECOND = (
    timedelta(days=1),
    timedelta(hours=1),
    timedelta(minutes=1),
    timedelta(seconds=1),
)


class Issuing:
    """An issuer that is looked after, and its bundle; the test is the clock."""

    def __init__(self, c: Cluster) -> None:
        self.c = c
        self.issuers = IssuerService(
            world=c.world, client=c.client, ledger=c.ledger.state, clock=c.clock,
            random=c.ca.random, namespace="agentid-system",
        )  # fmt: skip
        self.publisher = BundlePublisher(
            world=c.world, client=c.client, foreign=ForeignBundles(c.clock), clock=c.clock,
            random=lambda: 0.5, namespace="agentid-system",
        )  # fmt: skip

    async def look(self, *, publish: bool = True) -> Looked:
        """One look at the issuer, and what is to be published afterwards."""
        self.c.world.issuers["test"] = Parsed.of(AgentIssuer.parse, self.c.server.objects[ISSUER])
        looked = await in_virtual_time(self.c.clock, self.issuers.reconcile("test"))
        if publish:
            await in_virtual_time(self.c.clock, self.publisher.publish("test"))
        return looked

    async def settle(self) -> None:
        """Look until there is nothing to do now."""
        for _ in range(4):
            await self.look()

    @property
    def status(self) -> dict[str, Any]:
        """What somebody with kubectl sees."""
        status: Any = self.c.server.objects[ISSUER]["status"]
        assert isinstance(status, dict)
        return status

    @property
    def keys(self) -> list[tuple[str, str]]:
        """Kid and state of each key that is told of."""
        return [(each["kid"], each["state"]) for each in self.status["jwtKeys"]]

    def change(self, **spec: Any) -> None:  # noqa: ANN401
        """What a person does to the spec."""
        stored: Any = self.c.server.objects[ISSUER]
        self.c.server.put(ISSUER, {**stored, "spec": stored["spec"] | spec})

    def annotate(self, name: str, text: str) -> None:
        """What a person does by an annotation."""
        stored: Any = self.c.server.objects[ISSUER]
        metadata = {**stored["metadata"], "annotations": {name: text}}
        self.c.server.put(ISSUER, {**stored, "metadata": metadata})

    def published(self) -> SpiffeBundle:
        """The bundle that everybody is given."""
        data: Any = self.c.server.objects[OWN]["data"]
        return decode_spiffe_bundle(data["bundle.json"].encode(), self.c.ca.trust_domain)

    def trusting(self) -> Mapping[TrustDomain, JwtBundle]:
        """A verifier that reads it now."""
        return {self.c.ca.trust_domain: JwtBundle.of(self.published())}

    async def mint(self, lifetime: timedelta = HOUR) -> JwtSvid:
        """A token by whichever key signs now."""
        signs = self.c.world.issuer_states["test"].issuer
        assert isinstance(signs, BuiltinIssuer)
        return await signs.mint(JwtRequest(self.c.ca.spiffe_id(), ("api",), lifetime))


async def test_a_key_signs_once_its_bundle_is_published(cluster: Open) -> None:
    """Never before, and told of as it goes."""
    async with cluster() as c:
        c.put_issuer()
        issuing = Issuing(c)
        await issuing.look(publish=False)
        for _ in range(3):
            c.clock.advance(DAY)
            await issuing.look(publish=False)
        ((kid, state),) = issuing.keys
        assert state == "Staged"
        current = condition(issuing.status, "JWTKeysCurrent")
        assert (current["status"], current["reason"]) == ("False", "RotationWaits")
        assert current["message"] == (
            f"Nothing signs JWT-SVIDs: bundle 1, which holds the key {kid}, is being published"
        )
        with pytest.raises(UnavailableError, match="no key for JWT-SVIDs signs"):
            await issuing.mint()
        await issuing.settle()
        assert issuing.keys == [(kid, "Signing")]
        current = condition(issuing.status, "JWTKeysCurrent")
        assert current["status"] == "True"
        assert current["message"].startswith(f"{kid} signs JWT-SVIDs; a successor is due by 2026-")
        token = (await issuing.mint()).token
        assert validate(token, issuing.trusting(), "api", c.clock.now()).kid == kid
        assert issuing.published().sequence == issuing.status["bundleSequence"] == 1
        before = c.writes()
        await issuing.look()
        assert c.writes() == before, "nothing has changed, so nothing is written"


async def test_a_distrusted_key_is_out_of_the_bundle_by_the_next_look(cluster: Open) -> None:
    """Its tokens are refused by whoever has read that bundle; the next key signs right after it."""
    async with cluster() as c:
        c.put_issuer()
        issuing = Issuing(c)
        await issuing.settle()
        ((kid, _),) = issuing.keys
        token = (await issuing.mint()).token
        issuing.change(distrust=[issuing.status["jwtKeys"][0]["fingerprint"]])
        await issuing.look()
        with pytest.raises(VerificationError, match="has no key"):
            validate(token, issuing.trusting(), "api", c.clock.now())
        secret: Any = c.server.objects[SECRET]
        assert f"jwt-{kid}.key" not in secret["data"]
        await issuing.settle()
        ((new, state),) = issuing.keys
        assert (new != kid, state) == (True, "Signing")
        token = (await issuing.mint()).token
        assert validate(token, issuing.trusting(), "api", c.clock.now()).kid == new


async def test_who_asks_gets_another_key(cluster: Open) -> None:
    """By the annotation, and without an interruption: both are in the bundle meanwhile."""
    async with cluster() as c:
        c.put_issuer(jwt={"tokenLifetime": "1h"})
        issuing = Issuing(c)
        await issuing.settle()
        ((old, _),) = issuing.keys
        token = (await issuing.mint()).token
        c.clock.advance(MINUTE)
        stamp = c.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        issuing.annotate("agentid.dev/rotate-jwt-requested", stamp)
        await issuing.settle()
        (new, _), second = issuing.keys
        assert (second, len(issuing.published().jwt_keys)) == ((old, "Signing"), 2)
        message = condition(issuing.status, "JWTKeysCurrent")["message"]
        assert f"its successor is staged: the key {new} is published for 15m first" in message
        assert (await issuing.mint()).kid == old
        c.clock.advance(15 * MINUTE)
        await issuing.settle()
        assert issuing.keys == [(new, "Signing"), (old, "Retired")]
        assert (await issuing.mint()).kid == new
        validate(token, issuing.trusting(), "api", c.clock.now())
        c.clock.advance(71 * MINUTE)
        await issuing.settle()
        assert issuing.keys == [(new, "Signing")]


@pytest.mark.parametrize("spoilt", [b"", b"nonsense"])
async def test_a_damaged_key_is_told_and_left_as_it_is(cluster: Open, spoilt: bytes) -> None:
    """Certificates go on, what was signed is verified still, and the way out is named."""
    async with cluster() as c:
        c.put_issuer(jwt={"tokenLifetime": "1h"})
        issuing = Issuing(c)
        await issuing.settle()
        ((kid, _),) = issuing.keys
        token = (await issuing.mint()).token
        stored: Any = c.server.objects[SECRET]
        data = {**stored["data"], f"jwt-{kid}.key": base64.b64encode(spoilt).decode()}
        c.server.put(SECRET, {**stored, "data": data})
        for _ in range(3):
            c.clock.advance(20 * MINUTE - SECOND)
            await issuing.look()
        assert c.server.objects[SECRET]["data"] == data
        assert condition(issuing.status, "Ready")["status"] == "True"
        current = condition(issuing.status, "JWTKeysCurrent")
        assert (current["status"], current["reason"]) == ("False", "AuthorityInvalid")
        fingerprint = issuing.status["jwtKeys"][0]["fingerprint"]
        assert f"jwt-{kid}.key" in current["message"]
        assert f"or name {fingerprint} in spec.distrust, and agentid makes" in current["message"]
        validate(token, issuing.trusting(), "api", c.clock.now())
        issuing.change(distrust=[fingerprint])
        await issuing.settle()
        assert (await issuing.mint()).kid != kid
        assert condition(issuing.status, "JWTKeysCurrent")["status"] == "True"


async def test_the_issuer_url_is_published_with_the_keys(cluster: Open) -> None:
    """For the responder's discovery document, and as `iss` of every token."""
    async with cluster() as c:
        c.put_issuer(jwt={"oidcIssuer": "https://oidc.example", "tokenLifetime": "2m"})
        issuing = Issuing(c)
        await issuing.settle()
        assert c.server.objects[OWN]["data"]["oidcIssuer"] == "https://oidc.example"  # type: ignore[index]
        minted = await issuing.mint()
        assert minted.claims["iss"] == "https://oidc.example"
        assert minted.not_after <= c.clock.now() + 2 * MINUTE
        issuing.change(jwt={})
        await issuing.settle()
        assert "oidcIssuer" not in c.server.objects[OWN]["data"]  # type: ignore[operator]
        assert "iss" not in (await issuing.mint()).claims


async def test_the_same_number_with_other_keys_is_not_published(cluster: Open) -> None:
    """It is a backup's; without any keys it is an earlier release's, and is replaced."""
    async with cluster() as c:
        c.put_issuer()
        issuing = Issuing(c)
        await issuing.settle()
        ours: Any = c.server.objects[OWN]
        document = json.loads(ours["data"]["bundle.json"])
        for kid, stays in (("another", True), (None, False)):
            keys = [dict(each) for each in document["keys"]]
            if kid is None:
                keys = [each for each in keys if each["use"] != "jwt-svid"]
            else:
                keys[-1]["kid"] = kid
            text = json.dumps({**document, "keys": keys})
            c.server.put(OWN, {**ours, "data": {**ours["data"], "bundle.json": text}})
            restarted = Issuing(c)
            await restarted.look()
            found: Any = c.server.objects[OWN]
            assert (found["data"]["bundle.json"] == text) is stays
            assert ("test" in c.world.withheld_bundles) is stays


async def test_a_year_of_tokens_without_one_refused(cluster: Open) -> None:
    """A dozen keys by themselves, each verified by whoever reads the bundle at its hint.

    Each token lives an hour, and is verified all that time by a reader whose bundle is up to ten
    minutes old. Now and then nothing is published.
    """
    async with cluster() as c:
        c.put_issuer(jwt={"tokenLifetime": "1h"}, bundle={"refreshHint": "10m"})
        issuing = Issuing(c)
        await issuing.settle()
        history: list[tuple[datetime, Mapping[TrustDomain, JwtBundle]]] = []
        kids: set[str] = set()
        refused_at = c.clock.now() + 365 * DAY
        verified, sequence, number = 0, 0, 0
        alive: list[JwtSvid] = []
        while c.clock.now() < refused_at:
            number += 1
            await issuing.look(publish=number % 7 != 0)
            bundle = issuing.published()
            assert (bundle.sequence or 0) >= sequence
            sequence = bundle.sequence or 0
            now = c.clock.now()
            history = [
                *(each for each in history if now - each[0] <= 2 * HOUR),
                (now, issuing.trusting()),
            ]
            token = await issuing.mint()
            alive = [each for each in (*alive, token) if each.not_after > now]
            kids.add(token.kid)
            readers = [each[1] for each in history if now - each[0] <= 10 * MINUTE]
            for each in alive:
                for reader in readers:
                    validate(each.token, reader, "api", now, leeway=timedelta(0))
                    verified += 1
            state = c.world.issuer_states["test"].authorities
            assert state is not None
            moving = len(state.records.jwt_keys) > 1
            c.clock.advance(10 * MINUTE if moving else DAY)
        assert len(kids) == 13
        assert verified > 700
        state = c.world.issuer_states["test"].authorities
        assert state is not None
        assert [each.stage for each in state.records.jwt_keys] == [Stage.SIGNING]
