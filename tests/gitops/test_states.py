"""Argo CD and Flux turn green for the right reason: states of objects on a real API server."""

from __future__ import annotations

import contextlib
import json
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from e2e.install import operator
from tests.support.api import condition, until
from tests.support.gitopsview import argo_health, flux_health, kstatus
from tests.support.manifests import agent_class, identity, issuer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.providers import Cluster
    from tests.support.api import Api

pytestmark = pytest.mark.integration

Json = dict[str, Any]
Judge = "Callable[..., None]"


def reader(api: Api, namespace: str) -> Json:
    """The identity `reader`."""
    body = api.identity(namespace, "reader")
    assert body is not None
    return body


def until_reason(api: Api, plural: str, name: str, reason: str, seconds: float = 30) -> Json:
    """Wait until Ready is as it is for a reason, for the present spec, and return the object."""
    found: Json = {}

    def there() -> bool:
        found.update(api.object(plural, name) or {})
        status = found.get("status") or {}
        seen = status.get("observedGeneration") == found["metadata"]["generation"]
        return seen and condition(status, "Ready").get("reason") == reason

    until(f"{plural} {name} for {reason}", there, seconds)
    return found


@contextlib.contextmanager
def watched(cluster: Cluster, tmp_path: Path, *selected: str) -> Iterator[list[Json]]:
    """Collect every version of an object that the API server tells while the context is open."""
    versions: list[Json] = []
    file = tmp_path / "versions"
    command = [*cluster.kubectl_command, "get", *selected, "--watch", "-o", "json"]
    environment = {"KUBECONFIG": str(cluster.kubeconfig), "HOME": str(tmp_path)}
    with file.open("wb") as out:
        watch = subprocess.Popen(command, env=environment, stdout=out, start_new_session=True)
    try:
        until("the watch", lambda: file.stat().st_size)
        yield versions
    finally:
        watch.terminate()
        watch.wait()
    decoder, text = json.JSONDecoder(), file.read_text()
    while text.strip():
        version, end = decoder.raw_decode(text.lstrip())
        versions.append(version)
        text = text.lstrip()[end:]


def test_from_the_first_moment_to_the_last(
    api: Api, namespace: str, make_class: Callable[..., str], judged: Callable[..., None]
) -> None:
    """New, changed and not yet looked at, being deleted: not green. Ready: green."""
    name = make_class()
    new_class = api.object("agentclasses", name)
    assert new_class is not None
    judged("new", new_class, "Progressing", "InProgress")
    api.create("agentissuers", issuer(f"new-{namespace}", trustDomain=f"{namespace}.test"))
    judged("new", api.object("agentissuers", f"new-{namespace}") or {}, "Progressing", "InProgress")
    api.delete("agentissuers", f"new-{namespace}")
    api.create("agentidentities", identity("reader", name), namespace)
    judged("new", reader(api, namespace), "Progressing", "InProgress")
    api.free_lease()
    with operator(api.cluster, "first"):
        api.until_ready(namespace, "reader")
        ready_class = until_reason(api, "agentclasses", name, "Available")
    judged("ready", reader(api, namespace), "Healthy", "Current")
    judged("ready", ready_class, "Healthy", "Current")
    api.patch("agentidentities", "reader", {"spec": {"purpose": "Another"}}, namespace)
    judged("stale", reader(api, namespace), "Progressing", "InProgress")
    api.patch("agentclasses", name, {"spec": {"lifetime": "2h"}})
    judged("stale", api.object("agentclasses", name) or {}, "Progressing", "InProgress")
    # Terminating is to Flux what InProgress is: not there yet, or not gone yet.
    api.delete("agentidentities", "reader", namespace)
    judged("deleting", reader(api, namespace), "Progressing", "Terminating", "InProgress")
    api.free_lease()
    with operator(api.cluster, "second"):
        until("the end", lambda: api.identity(namespace, "reader") is None)


