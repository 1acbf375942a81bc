"""The issuer service on a real API server, with real tokens, for nodes that nobody runs."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import socket
import ssl
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from agentid.errors import UnavailableError
from agentid.identity import TrustDomain
from agentid.node.issuer import ChangeKind, RefusedError
from agentid.pki import KeyAlgorithm
from agentid.pki.jwt_bundle import JwtBundle
from agentid.pki.jwt_validation import validate
from agentid.pki.spiffe_bundle import decode_spiffe_bundle
from tests.issuing.asking import collect, come, eventually, following, refused, serial_of
from tests.support.api import until
from tests.support.node_plugins import SERVED_NAME, OnNode, csr

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.node.issuer import Change
    from tests.issuing.conftest import Service
    from tests.support.api import Api
    from tests.support.node_plugins import NodePlugins

pytestmark = pytest.mark.integration


async def test_gives_a_pod_its_certificate(
    service: Service,
    plugins: NodePlugins,
    namespace: str,
    make_reader: Callable[..., str],
    api: Api,
) -> None:
    """The certificate is for the key of the request, on the ledger with its pod, and verifies."""
    make_reader()
    pod, key = plugins.pod(namespace, "pod"), ec.generate_private_key(ec.SECP256R1())
    async with plugins.client(service.port) as client:
        grant = await client.x509(pod.proof, csr(key))
        bundles = await client.bundles()
    leaf = x509.load_pem_x509_certificates(grant.chain_pem)[0]
    assert leaf.public_key() == key.public_key()
    assert grant.spiffe_id == f"spiffe://agents.test/ns/{namespace}/agent/reader"
    record = api.ledger().issued[serial_of(grant)]
    uid = pod.body["metadata"]["uid"]
    assert record.pod is not None
    assert (record.door, record.pod.uid, record.pod.node) == ("CSI", uid, "node-a")
    assert grant.not_before <= grant.issued_at < grant.renew_at < grant.not_after
    roots = x509.load_pem_x509_certificates(grant.bundle_pem)
    document = decode_spiffe_bundle(bundles["agents.test"].document, TrustDomain("agents.test"))
    assert list(document.x509.authorities) == roots
    assert grant.crl_pem is not None
    assert x509.load_pem_x509_crl(grant.crl_pem.split(b"\n\n")[0]).next_update_utc is not None
    assert grant.agent["pod"] == {"name": "pod", "uid": uid, "node": "node-a"}


async def test_a_renewal_names_what_it_replaces(
    service: Service,
    plugins: NodePlugins,
    namespace: str,
    make_reader: Callable[..., str],
    api: Api,
) -> None:
    """A second certificate of a pod replaces the first on the ledger, which runs out by itself."""
    make_reader()
    pod = plugins.pod(namespace, "pod")
    async with plugins.client(service.port) as client:
        first = await client.x509(pod.proof, csr())
        second = await client.x509(pod.proof, csr())
    ledger = api.ledger()
    assert str(ledger.issued[serial_of(second)].replaces) == serial_of(first)
    assert serial_of(first) not in ledger.revoked


async def test_many_pods_share_commits(
    service: Service,
    plugins: NodePlugins,
    namespace: str,
    make_reader: Callable[..., str],
    api: Api,
) -> None:
    """Forty pods that ask at once get theirs, each in its own name, by few requests and commits."""
    make_reader(instances="PerPod")
    pods = [plugins.pod(namespace, f"pod-{number}") for number in range(40)]
    async with plugins.client(service.port) as client:
        grants = await asyncio.gather(*(client.x509(each.proof, csr()) for each in pods))
    ids = {f"spiffe://agents.test/ns/{namespace}/agent/reader/pod/{pod.proof.uid}" for pod in pods}
    assert {each.spiffe_id for each in grants} == ids
    assert len({serial_of(each) for each in grants} & api.ledger().issued.keys()) == 40


async def test_asks_the_api_server_nothing_in_the_steady_state(
    service: Service,
    plugins: NodePlugins,
    namespace: str,
    make_reader: Callable[..., str],
    api: Api,
) -> None:
    """Renewals cost the API server the ledger's commits, and no request for each."""
    make_reader()
    pods = [plugins.pod(namespace, f"pod-{number}") for number in range(20)]
    async with plugins.client(service.port) as client:
        await asyncio.gather(*(client.x509(each.proof, csr()) for each in pods))
        before = asked(api)
        for _ in range(5):
            await asyncio.gather(*(client.x509(each.proof, csr()) for each in pods))
        after = asked(api)
    made = {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key)}
    reviews = made.get(("tokenreviews", "POST"), 0) + made.get(("pods", "GET"), 0)
    assert reviews <= 1, "100 renewals, and a plugin's token is put to it once a minute"
    assert made.get(("serviceaccounts", "GET"), 0) <= 1, (
        "and a ServiceAccount is asked for likewise"
    )


