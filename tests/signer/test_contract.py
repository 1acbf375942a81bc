"""What the API server takes as a PodCertificateRequest and as its answer, and what it refuses.

The rules are the API server's own. They are held here against the real one, so that a release of
Kubernetes that changes them is noticed, and so that our answers are known to keep to them.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from kubernetes.client.exceptions import ApiException

from agentid.api.fields import format_time
from agentid.issuers import BACKDATE
from agentid.pki import KeyAlgorithm, generate
from agentid.signer import answers
from agentid.signer.reasons import Denial, DenialReason
from agentid.signer.request import AnswerType, PodCertificateRequest
from agentid.signer.timing import lifetime_within, refresh_within
from agentid.testing.ca import ThrowawayCA
from tests.support.pod_requests import stub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentid.pki import PublicKey
    from e2e.providers import Cluster
    from tests.support.pod_requests import Kubelets

pytestmark = pytest.mark.integration

Json = dict[str, Any]
Asked = tuple[Json, ec.EllipticCurvePrivateKey]
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
CA_KEY = ed25519.Ed25519PrivateKey.generate()
OTHER = "example.org/other"


def now() -> datetime:
    """The present in whole seconds, as certificates say it."""
    return datetime.now(UTC).replace(microsecond=0)


def certificate(key: PublicKey, begin: datetime, end: datetime, *names: str) -> str:
    """A certificate as PEM."""
    uri = x509.UniformResourceIdentifier("spiffe://agents.test/ns/finance/agent/reader")
    alternative = [uri, *(x509.DNSName(each) for each in names)]
    builder = x509.CertificateBuilder(
        issuer_name=x509.Name([]),
        subject_name=x509.Name([]),
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=begin,
        not_valid_after=end,
    ).add_extension(x509.SubjectAlternativeName(alternative), critical=True)
    return builder.sign(CA_KEY, None).public_bytes(Encoding.PEM).decode()


@dataclass
class Status:
    """An answer that is taken as it stands; each test changes what it is about."""

    begin: timedelta = timedelta(0)
    lifetime: timedelta = HOUR
    refresh: timedelta = 30 * MINUTE
    names: tuple[str, ...] = ()
    key: PublicKey | None = None
    more: str = ""
    condition: dict[str, object] = field(default_factory=dict)
    changes: dict[str, object] = field(default_factory=dict)

    def body(self, key: PublicKey) -> Json:
        """The status for a request with this key."""
        begin = now() + self.begin
        end = begin + self.lifetime
        condition = {
            "type": "Issued",
            "status": "True",
            "reason": "Issued",
            "message": "",
            "lastTransitionTime": format_time(begin),
            **self.condition,
        }
        status: Json = {
            "certificateChain": certificate(self.key or key, begin, end, *self.names) + self.more,
            "notBefore": format_time(begin),
            "beginRefreshAt": format_time(begin + self.refresh),
            "notAfter": format_time(end),
            "conditions": [condition],
            **self.changes,
        }
        return {name: value for name, value in status.items() if value is not None}


@pytest.fixture(scope="module")
def pod(cluster: Cluster, kubelets: Kubelets) -> Iterator[Json]:
    """A pod whose kubelet asks another signer than ours, which nobody runs."""
    cluster.kubectl("create", "namespace", "pcr-contract")
    yield kubelets.pod("pcr-contract", "asks", identity="", signer=OTHER)
    cluster.kubectl("delete", "namespace", "pcr-contract", "--wait=false")


@pytest.fixture
def ask(kubelets: Kubelets, pod: Json) -> Callable[..., Asked]:
    """Makes a request that waits, as the kubelet of its pod, for a key."""

    def made(**changes: object) -> Asked:
        key = ec.generate_private_key(ec.SECP256R1())
        return kubelets.ask(kubelets.asking(pod, {"signerName": OTHER, **changes}, key)), key

    return made


def is_refused(attempt: Callable[[], object], message: str, code: int = 422) -> None:
    """The API server refuses it, and says why."""
    with pytest.raises(ApiException) as refused:
        attempt()
    assert refused.value.status == code, refused.value.body
    assert message in json.loads(str(refused.value.body))["message"]


# Answers


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(Status(), id="an-hour"),
        pytest.param(Status(refresh=10 * MINUTE), id="refresh-as-early-as-can-be"),
        pytest.param(Status(refresh=50 * MINUTE), id="refresh-as-late-as-can-be"),
        pytest.param(Status(begin=-290 * SECOND), id="begins-nearly-five-minutes-ago"),
        pytest.param(Status(begin=290 * SECOND), id="begins-in-nearly-five-minutes"),
        pytest.param(Status(names=("agent.example.org",)), id="with-a-dns-name"),
    ],
)
def test_an_answer_is_taken(status: Status, kubelets: Kubelets, ask: Callable[..., Asked]) -> None:
    """Up to the limits of each rule, limits included."""
    request, key = ask()
    answered = kubelets.answer(request, status.body(key.public_key()))
    assert answered["status"]["conditions"][0]["type"] == "Issued"


LONG = ec.generate_private_key(ec.SECP256R1()).public_key()


@pytest.mark.parametrize(
    ("status", "message"),
    [
        pytest.param(
            Status(lifetime=HOUR - SECOND), "must be >= 1 hour", id="a-second-below-an-hour"
        ),
        pytest.param(
            Status(lifetime=HOUR + SECOND), "must be <= spec.maxExpirationSeconds", id="too-long"
        ),
        pytest.param(
            Status(refresh=10 * MINUTE - SECOND),
            "at least 10 minutes after status.notBefore",
            id="refresh-too-early",
        ),
        pytest.param(
            Status(refresh=50 * MINUTE + SECOND),
            "at least 10 minutes before status.notAfter",
            id="refresh-too-late",
        ),
        pytest.param(
            Status(begin=-310 * SECOND), "within 5 minutes of kube-apiserver", id="begins-long-ago"
        ),
        pytest.param(
            Status(begin=310 * SECOND), "within 5 minutes of kube-apiserver", id="begins-too-late"
        ),
        pytest.param(
            Status(changes={"notBefore": "2026-01-01T00:00:00Z"}),
            "must be set to the NotBefore time encoded in the leaf",
            id="another-notBefore",
        ),
        pytest.param(
            Status(changes={"notAfter": "2036-01-01T00:00:00Z"}),
            "must be set to the NotAfter time encoded in the leaf",
            id="another-notAfter",
        ),
        pytest.param(
            Status(changes={"notBefore": None}), "status.notBefore", id="without-notBefore"
        ),
        pytest.param(Status(changes={"notAfter": None}), "status.notAfter", id="without-notAfter"),
        pytest.param(
            Status(changes={"beginRefreshAt": None}),
            "status.beginRefreshAt",
            id="without-beginRefreshAt",
        ),
        pytest.param(
            Status(key=LONG), "was not issued to the requested public key", id="another-key"
        ),
        pytest.param(Status(names=("",)), "should not contain empty DNSName", id="empty-name"),
        pytest.param(Status(names=("a..b",)), "should not contain '..'", id="two-dots"),
        pytest.param(Status(names=(".a",)), "should not start or end with '.'", id="leading-dot"),
        pytest.param(
            Status(changes={"certificateChain": "no PEM"}),
            "must contain at least one certificate",
            id="no-certificate",
        ),
        pytest.param(
            Status(more="-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            "must consist entirely of CERT",
            id="a-key-in-the-chain",
        ),
        pytest.param(
            Status(more="-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "intermediate certificate does not parse",
            id="an-intermediate-that-is-none",
        ),
        pytest.param(Status(more=" " * 100 * 1024), "Too long", id="more-than-100-KiB"),
        pytest.param(
            Status(condition={"type": "Pending"}), "Unsupported value", id="progress-is-not-told"
        ),
        pytest.param(
            Status(condition={"status": "False"}), "Unsupported value", id="not-yet-is-not-told"
        ),
        pytest.param(Status(condition={"reason": ""}), "reason", id="without-a-reason"),
        pytest.param(
            Status(condition={"type": "Denied"}),
            "must be empty when denying or failing",
            id="denied-with-a-certificate",
        ),
        pytest.param(
            Status(condition={"type": "Failed"}),
            "must be empty when denying or failing",
            id="failed-with-a-certificate",
        ),
    ],
)
def test_an_answer_is_refused(
    status: Status,
    message: str,
    kubelets: Kubelets,
    ask: Callable[..., Asked],
) -> None:
    """A step beyond the limit of each rule; the request waits on."""
    request, key = ask()
    is_refused(lambda: kubelets.answer(request, status.body(key.public_key())), message)
    assert kubelets.condition(request) == {}


def test_there_is_one_condition(kubelets: Kubelets, ask: Callable[..., Asked]) -> None:
    """A request that is Issued is not Denied too."""
    request, key = ask()
    both = Status().body(key.public_key())
    both["conditions"].append({**both["conditions"][0], "type": "Denied"})
    is_refused(lambda: kubelets.answer(request, both), "at most one condition")


@pytest.mark.parametrize("kind", ["Issued", "Denied", "Failed"])
def test_an_answer_is_final(
    kind: str,
    kubelets: Kubelets,
    ask: Callable[..., Asked],
) -> None:
    """Neither another one nor none takes its place."""
    request, key = ask()
    status = Status(condition={"type": kind})
    if kind != "Issued":
        times = ("certificateChain", "notBefore", "beginRefreshAt", "notAfter")
        status.changes = dict.fromkeys(times)
    kubelets.answer(request, status.body(key.public_key()))
    other = Status().body(key.public_key())
    is_refused(lambda: kubelets.answer(request, other), "immutable after PodCertificateRequest")
    is_refused(lambda: kubelets.answer(request, {}), "immutable after PodCertificateRequest")


def test_an_answer_names_the_version(kubelets: Kubelets, ask: Callable[..., Asked]) -> None:
    """So two who answer at the same time do not both succeed."""
    request, key = ask()
    kubelets.annotate(request, seen="1")
    status = Status().body(key.public_key())
    stale = request["metadata"]["resourceVersion"]
    is_refused(lambda: kubelets.answer(request, status, version=stale), "modified", 409)
    is_refused(lambda: kubelets.answer(request, status, version=""), "resourceVersion")
    assert kubelets.answer(request, status)["status"]["notAfter"] == status["notAfter"]


@pytest.mark.parametrize(
    ("granted", "longest"),
    [
        pytest.param(1, 1, id="an-hour"),
        pytest.param(24, 24, id="a-day"),
        pytest.param(24, 2, id="the-volume-asks-for-less"),
        pytest.param(2, 24, id="the-class-gives-less"),
    ],
)
@pytest.mark.parametrize(
    "algorithm", [each for each in KeyAlgorithm if each.is_pod_key_type], ids=str
)
def test_our_answers_are_taken(
    granted: int, longest: int, algorithm: KeyAlgorithm, kubelets: Kubelets, pod: Json
) -> None:
    """For every key that a kubelet makes, and with as long a validity as may be."""
    key = generate(algorithm)
    asking = kubelets.asking(
        pod, {"signerName": OTHER, "maxExpirationSeconds": longest * 3600}, key
    )
    request = PodCertificateRequest.parse(kubelets.ask(asking))
    ca = ThrowawayCA(now=now())
    lifetime = lifetime_within(granted * HOUR, request.max_lifetime)
    profile = ca.profile(key_algorithm=algorithm, lifetime=lifetime)
    leaf = ca.sign(profile, key.public_key())
    refresh = refresh_within(leaf.validity, leaf.validity.not_after)
    written = kubelets.write(answers.issued(request, leaf, refresh, now()))
    seen = PodCertificateRequest.parse(written).answer
    assert seen is not None
    assert (seen.type, seen.fingerprint) == (AnswerType.ISSUED, leaf.fingerprint)
    least = min(granted * HOUR, request.max_lifetime - BACKDATE)
    assert leaf.validity.not_after - now() >= least - 5 * SECOND


def test_our_denials_are_taken(kubelets: Kubelets, ask: Callable[..., Asked]) -> None:
    """With every reason, however long the message is."""
    for reason in DenialReason:
        request = PodCertificateRequest.parse(ask()[0])
        body = answers.denied(request, Denial(reason, "why " * 5000), now())
        seen = PodCertificateRequest.parse(kubelets.write(body)).answer
        assert seen is not None
        assert (seen.type, seen.reason) == (AnswerType.DENIED, reason)


# Requests


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"maxExpirationSeconds": 3599}, "must be in the range", id="too-short"),
        pytest.param({"maxExpirationSeconds": 7_862_401}, "must be in the range", id="too-long"),
        pytest.param({"stubPKCS10Request": None}, "exactly one of", id="without-a-stub"),
        pytest.param({"stubPKCS10Request": "AAAA"}, "valid PKCS#10", id="a-stub-that-is-none"),
        pytest.param(
            {"stubPKCS10Request": base64.b64encode(bytes(10 * 1024 + 1)).decode()},
            "Too long",
            id="a-stub-above-10-KiB",
        ),
        pytest.param(
            {"unverifiedUserAnnotations": {"identity": "reader"}},
            "domain-prefixed",
            id="an-annotation-without-a-domain",
        ),
    ],
)
def test_a_request_is_refused(
    changes: dict[str, object],
    message: str,
    ask: Callable[..., Asked],
) -> None:
    """So the signer never sees such a one."""
    is_refused(lambda: ask(**changes), message)


def altered(der: bytes) -> bytes:
    """The same with a signature that is not its own."""
    return der[:-1] + bytes([der[-1] ^ 1])


@pytest.mark.parametrize(
    ("der", "message"),
    [
        pytest.param(altered(stub()), "invalid signature", id="no-proof-of-possession"),
        pytest.param(
            stub(rsa.generate_private_key(65537, 2048)), "must have modulus size", id="RSA-2048"
        ),
        pytest.param(
            stub(ec.generate_private_key(ec.SECP224R1())),
            "elliptic public keys must use",
            id="curve-P-224",
        ),
        pytest.param(stub(generate(KeyAlgorithm.MLDSA65)), "unknown public key type", id="ML-DSA"),
    ],
)
def test_a_key_is_refused(der: bytes, message: str, ask: Callable[..., Asked]) -> None:
    """A key that nobody showed to hold, and one that is weak or of an unlisted type."""
    is_refused(lambda: ask(stubPKCS10Request=base64.b64encode(der).decode()), message)


def test_a_stub_may_say_anything(kubelets: Kubelets, ask: Callable[..., Asked]) -> None:
    """The API server does not look: that it is empty is for the signer to see to."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "system:masters")])
    der = stub(builder=x509.CertificateSigningRequestBuilder(subject))
    request, _ = ask(stubPKCS10Request=base64.b64encode(der).decode())
    assert kubelets.condition(request) == {}


