"""The chain of questions: who is refused, in what order, and in which words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agentid.admission.verdict import Outcome
from agentid.api.conditions import Reason
from agentid.api.vocabulary import DeliveryMode
from agentid.errors import InputError, UnavailableError
from agentid.kube.objects import ObjectKey
from tests.support.reviewing import Desk, container, patched, pod

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentid.testing.clock import ManualClock

MIRROR = {"kubernetes.io/config.mirror": "0a1b"}
LABEL = "metadata.labels[agentid.dev/identity]"


async def test_a_pod_without_the_label_passes_as_it_is(desk: Desk) -> None:
    """Nobody is asked about it, whatever else it holds."""
    desk.put()
    for body in (pod(None), {"metadata": {"name": "bare"}, "spec": {"containers": []}}, {}):
        verdict = await desk.review(body)
        assert (verdict.allowed, verdict.reason, list(verdict.patch)) == (True, "NotSelected", [])


async def test_a_change_of_a_pod_passes_as_it_is(desk: Desk) -> None:
    """So do ephemeral containers: mounts are decided on when a pod is made."""
    verdict = await desk.review(pod("no-such"), creates=False)
    assert (verdict.allowed, verdict.reason) == (True, "NotSelected")


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        pytest.param("", '""', id="empty"),
        pytest.param("Reader", '"Reader"', id="upper-case"),
        pytest.param("the_reader", '"the_reader"', id="underscore"),
        pytest.param("-reader", '"-reader"', id="begins-with-hyphen"),
        pytest.param("reader.", '"reader."', id="ends-with-dot"),
        pytest.param("../reader", '"../reader"', id="path"),
        pytest.param("finance/reader", '"finance/reader"', id="of-another-namespace"),
        pytest.param("r\n", '"r\\n"', id="line-end"),
        pytest.param("r" * 64, f'"{"r" * 64}"', id="long"),
        pytest.param("réader", '"réader"', id="accent"),
    ],
)
async def test_a_malformed_label(desk: Desk, label: str, shown: str) -> None:
    """It is refused before anybody is asked about it."""
    reason, message = await desk.refusal(pod(label))
    assert reason is Outcome.MALFORMED_LABEL
    assert message.startswith(f"{LABEL}: {shown} is not the name of an AgentIdentity: ")
    assert message.endswith("; name one of the pod's namespace, or take the label off")
    assert desk.asked == []


@pytest.mark.parametrize("namespace", ["kube-system", "agentid-system"])
async def test_namespaces_where_nothing_is_mounted(desk: Desk, namespace: str) -> None:
    """The manifest keeps them away from the webhook; should it be edited, this is told."""
    reason, message = await desk.refusal(pod(), namespace=namespace)
    assert reason is Outcome.NAMESPACE_EXCLUDED
    assert message.startswith(f"{LABEL}: no identity is mounted in namespace {namespace}")


async def test_a_static_pod(desk: Desk) -> None:
    """It has no ServiceAccount, so nothing ties it to an identity."""
    desk.put()
    reason, message = await desk.refusal(pod(annotations=MIRROR))
    assert reason is Outcome.STATIC_POD
    assert message == (
        f"{LABEL}: a static pod runs as no ServiceAccount, so it can have no identity; run the "
        "agent as a Deployment or a DaemonSet, or take the label off"
    )


# Which identity


async def test_no_such_identity_names_those_that_are_near(desk: Desk) -> None:
    """The author has mistyped, most of the time."""
    for name in ("invoice-reader", "invoice-writer", "crm"):
        desk.put(name)
    reason, message = await desk.refusal(pod("invoice-raeder"))
    assert reason is Outcome.NO_SUCH_IDENTITY
    assert message == (
        f'{LABEL}: "invoice-raeder" names no AgentIdentity in namespace finance; did you mean '
        "invoice-reader or invoice-writer? (kubectl get agentidentities -n finance)"
    )


async def test_no_such_identity_and_none_is_near(desk: Desk) -> None:
    """Then it says what to do."""
    desk.put("crm")
    _, message = await desk.refusal(pod("invoice-reader"))
    assert message == (
        f'{LABEL}: "invoice-reader" names no AgentIdentity in namespace finance; apply one, or '
        "correct the label (kubectl get agentidentities -n finance)"
    )


async def test_an_identity_of_another_namespace_is_none(desk: Desk) -> None:
    """It is neither mounted nor named: who may see another namespace asks there."""
    desk.put()
    reason, message = await desk.refusal(pod(), namespace="crm")
    assert reason is Outcome.NO_SUCH_IDENTITY
    assert "did you mean" not in message
    assert desk.asked == [ObjectKey("crm", "reader")]


async def test_an_author_cannot_say_that_the_pod_is_elsewhere(desk: Desk) -> None:
    """The namespace is that of the request, whatever the object claims."""
    desk.put()
    body = pod()
    body["metadata"]["namespace"] = "finance"
    reason, _ = await desk.refusal(body, namespace="crm")
    assert reason is Outcome.NO_SUCH_IDENTITY


async def test_an_identity_that_the_watch_has_not_told_of(desk: Desk, clock: ManualClock) -> None:
    """It is asked for, and believed this once: no watch would tell of its end."""
    told = Desk(clock).put()
    key = ObjectKey("finance", "reader")
    desk.elsewhere[key] = told
    verdict = await desk.review(pod())
    assert (verdict.allowed, verdict.reason) == (True, "Mounted")
    del desk.elsewhere[key]
    reason, _ = await desk.refusal(pod())
    assert reason is Outcome.NO_SUCH_IDENTITY
    assert desk.asked == [key, key]


async def test_an_api_server_that_is_away(desk: Desk) -> None:
    """Nobody knows, so it is said that it may come right by itself."""
    desk.trouble = UnavailableError("no answer within 1 s")
    verdict = await desk.review(pod())
    assert (verdict.allowed, verdict.reason, verdict.code) == (False, "Unavailable", 503)
    assert verdict.message == (
        f"{LABEL}: it could not be found out whether there is an AgentIdentity finance/reader; "
        "create the pod again, as controllers of pods do by themselves"
    )


# Whether it may


def _delivery_closed(desk: Desk) -> None:
    desk.directory.open_doors(
        frozenset({DeliveryMode.SECRET}), {DeliveryMode.POD_CERTIFICATE: "It is too old"}
    )
    desk.put()


def _held(desk: Desk) -> None:
    desk.put()
    desk.directory.put_incident(
        desk.stamped(
            {
                "metadata": {"name": "leak"},
                "spec": {
                    "select": {"identities": [{"namespace": "finance", "name": "reader"}]},
                    "reason": "keyCompromise",
                    "hold": True,
                    "dryRun": False,
                },
                "status": {"startedAt": "2026-11-01T11:00:00Z"},
            }
        )
    )


def _class_faulty(desk: Desk) -> None:
    desk.put_class(lifetime="forever")
    desk.put()


def _class_gone(desk: Desk) -> None:
    desk.put()
    desk.directory.drop_class(ObjectKey("", "batch"))


def _issuer_gone(desk: Desk) -> None:
    desk.put()
    desk.directory.drop_issuer(ObjectKey("", "test"))


def _issuer_faulty(desk: Desk) -> None:
    desk.put()
    desk.put_issuer(trustDomain="Not A Domain")


def _ml_dsa(desk: Desk) -> None:
    desk.put_class(keyAlgorithm="MLDSA65")
    desk.put()


def _spec(**spec: Any) -> Callable[[Desk], None]:  # noqa: ANN401 - JSON
    return lambda desk: _put(desk, **spec)


def _put(desk: Desk, **spec: Any) -> None:  # noqa: ANN401 - JSON
    desk.put(**spec)


def _class(**spec: Any) -> Callable[[Desk], None]:  # noqa: ANN401 - JSON
    def change(desk: Desk) -> None:
        desk.put_class(**spec)
        desk.put()

    return change


@pytest.mark.parametrize(
    ("change", "reason", "said"),
    [
        pytest.param(
            _spec(lifetime="a while"), "InvalidSpec", 'spec.lifetime: "a while"', id="spec"
        ),
        pytest.param(
            _spec(metadata={"deletionTimestamp": "2026-11-01T11:00:00Z"}),
            "IdentityDeleting",
            "it is being deleted, and its certificates are revoked; apply it again once it is "
            "gone, or take the label off the pod",
            id="deleting",
        ),
        pytest.param(
            _spec(suspend=True),
            "Suspended",
            "spec.suspend is true, so no pod gets a certificate; set it to false (kubectl agentid "
            "resume reader -n finance)",
            id="suspended",
        ),
        pytest.param(_held, "Held", "AgentRevocation leak", id="held"),
        pytest.param(_class_gone, "ClassNotFound", "there is no AgentClass batch", id="no-class"),
        pytest.param(
            _class_faulty, "ClassNotFound", "AgentClass batch cannot be used", id="class-faulty"
        ),
        pytest.param(
            _issuer_gone,
            "IssuerNotFound",
            "AgentClass batch names AgentIssuer test, which does not exist",
            id="no-issuer",
        ),
        pytest.param(
            _issuer_faulty,
            "IssuerNotReady",
            'AgentIssuer test cannot be used: spec.trustDomain: "Not A Domain"',
            id="issuer-faulty",
        ),
        pytest.param(
            _class(namespaces={"names": ["crm"]}),
            "NamespaceNotServed",
            'metadata.namespace: "finance" is not served by AgentClass batch, which serves crm',
            id="namespace",
        ),
        pytest.param(
            _delivery_closed,
            "DeliveryUnavailable",
            "spec.delivery.mode: PodCertificate is served by nothing in this cluster, which "
            "serves Secret; choose one of these or ask the platform team to install it; It is too "
            "old",
            id="no-door",
        ),
        pytest.param(
            _class(delivery={"modes": ["Secret"]}),
            "DeliveryNotAllowed",
            "spec.delivery.mode: PodCertificate is not allowed by AgentClass batch",
            id="door-closed",
        ),
        pytest.param(
            _class(lifetime="10m"),
            "DeliveryNotAllowed",
            "spec.delivery.mode: PodCertificate cannot carry a lifetime of 10m",
            id="short",
        ),
        pytest.param(
            _ml_dsa,
            "DeliveryNotAllowed",
            "spec.delivery.mode: PodCertificate cannot carry a key of MLDSA65",
            id="algorithm",
        ),
        pytest.param(
            _spec(permissions={"systems": ["hr.payroll"], "operations": ["read"]}),
            "ExceedsClass",
            'spec.permissions.systems: "hr.payroll" is outside the ceiling of AgentClass batch',
            id="permissions",
        ),
    ],
)
async def test_an_identity_that_gets_nothing(
    desk: Desk, change: Callable[[Desk], None], reason: str, said: str
) -> None:
    """Promise 2: what no door would give is not mounted either; and the pod's author reads why."""
    change(desk)
    found, message = await desk.refusal(pod())
    assert found == reason
    assert message.startswith("AgentIdentity finance/reader: ")
    assert said in message


