"""The CRDs on a real API server: installed, obeyed, and in the words of the parser."""

from __future__ import annotations

import importlib.util
import json
import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from agentid.api.crd import crd_manifests
from agentid.constants import GROUP, VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

# The table is that of the unit test: the same rows are held against both.
_found = importlib.util.spec_from_file_location(
    "refusals", Path(__file__).with_name("test_refusals.py")
)
assert _found is not None
assert _found.loader is not None
refusals = importlib.util.module_from_spec(_found)
_found.loader.exec_module(refusals)

PLURALS = {
    "AgentIssuer": "agentissuers",
    "AgentClass": "agentclasses",
    "AgentIdentity": "agentidentities",
    "AgentRevocation": "agentrevocations",
}
ROWS = [
    pytest.param(kind, row, id=f"{kind}-{row['id']}")
    for kind in PLURALS
    for row in refusals.DATA[kind]
]


class Server:
    """Just enough of a client: one kind at a time, refusals as the causes the server gives."""

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        self.api = api
        self.namespace = namespace
        self.objects = client.CustomObjectsApi(api)

    def where(self, kind: str) -> dict[str, str]:
        """Group, version, plural and, where it has one, namespace of a kind."""
        place = {"group": GROUP, "version": VERSION, "plural": PLURALS[kind]}
        return place | ({"namespace": self.namespace} if kind == "AgentIdentity" else {})

    def call(self, verb: str, kind: str, **arguments: Any) -> Any:  # noqa: ANN401 (JSON)
        """Call one method of the custom objects API."""
        scope = "namespaced" if kind == "AgentIdentity" else "cluster"
        method = getattr(self.objects, f"{verb}_{scope}_custom_object")
        return method(**self.where(kind), **arguments)

    def create(self, body: dict[str, Any], *, dry_run: bool = True) -> Any:  # noqa: ANN401
        """Create an object, or only ask whether it could be."""
        options = {"dry_run": "All"} if dry_run else {}
        return self.call("create", body["kind"], body=body, **options)

    def refusal(self, body: dict[str, Any]) -> list[tuple[str, str]]:
        """Field and message of everything that the server has against an object."""
        with pytest.raises(ApiException) as refused:
            self.create(body)
        return causes(refused.value)

    def remove(self, kind: str, name: str) -> None:
        """Delete an object, whoever would like to look at it first."""
        self.call("patch", kind, name=name, body={"metadata": {"finalizers": None}})
        self.call("delete", kind, name=name)


def causes(refused: ApiException) -> list[tuple[str, str]]:
    """What a 422 says, as (field, message)."""
    assert refused.status == 422, refused.body
    status = json.loads(refused.body)
    return [(cause["field"], cause["message"]) for cause in status["details"]["causes"]]


@pytest.fixture(scope="module")
def api(cluster: Any) -> Iterator[client.ApiClient]:  # noqa: ANN401 (a fixture of the session)
    """A client of the session's cluster, as its admin."""
    with config.new_client_from_config(config_file=str(cluster.kubeconfig)) as admin:
        yield admin


@pytest.fixture(scope="module")
def established(api: client.ApiClient) -> dict[str, Any]:
    """The CRDs as the server holds them after all have become Established, by kind."""
    extensions = client.ApiextensionsV1Api(api)
    for manifest in crd_manifests():
        name = manifest["metadata"]["name"]  # type: ignore[index]
        try:
            extensions.create_custom_resource_definition(manifest)
        except ApiException as error:
            if error.status != 409:
                raise
            extensions.patch_custom_resource_definition(name, manifest)
    return {
        kind: wait_until_established(extensions, f"{plural}.{GROUP}")
        for kind, plural in PLURALS.items()
    }


