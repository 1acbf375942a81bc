"""Reads what the doctor looks at; what may not be read is told, and stops nothing."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

from agentid.api.agentclass import AgentClass
from agentid.api.agentidentity import AgentIdentity
from agentid.api.agentissuer import AgentIssuer
from agentid.api.agentrevocation import AgentRevocation
from agentid.api.crd import crd_manifests
from agentid.api.model import Model
from agentid.api.unknown import unknown_fields
from agentid.cli.doctor.facts import (
    FORBIDDEN,
    NODE_PLUGIN,
    RIGHTS,
    Crl,
    Doors,
    Facts,
    NodePlane,
    Right,
    Unreadable,
)
from agentid.cli.ledger.source import spool_from
from agentid.cli.roster import Entry
from agentid.cli.servertime import server_time
from agentid.constants import CSI_DRIVER, GROUP, LABEL_PUBLICATION
from agentid.errors import (
    ApiError,
    InputError,
    NotFoundError,
    SpecError,
)
from agentid.factory import LEASE
from agentid.kube.objects import ObjectKey, metadata_of
from agentid.kube.resources import (
    AGENT_CLASSES,
    AGENT_IDENTITIES,
    AGENT_ISSUERS,
    AGENT_REVOCATIONS,
    CONFIG_MAPS,
    CSI_DRIVERS,
    LEASES,
    Resource,
    Selector,
)
from agentid.kube.stores import SecretFiles
from agentid.ledger import verify_segments
from agentid.ledger.export import ExportReader
from agentid.pki.crl_view import read_crl
from agentid.services.admission_credentials import ADMISSION_SECRET
from agentid.services.bundle_documents import bundle_name, published_roots
from agentid.services.doors import Doors as ApiDoors
from agentid.services.issuer_trust import AUTHORITIES, IssuerTrust
from agentid.services.issuing_credentials import ISSUER_SECRET

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from agentid.api.model import Resource as Kind
    from agentid.cli.connection import Cluster
    from agentid.cli.doctor.facts import Seen
    from agentid.kube.client import Client
    from agentid.kube.objects import JsonObject
    from agentid.ledger import VerifyReport

    K = TypeVar("K", bound=Kind)

__all__ = ["gather"]

T = TypeVar("T")

_ADMISSION: Final = "admissionregistration.k8s.io"
_CRDS: Final = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition",
    namespaced=False,
)  # fmt: skip
_POLICIES: Final = tuple(
    Resource(_ADMISSION, "v1", plural, kind, namespaced=False)
    for kind, plural in (
        ("ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
        ("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings"),
        ("MutatingAdmissionPolicy", "mutatingadmissionpolicies"),
        ("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings"),
    )
)
_WEBHOOKS: Final = tuple(
    Resource(_ADMISSION, "v1", f"{kind.lower()}s", kind, namespaced=False)
    for kind in ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")
)
_ACCESS_REVIEWS: Final = Resource(
    "authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False
)
_DAEMON_SETS: Final = Resource("apps", "v1", "daemonsets", "DaemonSet")
_SERVICES: Final = Resource("", "v1", "services", "Service")
_SLICES: Final = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")


async def gather(cluster: Cluster, namespace: str, account: str) -> Facts:
    """Look at everything once.

    Raises:
        UnavailableError: The API server is away.
        ForbiddenError: It does not know who asks.
    """
    client, clock = cluster.client, cluster.clock
    before = clock.now()
    now = await server_time(client)
    # The server rounds down to a second: half of one is what it is off by on the average.
    skew = before + (clock.now() - before) / 2 - now.replace(microsecond=500_000)
    malformed: dict[str, str] = {}
    unknown: dict[tuple[str, str], tuple[str, ...]] = {}
    notes = _Notes(malformed, unknown)
    return Facts(
        now=now,
        skew=skew,
        version=await _seen(_version(client)),
        namespace=namespace,
        account=account,
        crds=await _seen(_crds(client)),
        policies={each.kind: await _seen(_by_name(client, each)) for each in _POLICIES},
        rights=await _seen(_rights(client, namespace, account)),
        webhooks=await _seen(_webhooks(client, namespace)),
        lease=await _seen(_lease(client, namespace)),
        issuers=await _seen(_parsed(client, AGENT_ISSUERS, AgentIssuer, notes)),
        classes=await _seen(_parsed(client, AGENT_CLASSES, AgentClass, notes)),
        malformed=malformed,
        unknown=unknown,
        identities=await _seen(_identities(client, notes)),
        incidents=await _seen(_parsed(client, AGENT_REVOCATIONS, AgentRevocation, notes)),
        crls=await _seen(_crls(client, namespace)),
        bundles=await _seen(_bundles(client, namespace)),
        ledger=await _seen(_ledger(cluster, namespace)),
        services=await _seen(_services(client, namespace)),
        doors=await _seen(_doors(client)),
        webhook_bundle=await _seen(_webhook_bundle(client, namespace)),
        node_plane=await _seen(_node_plane(client, namespace)),
    )


async def _seen(question: Awaitable[T]) -> Seen[T]:
    try:
        return await question
    except NotFoundError as error:
        return Unreadable(str(error), absent=True)
    except (ApiError, InputError) as error:
        return Unreadable(str(error))


async def _version(client: Client) -> str:
    told = json.loads(await client.get_raw("/version"))
    return str(told.get("gitVersion")) if isinstance(told, dict) else ""


async def _crds(client: Client) -> Mapping[str, JsonObject]:
    """Ours by name: all of a cluster's are tens of megabytes."""
    found = {}
    for name in (_name(each) for each in crd_manifests()):
        with contextlib.suppress(NotFoundError):
            found[name] = await client.get(_CRDS, name)
    return found


