"""What identity providers read: a JWK Set and a discovery document, of keys for tokens alone."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from yarl import URL

from agentid.pki.jwk import public_jwk
from agentid.testing.ca import ThrowawayCA
from agentid.testing.publications import Published, secret
from tests.support.responding import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from multidict import CIMultiDictProxy

    from agentid.testing.clock import ManualClock
    from tests.support.responding import World

ISSUER = "https://oidc.example.com"
BELOW = "/oidc/example.org/.well-known"


@dataclass(slots=True)
class Reading:
    """A responder, and who reads from its HTTPS port."""

    world: World

    async def get(
        self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None
    ) -> tuple[int, CIMultiDictProxy[str], bytes]:
        """One request over HTTPS; whose certificate it is tells another test."""
        port = await self.world.ports.https
        url = URL(f"https://127.0.0.1:{port}{path}", encoded=True)
        async with self.world.session.request(method, url, headers=headers, ssl=False) as answer:
            return answer.status, answer.headers, await answer.read()

    def publish(self, sequence: int, oidc_issuer: str | None, *, hint: int = 300) -> None:
        """Serve another bundle."""
        body = self.world.main.bundle(sequence, hint=hint, oidc_issuer=oidc_issuer)
        self.world.responder.publications.config_map(body)


@asynccontextmanager
async def reading(clock: ManualClock, oidc_issuer: str | None = ISSUER) -> AsyncIterator[Reading]:
    """A responder whose issuer names this URL."""
    async with serving(clock) as world:
        made = Reading(world)
        made.publish(2, oidc_issuer)
        yield made


async def test_keys_are_served_without_anything_else_of_the_bundle(clock: ManualClock) -> None:
    """No certificate, no root's key, nothing private; `use` as OpenID Connect has it."""
    async with reading(clock, None) as responder:
        status, headers, body = await responder.get(f"{BELOW}/jwks.json")
        assert (status, headers["Content-Type"]) == (200, "application/jwk-set+json")
        key = responder.world.main.ca.jwt_signing_key
        wanted = {**public_jwk(key.public_key), "use": "sig", "kid": key.kid, "alg": "ES256"}
        assert json.loads(body) == {"keys": [wanted]}
        bundle = json.loads((await responder.get("/bundle/example.org"))[2])
        assert [each["use"] for each in bundle["keys"]] == ["x509-svid", "jwt-svid"]


async def test_a_provider_finds_the_keys_by_discovery(clock: ManualClock) -> None:
    """OpenID Connect Discovery 1.0 §3: what is required, and the issuer as the tokens have it."""
    url = "https://oidc.example.com/oidc/example.org"
    async with reading(clock, url) as responder:
        status, headers, body = await responder.get(f"{BELOW}/openid-configuration")
        assert (status, headers["Content-Type"]) == (200, "application/json")
        found = json.loads(body)
        assert found == {
            "issuer": url,
            "jwks_uri": f"{url}/.well-known/jwks.json",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256", "ES384"],
            "claims_supported": ["sub", "aud", "exp", "iat", "iss", "jti"],
        }
        path = URL(found["jwks_uri"]).path
        assert (await responder.get(path))[0] == 200


@pytest.mark.parametrize("host", ["oidc.example.com", "OIDC.example.com", "oidc.example.com:443"])
async def test_a_host_of_its_own_has_them_at_its_root(clock: ManualClock, host: str) -> None:
    """Found by the header Host, where the URL has no path."""
    async with reading(clock) as responder:
        for name in ("openid-configuration", "jwks.json"):
            status, _, body = await responder.get(f"/.well-known/{name}", headers={"Host": host})
            assert (status, body) == (200, (await responder.get(f"{BELOW}/{name}"))[2])