def asked(api: Api) -> dict[tuple[str, str], int]:
    """Requests that the API server counted, by resource and verb."""
    found: dict[tuple[str, str], int] = {}
    text = api.cluster.kubectl("get", "--raw", "/metrics").stdout
    for line in text.splitlines():
        if not line.startswith("apiserver_request_total{"):
            continue
        labels = dict(
            part.split("=", 1) for part in line[line.index("{") + 1 : line.rindex("}")].split(",")
        )
        key = labels["resource"].strip('"'), labels["verb"].strip('"')
        if key[1] in {"WATCH", "LIST"}:
            continue
        found[key] = found.get(key, 0) + int(float(line.rsplit(" ", 1)[1]))
    return found


# Attacks


async def test_refuses_a_token_from_another_node(
    service: Service, plugins: NodePlugins, namespace: str, make_reader: Callable[..., str]
) -> None:
    """A pod's token that is replayed by the plugin of another node gets nothing."""
    make_reader()
    pod = plugins.pod(namespace, "pod", node="node-a")
    async with plugins.client(service.port, "node-b") as client:
        refusal = await refused(client, pod)
        with pytest.raises(RefusedError, match="the plugin of node node-b asks"):
            await client.jwt(pod.proof, ("spiffe://agents.test/x",))
    assert (refusal.reason, refusal.final) == ("NodeDiffers", True)


async def test_refuses_a_token_whose_pod_has_gone(
    service: Service, plugins: NodePlugins, namespace: str, make_reader: Callable[..., str]
) -> None:
    """After its pod is deleted, or has finished, a token gets nothing, however long it is good."""
    make_reader()
    gone, finished = plugins.pod(namespace, "gone"), plugins.pod(namespace, "finished")
    async with plugins.client(service.port) as client:
        await client.x509(gone.proof, csr())
        await client.x509(finished.proof, csr())
        plugins.delete_pod(gone)
        plugins.finish(finished)
        await eventually(client, gone, "PodGone")
        await eventually(client, finished, "PodGone")
        again = plugins.pod(namespace, "gone")
        assert (await refused(client, gone)).reason in {"PodGone", "PodReplaced"}
        await client.x509(again.proof, csr())


async def test_refuses_a_token_of_another_audience(
    service: Service, plugins: NodePlugins, namespace: str, make_reader: Callable[..., str]
) -> None:
    """A token for the API server itself, such as a pod has it mounted, gets nothing here."""
    make_reader()
    pod = plugins.pod(namespace, "pod", audience="https://kubernetes.default.svc")
    async with plugins.client(service.port) as client:
        refusal = await refused(client, pod)
    assert refusal.reason == "PodTokenInvalid"
    assert "agentid.dev is not in it" in str(refusal)


async def test_refuses_a_pod_of_another_service_account(
    service: Service, plugins: NodePlugins, namespace: str, make_reader: Callable[..., str]
) -> None:
    """A label alone grants nothing: the identity is bound to a ServiceAccount."""
    make_reader()
    pod = plugins.pod(namespace, "pod", account="other")
    async with plugins.client(service.port) as client:
        refusal = await refused(client, pod)
    assert refusal.reason == "NotItsServiceAccount"
    assert "is bound to ServiceAccount default, and the pod runs as other" in str(refusal)


async def test_refuses_a_pod_whose_service_account_was_made_anew(
    service: Service, plugins: NodePlugins, namespace: str, make_reader: Callable[..., str]
) -> None:
    """A token of a ServiceAccount that is gone gets nothing, though its signature is good."""
    plugins.account(namespace, "worker")
    make_reader(subject={"serviceAccountName": "worker"})
    pod = plugins.pod(namespace, "pod", account="worker")
    plugins.delete_account(namespace, "worker")
    plugins.account(namespace, "worker")
    async with plugins.client(service.port) as client:
        refusal = await refused(client, pod)
    assert refusal.reason == "ServiceAccountDiffers"