async def _by_name(client: Client, resource: Resource) -> Mapping[str, JsonObject]:
    return {_name(each): each async for each in client.list(resource)}


def _name(body: JsonObject) -> str:
    return ObjectKey.of(body).name


async def _rights(client: Client, namespace: str, account: str) -> Mapping[Right, bool]:
    user = f"system:serviceaccount:{namespace}:{account}"
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"]

    async def ask(right: Right) -> bool:
        resource, _, subresource = right.resource.partition("/")
        attributes = {
            "verb": right.verb,
            "group": right.group,
            "resource": resource,
            "subresource": subresource,
            "name": right.name,
            "namespace": namespace if right.inside else "",
        }
        answer = await client.create(
            _ACCESS_REVIEWS,
            {
                "apiVersion": _ACCESS_REVIEWS.api_version,
                "kind": _ACCESS_REVIEWS.kind,
                "spec": {
                    "user": user,
                    "groups": [*groups, "system:authenticated"],
                    "resourceAttributes": attributes,
                },
            },
        )
        status = answer.get("status")
        return isinstance(status, dict) and status.get("allowed") is True

    asked = (*RIGHTS, *FORBIDDEN)
    answers = await asyncio.gather(*map(ask, asked))
    return dict(zip(asked, answers, strict=True))


async def _webhooks(client: Client, namespace: str) -> tuple[JsonObject, ...]:
    found: list[JsonObject] = []
    for resource in _WEBHOOKS:
        async for body in client.list(resource):
            hooks = body.get("webhooks")
            configuration = f"{resource.kind} {_name(body)}"
            found += [
                {**hook, "configuration": configuration}
                for hook in (hooks if isinstance(hooks, list) else ())
                if isinstance(hook, dict) and _is_ours(hook, namespace)
            ]
    return tuple(found)


def _is_ours(hook: JsonObject, namespace: str) -> bool:
    match hook:
        case {"clientConfig": {"service": {"namespace": str(where)}}} if where == namespace:
            return True
        case {"rules": list(rules)}:
            return any(
                isinstance(rule, dict) and GROUP in rule.get("apiGroups", ()) for rule in rules
            )
        case _:
            return False


async def _lease(client: Client, namespace: str) -> JsonObject | None:
    try:
        return await client.get(LEASES, LEASE, namespace)
    except NotFoundError:
        return None


@dataclass(frozen=True, slots=True)
class _Notes:
    """What is found out about objects on the way; see `Facts`."""

    malformed: dict[str, str]
    unknown: dict[tuple[str, str], tuple[str, ...]]

    def take(self, model: type[Kind], body: JsonObject) -> None:
        """Note the fields that this program does not know."""
        spec = model.model_fields["spec"].annotation
        if not (isinstance(spec, type) and issubclass(spec, Model)):
            return
        for path in unknown_fields(spec, body.get("spec")):
            place = model.KIND, path
            self.unknown[place] = (*self.unknown.get(place, ()), str(ObjectKey.of(body)))