async def test_a_pod_of_another_service_account(desk: Desk) -> None:
    """Whoever the identity is bound to is named, so that the author can mend it."""
    desk.put(subject={"serviceAccountName": "invoice-reader"})
    reason, message = await desk.refusal(pod(serviceAccountName="crm"))
    assert reason is Outcome.WRONG_SERVICE_ACCOUNT
    assert message == (
        'spec.serviceAccountName: "crm" is not whom AgentIdentity finance/reader is for, which is '
        '"invoice-reader"; run the pod as that ServiceAccount, or name the AgentIdentity of this '
        "one in label agentid.dev/identity"
    )
    assert (await desk.review(pod(serviceAccountName="invoice-reader"))).allowed


async def test_who_runs_as_nobody_runs_as_default(desk: Desk) -> None:
    """As the API server has it."""
    desk.put(subject={"serviceAccountName": "invoice-reader"})
    _, message = await desk.refusal(pod())
    assert message.startswith('spec.serviceAccountName: "default" is not whom')
    desk.put(subject={"serviceAccountName": "default"})
    assert (await desk.review(pod())).allowed


async def test_the_order_of_the_questions(desk: Desk) -> None:
    """What the identity's team has to mend comes before the pod's, and that before the class's."""
    body = pod(annotations=MIRROR, serviceAccountName="crm", volumes=[{"name": "agentid"}])
    deleting = {"deletionTimestamp": "2026-11-01T11:00:00Z"}
    desk.put_class(namespaces={"names": ["crm"]})
    found = []
    found.append((await desk.refusal(body, namespace="kube-system"))[0])
    found.append((await desk.refusal(body))[0])
    del body["metadata"]["annotations"]
    found.append((await desk.refusal(body))[0])
    desk.put(metadata=deleting, suspend=True)
    found.append((await desk.refusal(body))[0])
    desk.put(suspend=True)
    found.append((await desk.refusal(body))[0])
    desk.put()
    found.append((await desk.refusal(body))[0])
    body["spec"]["serviceAccountName"] = "default"
    found.append((await desk.refusal(body))[0])
    desk.put_class()
    found.append((await desk.refusal(body))[0])
    assert found == [
        Outcome.NAMESPACE_EXCLUDED,
        Outcome.STATIC_POD,
        Outcome.NO_SUCH_IDENTITY,
        Outcome.IDENTITY_DELETING,
        Reason.SUSPENDED,
        Outcome.WRONG_SERVICE_ACCOUNT,
        Reason.NAMESPACE_NOT_SERVED,
        Outcome.VOLUME_TAKEN,
    ]