@pytest.mark.parametrize(
    ("path", "host"),
    [
        ("/.well-known/openid-configuration", "other.example.com"),
        ("/.well-known/openid-configuration", ""),
        ("/.well-known/jwks.json", "127.0.0.1"),
        ("/.well-known/security.txt", "oidc.example.com"),
        ("/oidc/example.org/jwks.json", "oidc.example.com"),
        ("/oidc/example.org/.well-known/", "oidc.example.com"),
        ("/oidc/other.example/.well-known/jwks.json", "oidc.example.com"),
        ("/oidc/example.org/.well-known/../../../bundle/example.org", "oidc.example.com"),
    ],
)
async def test_nothing_else_is_there(clock: ManualClock, path: str, host: str) -> None:
    """And the refusal says what is missing; no cache keeps it."""
    async with reading(clock) as responder:
        status, headers, body = await responder.get(path, headers={"Host": host})
        assert (status, headers["Cache-Control"]) == (404, "no-store")
        assert b"spec.jwt.oidcIssuer of the AgentIssuer" in body


async def test_without_a_url_there_is_no_discovery(clock: ManualClock) -> None:
    """The document would have no issuer; an empty Host finds nothing either."""
    async with reading(clock, None) as responder:
        assert (await responder.get(f"{BELOW}/openid-configuration"))[0] == 404
        for host in ("", ":443"):
            answer = await responder.get("/.well-known/jwks.json", headers={"Host": host})
            assert answer[0] == 404


async def test_caches_keep_them_as_long_as_the_bundle(clock: ManualClock) -> None:
    """A key is published for three of these before it signs."""
    async with reading(clock) as responder:
        responder.publish(3, ISSUER, hint=120)
        for name in ("openid-configuration", "jwks.json"):
            status, headers, body = await responder.get(f"{BELOW}/{name}")
            assert headers["Cache-Control"].startswith("max-age=120, public")
            tag = {"If-None-Match": headers["ETag"]}
            status, headers, again = await responder.get(f"{BELOW}/{name}", headers=tag)
            assert (status, again) == (304, b"")
            status, headers, none = await responder.get(f"{BELOW}/{name}", method="HEAD")
            assert (status, int(headers["Content-Length"]), none) == (200, len(body), b"")


async def test_another_key_is_another_document(clock: ManualClock) -> None:
    """The ETag of the one before is answered with the new one."""
    async with reading(clock) as responder:
        _, before, _ = await responder.get(f"{BELOW}/jwks.json")
        body: Any = responder.world.main.bundle(3, oidc_issuer=ISSUER)
        document = json.loads(body["data"]["bundle.json"])
        document["keys"].pop()
        body["data"]["bundle.json"] = json.dumps(document)
        responder.world.responder.publications.config_map(body)
        status, _, found = await responder.get(
            f"{BELOW}/jwks.json", headers={"If-None-Match": before["ETag"]}
        )
        assert (status, found) == (200, b'{"keys":[]}')


async def test_they_are_not_served_in_the_clear(clock: ManualClock) -> None:
    """Whoever is in between could put a key of its own there."""
    async with reading(clock) as responder:
        for path in (f"{BELOW}/jwks.json", "/.well-known/jwks.json"):
            status, _, _ = await responder.world.get(path, headers={"Host": "oidc.example.com"})
            assert status == 404


@pytest.mark.parametrize(
    "url", ["http://oidc.example.com", "https://oidc.example.com/", "https://a b", "https://", "x"]
)
async def test_a_url_that_is_none_keeps_the_bundle_before(clock: ManualClock, url: str) -> None:
    """Nothing of it is served; the API server refuses such a URL, too."""
    async with reading(clock) as responder:
        responder.publish(3, url)
        found = json.loads((await responder.get(f"{BELOW}/openid-configuration"))[2])
        assert found["issuer"] == ISSUER


async def test_each_issuer_has_its_own(clock: ManualClock) -> None:
    """A key of one trust domain never stands among those of another."""
    async with reading(clock) as responder:
        other = Published(ThrowawayCA("other.example", now=clock.now()), "other")
        publications = responder.world.responder.publications
        publications.config_map(other.bundle(oidc_issuer="https://other.example"))
        publications.secret(secret(responder.world.main, other))
        _, _, body = await responder.get("/oidc/other.example/.well-known/jwks.json")
        (key,) = json.loads(body)["keys"]
        assert key["kid"] == other.ca.jwt_signing_key.kid
        answer = await responder.get("/.well-known/jwks.json", headers={"Host": "other.example"})
        assert answer[2] == body
        publications.config_map_gone("agentid-bundle-other")
        assert (await responder.get("/oidc/other.example/.well-known/jwks.json"))[0] == 404