def test_annotations_may_say_anything(kubelets: Kubelets, ask: Callable[..., Asked]) -> None:
    """Whatever the volume says: that they name one's own identity is for the signer to see to."""
    request, _ = ask(
        unverifiedUserAnnotations={"agentid.dev/identity": "other", "example.org/more": "x"}
    )
    assert kubelets.condition(request) == {}


def test_a_request_does_not_change(kubelets: Kubelets, ask: Callable[..., Asked]) -> None:
    """What was read of it stays true."""
    request, _ = ask()
    changed = {**request, "spec": {**request["spec"], "podName": "another"}}
    is_refused(lambda: kubelets.replace(changed), "field is immutable")


UID = "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"podName": "absent"}, id="a-pod-that-is-not-there"),
        pytest.param({"podUID": UID}, id="another-pod"),
        pytest.param({"serviceAccountName": "other"}, id="another-ServiceAccount"),
        pytest.param({"serviceAccountUID": UID}, id="another-ServiceAccount-of-the-name"),
        pytest.param({"nodeName": "node-b"}, id="another-node"),
        pytest.param({"nodeUID": UID}, id="another-node-of-the-name"),
        pytest.param({"signerName": "agentid.dev/agent"}, id="a-signer-that-no-volume-names"),
    ],
)
def test_a_kubelet_asks_for_its_own_pods(
    changes: dict[str, object], kubelets: Kubelets, pod: Json
) -> None:
    """NodeRestriction holds every field that names somebody against the API server's caches.

    What may be its caches' delay is an error of the server, so that the kubelet tries again.
    """
    asking = kubelets.asking(pod, {"signerName": OTHER, **changes})
    with pytest.raises(ApiException) as refused:
        kubelets.ask(asking, node="node-a", patience=0)
    assert refused.value.status in {403, 404, 500}, refused.value.body
    assert kubelets.ask(kubelets.asking(pod, {"signerName": OTHER}), node="node-a")


def test_a_kubelet_does_not_ask_for_pods_of_another_node(kubelets: Kubelets, pod: Json) -> None:
    """Though it says whose they are."""
    kubelets.node("node-b")
    asking = kubelets.asking(pod, {"signerName": OTHER})
    is_refused(lambda: kubelets.ask(asking, node="node-b"), "not the requesting node", 403)


def test_whoever_may_create_requests_forges_every_field(kubelets: Kubelets, pod: Json) -> None:
    """NodeRestriction is about nodes: for others it takes policies, and a signer that looks."""
    forged = {"podUID": UID, "serviceAccountUID": UID, "nodeName": "nowhere", "nodeUID": UID}
    request = kubelets.ask(kubelets.asking(pod, {"signerName": OTHER, **forged}), admin=True)
    assert request["spec"]["nodeName"] == "nowhere"