# What is kept


async def test_every_change_is_seen_by_the_next_review(desk: Desk) -> None:
    """An answer is kept only until what it follows from changes."""
    steps: list[tuple[Callable[[], object], str]] = [
        (desk.put, "Mounted"),
        (lambda: desk.put(suspend=True), "Suspended"),
        (desk.put, "Mounted"),
        (lambda: desk.put_class(namespaces={"names": ["crm"]}), "NamespaceNotServed"),
        (desk.put_class, "Mounted"),
        (lambda: desk.directory.drop_class(ObjectKey("", "batch")), "ClassNotFound"),
        (desk.put_class, "Mounted"),
        (lambda: desk.directory.drop_issuer(ObjectKey("", "test")), "IssuerNotFound"),
        (desk.put_issuer, "Mounted"),
        (lambda: desk.directory.open_doors(frozenset(), {}), "DeliveryUnavailable"),
        (lambda: desk.directory.open_doors(frozenset(DeliveryMode), {}), "Mounted"),
        (lambda: _held(desk), "Held"),
        (lambda: desk.directory.drop_incident(ObjectKey("", "leak")), "Mounted"),
        (lambda: desk.directory.drop_identity(ObjectKey("finance", "reader")), "NoSuchIdentity"),
        (desk.put, "Mounted"),
    ]
    for change, expected in steps:
        change()
        assert [(await desk.review(pod())).reason for _ in range(2)] == [expected, expected]