def wait_until_established(extensions: client.ApiextensionsV1Api, name: str) -> Any:  # noqa: ANN401
    """Watch a CRD until the server serves it."""
    from kubernetes import watch  # noqa: PLC0415 (only where there is a cluster)

    watcher = watch.Watch()
    for event in watcher.stream(
        extensions.list_custom_resource_definition,
        field_selector=f"metadata.name={name}",
        timeout_seconds=30,
    ):
        conditions = {each.type: each.status for each in event["object"].status.conditions or []}
        if conditions.get("Established") == "True":
            watcher.stop()
            return event["object"]
    pytest.fail(f"{name} was not established within 30 s")


@pytest.fixture(scope="module")
def server(api: client.ApiClient, established: dict[str, Any]) -> Iterator[Server]:
    """The API server with our kinds, and a namespace of the module's own."""
    assert established
    core = client.CoreV1Api(api)
    name = f"crds-{uuid.uuid4().hex[:8]}"
    core.create_namespace({"metadata": {"name": name}})
    yield Server(api, name)
    core.delete_namespace(name)


@pytest.mark.parametrize("kind", PLURALS)
def test_crd_is_established_without_complaint(kind: str, established: dict[str, Any]) -> None:
    """Names are accepted, the kind is served, the schema is structural."""
    conditions = {each.type: each.status for each in established[kind].status.conditions}
    assert conditions["NamesAccepted"] == "True"
    assert conditions["Established"] == "True"
    assert conditions.get("NonStructuralSchema", "False") == "False"


@pytest.mark.parametrize("manifest", crd_manifests(), ids=lambda each: each["metadata"]["name"])
def test_server_holds_what_the_file_says(
    manifest: dict[str, Any], api: client.ApiClient, established: dict[str, Any]
) -> None:
    """Nothing is rounded, dropped or added, so that a GitOps tool finds no difference."""
    assert established
    held = client.CustomObjectsApi(api).get_cluster_custom_object(
        "apiextensions.k8s.io", "v1", "customresourcedefinitions", manifest["metadata"]["name"]
    )
    held["spec"].pop("conversion")
    assert held["spec"] == manifest["spec"]


@pytest.mark.parametrize("kind", PLURALS)
def test_base_of_the_table_is_accepted(kind: str, server: Server) -> None:
    """What the rows start from is refused for no reason of its own."""
    server.create(refusals.manifest(kind, {}))


@pytest.mark.parametrize(("kind", "row"), ROWS)
def test_server_refuses_in_the_words_of_the_parser(
    kind: str, row: dict[str, Any], server: Server
) -> None:
    """What the parser refuses is refused at once, at the same field, with the same message."""
    body = refusals.manifest(kind, row["spec"])
    expected = row.get("server", True)
    if expected is False:
        server.create(body)
        return
    found = server.refusal(body)
    for field, _, message in row["finds"]:
        wanted = message if expected is True else expected
        place = row.get("at", field)
        # Of a list that repeats itself the server blames the entry, the parser the list.
        at_place = rf"{re.escape(place)}(\[\d+\])?"
        told = [text for blamed, text in found if re.fullmatch(at_place, blamed)]
        assert any(wanted in text for text in told), found


