"""What happens when: each row of the contract with users, on a real API server."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.support.api import condition, until
from tests.support.manifests import agent_class, identity, issuer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.api import Api

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("running")]

SECRET = "reader-agentid"
MakeClass = "Callable[..., str]"


def apply(api: Api, namespace: str, class_name: str, **spec: object) -> None:
    """Create the identity `reader`."""
    api.create("agentidentities", identity("reader", class_name, **spec), namespace)


def settled(api: Api, namespace: str, class_name: str, **spec: object) -> str:
    """Create the identity `reader`, wait for its certificate, and return the serial."""
    apply(api, namespace, class_name, **spec)
    api.until_ready(namespace, "reader")
    return api.serial(namespace, "reader")


def now_text(offset: timedelta = timedelta(0)) -> str:
    """The present, as the annotation wants it."""
    return (datetime.now(UTC) + offset).strftime("%Y-%m-%dT%H:%M:%SZ")


def renew(api: Api, namespace: str) -> None:
    """Ask for a renewal, now."""
    annotation = {"agentid.dev/renew-requested": now_text(timedelta(seconds=1))}
    api.patch("agentidentities", "reader", {"metadata": {"annotations": annotation}}, namespace)


def test_an_identity_gets_its_certificate(
    api: Api, namespace: str, make_class: Callable[..., str]
) -> None:
    """Applied within its class, it is Ready, and the Secret holds what the status says."""
    serial = settled(api, namespace, make_class(lifetime="2h"))
    status = api.status(namespace, "reader")
    files = api.files(namespace, SECRET)
    assert files is not None
    leaf, intermediate = x509.load_pem_x509_certificates(files["tls.crt"])
    (root,) = x509.load_pem_x509_certificates(files["ca.crt"])
    leaf.verify_directly_issued_by(intermediate)
    intermediate.verify_directly_issued_by(root)
    key = load_pem_private_key(files["tls.key"], None)
    assert key.public_key() == leaf.public_key()
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    spiffe_id = f"spiffe://agents.test/ns/{namespace}/agent/reader"
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [spiffe_id]
    assert status["spiffeID"] == spiffe_id
    about = json.loads(files["agent.json"])
    assert about["serial"] == serial == api.delivered(namespace, SECRET)
    assert about["spiffeID"] == spiffe_id
    assert about["sponsor"] == "team@example.com"
    assert about["notAfter"] == status["certificate"]["notAfter"]
    assert status["observedGeneration"] == 1
    assert [each["type"] for each in status["conditions"]] == ["Ready"]
    assert serial in api.ledger().issued


def test_waits_for_its_class_and_issuer(api: Api, namespace: str) -> None:
    """Applied before its class and issuer exist, it names what is missing, and then proceeds."""
    apply(api, namespace, "late")
    ready = api.until_reason(namespace, "reader", "Ready", "ClassNotFound")
    assert ready["status"] == "False"
    assert "there is no AgentClass late" in ready["message"]
    assert api.condition(namespace, "reader", "Reconciling")["status"] == "True"
    api.create("agentclasses", agent_class("late", issuerName="late"))
    ready = api.until_reason(namespace, "reader", "Ready", "IssuerNotFound")
    assert "AgentIssuer late, which does not exist" in ready["message"]
    api.create("agentissuers", issuer("late"))
    status = api.until_ready(namespace, "reader")
    assert condition(status, "Reconciling") == {}
    api.delete("agentclasses", "late")
    api.delete("agentissuers", "late")


def test_every_violation_is_told_at_once(
    api: Api, make_namespace: Callable[[], str], make_class: Callable[..., str]
) -> None:
    """Asking for more than the class gives makes no certificate, and one message says it all."""
    namespace = make_namespace()
    name = make_class(lifetime="1h", namespaces={"names": ["elsewhere"]})
    spec = {
        "lifetime": "2h",
        "permissions": {"systems": ["hr.salaries"], "operations": ["delete"]},
        "sponsor": None,
    }
    apply(api, namespace, name, **spec)
    stalled = api.until_reason(namespace, "reader", "Stalled", "ExceedsClass")
    assert stalled["status"] == "True"
    for field in (
        "metadata.namespace", "spec.lifetime", "spec.permissions.systems",
        "spec.permissions.operations", "spec.sponsor",
    ):  # fmt: skip
        assert field in stalled["message"]
    assert api.condition(namespace, "reader", "Ready")["status"] == "False"
    assert api.files(namespace, SECRET) is None
    assert api.ledger().of(namespace, "reader") == []


@pytest.mark.parametrize(
    ("spec", "class_spec", "reason"),
    [
        pytest.param({"sponsor": None}, {}, "SponsorRequired", id="sponsor"),
        pytest.param({}, {"namespaces": {"names": ["x-*"]}}, "NamespaceNotServed", id="namespace"),
        pytest.param({"delivery": {"mode": "CSI"}}, {}, "DeliveryUnavailable", id="no-such-door"),
        pytest.param(
            {}, {"delivery": {"modes": ["CSI"]}}, "DeliveryNotAllowed", id="door-not-allowed"
        ),
        pytest.param(
            {"classification": {"riskExposure": "Severe"}},
            {"maxTier": "Low"},
            "TierNotAllowed",
            id="tier",
        ),
    ],
)
def test_a_refusal_has_its_closest_reason(
    api: Api,
    namespace: str,
    make_class: Callable[..., str],
    spec: dict[str, object],
    class_spec: dict[str, object],
    reason: str,
) -> None:
    """A single kind of violation is named by the reason, for machines."""
    apply(api, namespace, make_class(**class_spec), **spec)
    assert api.until_reason(namespace, "reader", "Stalled", reason)["status"] == "True"
    assert api.files(namespace, SECRET) is None


def test_a_narrowed_class_revokes_what_it_no_longer_allows(
    api: Api, namespace: str, make_class: Callable[..., str]
) -> None:
    """A certificate that the class no longer allows is revoked and withdrawn."""
    name = make_class()
    serial = settled(api, namespace, name)
    api.patch("agentclasses", name, {"spec": {"permissions": {"systems": ["crm.*"]}}})
    api.until_reason(namespace, "reader", "Stalled", "ExceedsClass")
    until("the revocation", lambda: serial in api.ledger().revoked)
    assert api.ledger().revoked[serial].reason.value == "privilegeWithdrawn"
    until("the withdrawal", lambda: (api.files(namespace, SECRET) or {}).get("tls.key") == b"")
    assert "certificate" not in api.status(namespace, "reader")


def test_a_spec_beyond_the_class_leaves_the_old_certificate_alone(
    api: Api, namespace: str, make_class: Callable[..., str]
) -> None:
    """A mistake in the spec stalls the identity; what was given within the class stays valid."""
    serial = settled(api, namespace, make_class())
    beyond = {"spec": {"permissions": {"systems": ["hr.salaries"]}}}
    api.patch("agentidentities", "reader", beyond, namespace)
    api.until_reason(namespace, "reader", "Stalled", "ExceedsClass")
    assert serial not in api.ledger().revoked
    assert api.delivered(namespace, SECRET) == serial
    assert api.serial(namespace, "reader") == serial


def test_more_permissions_let_the_old_certificate_run_out(
    api: Api, namespace: str, make_class: Callable[..., str]
) -> None:
    """An edit that takes nothing away issues anew and revokes nothing."""
    before = settled(api, namespace, make_class())
    more = {"spec": {"permissions": {"operations": ["list", "read"]}}}
    api.patch("agentidentities", "reader", more, namespace)
    until("a new serial", lambda: api.serial(namespace, "reader") not in {before, ""})
    until("delivery", lambda: api.delivered(namespace, SECRET) == api.serial(namespace, "reader"))
    renew(api, namespace)  # one more pass, after the grace period has begun
    until("another serial", lambda: len(api.ledger().of(namespace, "reader")) == 3)
    assert api.ledger().unrevoked(namespace, "reader")[0] == before


def test_fewer_permissions_revoke_the_old_certificate_after_the_grace_period(
    api: Api, namespace: str, make_class: Callable[..., str]
) -> None:
    """An edit that takes something away issues anew, and revokes the old one as superseded."""
    spec = {"permissions": {"systems": ["erp.invoices", "crm.tickets"], "operations": ["read"]}}
    before = settled(api, namespace, make_class(), **spec)
    less = {"spec": {"permissions": {"systems": ["erp.invoices"]}}}
    api.patch("agentidentities", "reader", less, namespace)
    until("the revocation", lambda: before in api.ledger().revoked)
    revoked = api.ledger().revoked[before]
    assert revoked.reason.value == "superseded"
    after = api.serial(namespace, "reader")
    assert after != before
    issued = api.ledger().issued[after].issued_at
    assert revoked.revoked_at - issued >= timedelta(seconds=1), "within the grace period"
    assert after not in api.ledger().revoked


def test_a_request_renews_at_once_and_revokes_nothing(
    api: Api, namespace: str, make_class: Callable[..., str]
) -> None:
    """The annotation gives a new key and certificate; Ready never turns off."""
    before = settled(api, namespace, make_class())
    old = api.files(namespace, SECRET)
    changed = api.condition(namespace, "reader", "Ready")["lastTransitionTime"]
    renew(api, namespace)
    until("a new serial", lambda: api.serial(namespace, "reader") not in {before, ""})
    new = api.files(namespace, SECRET)
    assert old is not None
    assert new is not None
    assert new["tls.key"] != old["tls.key"]
    assert before not in api.ledger().revoked
    assert api.condition(namespace, "reader", "Ready")["lastTransitionTime"] == changed
    successor = api.ledger().issued[api.serial(namespace, "reader")]
    assert str(successor.replaces) == before


def test_renewal_comes_by_itself(api: Api, namespace: str, make_class: Callable[..., str]) -> None:
    """A certificate of a minute is renewed before it expires, again and again."""
    name = make_class(lifetime="1m", renewal={"renewBefore": "45s"})
    first = settled(api, namespace, name)
    until("a renewal", lambda: api.serial(namespace, "reader") != first, 60)
    second = api.serial(namespace, "reader")
    until("the next", lambda: api.serial(namespace, "reader") != second, 60)
    assert api.ledger().revoked.keys().isdisjoint({first, second})


def test_suspend_and_resume(api: Api, namespace: str, make_class: Callable[..., str]) -> None:
    """Suspending revokes and withdraws everything at once; resuming issues anew."""
    serial = settled(api, namespace, make_class())
    api.patch("agentidentities", "reader", {"spec": {"suspend": True}}, namespace)
    suspended = api.until_reason(namespace, "reader", "Suspended", "Suspended")
    assert suspended["status"] == "True"
    assert serial in api.ledger().revoked
    files = api.files(namespace, SECRET)
    assert files is not None
    assert (files["tls.crt"], files["tls.key"]) == (b"", b"")
    assert api.condition(namespace, "reader", "Ready")["status"] == "False"
    api.patch("agentidentities", "reader", {"spec": {"suspend": False}}, namespace)
    api.until_ready(namespace, "reader")
    assert api.delivered(namespace, SECRET) == api.serial(namespace, "reader") != serial
    assert api.condition(namespace, "reader", "Suspended") == {}


def test_deleting_revokes_every_serial(
    api: Api, namespace: str, make_class: Callable[..., str]
) -> None:
    """The object goes only once all it held is revoked; the Secret goes with it."""
    first = settled(api, namespace, make_class())
    renew(api, namespace)
    until("a renewal", lambda: api.serial(namespace, "reader") != first)
    api.delete("agentidentities", "reader", namespace)
    until("the end", lambda: api.identity(namespace, "reader") is None)
    assert api.ledger().unrevoked(namespace, "reader") == []
    until("collection", lambda: api.files(namespace, SECRET) is None)


def test_deleting_its_namespace_revokes_every_serial(
    api: Api, make_namespace: Callable[[], str], make_class: Callable[..., str]
) -> None:
    """A namespace goes with its identities, and nothing is stuck."""
    namespace = make_namespace()
    settled(api, namespace, make_class())
    api.cluster.kubectl("delete", "namespace", namespace, "--timeout=60s")
    assert api.ledger().unrevoked(namespace, "reader") == []


def test_a_finalizer_forced_off_forgets_nothing(
    api: Api, namespace: str, make_class: Callable[..., str]
) -> None:
    """Whatever is removed by force, the serials of an identity that is gone are revoked."""
    settled(api, namespace, make_class())
    api.patch("agentidentities", "reader", {"metadata": {"finalizers": None}}, namespace)
    api.delete("agentidentities", "reader", namespace)
    until("the revocation", lambda: api.ledger().unrevoked(namespace, "reader") == [])


def test_a_namesake_is_another_agent(
    api: Api, namespace: str, make_class: Callable[..., str]
) -> None:
    """Deleted and created again under its name, an agent shares nothing with the earlier one."""
    name = make_class()
    first = settled(api, namespace, name)
    api.delete("agentidentities", "reader", namespace)
    until("the end", lambda: api.identity(namespace, "reader") is None)
    second = settled(api, namespace, name)
    assert first in api.ledger().revoked
    assert second not in api.ledger().revoked
    assert api.delivered(namespace, SECRET) == second


def test_a_secret_of_somebody_else_is_left_alone(
    api: Api, namespace: str, make_class: Callable[..., str]
) -> None:
    """A Secret that has the name already is never overwritten, and the identity says so."""
    api.cluster.kubectl(
        "create", "secret", "generic", SECRET, "-n", namespace, "--from-literal=password=precious"
    )
    apply(api, namespace, make_class())
    ready = api.until_reason(namespace, "reader", "Ready", "SecretConflict")
    assert "does not belong to this identity" in ready["message"]
    assert api.files(namespace, SECRET) == {"password": b"precious"}
    api.cluster.kubectl("delete", "secret", SECRET, "-n", namespace)
    api.until_ready(namespace, "reader")
    assert api.delivered(namespace, SECRET) == api.serial(namespace, "reader")
    assert len(api.ledger().of(namespace, "reader")) == 1, "retries go on with one certificate"


def test_another_secret_name_moves_the_certificate(
    api: Api, namespace: str, make_class: Callable[..., str]
) -> None:
    """A new name gets a new certificate, and the Secret of the old name is emptied."""
    settled(api, namespace, make_class())
    elsewhere = {"spec": {"delivery": {"secretName": "elsewhere"}}}
    api.patch("agentidentities", "reader", elsewhere, namespace)
    until("delivery", lambda: api.delivered(namespace, "elsewhere") != "")
    api.until_ready(namespace, "reader")
    assert (api.files(namespace, SECRET) or {})["tls.key"] == b""


def test_no_two_agents_share_a_key(
    api: Api, namespace: str, make_class: Callable[..., str]
) -> None:
    """Promise 1: every certificate has a key of its own."""
    name = make_class()
    for number in range(5):
        api.create("agentidentities", identity(f"agent-{number}", name), namespace)
    keys = set()
    for number in range(5):
        api.until_ready(namespace, f"agent-{number}")
        keys.add((api.files(namespace, f"agent-{number}-agentid") or {})["tls.key"])
    assert len(keys) == 5


def test_the_tier_tightens_the_certificate(
    api: Api, namespace: str, make_class: Callable[..., str]
) -> None:
    """Promise 2: a higher tier shortens the lifetime, and the reasons say so."""
    name = make_class(lifetime="24h")
    settled(api, namespace, name, classification={"decisionAuthority": "Autonomous"})
    status = api.status(namespace, "reader")
    assert status["classification"]["tier"] != "Low"
    times = status["certificate"]
    lived = datetime.fromisoformat(times["notAfter"]) - datetime.fromisoformat(times["notBefore"])
    assert lived < timedelta(hours=24)
    reasons = " ".join(status["classification"]["reasons"])
    assert re.search(r"24h|lifetime", reasons)


def test_nothing_changes_and_nothing_is_written(
    api: Api, namespace: str, make_class: Callable[..., str]
) -> None:
    """A change that matters to nobody writes nothing."""
    settled(api, namespace, make_class())
    secret = api.secret_version(namespace, SECRET)
    labelled = {"metadata": {"labels": {"team": "finance"}}}
    api.patch("agentidentities", "reader", labelled, namespace)
    before = (api.identity(namespace, "reader") or {})["metadata"]["resourceVersion"]
    # A second identity comes after it in the same queue: when it is done, so is the first.
    api.create("agentidentities", identity("other", make_class()), namespace)
    api.until_ready(namespace, "other")
    after = (api.identity(namespace, "reader") or {})["metadata"]["resourceVersion"]
    assert (after, api.secret_version(namespace, SECRET)) == (before, secret)