async def test_an_older_version_changes_nothing(desk: Desk) -> None:
    """A list that comes after a watch's news must not bring a suspended one back."""
    before = desk.put()
    desk.put(suspend=True)
    desk.directory.put_identity(before)
    assert (await desk.refusal(pod()))[0] is Reason.SUSPENDED


async def test_names_that_are_gone_are_not_proposed(desk: Desk) -> None:
    """Nor do they take memory for ever."""
    desk.put("reader-1")
    desk.directory.drop_identity(ObjectKey("finance", "reader-1"))
    assert "did you mean" not in (await desk.refusal(pod("reader-2")))[1]
    assert desk.directory.count == 0


async def test_a_kept_answer_grows_old(desk: Desk, clock: ManualClock) -> None:
    """After a minute it is judged anew: schedules of different zones are compared as of now."""
    desk.put()
    first = desk.directory.find(ObjectKey("finance", "reader"))
    clock.advance(59)
    assert desk.directory.find(ObjectKey("finance", "reader")) is first
    clock.advance(2)
    again = desk.directory.find(ObjectKey("finance", "reader"))
    assert again == first
    assert again is not first


# What its author reads besides


async def test_a_secret_that_is_not_there_yet(desk: Desk) -> None:
    """The kubelet waits for it; the author is told what for."""
    desk.put(mode="Secret")
    verdict = await desk.review(pod())
    assert list(verdict.warnings) == [
        "Secret reader-agentid is not there yet; the pod starts once it is"
    ]
    desk.put(mode="Secret", status={"delivery": {"secretName": "reader-agentid"}})
    assert list((await desk.review(pod())).warnings) == []


async def test_an_environment_that_the_author_set(desk: Desk) -> None:
    """It stays as it is, and its author is told."""
    desk.put()
    env = [{"name": "AGENTID_DIR", "value": "/elsewhere"}]
    body = pod(containers=[container(env=env)])
    verdict = await desk.review(body)
    assert list(verdict.warnings) == [
        "container agent sets AGENTID_DIR itself, and keeps it; agentid would set another value"
    ]
    found = patched(body, verdict.patch)["spec"]["containers"][0]["env"]
    assert [each["name"] for each in found] == ["AGENTID_DIR", "AGENTID_SPIFFE_ID"]
    assert found[0]["value"] == "/elsewhere"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("spec", [], id="spec"),
        pytest.param("metadata", {"labels": ["a"]}, id="labels"),
        pytest.param("metadata", {"labels": {"agentid.dev/identity": 7}}, id="label"),
    ],
)
async def test_no_api_server_would_send_this(desk: Desk, field: str, value: object) -> None:
    """It is told apart from a pod that is refused."""
    with pytest.raises(InputError, match=r"^request\.object\."):
        await desk.review({**pod(), field: value})


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"volumes": {}}, id="volumes"),
        pytest.param({"volumes": ["a"]}, id="volume"),
        pytest.param({"containers": [{"name": 7}]}, id="name"),
        pytest.param({"containers": [{"name": "a", "env": "b"}]}, id="env"),
        pytest.param({"initContainers": [{"name": "a", "volumeMounts": [3]}]}, id="mounts"),
        pytest.param({"serviceAccountName": {}}, id="account"),
    ],
)
async def test_nor_would_it_send_such_a_spec(desk: Desk, spec: dict[str, object]) -> None:
    """No attribute of a wrong type is met by surprise."""
    desk.put()
    with pytest.raises(InputError, match=r"^request\.object\.spec\."):
        await desk.review({**pod(), "spec": spec})