async def _parsed(
    client: Client, resource: Resource, model: type[K], notes: _Notes
) -> Mapping[str, K]:
    found = {}
    async for body in client.list(resource):
        notes.take(model, body)
        try:
            parsed = model.parse(body)
        except SpecError as error:
            notes.malformed[f"{resource.kind} {_name(body)}"] = error.violations[0]
        else:
            found[parsed.metadata.name] = parsed
    return found


async def _identities(client: Client, notes: _Notes) -> tuple[Entry, ...]:
    found = []
    async for body in client.list(AGENT_IDENTITIES):
        notes.take(AgentIdentity, body)
        found.append(Entry.of(body))
    return tuple(found)


async def _crls(client: Client, namespace: str) -> tuple[Crl, ...]:
    selector = Selector(labels=f"{LABEL_PUBLICATION}=crl")
    listed = client.list(CONFIG_MAPS, namespace, selector=selector)
    return tuple([_crl(each) async for each in listed])


def _crl(body: JsonObject) -> Crl:
    name, data = _name(body), body.get("binaryData")
    never = datetime.min.replace(tzinfo=UTC)
    try:
        held = data.get("crl") if isinstance(data, dict) else None
        view = read_crl(base64.b64decode(str(held), validate=True))
    except binascii.Error:
        return Crl(name, never, never, "it holds no base64")
    except InputError as error:
        return Crl(name, never, never, str(error))
    return Crl(name, view.this_update, view.next_update)


async def _bundles(client: Client, namespace: str) -> Mapping[str, int]:
    selector = Selector(labels=f"{LABEL_PUBLICATION}=bundle")
    found = {}
    async for body in client.list(CONFIG_MAPS, namespace, selector=selector):
        data = body.get("data")
        issuer = _name(body).removeprefix(bundle_name(""))
        found[issuer] = published_roots(data if isinstance(data, dict) else {}).sequence
    return found


async def _ledger(cluster: Cluster, namespace: str) -> VerifyReport:
    with tempfile.TemporaryFile() as spooled:
        await spool_from(cluster.client, namespace, spooled, cluster.clock)
        spooled.seek(0)
        return verify_segments(ExportReader(spooled))


async def _services(client: Client, namespace: str) -> Mapping[str, int]:
    found = {ObjectKey.of(each).name: 0 async for each in client.list(_SERVICES, namespace)}
    async for body in client.list(_SLICES, namespace):
        labels, endpoints = metadata_of(body).get("labels"), body.get("endpoints")
        service = labels.get("kubernetes.io/service-name") if isinstance(labels, dict) else None
        if service in found:
            found[service] += sum(map(_is_ready, endpoints if isinstance(endpoints, list) else ()))
    return found


async def _doors(client: Client) -> Doors:
    doors = ApiDoors(client)
    found = await doors.look()
    return Doors(found, dict(doors.closed))


async def _webhook_bundle(client: Client, namespace: str) -> bytes | None:
    files = SecretFiles(client, namespace=namespace, name=ADMISSION_SECRET, labels={})
    stored = await files.read()
    return None if stored is None else stored.files.get("ca.crt", b"")


async def _node_plane(client: Client, namespace: str) -> NodePlane:
    stored = await SecretFiles(client, namespace=namespace, name=ISSUER_SECRET, labels={}).read()
    told = await IssuerTrust(client, namespace).read()
    return NodePlane(
        driver=await _if_there(client.get(CSI_DRIVERS, CSI_DRIVER)),
        daemon_set=await _if_there(client.get(_DAEMON_SETS, NODE_PLUGIN, namespace)),
        authorities=b"" if stored is None else stored.files.get(AUTHORITIES, b""),
        told=b"" if told is None else told.authorities,
    )


async def _if_there(question: Awaitable[JsonObject]) -> JsonObject | None:
    try:
        return await question
    except NotFoundError:
        return None


def _is_ready(endpoint: object) -> bool:
    match endpoint:
        case {"conditions": {"ready": False}}:
            return False
        case {"addresses": [_, *_]}:
            return True
        case _:
            return False