@pytest.mark.usefixtures("running")
class TestWhileAnOperatorRuns:
    """Everything that happens to objects that somebody looks after."""

    def test_waiting_is_no_failure(
        self, api: Api, namespace: str, judged: Callable[..., None]
    ) -> None:
        """Applied in any order: what is missing is waited for, and then all are green."""
        late = f"late-{namespace}"
        api.create("agentidentities", identity("reader", late), namespace)
        api.until_reason(namespace, "reader", "Ready", "ClassNotFound")
        judged("class-not-found", reader(api, namespace), "Progressing", "InProgress")
        api.create("agentclasses", agent_class(late, issuerName=late))
        waiting = until_reason(api, "agentclasses", late, "IssuerNotFound")
        judged("issuer-not-found", waiting, "Progressing", "InProgress")
        api.until_reason(namespace, "reader", "Ready", "IssuerNotFound")
        judged("issuer-not-found", reader(api, namespace), "Progressing", "InProgress")
        secret = {"secret": {"name": f"given-{namespace}"}}
        api.create("agentissuers", issuer(late, trustDomain=f"{namespace}.test", ca=secret))
        broken = until_reason(api, "agentissuers", late, "AuthorityInvalid")
        judged("authority-invalid", broken, "Degraded", "Failed")
        api.until_reason(namespace, "reader", "Ready", "IssuerNotReady")
        judged("issuer-not-ready", reader(api, namespace), "Progressing", "InProgress")
        api.delete("agentissuers", late)
        api.create("agentissuers", issuer(late, trustDomain=f"{namespace}.test"))
        judged("ready", until_reason(api, "agentissuers", late, "Available"), "Healthy", "Current")
        api.until_ready(namespace, "reader")
        judged("ready", reader(api, namespace), "Healthy", "Current")

    def test_a_renewal_stays_green_all_the_while(
        self,
        api: Api,
        namespace: str,
        make_class: Callable[..., str],
        tmp_path: Path,
    ) -> None:
        """Every version of the object that the API server ever held during a renewal is green."""
        api.create("agentidentities", identity("reader", make_class()), namespace)
        api.until_ready(namespace, "reader")
        before = api.serial(namespace, "reader")
        at = (datetime.now(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        selected = ("agentidentity", "reader", "-n", namespace)
        with watched(api.cluster, tmp_path, *selected) as versions:
            asked = {"metadata": {"annotations": {"agentid.dev/renew-requested": at}}}
            api.patch("agentidentities", "reader", asked, namespace)
            until("a renewal", lambda: api.serial(namespace, "reader") not in {before, ""})
        assert len(versions) >= 2
        assert {each.status for each in argo_health(*versions)} == {"Healthy"}
        assert {each.status for each in kstatus(*versions)} == {"Current"}
        assert {each.status for each in flux_health(tmp_path, *versions)} == {"Current"}

    def test_a_change_is_not_green_before_it_took_effect(
        self,
        api: Api,
        namespace: str,
        make_class: Callable[..., str],
        tmp_path: Path,
    ) -> None:
        """No version with a new spec is green while the certificate is that of the old one."""
        api.create("agentidentities", identity("reader", make_class()), namespace)
        api.until_ready(namespace, "reader")
        before = api.serial(namespace, "reader")
        more = {"spec": {"permissions": {"operations": ["list", "read"]}}}
        selected = ("agentidentity", "reader", "-n", namespace)
        with watched(api.cluster, tmp_path, *selected) as versions:
            api.patch("agentidentities", "reader", more, namespace)
            until("a new one", lambda: api.serial(namespace, "reader") not in {before, ""})
        outdated = [
            each
            for each in versions
            if each["metadata"]["generation"] > 1
            and each["status"]["certificate"]["serial"] == before
        ]
        assert outdated
        assert {each.status for each in argo_health(*outdated)} == {"Progressing"}
        assert {each.status for each in kstatus(*outdated)} == {"InProgress"}
        assert {each.status for each in flux_health(tmp_path, *outdated)} == {"InProgress"}

    @pytest.mark.parametrize(
        ("spec", "class_spec", "reason"),
        [
            pytest.param({"lifetime": "2h"}, {}, "ExceedsClass", id="exceeds-class"),
            pytest.param({"sponsor": None}, {}, "SponsorRequired", id="sponsor-required"),
            pytest.param(
                {}, {"namespaces": {"names": ["x-*"]}}, "NamespaceNotServed", id="not-served"
            ),
            pytest.param(
                {"delivery": {"mode": "CSI"}}, {}, "DeliveryUnavailable", id="no-such-door"
            ),
            pytest.param(
                {}, {"delivery": {"modes": ["CSI"]}}, "DeliveryNotAllowed", id="door-not-allowed"
            ),
            pytest.param(
                {"classification": {"riskExposure": "Severe"}},
                {"maxTier": "Low"},
                "TierNotAllowed",
                id="tier-not-allowed",
            ),
        ],
    )
    def test_a_refusal_is_red(
        self,
        api: Api,
        namespace: str,
        make_class: Callable[..., str],
        judged: Callable[..., None],
        request: pytest.FixtureRequest,
        spec: Json,
        class_spec: Json,
        reason: str,
    ) -> None:
        """What waiting cannot mend is Degraded, and Failed, with the sentence that tells why."""
        of_class = make_class(**class_spec)
        api.create("agentidentities", identity("reader", of_class, **spec), namespace)
        stalled = api.until_reason(namespace, "reader", "Stalled", reason)
        body = reader(api, namespace)
        judged(request.node.callspec.id, body, "Degraded", "Failed")
        assert argo_health(body)[0].message == f"{reason}: {stalled['message']}"
        assert kstatus(body)[0].message == stalled["message"]

    def test_a_valid_certificate_does_not_hide_a_refusal(
        self, api: Api, namespace: str, make_class: Callable[..., str], judged: Callable[..., None]
    ) -> None:
        """The agent goes on with what it has; the new spec is red all the same."""
        api.create("agentidentities", identity("reader", make_class()), namespace)
        api.until_ready(namespace, "reader")
        beyond = {"spec": {"permissions": {"systems": ["hr.salaries"]}}}
        api.patch("agentidentities", "reader", beyond, namespace)
        api.until_reason(namespace, "reader", "Stalled", "ExceedsClass")
        body = reader(api, namespace)
        assert body["status"]["certificate"]["serial"]
        judged("exceeds-class-with-certificate", body, "Degraded", "Failed")

    def test_a_secret_of_somebody_else(
        self, api: Api, namespace: str, make_class: Callable[..., str], judged: Callable[..., None]
    ) -> None:
        """Is waited for, since what a deleted namesake has left goes by itself; it says so."""
        secret = ("create", "secret", "generic", "reader-agentid", "-n", namespace)
        api.cluster.kubectl(*secret, "--from-literal=password=precious")
        api.create("agentidentities", identity("reader", make_class()), namespace)
        api.until_reason(namespace, "reader", "Ready", "SecretConflict")
        judged("secret-conflict", reader(api, namespace), "Progressing", "InProgress")

    def test_suspended_is_as_git_says(
        self, api: Api, namespace: str, make_class: Callable[..., str], judged: Callable[..., None]
    ) -> None:
        """So it holds up no sync; Flux is told so by the expressions that we ship."""
        api.create("agentidentities", identity("reader", make_class(), suspend=True), namespace)
        api.until_reason(namespace, "reader", "Suspended", "Suspended")
        judged("suspended", reader(api, namespace), "Healthy", "InProgress", "Current")
        assert argo_health(reader(api, namespace))[0].message.startswith("Suspended: ")

    def test_an_issuer_that_breaks_leaves_its_agents_working(
        self, api: Api, namespace: str, judged: Callable[..., None]
    ) -> None:
        """With a valid certificate Ready stays True; tools show that something is being retried."""
        name = f"broken-{namespace}"
        api.create("agentissuers", issuer(name, trustDomain=f"{namespace}.test"))
        api.create("agentclasses", agent_class(name, issuerName=name))
        api.create("agentidentities", identity("reader", name), namespace)
        api.until_ready(namespace, "reader")
        where = ("secret", f"agentid-ca-{name}", "-n", "agentid-system")
        whole = json.loads(api.cluster.kubectl("get", *where, "-o", "json").stdout)
        api.cluster.kubectl("delete", *where)
        asked = {
            "metadata": {"annotations": {"agentid.dev/rotate-requested": "2026-01-01T00:00:00Z"}}
        }
        api.patch("agentissuers", name, asked)
        until_reason(api, "agentissuers", name, "AuthorityInvalid", 90)
        api.until_reason(namespace, "reader", "Reconciling", "IssuerNotReady")
        assert api.condition(namespace, "reader", "Ready")["status"] == "True"
        judged("issuer-broken", reader(api, namespace), "Progressing", "InProgress")
        whole["metadata"] = {key: whole["metadata"][key] for key in ("name", "namespace", "labels")}
        api.cluster.kubectl("create", "-f", "-", stdin=json.dumps(whole))
        until_reason(api, "agentissuers", name, "Available", 90)
        until("it has settled", lambda: not api.condition(namespace, "reader", "Reconciling"))
        judged("ready", reader(api, namespace), "Healthy", "Current")

    def test_a_class_that_goes_leaves_its_agents_what_they_have(
        self, api: Api, namespace: str, judged: Callable[..., None]
    ) -> None:
        """Pruned by mistake, it takes no certificate along; put back, all is as before."""
        name = f"pruned-{namespace}"
        api.create("agentclasses", agent_class(name))
        api.create("agentidentities", identity("reader", name), namespace)
        api.until_ready(namespace, "reader")
        serial = api.serial(namespace, "reader")
        api.delete("agentclasses", name)
        api.until_reason(namespace, "reader", "Reconciling", "ClassNotFound")
        judged("class-pruned", reader(api, namespace), "Progressing", "InProgress")
        assert serial not in api.ledger().revoked
        assert api.delivered(namespace, "reader-agentid") == serial
        api.create("agentclasses", agent_class(name))
        until("it has settled", lambda: not api.condition(namespace, "reader", "Reconciling"))
        assert api.serial(namespace, "reader") == serial
        judged("ready", reader(api, namespace), "Healthy", "Current")

    def test_an_incident_from_its_dry_run_to_its_release(
        self, api: Api, namespace: str, make_class: Callable[..., str], judged: Callable[..., None]
    ) -> None:
        """It is green when it has done what its spec says; an agent that it holds is red."""
        api.create("agentidentities", identity("reader", make_class()), namespace)
        api.until_ready(namespace, "reader")
        name = f"incident-{namespace}"
        spec = {
            "reason": "keyCompromise",
            "explanation": "A laptop was stolen",
            "contact": "security@example.com",
            "hold": True,
            "select": {"namespaces": [namespace]},
        }
        api.create("agentrevocations", {"metadata": {"name": name}, "spec": spec})

        def phase(wanted: str) -> Json:
            found: Json = {}

            def there() -> bool:
                found.update(api.object("agentrevocations", name) or {})
                status = found.get("status") or {}
                seen = status.get("observedGeneration") == found["metadata"]["generation"]
                return seen and status.get("phase") == wanted

            until(f"phase {wanted}", there, 60)
            return found

        judged("dry-run", phase("DryRun"), "Healthy", "Current")
        api.patch("agentrevocations", name, {"spec": {"dryRun": False}})
        judged("executing", phase("Executing"), "Progressing", "InProgress")
        api.until_reason(namespace, "reader", "Stalled", "Held")
        judged("held", reader(api, namespace), "Degraded", "Failed")
        judged("executed", phase("Executed"), "Healthy", "Current")
        api.patch("agentrevocations", name, {"spec": {"release": True}})
        judged("released", phase("Released"), "Healthy", "Current")
        api.until_ready(namespace, "reader")
        judged("ready", reader(api, namespace), "Healthy", "Current")