async def test_takes_no_token_of_a_pod_for_that_of_a_plugin(
    service: Service, plugins: NodePlugins, namespace: str, make_reader: Callable[..., str]
) -> None:
    """Only node plugins are answered: neither pods, nor ServiceAccounts beside them, nor nobody."""
    make_reader()
    pod = plugins.pod(namespace, "pod")
    plugins.account("agentid-system", "agentid-other")
    for token in (
        pod.token,
        plugins.node_token("node-a", account="agentid-other"),
        plugins.node_token("node-a", audience="https://kubernetes.default.svc"),
        plugins.node_token("node-a", bound=False),
        "nonsense",
        "a.b.c",
    ):
        async with plugins.client(service.port, token=token) as client:
            with pytest.raises(UnavailableError, match="NotANodePlugin"):
                await client.x509(pod.proof, csr())


async def test_takes_no_token_of_a_node_that_is_gone(
    service: Service, plugins: NodePlugins, namespace: str, make_reader: Callable[..., str]
) -> None:
    """The API server is asked whether a plugin's token still counts, which the signature hides."""
    make_reader()
    pod = plugins.pod(namespace, "pod", node="node-gone")
    token = plugins.node_token("node-gone")
    plugins.delete_node("node-gone")
    async with plugins.client(service.port, token=token) as client:
        with pytest.raises(UnavailableError, match="the API server takes this token no longer"):
            await client.x509(pod.proof, csr())


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        pytest.param("POST", "/node/v1/x509", b"", 400, id="empty"),
        pytest.param("POST", "/node/v1/x509", b"{", 400, id="no-json"),
        pytest.param("POST", "/node/v1/x509", b'{"items": []}', 400, id="no-items"),
        pytest.param("POST", "/node/v1/x509", b'{"items": [1]}', 400, id="item-no-object"),
        pytest.param("POST", "/node/v1/x509", b'{"items": [{"csr": "%"}]}', 400, id="no-base64"),
        pytest.param("POST", "/node/v1/x509", b"[" * 100_000, 400, id="deep"),
        pytest.param("POST", "/node/v1/x509", b" " * (1024 * 1024 + 1), 400, id="too-long"),
        pytest.param("POST", "/node/v1/jwt", b'{"podToken": "x"}', 400, id="no-audience"),
        pytest.param("GET", "/node/v1/x509", b"", 405, id="method"),
        pytest.param("GET", "/", b"", 404, id="path"),
    ],
)
def test_refuses_nonsense(
    service: Service, plugins: NodePlugins, method: str, path: str, body: bytes, status: int
) -> None:
    """What is no request of a plugin's is refused in words, and changes nothing for others."""
    head = f"Content-Length: {len(body)}\r\nConnection: close\r\n"
    answer = spoken(service, plugins, f"{method} {path}", head, body)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    if status == 400:
        assert b"application/problem+json" in answer
        assert b'"reason":"Malformed"' in answer


def test_refuses_a_body_of_no_length(service: Service, plugins: NodePlugins) -> None:
    """A body in chunks has no bound that is known before it is read."""
    head = "Transfer-Encoding: chunked\r\nConnection: close\r\n"
    answer = spoken(service, plugins, "POST /node/v1/x509", head, b"0\r\n\r\n")
    assert b'"reason":"Malformed"' in answer


def opened(service: Service, plugins: NodePlugins) -> ssl.SSLSocket:
    """A connection that trusts what plugins trust."""
    context = ssl.create_default_context(cadata=plugins.authorities().decode())
    plain = socket.create_connection(("127.0.0.1", service.port), 10)
    return context.wrap_socket(plain, server_hostname=SERVED_NAME)


def request_of(plugins: NodePlugins, line: str, head: str, body: bytes) -> bytes:
    """A request with a plugin's token."""
    token = plugins.node_token("node-a")
    whole = f"{line} HTTP/1.1\r\nHost: issuer\r\nAuthorization: Bearer {token}\r\n{head}\r\n"
    return whole.encode() + body


def spoken(service: Service, plugins: NodePlugins, line: str, head: str, body: bytes) -> bytes:
    """What the service answers to a request as it stands."""
    with opened(service, plugins) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(request_of(plugins, line, head, body))
        answer = b""
        with contextlib.suppress(ConnectionResetError, ssl.SSLEOFError):
            while read := connection.recv(65536):
                answer += read
        return answer


async def test_refuses_a_request_that_nobody_signed(
    service: Service, plugins: NodePlugins, namespace: str, make_reader: Callable[..., str]
) -> None:
    """A request whose signature is not by its own key proves nothing, and is refused."""
    make_reader()
    pod, request = plugins.pod(namespace, "pod"), bytearray(csr())
    request[-1] ^= 1
    async with plugins.client(service.port) as client:
        with pytest.raises(RefusedError) as caught:
            await client.x509(pod.proof, bytes(request))
    assert caught.value.reason == "RequestInvalid"


# Judgement