@pytest.mark.parametrize("kind", PLURALS)
def test_name_is_bounded(kind: str, server: Server) -> None:
    """A name that no label could repeat is refused; the message names it."""
    server.create(refusals.manifest(kind, {}, name="n" * 63))
    ((_, message),) = server.refusal(refusals.manifest(kind, {}, name="n" * 64))
    assert f'metadata.name: "{"n" * 64}" is longer than the 63 characters' in message


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        pytest.param(
            "AgentIdentity",
            {
                "sponsor": f"{'s' * 241}@example.com",
                "purpose": "\u8acb" * 1024,
                "permissions": {
                    "systems": [f"{n:03}.{'s' * 247}.*" for n in range(128)],
                    "operations": [f"o{n:02}-{'o' * 59}" for n in range(64)],
                    "compliance": [f"{n:02}-{'c' * 60}" for n in range(32)],
                    "schedule": {
                        "timeZone": "America/Argentina/ComodRivadavia",
                        "windows": [
                            {
                                "days": ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
                                "start": f"{n:02}:00",
                                "end": f"{n:02}:30",
                            }
                            for n in range(16)
                        ],
                    },
                },
                "delivery": {"secretName": "s" * 253},
            },
            id="AgentIdentity",
        ),
        pytest.param(
            "AgentClass",
            {
                "description": "\u8acb" * 1024,
                "namespaces": {"names": [f"{n:03}{'n' * 60}*" for n in range(256)]},
                "permissions": {
                    "systems": [f"{n:03}.{'s' * 247}.*" for n in range(128)],
                    "operations": [f"o{n:02}-{'o' * 59}" for n in range(64)],
                },
                "operations": [{"name": f"o{n:02}-{'o' * 59}"} for n in range(64)],
                "tiers": {
                    tier: {
                        "lifetime": "30m",
                        "keyAlgorithm": "ECDSAP521",
                        "deliveryModes": ["PodCertificate", "CSI"],
                    }
                    for tier in ("Low", "Moderate", "High", "Critical")
                },
            },
            id="AgentClass",
        ),
        pytest.param(
            "AgentRevocation",
            {
                "explanation": "\u8acb" * 1024,
                "contact": f"{'s' * 241}@example.com",
                "select": {
                    "identities": [
                        {"namespace": f"{n:03}{'n' * 60}", "name": f"{n:03}{'i' * 60}"}
                        for n in range(500)
                    ],
                    "classNames": [f"{n:02}{'c' * 61}" for n in range(64)],
                    "issuerNames": [f"{n:02}{'c' * 61}" for n in range(64)],
                    "namespaces": [f"{n:03}{'n' * 60}" for n in range(256)],
                    "serials": [f"{n + 1:040x}" for n in range(1000)],
                    "labelSelector": {
                        "matchLabels": {f"k{n}": "v" * 63 for n in range(16)},
                        "matchExpressions": [
                            {
                                "key": f"example.com/{'k' * 63}",
                                "operator": "In",
                                "values": [f"{v:02}{'v' * 61}" for v in range(32)],
                            }
                            for _ in range(16)
                        ],
                    },
                    "issued": {"after": "2026-01-31T12:00:00Z", "before": "2026-02-01T12:00:00Z"},
                },
            },
            id="AgentRevocation",
        ),
    ],
)
def test_greatest_spec_is_within_the_cost_budget(
    kind: str, change: dict[str, Any], server: Server
) -> None:
    """Every list full and every string at its bound costs less than the server grants to CEL."""
    server.create(refusals.manifest(kind, change))


@pytest.mark.parametrize("kind", PLURALS)
def test_new_object_is_ready_unknown_at_once(kind: str, server: Server) -> None:
    """Before any controller writes, the server itself says that nobody has looked yet."""
    name = f"fresh-{uuid.uuid4().hex[:8]}"
    server.create(refusals.manifest(kind, {}, name=name), dry_run=False)
    try:
        read = server.call("get", kind, name=name)
        (ready,) = [each for each in read["status"]["conditions"] if each["type"] == "Ready"]
        assert (ready["status"], ready["reason"]) == ("Unknown", "Pending")
        assert ready["message"] == "Waiting for the controller"
    finally:
        server.remove(kind, name)


@pytest.mark.parametrize(
    ("kind", "change", "field", "message"),
    [
        pytest.param(
            "AgentIdentity",
            {"subject": {"serviceAccountName": "other"}},
            "spec.subject",
            "cannot be changed, since it says who the agent is; create another AgentIdentity",
            id="subject",
        ),
        pytest.param(
            "AgentIssuer",
            {"trustDomain": "other.example.org"},
            "spec.trustDomain",
            "cannot be changed, since every SPIFFE ID begins with it; create another AgentIssuer",
            id="trust-domain",
        ),
    ],
)
def test_what_names_an_agent_cannot_be_changed(
    kind: str, change: dict[str, Any], field: str, message: str, server: Server
) -> None:
    """An update of an immutable field is refused with the way out."""
    name = f"fixed-{uuid.uuid4().hex[:8]}"
    server.create(refusals.manifest(kind, {}, name=name), dry_run=False)
    try:
        with pytest.raises(ApiException) as refused:
            server.call("patch", kind, name=name, body={"spec": change})
        ((blamed, text),) = causes(refused.value)
        assert blamed == field
        assert message in text
    finally:
        server.remove(kind, name)


