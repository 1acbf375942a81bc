"""The starter classes do what their comments and the guide say."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from cryptography import x509

from agentid.api.agentclass import AgentClass
from agentid.api.agentidentity import AgentIdentity
from agentid.api.conditions import Reason
from agentid.api.duration import parse_duration
from agentid.api.vocabulary import DeliveryMode
from agentid.identity import TrustDomain
from agentid.policy.judge import Refused, judge
from e2e.install import samples
from tests.support.api import condition, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.api import Api

Json = dict[str, Any]

ROOT = Path(__file__).parents[2]
CLASSES = ROOT / "manifests" / "classes"
GUIDE = (ROOT / "docs" / "guides" / "choose-a-class.md").read_text()
EXAMPLES: dict[str, Json] = {
    body["spec"]["className"]: body
    for body in map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL))
}
NAMES = sorted(path.stem for path in CLASSES.glob("*.yaml") if path.stem != "kustomization")
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def shipped(name: str) -> tuple[str, Json]:
    """The comment at the top of a class, on one line, and the class."""
    text = (CLASSES / f"{name}.yaml").read_text()
    comment = re.sub(r"\n# ?", " ", text.partition("\napiVersion")[0])
    body: Json = yaml.safe_load(text)
    return comment, body


def judged(body: Json) -> tuple[str, Reason | None]:
    """Tier of an identity in its class, and why it is refused, None if it is not."""
    agent_class = AgentClass.parse(shipped(body["spec"]["className"])[1])
    verdict = judge(
        AgentIdentity.parse(body),
        agent_class,
        TrustDomain.parse("agents.test"),
        available_deliveries=frozenset(DeliveryMode),
        now=NOON,
    )
    assert verdict.classification is not None
    reason = verdict.reason if isinstance(verdict, Refused) else None
    return verdict.classification.tier.value, reason


def test_every_class_has_its_example() -> None:
    """In the guide, and in the kustomization."""
    listed = yaml.safe_load((CLASSES / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == [f"{name}.yaml" for name in NAMES]
    assert sorted(EXAMPLES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_guide_says_what_comes_out(name: str) -> None:
    """Its table names the tier of the example, and the lifetime of the class."""
    tier, _ = judged(EXAMPLES[name])
    lifetime = shipped(name)[1]["spec"]["lifetime"]
    assert re.search(rf"\| `{name}` \| {tier} \| {lifetime} \|", GUIDE)


@pytest.mark.parametrize(
    ("name", "spec", "tier", "reason"),
    [
        pytest.param(
            "assistant", {"permissions": {"systems": ["docs.*"], "operations": ["read"]}},
            "Moderate", None, id="assistant-with-a-pattern",
        ),
        pytest.param(
            "clerk",
            {"classification": {"decisionAuthority": "Advisory", "lifespan": "Persistent"}},
            "Moderate", None, id="clerk-that-only-advises",
        ),
        pytest.param(
            "code-agent",
            {"classification": {"decisionAuthority": "Autonomous", "lifespan": "Session"}},
            "High", Reason.TIER_NOT_ALLOWED, id="code-agent-that-decides",
        ),
        pytest.param(
            "task-worker",
            {"permissions": {"systems": ["docs.reports"], "operations": ["read", "create"]}},
            "Moderate", None, id="task-worker-that-writes",
        ),
        pytest.param(
            "autonomous-operator",
            {
                "classification": {
                    "decisionAuthority": "Autonomous", "lifespan": "Persistent",
                    "riskExposure": "Significant",
                },
                "delivery": {"mode": "CSI"},
            },
            "Critical", Reason.TIER_NOT_ALLOWED, id="autonomous-operator-at-more-risk",
        ),
        pytest.param(
            "privileged-operator", {"delivery": {"mode": "Secret"}},
            "Critical", Reason.DELIVERY_NOT_ALLOWED, id="privileged-operator-through-a-secret",
        ),
        pytest.param(
            "privileged-operator", {"classification": {"lifespan": "Task"}},
            "Critical", None, id="privileged-operator-for-a-task",
        ),
        pytest.param(
            "rag-reader", {"permissions": {"systems": ["docs.*"], "operations": ["update"]}},
            "Moderate", Reason.EXCEEDS_CLASS, id="rag-reader-that-writes",
        ),
    ],
)  # fmt: skip
def test_what_the_comments_say_of_others(
    name: str, spec: Json, tier: str, reason: Reason | None
) -> None:
    """An example that is changed as a comment says comes out as the comment says."""
    changed = {**EXAMPLES[name], "spec": EXAMPLES[name]["spec"] | spec}
    assert judged(changed) == (tier, reason)


@pytest.fixture(scope="module")
def applied(api: Api) -> Iterator[Api]:
    """The sample issuer, the classes and an example of each."""
    samples(api.cluster, "issuer", "classes")
    namespaces = sorted({body["metadata"]["namespace"] for body in EXAMPLES.values()})
    for namespace in namespaces:
        api.cluster.kubectl("create", "namespace", namespace)
    for body in EXAMPLES.values():
        api.cluster.kubectl("create", "-f", "-", stdin=json.dumps(body))
    yield api
    api.cluster.kubectl("delete", "namespace", *namespaces, "--timeout=60s")
    api.cluster.kubectl("delete", "-k", str(CLASSES))
    api.cluster.kubectl("delete", "-f", str(ROOT / "manifests" / "samples" / "issuer.yaml"))


@pytest.mark.integration
@pytest.mark.usefixtures("running")
class TestOnARealCluster:
    """Applied as a person would, with the sample issuer."""

    @pytest.mark.parametrize("name", NAMES)
    def test_it_is_ready(self, applied: Api, name: str) -> None:
        """And comes after its issuer where Argo CD applies them."""

        def ready() -> bool:
            status = (applied.object("agentclasses", name) or {}).get("status") or {}
            return bool(condition(status, "Ready").get("status") == "True")

        until(f"class {name} Ready", ready)
        waves = [
            (applied.object(plural, which) or {})["metadata"]["annotations"]
            for plural, which in (("agentissuers", "default"), ("agentclasses", name))
        ]
        assert [each["argocd.argoproj.io/sync-wave"] for each in waves] == ["-2", "-1"]

    @pytest.mark.parametrize("name", NAMES)
    def test_its_example_is_what_the_comment_says(self, applied: Api, name: str) -> None:
        """Tier and score are those of the comment, and the certificate is as the class has it."""
        comment, agent_class = shipped(name)
        metadata, spec = EXAMPLES[name]["metadata"], agent_class["spec"]
        where = metadata["namespace"], metadata["name"]
        if name == "privileged-operator":
            applied.until_reason(*where, "Stalled", "DeliveryUnavailable")
        else:
            applied.until_ready(*where)
        classification = applied.status(*where)["classification"]
        said = re.search(r"Tier (\w+), score (\d+):", comment)
        assert said is not None
        assert (classification["tier"], classification["score"]) == (said[1], int(said[2]))
        if name == "privileged-operator":
            assert "certificate" not in applied.status(*where)
            return
        files = applied.files(where[0], f"{where[1]}-agentid")
        assert files is not None
        leaf = x509.load_pem_x509_certificates(files["tls.crt"])[0]
        lived = leaf.not_valid_after_utc - leaf.not_valid_before_utc
        assert abs(lived - parse_duration(spec["lifetime"])) <= timedelta(minutes=2)
        unlisted = {each.oid.dotted_string for each in leaf.extensions} & {"2.5.29.56"}
        assert bool(unlisted) == (name == "task-worker")