async def test_refuses_what_the_identity_is_refused(
    service: Service,
    plugins: NodePlugins,
    namespace: str,
    make_reader: Callable[..., str],
    api: Api,
) -> None:
    """The sentence of the judgement reaches the plugin, and the identity's status."""
    make_reader()
    pod = plugins.pod(namespace, "pod")
    api.patch("agentidentities", "reader", {"spec": {"suspend": True}}, namespace)
    async with plugins.client(service.port) as client:
        await eventually(client, pod, "Suspended")
        wrong = plugins.pod(namespace, "wrong", identity="nobody")
        assert (await refused(client, wrong)).reason == "IdentityNotFound"
    until(
        "the refusal in the status",
        lambda: "suspended" in str(api.status(namespace, "reader").get("pods", {})),
    )


async def test_refuses_a_key_that_the_class_does_not_take(
    service: Service, plugins: NodePlugins, namespace: str, make_reader: Callable[..., str]
) -> None:
    """A key of another algorithm is refused with the one that is asked for."""
    make_reader()
    pod = plugins.pod(namespace, "pod")
    async with plugins.client(service.port) as client:
        with pytest.raises(RefusedError, match="asks for ECDSAP256") as caught:
            await client.x509(pod.proof, csr(ec.generate_private_key(ec.SECP384R1())))
    assert (caught.value.key_algorithm, caught.value.final) == (KeyAlgorithm.ECDSAP256, False)


async def test_a_suspension_overtakes_what_is_being_made(
    service: Service,
    plugins: NodePlugins,
    namespace: str,
    make_reader: Callable[..., str],
    api: Api,
) -> None:
    """Whatever was under way as an identity is suspended, nothing of it stays good."""
    make_reader()
    pods = [plugins.pod(namespace, f"pod-{number}") for number in range(10)]
    given: Counter[str] = Counter()
    async with plugins.client(service.port) as client:

        async def ask_on(pod: OnNode) -> None:
            with contextlib.suppress(RefusedError):
                while True:
                    await client.x509(pod.proof, csr())
                    given["certificates"] += 1

        asking = [asyncio.create_task(ask_on(pod)) for pod in pods]
        await come(lambda: given["certificates"] >= 2 * len(pods))
        await asyncio.to_thread(
            api.patch, "agentidentities", "reader", {"spec": {"suspend": True}}, namespace
        )
        async with asyncio.timeout(20):
            await asyncio.gather(*asking)

    def over() -> bool:
        return not api.ledger().unrevoked(namespace, "reader")

    assert api.ledger().of(namespace, "reader")
    until("the revocation of all", over, 5)


# JWT-SVIDs


async def test_mints_a_token_that_verifies(
    service: Service, plugins: NodePlugins, namespace: str, make_reader: Callable[..., str]
) -> None:
    """A pod with a certificate gets tokens in its own name, which the published keys verify."""
    make_reader(instances="PerPod")
    pod = plugins.pod(namespace, "pod")
    async with plugins.client(service.port) as client:
        with pytest.raises(RefusedError, match="it has to be issued one first"):
            await client.jwt(pod.proof, ("spiffe://agents.test/db",))
        grant = await client.x509(pod.proof, csr())
        token = await client.jwt(pod.proof, ("spiffe://agents.test/db",))
        with pytest.raises(RefusedError, match="1 to 16 are"):
            await client.jwt(pod.proof, ())
        bundles = await client.bundles()
    domain = TrustDomain("agents.test")
    bundle = JwtBundle.of(decode_spiffe_bundle(bundles["agents.test"].document, domain))
    svid = validate(token.token, {domain: bundle}, "spiffe://agents.test/db", token.issued_at)
    assert str(svid.spiffe_id) == token.spiffe_id == grant.spiffe_id
    assert token.not_after <= grant.not_after
    assert (token.not_after - token.issued_at).total_seconds() <= 300


async def test_a_revocation_ends_tokens_at_once(
    service: Service,
    plugins: NodePlugins,
    namespace: str,
    make_reader: Callable[..., str],
    api: Api,
) -> None:
    """A pod whose certificate is revoked gets no token, though its identity is in order."""
    make_reader()
    pod = plugins.pod(namespace, "pod")
    async with plugins.client(service.port) as client:
        grant = await client.x509(pod.proof, csr())
        api.create(
            "agentrevocations",
            {
                "metadata": {"name": f"one-{namespace}"},
                "spec": {
                    "reason": "keyCompromise",
                    "explanation": "A laptop was stolen",
                    "dryRun": False,
                    "select": {"serials": [serial_of(grant)]},
                },
            },
        )
        until("the revocation", lambda: serial_of(grant) in api.ledger().revoked)
        with pytest.raises(RefusedError) as caught:
            await client.jwt(pod.proof, ("spiffe://agents.test/db",))
    assert caught.value.reason in {"NoCertificate", "Held"}


