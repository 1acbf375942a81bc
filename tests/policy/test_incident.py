"""What an incident hits: fields narrow one another, entries of one field widen it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentid.api import AgentRevocation, IncidentReason, Selection
from agentid.api.labels import LabelSelector
from agentid.identity import RevocationReason, SerialNumber
from agentid.policy.incident import Bearer, Candidate, Hold, Incident, Sieve

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LABELS = {"team": "billing", "env": "prod"}
READER = Bearer("finance", "reader", "batch", "main", LABELS)
HIT = Candidate(READER, SerialNumber(0x0A1B), NOON + timedelta(microseconds=700_000))


def select(**fields: Any) -> Selection:  # noqa: ANN401 - JSON
    """A selection as it is written."""
    return Selection.model_validate(fields)


def expressions(*each: dict[str, Any]) -> dict[str, Any]:
    """A label selector of expressions."""
    return {"matchExpressions": list(each)}


FULL: dict[str, Any] = {
    "identities": [{"namespace": "finance", "name": "reader"}],
    "classNames": ["batch"],
    "issuerNames": ["main"],
    "namespaces": ["finance"],
    "labelSelector": {"matchLabels": {"team": "billing"}},
    "serials": ["0A1B"],
    "issued": {"after": "2026-03-01T12:00:00Z", "before": "2026-03-01T12:00:00Z"},
}
OTHER: dict[str, Any] = {
    "identities": [{"namespace": "finance", "name": "writer"}],
    "classNames": ["clerk"],
    "issuerNames": ["other"],
    "namespaces": ["support"],
    "labelSelector": {"matchLabels": {"team": "sales"}},
    "serials": ["0a1c"],
    "issued": {"after": "2026-03-01T12:00:01Z"},
}
WORDS = {
    "identities": "AgentIdentity finance/reader",
    "classNames": "AgentClass batch",
    "issuerNames": "AgentIssuer main",
    "namespaces": "namespace finance",
    "labelSelector": "labels",
    "serials": "serial 0a1b",
    "issued": "issued at 2026-03-01T12:00:00Z",
}
OF_CERTIFICATES = {"serials", "issued"}


# Certificates


@pytest.mark.parametrize("field", FULL)
def test_each_field_selects_by_itself(field: str) -> None:
    """One field hits what it names, tells so, and spares what it does not name."""
    assert Sieve(select(**{field: FULL[field]})).why(HIT) == (WORDS[field],)
    assert Sieve(select(**{field: OTHER[field]})).why(HIT) == ()


@pytest.mark.parametrize("field", FULL)
def test_every_field_has_to_select(field: str) -> None:
    """All fields together hit, with a word for each; one that does not select spares."""
    assert Sieve(select(**FULL)).why(HIT) == tuple(WORDS.values())
    assert Sieve(select(**(FULL | {field: OTHER[field]}))).why(HIT) == ()


@pytest.mark.parametrize("field", [name for name in FULL if isinstance(FULL[name], list)])
def test_any_entry_of_a_field_will_do(field: str) -> None:
    """A list is an or."""
    both = [*OTHER[field], *FULL[field]]
    assert Sieve(select(**{field: both})).why(HIT) == (WORDS[field],)


def test_an_empty_selection_hits_nothing() -> None:
    """Nothing asked for is nothing hit, even if the schema were away."""
    assert Sieve(select()).why(HIT) == ()
    assert Sieve(select()).why_identity(READER) == ()
    assert select().is_empty


@pytest.mark.parametrize(
    ("window", "offset", "hit"),
    [
        pytest.param({"after": NOON}, timedelta(0), True, id="first-second"),
        pytest.param({"after": NOON}, -timedelta(microseconds=1), False, id="just-before"),
        pytest.param({"before": NOON}, timedelta(microseconds=999_999), True, id="last-second"),
        pytest.param({"before": NOON}, timedelta(seconds=1), False, id="just-after"),
        pytest.param({"after": NOON, "before": NOON + MINUTE}, MINUTE, True, id="inside"),
    ],
)
def test_both_ends_of_a_window_count(
    window: dict[str, datetime],
    offset: timedelta,
    hit: bool,  # noqa: FBT001
) -> None:
    """To the whole second, as people write it."""
    sieve = Sieve(select(issued=window))
    assert bool(sieve.why(replace(HIT, issued_at=NOON + offset))) is hit


@pytest.mark.parametrize(
    ("selector", "hit"),
    [
        pytest.param({"matchLabels": {"team": "billing", "env": "prod"}}, True, id="all-equal"),
        pytest.param({"matchLabels": {"team": "billing", "env": "dev"}}, False, id="one-differs"),
        pytest.param({"matchLabels": {"zone": "a"}}, False, id="not-there"),
        pytest.param(
            expressions({"key": "env", "operator": "In", "values": ["dev", "prod"]}), True, id="in"
        ),
        pytest.param(
            expressions({"key": "env", "operator": "In", "values": ["dev"]}), False, id="not-in-it"
        ),
        pytest.param(
            expressions({"key": "zone", "operator": "In", "values": ["a"]}), False, id="in-nothing"
        ),
        pytest.param(
            expressions({"key": "env", "operator": "NotIn", "values": ["dev"]}), True, id="notin"
        ),
        pytest.param(
            expressions({"key": "env", "operator": "NotIn", "values": ["prod"]}),
            False,
            id="notin-but-is",
        ),
        pytest.param(
            expressions({"key": "zone", "operator": "NotIn", "values": ["a"]}),
            True,
            id="notin-without-the-label",
        ),
        pytest.param(expressions({"key": "env", "operator": "Exists"}), True, id="exists"),
        pytest.param(expressions({"key": "zone", "operator": "Exists"}), False, id="no-such"),
        pytest.param(
            expressions({"key": "zone", "operator": "DoesNotExist"}), True, id="does-not-exist"
        ),
        pytest.param(
            expressions({"key": "env", "operator": "DoesNotExist"}), False, id="but-exists"
        ),
        pytest.param(
            {
                "matchLabels": {"team": "billing"},
                **expressions({"key": "env", "operator": "DoesNotExist"}),
            },
            False,
            id="both-parts-count",
        ),
    ],
)
def test_labels_select_as_in_kubernetes(
    selector: dict[str, Any],
    hit: bool,  # noqa: FBT001
) -> None:
    """By equality and by expressions, all of which have to hold."""
    assert bool(Sieve(select(labelSelector=selector)).why(HIT)) is hit


def test_an_identity_that_is_gone_has_no_labels() -> None:
    """Not even the lack of a label selects it: nobody knows what it had."""
    absent = expressions({"key": "zone", "operator": "DoesNotExist"})
    gone = replace(HIT, bearer=replace(READER, labels=None))
    assert Sieve(select(labelSelector=absent)).why(gone) == ()


def test_a_selector_is_spelled_for_the_api_server() -> None:
    """As the parameter `labelSelector` of a list takes it."""
    selector = LabelSelector.model_validate(
        {
            "matchLabels": {"team": "billing"},
            "matchExpressions": [
                {"key": "env", "operator": "In", "values": ["a", "b"]},
                {"key": "env", "operator": "NotIn", "values": ["c"]},
                {"key": "env", "operator": "Exists"},
                {"key": "env", "operator": "DoesNotExist"},
            ],
        }
    )
    assert selector.query == "team=billing,env in (a,b),env notin (c),env,!env"


# By properties: against the definition, word for word

_names = st.sampled_from(["a", "b", "c"])
_bearers = st.builds(
    Bearer,
    _names,
    _names,
    st.none() | _names,
    _names,
    st.none() | st.dictionaries(_names, _names, max_size=2),
)
_candidates = st.builds(
    Candidate,
    _bearers,
    st.integers(1, 4).map(SerialNumber),
    st.integers(0, 3).map(lambda minutes: NOON + minutes * MINUTE),
)
_lists = st.lists(_names, max_size=2, unique=True)
_times = st.none() | st.integers(0, 3).map(lambda minutes: NOON + minutes * MINUTE)


@st.composite
def _selections(draw: st.DrawFn) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "identities": [
            {"namespace": one, "name": other}
            for one, other in draw(st.lists(st.tuples(_names, _names), max_size=2, unique=True))
        ],
        "classNames": draw(_lists),
        "issuerNames": draw(_lists),
        "namespaces": draw(_lists),
        "serials": draw(st.lists(st.sampled_from(["01", "02", "03"]), max_size=2, unique=True)),
    }
    after, before = draw(_times), draw(_times)
    if after and before and before < after:
        after, before = before, after
    if after or before:
        fields["issued"] = {k: v for k, v in (("after", after), ("before", before)) if v}
    if labels := draw(st.dictionaries(_names, _names, max_size=1)):
        fields["labelSelector"] = {"matchLabels": labels}
    return {name: value for name, value in fields.items() if value}


def _defined(fields: dict[str, Any], candidate: Candidate) -> bool:
    """What the documentation says, as slowly as it says it."""
    bearer, verdicts = candidate.bearer, []
    if "identities" in fields:
        wanted = {"namespace": bearer.namespace, "name": bearer.name}
        verdicts.append(wanted in fields["identities"])
    if "classNames" in fields:
        verdicts.append(bearer.class_name in fields["classNames"])
    if "issuerNames" in fields:
        verdicts.append(bearer.issuer_name in fields["issuerNames"])
    if "namespaces" in fields:
        verdicts.append(bearer.namespace in fields["namespaces"])
    if "labelSelector" in fields:
        wanted = fields["labelSelector"]["matchLabels"]
        verdicts.append(bearer.labels is not None and wanted.items() <= bearer.labels.items())
    if "serials" in fields:
        verdicts.append(str(candidate.serial) in fields["serials"])
    if "issued" in fields:
        after = fields["issued"].get("after", candidate.issued_at)
        before = fields["issued"].get("before", candidate.issued_at)
        verdicts.append(after <= candidate.issued_at <= before)
    return bool(verdicts) and all(verdicts)


@given(_selections(), _candidates)
def test_hits_what_the_definition_says(fields: dict[str, Any], candidate: Candidate) -> None:
    """For any selection and certificate, with one phrase for each field that is given."""
    why = Sieve(select(**fields)).why(candidate)
    assert bool(why) is _defined(fields, candidate)
    assert not why or len(why) == len(fields)


@given(_selections(), _selections(), _candidates)
def test_another_field_never_widens(
    one: dict[str, Any], other: dict[str, Any], candidate: Candidate
) -> None:
    """What a selection spares, no further field makes it hit."""
    if one and Sieve(select(**(other | one))).why(candidate):
        assert Sieve(select(**one)).why(candidate)


# Holds


def incident(
    *,
    started: bool = True,
    held: tuple[tuple[str, str], ...] = (),
    selects: dict[str, Any] | None = None,
    **spec: Any,  # noqa: ANN401 - JSON
) -> Incident:
    """An incident that is executed, with a hold."""
    status: dict[str, Any] = {"held": [{"namespace": one, "name": other} for one, other in held]}
    if started:
        status["startedAt"] = "2026-03-01T12:00:00.250000Z"
    body = {
        "metadata": {"name": "leak", "uid": "u-1"},
        "spec": {
            "reason": "keyCompromise",
            "dryRun": False,
            "hold": True,
            "select": selects or {"namespaces": ["finance"]},
            **spec,
        },
        "status": status,
    }
    return Incident(AgentRevocation.parse(body))


def test_a_hold_names_incident_reason_and_whom_to_ask() -> None:
    """The owner of an identity that is held reads the way out."""
    hold = incident(explanation="A laptop was stolen", contact="soc@example.com").hold
    assert hold == Hold(
        "leak", RevocationReason.KEY_COMPROMISE, "A laptop was stolen", "soc@example.com"
    )
    assert hold.message == (
        "AgentRevocation leak (A laptop was stolen) holds the identity: every certificate is "
        "revoked and none is issued. Ask soc@example.com; they release it with: kubectl patch "
        """agentrevocation leak --type=merge -p '{"spec":{"release":true}}'"""
    )
    nameless = incident().hold
    assert nameless is not None
    assert nameless.message.startswith("AgentRevocation leak holds the identity")
    assert "Ask the security officers of this cluster;" in nameless.message


@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        pytest.param({}, True, id="executed"),
        pytest.param({"hold": False}, False, id="without-hold"),
        pytest.param({"release": True}, False, id="released"),
        pytest.param({"dryRun": True}, False, id="dry-run"),
        pytest.param({"started": False}, False, id="not-started"),
    ],
)
def test_a_hold_is_in_force_from_start_to_release(
    changes: dict[str, Any],
    holds: bool,  # noqa: FBT001
) -> None:
    """A dry run holds nobody, and nor does what is not durably started."""
    assert (incident(**changes).hold is not None) is holds


@pytest.mark.parametrize("field", [name for name in FULL if name not in OF_CERTIFICATES])
def test_a_hold_goes_by_the_identity_as_it_is(field: str) -> None:
    """So one that comes later is held too, and one that left the selection is not."""
    assert incident(selects={field: FULL[field]}).concerns(READER)
    assert not incident(selects={field: OTHER[field]}).concerns(READER)


@given(_selections(), _bearers)
def test_a_name_rules_out_only_whom_nothing_selects(fields: dict[str, Any], who: Bearer) -> None:
    """Asking by the name first leaves nobody out."""
    if fields:
        asked = incident(selects=fields, held=(("a", "b"),))
        assert asked.may_concern(who.namespace, who.name) or not asked.concerns(who)


@pytest.mark.parametrize("field", sorted(OF_CERTIFICATES))
def test_a_hold_by_certificate_goes_by_the_list_that_is_kept(field: str) -> None:
    """An identity does not show which serials it had; those that were hit stand in the status."""
    selects = {field: FULL[field], "namespaces": ["finance"]}
    assert not incident(selects=selects).concerns(READER)
    assert incident(selects=selects, held=(("finance", "reader"),)).concerns(READER)
    assert not incident(selects=selects, held=(("finance", "writer"),)).concerns(READER)


def test_the_cut_off_keeps_its_fraction_of_a_second() -> None:
    """Whole seconds would spare, or hit, what was issued in the same second."""
    started = incident().resource.status.started_at
    assert started == NOON + timedelta(milliseconds=250)
    assert incident().resource.status.to_api()["startedAt"] == "2026-03-01T12:00:00.250000Z"


def test_reasons_are_the_final_ones_of_the_standard() -> None:
    """A hold of RFC 5280 could be taken back, and an incident is for good."""
    assert [str(each) for each in IncidentReason] == [
        str(each) for each in RevocationReason if each.is_final
    ]


def test_the_actor_is_this_object_and_no_namesake() -> None:
    """What an auditor reads on each record."""
    assert incident().resource.actor == "AgentRevocation leak (u-1)"
    assert incident().resource.revocation_reason is RevocationReason.KEY_COMPROMISE