FIXED = "so that what was looked at is what is executed"


@pytest.mark.parametrize(
    ("before", "change", "field", "message"),
    [
        pytest.param(
            {"dryRun": False},
            {"dryRun": True},
            "spec.dryRun",
            "revoked stays revoked",
            id="dry-run",
        ),
        pytest.param(
            {"dryRun": False, "hold": True, "release": True},
            {"release": False},
            "spec.release",
            "cannot be set back to false",
            id="release",
        ),
        *(
            pytest.param({"dryRun": False}, change, "spec", FIXED, id=f"executed-{name}")
            for name, change in {
                "reason": {"reason": "superseded"},
                "explanation": {"explanation": "another"},
                "no-explanation": {"explanation": None},
                "contact": {"contact": "b@example.com"},
                "hold": {"hold": True},
                "select": {"select": {"namespaces": ["other"]}},
                "wider": {"select": {"namespaces": ["finance", "other"]}},
            }.items()
        ),
        pytest.param(
            {},
            {"dryRun": False, "select": {"namespaces": ["other"]}},
            "spec",
            FIXED,
            id="changed-as-it-is-executed",
        ),
    ],
)
def test_incident_that_is_meant_stands(
    before: dict[str, Any], change: dict[str, Any], field: str, message: str, server: Server
) -> None:
    """What was executed stays on record as it was; the refusal names the way out."""
    name = f"meant-{uuid.uuid4().hex[:8]}"
    start = {"explanation": "one", "select": {"namespaces": ["finance"]}} | before
    server.create(refusals.manifest("AgentRevocation", start, name=name), dry_run=False)
    try:
        with pytest.raises(ApiException) as refused:
            server.call("patch", "AgentRevocation", name=name, body={"spec": change})
        ((blamed, text),) = causes(refused.value)
        assert blamed == field
        assert message in text
    finally:
        server.remove("AgentRevocation", name)


def test_incident_is_drafted_executed_and_released(server: Server) -> None:
    """A draft may change at will; then it is executed by one step, and released by another."""
    name = f"drafted-{uuid.uuid4().hex[:8]}"
    body = refusals.manifest("AgentRevocation", {"hold": True}, name=name)
    server.create(body, dry_run=False)
    try:
        steps: list[dict[str, Any]] = [
            {"select": {"namespaces": ["finance", "support"]}, "explanation": "A key leaked"},
            {"dryRun": False},
            {"release": True},
        ]
        for step in steps:
            server.call("patch", "AgentRevocation", name=name, body={"spec": step})
        spec = server.call("get", "AgentRevocation", name=name)["spec"]
        assert (spec["dryRun"], spec["release"]) == (False, True)
    finally:
        server.remove("AgentRevocation", name)


def test_fields_can_be_selected(server: Server) -> None:
    """Identities of one class are found without listing all of them."""
    name = f"chosen-{uuid.uuid4().hex[:8]}"
    body = refusals.manifest("AgentIdentity", {"className": "selected"}, name=name)
    server.create(body, dry_run=False)
    try:
        found = server.call("list", "AgentIdentity", field_selector="spec.className=selected")
        assert [each["metadata"]["name"] for each in found["items"]] == [name]
        none = server.call("list", "AgentIdentity", field_selector="spec.className=nobodys")
        assert none["items"] == []
    finally:
        server.remove("AgentIdentity", name)
