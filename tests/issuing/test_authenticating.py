"""How often the API server is asked, and what holds while it is away; no cluster."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from agentid.errors import UnavailableError
from agentid.issuing.authenticating import Authenticator
from agentid.issuing.keys import SigningKeys
from agentid.issuing.reasons import RefusedError
from agentid.testing.clock import ManualClock
from tests.issuing.test_tokens import ISSUER, NOON, about, claims, jwks, key, review, token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentid.kube.resources import Resource

Json = dict[str, Any]


@dataclass
class ApiServer:
    """What is asked of the API server here.

    Attributes:
        keys: The document with its keys; None while it is away.
        review: Its answer to a review.
        asked: How often what was asked for.
    """

    keys: bytes | None = field(default_factory=lambda: jwks(key()))
    review: Json = field(default_factory=review)
    asked: Counter[str] = field(default_factory=Counter)

    async def get_raw(self, path: str) -> bytes:
        """A document."""
        self.asked[path] += 1
        if self.keys is None:
            msg = "the API server is away"
            raise UnavailableError(msg)
        return self.keys if path.endswith("jwks") else json.dumps({"issuer": ISSUER}).encode()

    async def create(self, resource: Resource, body: Mapping[str, object]) -> Json:
        """A review."""
        assert body["kind"] == "TokenReview"
        self.asked[resource.plural] += 1
        return self.review


@dataclass
class Setting:
    """An authenticator on an API server that is not there."""

    api: ApiServer = field(default_factory=ApiServer)
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOON))

    def __post_init__(self) -> None:
        """Put it together."""
        client: Any = self.api
        self.authenticator = Authenticator(
            keys=SigningKeys(client, self.clock),
            client=client,
            clock=self.clock,
            namespace="agentid-system",
        )

    def pod(self, text: str) -> str:
        """The pod of a token."""
        return asyncio.run(self.authenticator.pod(text)).pod

    def node(self, text: str) -> str:
        """The node of a plugin's token."""
        return asyncio.run(self.authenticator.node_plugin(text)).node


def of_plugin() -> str:
    """The token of a node's plugin."""
    body = claims(
        sub="system:serviceaccount:agentid-system:agentid-node",
        **about(
            namespace="agentid-system", serviceaccount={"name": "agentid-node", "uid": "sa-2"}
        ),
    )  # fmt: skip
    return token(body)


def test_reads_the_keys_once_for_all_tokens() -> None:
    """A hundred tokens cost two documents, and nothing for each."""
    setting = Setting()
    for number in range(100):
        assert setting.pod(token(claims(jti=str(number)))) == "pod"
    assert setting.api.asked == {"/openid/v1/jwks": 1, "/.well-known/openid-configuration": 1}


def test_an_unknown_key_has_them_read_again_but_not_at_will() -> None:
    """A key that is new is found within ten seconds; nonsense does not have the server asked."""
    setting = Setting()
    setting.pod(token())
    for _ in range(50):
        with pytest.raises(RefusedError, match="has no key of the name"):
            setting.pod(token(kid="two"))
    assert setting.api.asked["/openid/v1/jwks"] == 1
    setting.api.keys = jwks(key(), key(kid="two"))
    setting.clock.advance(11)
    assert setting.pod(token(kid="two")) == "pod"
    assert setting.api.asked["/openid/v1/jwks"] == 2


def test_a_key_that_is_taken_out_is_believed_no_more() -> None:
    """After five minutes at most, and of tokens that were seen before as well."""
    setting, seen = Setting(), token()
    setting.pod(seen)
    setting.api.keys = jwks(key(kid="other"))
    setting.clock.advance(301)
    with pytest.raises(RefusedError, match="has no key of the name"):
        setting.pod(seen)
    with pytest.raises(RefusedError, match="has no key of the name"):
        setting.pod(token(claims(jti="another")))


def test_goes_on_by_known_keys_while_the_server_is_away() -> None:
    """Keys live for years, and who cannot be asked has not taken one back."""
    setting = Setting()
    setting.pod(token())
    setting.api.keys = None
    setting.clock.advance(600)
    assert setting.pod(token(claims(jti="another"))) == "pod"


def test_asks_for_a_review_where_keys_cannot_be_had() -> None:
    """Such as where RBAC hides them; a token is then believed for a minute and a half."""
    setting, text = Setting(), token()
    setting.api.keys = None
    assert setting.pod(text) == setting.pod(text) == "pod"
    assert setting.api.asked["tokenreviews"] == 1
    setting.clock.advance(91)
    assert setting.pod(text) == "pod"
    assert setting.api.asked["tokenreviews"] == 2
    setting.api.review = review(authenticated=False)
    assert setting.pod(text) == "pod"
    setting.clock.advance(91)
    with pytest.raises(RefusedError, match="does not take the token"):
        setting.pod(text)


def test_asks_once_a_minute_whether_a_plugin_still_counts() -> None:
    """Its signature is good for an hour; what was deleted since, the API server knows."""
    setting = Setting()
    plugin = of_plugin()
    for _ in range(100):
        assert setting.node(plugin) == "node-a"
    assert setting.api.asked["tokenreviews"] == 1
    setting.api.review = review(authenticated=False)
    setting.clock.advance(61)
    with pytest.raises(RefusedError, match="takes this token no longer"):
        setting.node(plugin)
    with pytest.raises(RefusedError, match="takes this token no longer"):
        setting.node(plugin)
    assert setting.api.asked["tokenreviews"] == 2


@pytest.mark.parametrize("text", [token(), token(claims(**about(node=None)))])
def test_a_pod_is_no_plugin(text: str) -> None:
    """Whatever its token is bound to."""
    with pytest.raises(RefusedError, match="is not that of node plugins"):
        Setting().node(text)


def test_a_plugin_is_no_pod() -> None:
    """A token that is bound to a node is not a pod's."""
    with pytest.raises(RefusedError, match="bound to a node and not to a pod"):
        Setting().pod(token(claims(**about(pod=None))))