# Changes


async def test_a_suspension_reaches_the_plugin_within_a_second(
    service: Service,
    plugins: NodePlugins,
    namespace: str,
    make_reader: Callable[..., str],
    api: Api,
) -> None:
    """The line names pod, serial and why; the plugin of another node hears nothing."""
    make_reader()
    pod = plugins.pod(namespace, "pod")
    here: list[tuple[float, Change]] = []
    there: list[tuple[float, Change]] = []
    async with plugins.client(service.port) as client, plugins.client(service.port, "node-b") as b:
        grant = await client.x509(pod.proof, csr())
        tasks = [
            asyncio.create_task(collect(client, here)),
            asyncio.create_task(collect(b, there)),
        ]
        await following(service, 2)
        began = time.monotonic()
        await asyncio.to_thread(
            api.patch, "agentidentities", "reader", {"spec": {"suspend": True}}, namespace
        )

        def told(serial: str | None) -> list[tuple[float, Change]]:
            return [
                (at, each)
                for at, each in here
                if each.kind is ChangeKind.REVOKED
                and each.pod == pod.proof.uid
                and each.serial == serial
            ]

        await come(lambda: bool(told(None) and told(serial_of(grant))))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        late: list[tuple[float, Change]] = []
        again = asyncio.create_task(collect(client, late))
        await come(lambda: len(late) > 1)
        again.cancel()
        await asyncio.gather(again, return_exceptions=True)
    assert told(None)[0][0] - began < 1
    assert told(serial_of(grant))[0][0] - began < 1
    assert {each.reason for _, each in told(serial_of(grant))} == {"Suspended"}
    assert not [each for _, each in there if each.kind is ChangeKind.REVOKED]
    stands = {(each.kind, each.pod, each.serial) for _, each in late}
    assert (ChangeKind.REVOKED, pod.proof.uid, serial_of(grant)) in stands, "told to who comes late"
    assert (ChangeKind.REVOKED, pod.proof.uid, None) in stands


def test_what_could_not_be_delivered_is_revoked(
    service: Service,
    plugins: NodePlugins,
    namespace: str,
    make_reader: Callable[..., str],
    api: Api,
) -> None:
    """A plugin that goes while its certificate is made leaves a record that is revoked."""
    make_reader()

    def ask_and_go(name: str, after: float) -> bool:
        """Whether it left something, all of which was revoked."""
        pod = plugins.pod(namespace, name)
        items = [{"podToken": pod.token, "csr": base64.b64encode(csr()).decode()}] * 8
        body = json.dumps({"items": items}).encode()
        head = f"Content-Length: {len(body)}\r\n"
        request = request_of(plugins, "POST /node/v1/x509", head, body)
        with opened(service, plugins) as connection:
            connection.sendall(request)
            time.sleep(after)
        time.sleep(2)  # four rounds of what revokes
        ledger = api.ledger()
        mine = ledger.of(namespace, "reader")
        left = {str(each.serial) for each in mine if each.pod and each.pod.uid == pod.proof.uid}
        return bool(left) and left <= ledger.revoked.keys()

    # Neither before the record is begun nor after the answer has left: how long that is, depends.
    delays = itertools.cycle((0.02, 0.01, 0.005, 0.04, 0.08, 0.16))
    attempts = ((f"pod-{number}", after) for number, after in enumerate(delays))
    until("the revocation", lambda: ask_and_go(*next(attempts)))
    revoked = api.ledger().revoked.values()
    reasons = {str(each.reason) for each in revoked if each.actor == "agentid-issuer"}
    assert reasons == {"superseded"}


async def test_over_the_rate_of_its_class_a_pod_is_told_to_come_again(
    service: Service,
    plugins: NodePlugins,
    namespace: str,
    make_reader: Callable[..., str],
    api: Api,
) -> None:
    """Nothing is on record for it, and what it holds stays: the plugin reads it as an outage."""
    make_reader(class_fields={"limits": {"issuancesPerMinutePerNamespace": 1}})
    first, second = plugins.pod(namespace, "one"), plugins.pod(namespace, "two")
    async with plugins.client(service.port) as client:
        await client.x509(first.proof, csr())
        with pytest.raises(UnavailableError, match=r"Overloaded AgentClass .* to 1 a minute"):
            await client.x509(second.proof, csr())
    assert len(api.ledger().of(namespace, "reader")) == 1
