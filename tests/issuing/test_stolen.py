"""Tokens in the wrong hands, or past their time: what they are good for at a real API server."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from agentid.errors import UnavailableError
from agentid.node.issuer import ChangeKind, PodProof, RefusedError
from tests.issuing.asking import collect, come, following, refused
from tests.support.node_plugins import OnNode, csr

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.node.issuer import Change
    from e2e.providers import Cluster
    from tests.issuing.conftest import Service
    from tests.support.api import Api
    from tests.support.node_plugins import NodePlugins

pytestmark = pytest.mark.integration

HOUR = 3600


def read(part: str) -> dict[str, Any]:
    """A part of a token."""
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def written(data: bytes) -> str:
    """Base64url, as tokens have it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed_anew(cluster: Cluster, token: str, **changes: object) -> str:
    """The token with other claims, signed by the API server's own key."""
    head, payload, _ = token.split(".")
    body = written(json.dumps({**read(payload), **changes}).encode())
    signing = f"{head}.{body}".encode()
    (found,) = cluster.directory.rglob("sa.key")
    key = serialization.load_pem_private_key(found.read_bytes(), None)
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(signing, padding.PKCS1v15(), hashes.SHA256())
    else:
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        size = key.key_size // 8
        numbers = decode_dss_signature(key.sign(signing, ec.ECDSA(hashes.SHA256())))
        signature = b"".join(each.to_bytes(size) for each in numbers)
    return f"{head}.{body}.{written(signature)}"


async def test_a_pods_token_is_good_for_as_long_as_it_says(
    service: Service,
    plugins: NodePlugins,
    cluster: Cluster,
    namespace: str,
    make_reader: Callable[..., str],
) -> None:
    """Not before, and not after; the key that signed it is the API server's either way."""
    make_reader()
    pod = plugins.pod(namespace, "pod")
    claims = read(pod.token.split(".")[1])
    async with plugins.client(service.port) as client:
        await client.x509(OnNode(pod.body, signed_anew(cluster, pod.token)).proof, csr())
        for changes, reason, says in (
            ({"exp": claims["iat"] - HOUR}, "PodTokenExpired", "expired at"),
            ({"nbf": claims["exp"], "exp": claims["exp"] + HOUR}, "PodTokenExpired", "good from"),
            ({"iss": "https://elsewhere"}, "PodTokenInvalid", "its iss is"),
            ({"sub": "system:serviceaccount:kube-system:default"}, "PodTokenInvalid", "its sub is"),
        ):
            token = signed_anew(cluster, pod.token, **changes)
            refusal = await refused(client, OnNode(pod.body, token))
            assert (refusal.reason, says in str(refusal)) == (reason, True), refusal


async def test_a_stolen_token_of_a_plugin_reaches_no_further_than_its_node(
    service: Service,
    plugins: NodePlugins,
    namespace: str,
    make_reader: Callable[..., str],
    api: Api,
) -> None:
    """Alone it gets nothing: each pod's token is needed too, of a pod on that very node.

    What it can do is to hear which pods of the node lose what, until it expires or its pod is gone.
    """
    make_reader()
    here, there = (
        plugins.pod(namespace, "here"),
        plugins.pod(namespace, "there", node="node-stolen"),
    )
    stolen = plugins.node_token("node-stolen")
    heard: list[tuple[float, Change]] = []
    async with plugins.client(service.port, token=stolen) as thief:
        assert (await refused(thief, here)).reason == "NodeDiffers"
        with pytest.raises(RefusedError) as caught:
            await thief.jwt(here.proof, ("db",))
        assert caught.value.reason == "NodeDiffers"
        for token in (stolen, "", "a.b.c"):
            proof = PodProof(
                there.proof.namespace, there.proof.name, there.proof.uid,
                there.proof.service_account, there.proof.identity, token,
            )  # fmt: skip
            with pytest.raises((RefusedError, UnavailableError)):
                await thief.x509(proof, csr())
            with pytest.raises((RefusedError, UnavailableError)):
                await thief.jwt(proof, ("db",))
        task = asyncio.create_task(collect(thief, heard))
        await following(service, 1)
        await asyncio.to_thread(
            api.patch, "agentidentities", "reader", {"spec": {"suspend": True}}, namespace
        )
        await come(lambda: any(each.kind is ChangeKind.REVOKED for _, each in heard))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    about = {each.pod for _, each in heard if each.kind is ChangeKind.REVOKED}
    assert about == {there.proof.uid}
    assert not api.ledger().of(namespace, "reader"), "nothing was issued"


async def test_a_stolen_token_dies_with_the_plugins_pod(
    service: Service, plugins: NodePlugins, namespace: str, make_reader: Callable[..., str]
) -> None:
    """A plugin's token is bound to its pod; the API server knows when that is gone."""
    make_reader()
    pod = plugins.pod(namespace, "pod")
    plugin = plugins.pod("agentid-system", "agentid-node-x", identity="", account="agentid-node")
    plugins.delete_pod(plugin)
    async with plugins.client(service.port, token=plugin.token) as thief:
        with pytest.raises(UnavailableError, match="the API server takes this token no longer"):
            await thief.x509(pod.proof, csr())
