"""What `explain` says of a manifest, for every standing that it may have in a cluster."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from agentid.api import AgentClass, AgentIssuer, AgentRevocation
from agentid.api.vocabulary import DeliveryMode
from agentid.cli.forecast import Forecast, Outcome, Surroundings, forecast
from agentid.cli.output import render_lines
from agentid.policy.incident import Incident

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
TIME = "2026-11-01T12:00:00Z"

Json = dict[str, Any]


def a_class(**spec: Any) -> AgentClass:  # noqa: ANN401 - JSON
    """A class that allows reading."""
    return AgentClass.parse(
        {
            "metadata": {"name": spec.pop("name", "reader")},
            "spec": {
                "issuerName": "main",
                "description": "Reads",
                "namespaces": {"names": ["*"]},
                "permissions": {"systems": ["erp.*"], "operations": ["list", "read"]},
                **spec,
            },
        }
    )


def an_issuer(ready: str = "True") -> AgentIssuer:
    """An issuer that signs, or says that it cannot."""
    condition = {
        "type": "Ready", "status": ready, "reason": "Available", "message": "its Secret is missing",
        "lastTransitionTime": TIME,
    }  # fmt: skip
    return AgentIssuer.parse(
        {
            "metadata": {"name": "main"},
            "spec": {"trustDomain": "example.org", "ca": {"builtin": {}}},
            "status": {"conditions": [condition]},
        }
    )


def body(**spec: Any) -> Json:  # noqa: ANN401 - JSON
    """An identity that asks for little."""
    return {
        "kind": "AgentIdentity",
        "metadata": {"name": "x", "namespace": "a", "labels": {"team": "red"}},
        "spec": {
            "className": "reader",
            "sponsor": "team@example.com",
            "subject": {"serviceAccountName": "default"},
            "permissions": {"systems": ["erp.a"], "operations": ["read"]},
            **spec,
        },
    }


def live(**spec: Any) -> Json:  # noqa: ANN401 - JSON
    """The same in the cluster, with a certificate."""
    certificate = {
        "serial": "4fac", "fingerprint": "00", "notBefore": TIME, "notAfter": TIME,
        "renewalTime": TIME, "issuer": "main",
    }  # fmt: skip
    return {**body(**spec), "status": {"certificate": certificate}}


AROUND = Surroundings(
    classes={"reader": a_class()},
    issuers={"main": an_issuer()},
    deliveries=frozenset({DeliveryMode.SECRET}),
    may_use=True,
)


def told(manifest: Json, **around: Any) -> Forecast:  # noqa: ANN401 - what differs
    """The forecast in a cluster that differs in something."""
    return forecast(manifest, replace(AROUND, **around), NOW)


def said(found: Forecast, label: str) -> list[str]:
    """What is said under a label."""
    every: Json = found.to_json()["said"]  # type: ignore[assignment]
    lines: list[str] = every.get(label, [])
    return lines


def test_a_first_certificate_word_for_word() -> None:
    """Everything that its author wants to know, before anything is applied."""
    assert render_lines(told(body()).lines).splitlines() == [
        "identity           a/x: gets a certificate",
        "API server         takes it",
        "class              reader: Reads",
        "you                may use this class",
        "tier               Low, score 10 of 100",
        "                   access privileges ReadOnly: implied by operation read",
        "                   decision authority Advisory: implied by operation read",
        "                   risk exposure Minimal: implied by operation read",
        "                   tier Low: the score is 10 of 100",
        "SPIFFE ID          spiffe://example.org/ns/a/agent/x",
        "certificate        ECDSAP256, valid for 1h",
        "renewed            20m before its end, or up to 6m earlier",
        "signed by          AgentIssuer main",
        "delivered by       Secret x-agentid",
        "revocation         by CRL and OCSP",
        "then               a certificate is issued: the first of this identity",
    ]


CLASS_CHANGES = (
    "a new certificate is issued at once: the class, the lifetime, the certificate policy changes"
)
MORE = {"systems": ["erp.a", "erp.b"], "operations": ["read"]}


@pytest.mark.parametrize(
    ("before", "after", "outcome", "then"),
    [
        pytest.param(
            {}, {}, Outcome.UNCHANGED,
            ["nothing changes for its certificate: the one in use stays"], id="same",
        ),
        pytest.param(
            {}, {"purpose": "Another"}, Outcome.UNCHANGED,
            ["nothing changes for its certificate: the one in use stays"], id="purpose",
        ),
        pytest.param(
            {}, {"permissions": MORE}, Outcome.ISSUED,
            ["a new certificate is issued at once: the permissions changes",
             "the one in use runs out by itself: nothing is taken away"], id="more",
        ),
        pytest.param(
            {"permissions": MORE}, {}, Outcome.ISSUED,
            ["a new certificate is issued at once: the permissions changes",
             "the one in use is revoked 2m later, since it gives what is taken away"], id="less",
        ),
        pytest.param(
            {}, {"delivery": {"secretName": "other"}}, Outcome.ISSUED,
            ["a new certificate is issued at once: the name of the Secret changes",
             "the one in use runs out by itself: nothing is taken away",
             "Secret x-agentid is emptied"], id="secret",
        ),
        pytest.param(
            {}, {"className": "other", "lifetime": "10m"}, Outcome.ISSUED,
            [CLASS_CHANGES,
             "the one in use is revoked at once, since it gives what is taken away"], id="class",
        ),
        pytest.param(
            {}, {"suspend": True}, Outcome.SUSPENDED,
            ["every certificate of it is revoked at once, for good, and its Secret is emptied"],
            id="suspend",
        ),
        pytest.param(
            {"suspend": True}, {"suspend": True}, Outcome.SUSPENDED, ["it stays suspended"],
            id="stays-suspended",
        ),
        pytest.param(
            {"suspend": True}, {}, Outcome.ISSUED,
            ["it is suspended no more: a new certificate is issued"], id="resume",
        ),
        pytest.param(
            {"lifetime": "2h"}, {}, Outcome.ISSUED,
            ["it is refused now, and is given a certificate then"], id="mended",
        ),
        pytest.param(
            {}, {"lifetime": "2h"}, Outcome.REFUSED,
            ["no certificate is issued", "the one in use runs out, and is not renewed"],
            id="refused",
        ),
        pytest.param(
            {}, {"className": "narrow"}, Outcome.REFUSED,
            ["no certificate is issued",
             "the one in use is revoked 2m later, since this class does not allow it"],
            id="refused-by-another-class",
        ),
        pytest.param(
            {}, {"className": "none"}, Outcome.WAITING,
            ["no certificate is issued before that is there",
             "the certificate in use stays until it expires"], id="no-class",
        ),
    ],
)  # fmt: skip
def test_a_change(before: Json, after: Json, outcome: Outcome, then: list[str]) -> None:
    """What it does to the certificate in use, and when."""
    classes = {
        "reader": a_class(),
        "other": a_class(name="other", revocation={"gracePeriod": "0s"}),
        "narrow": a_class(name="narrow", permissions={}),
    }
    found = told(body(**after), live=live(**before), classes=classes)
    assert (found.outcome, said(found, "then")) == (outcome, then)


BY_PODS: Json = {"delivery": {"mode": "PodCertificate"}}
START = (
    "pods of ServiceAccount default with the label agentid.dev/identity: x get certificates as "
    "they start"
)


@pytest.mark.parametrize(
    ("before", "after", "outcome", "then"),
    [
        pytest.param(None, {}, Outcome.ISSUED, [START], id="first"),
        pytest.param(
            {}, {}, Outcome.UNCHANGED, ["nothing changes for the certificates of its pods"],
            id="same",
        ),
        pytest.param({"suspend": True}, {}, Outcome.ISSUED, [START], id="resume"),
        pytest.param(
            {}, {"permissions": MORE}, Outcome.ISSUED,
            ["pods get it as they start, running ones when they renew: the permissions changes"],
            id="more",
        ),
        pytest.param(
            {"permissions": MORE}, {}, Outcome.ISSUED,
            ["pods get it as they start, running ones when they renew: the permissions changes",
             ("what running pods hold is revoked 2m later, since it gives what is taken away: "
             "restart them before")], id="less",
        ),
        pytest.param(
            {"delivery": {}}, {}, Outcome.ISSUED,
            [("pods get it as they start, running ones when they renew: the delivery, the name of "
             "the Secret changes"),
             ("what running pods hold is revoked 2m later, since it gives what is taken away: "
             "restart them before"), "Secret x-agentid is emptied then"], id="from-a-secret",
        ),
    ],
)  # fmt: skip
def test_pods_get_theirs_by_themselves(
    before: Json | None, after: Json, outcome: Outcome, then: list[str]
) -> None:
    """Nothing is issued at once; what running pods hold cannot be replaced from here."""
    found = told(
        body(**{**BY_PODS, **after}),
        live=None if before is None else live(**{**BY_PODS, **before}),
        classes={"reader": a_class(delivery={"modes": ["Secret", "PodCertificate"]})},
        deliveries=frozenset({DeliveryMode.SECRET, DeliveryMode.POD_CERTIFICATE}),
    )
    assert (found.outcome, said(found, "then")) == (outcome, then)


def test_a_class_that_migrates_changes_keys_with_the_renewals() -> None:
    """So another algorithm alone is no reason to issue at once; `judge` says the same."""
    moving = {"reader": a_class(migration={"keyAlgorithm": "ECDSAP384"})}
    assert told(body(), live=live(), classes=moving).outcome is Outcome.UNCHANGED


@pytest.mark.parametrize(
    ("around", "outcome", "label", "words"),
    [
        pytest.param(
            {"issuers": {}}, Outcome.WAITING, "waits for",
            "AgentIssuer main, which does not exist or is malformed", id="no-issuer",
        ),
        pytest.param(
            {"issuers": {"main": an_issuer("False")}}, Outcome.ISSUED, "waits for",
            "AgentIssuer main, which cannot sign: its Secret is missing", id="issuer-not-ready",
        ),
        pytest.param(
            {"refusal": "no quota"}, Outcome.NOT_ADMITTED, "API server", "refuses it: no quota",
            id="not-admitted",
        ),
        pytest.param(
            {"may_use": False, "refusal": "no"}, Outcome.NOT_ADMITTED, "you",
            "may not use this class; ask its owner for it", id="may-not-use",
        ),
        pytest.param(
            {"may_use": False}, Outcome.ISSUED, "you",
            "may not use this class, and yet the API server takes it: is the policy "
            "agentid-class-use in force? agentid doctor tells", id="policy-missing",
        ),
        pytest.param(
            {"deliveries": frozenset()}, Outcome.REFUSED, "beyond",
            "spec.delivery.mode: Secret is served by nothing in this cluster, which serves none; "
            "choose one of these or ask the platform team to install it", id="no-door",
        ),
    ],
)  # fmt: skip
def test_the_cluster_around(around: Json, outcome: Outcome, label: str, words: str) -> None:
    """What lacks there is told, with whom to ask."""
    found = told(body(), **around)
    assert (found.outcome, said(found, label)) == (outcome, [words])


def test_a_short_life_is_not_revoked_by_lists() -> None:
    """RFC 9608: it runs out."""
    found = told(body(lifetime="5m"))
    assert said(found, "revocation")[0].startswith("none is published, it is so short-lived")


def test_a_hold_is_told() -> None:
    """An incident that is under way counts; one that is released does not."""
    incident: Json = {
        "metadata": {"name": "leak"},
        "spec": {
            "reason": "keyCompromise", "dryRun": False, "hold": True, "contact": "soc@example.com",
            "select": {"labelSelector": {"matchLabels": {"team": "red"}}},
        },
        "status": {"startedAt": "2026-11-01T11:00:00.000000Z"},
    }  # fmt: skip
    found = told(body(), incidents=(Incident(AgentRevocation.parse(incident)),))
    assert found.outcome is Outcome.HELD
    assert "Ask soc@example.com" in said(found, "then")[0]
    assert not found.is_fine
    incident["spec"]["release"] = True
    again = told(body(), incidents=(Incident(AgentRevocation.parse(incident)),))
    assert again.outcome is Outcome.ISSUED


def test_fields_that_nobody_knows_are_told() -> None:
    """The API server would drop them without a word."""
    manifest = body(sponser="x", delivery={"mod": "Secret"})
    assert said(told(manifest), "unknown field") == [
        "spec.sponser is no field of an AgentIdentity and has no effect; is it misspelt?",
        "spec.delivery.mod is no field of an AgentIdentity and has no effect; is it misspelt?",
    ]


@pytest.mark.parametrize(
    "manifest",
    [
        pytest.param({"kind": "AgentIdentity"}, id="nothing"),
        pytest.param({"metadata": "x", "spec": 3}, id="no-objects"),
        pytest.param({"metadata": {"name": 3, "namespace": None}, "spec": {}}, id="wrong-types"),
        pytest.param({**body(), "kind": "Pod"}, id="another-kind"),
        pytest.param(body(className=["x"], permissions={"systems": {"a": 1}}), id="wrong-spec"),
    ],
)
def test_nonsense_is_malformed_and_says_why(manifest: Json) -> None:
    """Never an exception of another kind than a sentence."""
    found = told(manifest)
    assert found.outcome is Outcome.MALFORMED
    assert all(":" in each for each in said(found, "malformed"))
