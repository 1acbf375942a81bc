"""What a pod gets: beside what its author wrote, never over it, and once."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentid.admission.mount import Mount
from agentid.admission.mounting import Mounted, mount_into
from agentid.admission.pod import Pod
from agentid.admission.verdict import Outcome, Refusal
from agentid.api.vocabulary import DeliveryMode
from tests.support.reviewing import Desk, container, patched, pod

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Json = dict[str, Any]

PATH = "/var/run/agentid"
OURS: Json = {"name": "agentid", "mountPath": PATH, "readOnly": True}
VOLUME: Json = {
    "name": "agentid",
    "projected": {
        "sources": [
            {
                "podCertificate": {
                    "signerName": "agentid.dev/agent",
                    "keyType": "ECDSAP256",
                    "maxExpirationSeconds": 3600,
                    "credentialBundlePath": "credentials.pem",
                    "keyPath": "tls.key",
                    "certificateChainPath": "tls.crt",
                    "userAnnotations": {"agentid.dev/identity": "reader"},
                }
            },
            {"clusterTrustBundle": {"name": "agentid.dev:agent:test", "path": "ca.crt"}},
        ]
    },
}
DIR: Json = {"name": "AGENTID_DIR", "value": PATH}
ID: Json = {"name": "AGENTID_SPIFFE_ID", "value": "spiffe://agents.test/ns/finance/agent/reader"}
UID: Json = {"name": "AGENTID_POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}
EACH: Json = {
    "name": "AGENTID_SPIFFE_ID",
    "value": "spiffe://agents.test/ns/finance/agent/reader/pod/$(AGENTID_POD_UID)",
}
SOCKET: Json = {
    "name": "SPIFFE_ENDPOINT_SOCKET",
    "value": "unix:///var/run/agentid/workload.sock",
}
MOUNT = Mount(VOLUME, OURS, (DIR, ID))


def mounted(body: Json, mount: Mount = MOUNT) -> Json:
    """A pod with what it lacked."""
    done = mount_into(Pod.of(body), mount, "finance/reader")
    assert isinstance(done, Mounted), done
    return patched(body, done.patch)


def refused(body: Json) -> tuple[str, str]:
    """Why nothing can be mounted."""
    done = mount_into(Pod.of(body), MOUNT, "finance/reader")
    assert isinstance(done, Refusal), done
    return done.reason, done.message


# What is mounted


@pytest.mark.parametrize(
    ("mode", "spec", "volume", "env"),
    [
        pytest.param("PodCertificate", {}, VOLUME, [DIR, ID], id="pod-certificate"),
        pytest.param(
            "PodCertificate",
            {"instances": "PerPod"},
            VOLUME,
            [DIR, UID, EACH],
            id="pod-certificate-per-pod",
        ),
        pytest.param(
            "Secret",
            {},
            {"name": "agentid", "secret": {"secretName": "reader-agentid"}},
            [DIR, ID],
            id="secret",
        ),
        pytest.param(
            "CSI",
            {},
            {
                "name": "agentid",
                "csi": {
                    "driver": "csi.agentid.dev",
                    "readOnly": True,
                    "volumeAttributes": {"agentid.dev/identity": "reader"},
                },
            },
            [DIR, ID, SOCKET],
            id="csi",
        ),
        pytest.param("CSI", {"instances": "PerPod"}, None, [DIR, UID, EACH, SOCKET], id="csi-each"),
    ],
)
async def test_what_each_delivery_mounts(
    desk: Desk, mode: str, spec: Json, volume: Json | None, env: list[Json]
) -> None:
    """The volume of its door, read-only at one path, and where to find it."""
    desk.put(mode=mode, **spec)
    found = (await desk.mounted(pod()))["spec"]
    assert volume is None or found["volumes"] == [volume]
    assert found["containers"] == [container(volumeMounts=[OURS], env=env)]


async def test_a_secret_of_another_name(desk: Desk) -> None:
    """It is the one that the identity names."""
    desk.put(mode="Secret", delivery={"mode": "Secret", "secretName": "certificate"})
    found = await desk.mounted(pod())
    assert found["spec"]["volumes"] == [
        {"name": "agentid", "secret": {"secretName": "certificate"}}
    ]


async def test_lifetime_and_key_are_those_that_are_granted(desk: Desk) -> None:
    """What the kubelet asks for is what the signer gives."""
    desk.put_class(lifetime="6h", keyAlgorithm="ED25519")
    desk.put(lifetime="2h")
    found = await desk.mounted(pod())
    asked = found["spec"]["volumes"][0]["projected"]["sources"][0]["podCertificate"]
    assert (asked["maxExpirationSeconds"], asked["keyType"]) == (7200, "ED25519")


def test_init_containers_and_sidecars_get_it_and_ephemeral_ones_do_not() -> None:
    """A sidecar is an init container that goes on."""
    body = pod(
        initContainers=[container("init"), container("proxy", restartPolicy="Always")],
        ephemeralContainers=[container("debugger")],
        hostNetwork=True,
    )
    found = mounted(body)["spec"]
    for each in (*found["initContainers"], *found["containers"]):
        assert (each["volumeMounts"], each["env"]) == ([OURS], [DIR, ID])
    assert found["ephemeralContainers"] == [container("debugger")]
    assert len(found["volumes"]) == 1


def test_twenty_containers() -> None:
    """Each of them, by one patch."""
    body = pod(containers=[container(f"c-{number}") for number in range(20)])
    found = mounted(body)["spec"]["containers"]
    assert [each["volumeMounts"] for each in found] == [[OURS]] * 20


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("agent", ["agent"], id="one"),
        pytest.param(" agent , init ", ["init", "agent"], id="spaces"),
        pytest.param("agent,agent,", ["agent"], id="twice"),
        pytest.param("proxy,agent,init", ["init", "proxy", "agent"], id="all"),
    ],
)
def test_the_annotation_chooses_containers(text: str, expected: list[str]) -> None:
    """The volume is there for these, and the others are as their author wrote them."""
    body = pod(
        annotations={"agentid.dev/containers": text},
        initContainers=[container("init"), container("proxy", restartPolicy="Always")],
    )
    found = mounted(body)["spec"]
    every = [*found["initContainers"], *found["containers"]]
    assert [each["name"] for each in every if "volumeMounts" in each] == expected
    assert [each["name"] for each in every if "env" in each] == expected


# What is in the way


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "",
            '"" names no container; name containers of the pod with commas between, or remove it '
            "for all of them",
            id="empty",
        ),
        pytest.param(" , ", '" , " names no container; ', id="commas"),
        pytest.param(
            "agnet",
            '"agnet" names no container of the pod, which has init, agent; did you mean agent?',
            id="mistyped",
        ),
        pytest.param(
            "agent,database",
            '"database" names no container of the pod, which has init, agent; correct it or leave '
            "it out",
            id="unknown",
        ),
        pytest.param("debugger", '"debugger" names no container of the pod', id="ephemeral"),
    ],
)
def test_an_annotation_that_chooses_none(text: str, message: str) -> None:
    """Rather than to leave out whom it meant."""
    body = pod(
        annotations={"agentid.dev/containers": text},
        initContainers=[container("init")],
        ephemeralContainers=[container("debugger")],
    )
    reason, said = refused(body)
    assert reason is Outcome.MALFORMED_CONTAINERS
    assert said.startswith(f"metadata.annotations[agentid.dev/containers]: {message}")


def _changed(change: Callable[[Json], object]) -> Json:
    volume = copy.deepcopy(VOLUME)
    change(volume)
    return volume


def _certificate(volume: Json) -> Json:
    found: Json = volume["projected"]["sources"][0]["podCertificate"]
    return found


REMEDY = "; remove volume agentid from the pod, since it is added by itself, or rename it"


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        pytest.param(
            {"name": "agentid", "emptyDir": {}},
            "spec.volumes[1].projected: null is not what AgentIdentity finance/reader has mounted, "
            "which is an object",
            id="empty-dir",
        ),
        pytest.param(
            _changed(
                lambda v: _certificate(v).update(userAnnotations={"agentid.dev/identity": "x"})
            ),
            "spec.volumes[1].projected.sources[0].podCertificate.userAnnotations."
            'agentid.dev/identity: "x" is not what AgentIdentity finance/reader has mounted, which '
            'is "reader"',
            id="of-another-identity",
        ),
        pytest.param(
            _changed(lambda v: _certificate(v).update(maxExpirationSeconds=7200)),
            "spec.volumes[1].projected.sources[0].podCertificate.maxExpirationSeconds: 7200 is not",
            id="lifetime",
        ),
        pytest.param(
            _changed(lambda v: v["projected"]["sources"].pop()),
            "spec.volumes[1].projected.sources: a list of 1 is not",
            id="without-bundle",
        ),
        pytest.param(
            _changed(
                lambda v: v["projected"]["sources"].append({"secret": {"name": "of-somebody"}})
            ),
            "spec.volumes[1].projected.sources: a list of 3 is not",
            id="with-more",
        ),
        pytest.param(
            {"name": "agentid", "hostPath": {"path": "/"}}, "spec.volumes[1].projected", id="host"
        ),
    ],
)
def test_a_volume_of_our_name_that_is_not_ours(volume: Json, message: str) -> None:
    """It is not taken for ours, and not written over."""
    reason, said = refused(pod(volumes=[{"name": "other", "emptyDir": {}}, volume]))
    assert reason is Outcome.VOLUME_TAKEN
    assert said.startswith(message)
    assert said.endswith(REMEDY)


def test_a_volume_of_ours_that_has_been_defaulted() -> None:
    """The API server fills in modes, and whoever writes it out by hand may set them."""
    volume = _changed(lambda v: v["projected"].update(defaultMode=0o440))
    assert mounted(pod(volumes=[volume]))["spec"]["volumes"] == [volume]


ELSEWHERE = "; mount it elsewhere, or leave this container out by annotation agentid.dev/containers"


@pytest.mark.parametrize(
    ("path", "source", "why"),
    [
        pytest.param(PATH, {"emptyDir": {}}, "is", id="same"),
        pytest.param(f"{PATH}/", {"emptyDir": {}}, "is", id="slash"),
        pytest.param("/var//run/./agentid", {"emptyDir": {}}, "is", id="dots"),
        pytest.param("/var/x/../run/agentid", {"emptyDir": {}}, "is", id="dot-dot"),
        pytest.param("var/run/agentid", {"emptyDir": {}}, "is", id="relative"),
        pytest.param("/run/agentid", {"emptyDir": {}}, "is", id="by-its-real-name"),
        pytest.param(f"{PATH}/tls.key", {"secret": {"secretName": "s"}}, "lies within", id="file"),
        pytest.param("/run/agentid/x", {"emptyDir": {}}, "lies within", id="within-real"),
        pytest.param("/var/run", {"configMap": {"name": "c"}}, "covers", id="config-map-above"),
        pytest.param("/run", {"secret": {"secretName": "s"}}, "covers", id="secret-above"),
        pytest.param("/var", {"hostPath": {"path": "/x"}}, "covers", id="host-above"),
        pytest.param("/", {"hostPath": {"path": "/x"}}, "covers", id="root"),
    ],
)
def test_a_mount_that_is_in_the_way(path: str, source: Json, why: str) -> None:
    """Neither hides the other; the author chooses."""
    body = pod(
        volumes=[{"name": "theirs", **source}],
        containers=[container(volumeMounts=[{"name": "theirs", "mountPath": path}])],
    )
    reason, said = refused(body)
    assert reason is Outcome.PATH_TAKEN
    assert said == (
        f'spec.containers[0].volumeMounts[0].mountPath: "{path}" {why} {PATH}, where container '
        f"agent finds its identity{ELSEWHERE}"
    )


@pytest.mark.parametrize(
    ("path", "source"),
    [
        pytest.param("/var/run", {"emptyDir": {}}, id="scratch-above"),
        pytest.param("/run", {"emptyDir": {"medium": "Memory"}}, id="scratch-at-run"),
        pytest.param("/var", {"ephemeral": {"volumeClaimTemplate": {}}}, id="claim-of-the-pod"),
        pytest.param("/var/run/agentid-2", {"hostPath": {"path": "/x"}}, id="like-it"),
        pytest.param("/var/run/secrets", {"hostPath": {"path": "/x"}}, id="beside"),
        pytest.param("/runner", {"hostPath": {"path": "/x"}}, id="begins-alike"),
        pytest.param("/data/var/run/agentid", {"hostPath": {"path": "/x"}}, id="deeper"),
    ],
)
def test_a_mount_that_is_not_in_the_way(path: str, source: Json) -> None:
    """Among them what Kubernetes itself mounts tokens beneath: scratch space of the pod's own."""
    theirs = {"name": "theirs", "mountPath": path}
    body = pod(
        volumes=[{"name": "theirs", **source}], containers=[container(volumeMounts=[theirs])]
    )
    assert mounted(body)["spec"]["containers"][0]["volumeMounts"] == [theirs, OURS]


def test_scratch_space_that_cannot_be_written_to_is_in_the_way() -> None:
    """No directory to mount on can be made in it."""
    theirs = {"name": "theirs", "mountPath": "/var/run", "readOnly": True}
    body = pod(
        volumes=[{"name": "theirs", "emptyDir": {}}], containers=[container(volumeMounts=[theirs])]
    )
    assert refused(body)[0] is Outcome.PATH_TAKEN


def test_a_mount_in_a_container_that_is_left_out_is_in_nobodys_way() -> None:
    """So the annotation is a way out."""
    theirs = {"name": "theirs", "mountPath": PATH}
    body = pod(
        annotations={"agentid.dev/containers": "agent"},
        volumes=[{"name": "theirs", "hostPath": {"path": "/x"}}],
        containers=[container(), container("other", volumeMounts=[theirs])],
    )
    assert mounted(body)["spec"]["containers"][1] == container("other", volumeMounts=[theirs])


@pytest.mark.parametrize(
    "mount",
    [
        pytest.param({**OURS, "readOnly": False}, id="writable"),
        pytest.param({"name": "agentid", "mountPath": PATH}, id="writable-by-default"),
        pytest.param({**OURS, "subPath": "tls.key"}, id="sub-path"),
        pytest.param({**OURS, "subPathExpr": "$(POD_NAME)"}, id="sub-path-of-a-variable"),
    ],
)
def test_our_volume_mounted_otherwise_at_our_path(mount: Json) -> None:
    """A subPath would never be refreshed, and nobody but the kubelet writes there."""
    reason, said = refused(pod(containers=[container(volumeMounts=[mount])]))
    assert reason is Outcome.PATH_TAKEN
    assert said == (
        'spec.containers[0].volumeMounts[0]: "agentid" has to be readOnly, and without subPath '
        "and subPathExpr; remove the mount, since it is added by itself"
    )


def test_our_volume_mounted_at_another_path_as_well() -> None:
    """That is for the author to say; ours is added all the same."""
    theirs = {"name": "agentid", "mountPath": "/etc/identity", "readOnly": True}
    found = mounted(pod(containers=[container(volumeMounts=[theirs])]))["spec"]["containers"]
    assert found[0]["volumeMounts"] == [theirs, OURS]


# Looked at again


def test_a_second_look_finds_nothing_to_do() -> None:
    """Whatever the first one did, also after the API server has filled in defaults."""
    once = mounted(pod(initContainers=[container("init")]))
    once["spec"]["volumes"][0]["projected"]["defaultMode"] = 420
    for each in (*once["spec"]["initContainers"], *once["spec"]["containers"]):
        each["volumeMounts"][0]["recursiveReadOnly"] = "Disabled"
    done = mount_into(Pod.of(once), MOUNT, "finance/reader")
    assert done == Mounted([], [])


def test_a_pod_uid_that_has_been_defaulted() -> None:
    """The API server writes the version of a field reference."""
    mount = Mount(VOLUME, OURS, (DIR, UID, EACH))
    once = mounted(pod(), mount)
    once["spec"]["containers"][0]["env"][1]["valueFrom"]["fieldRef"]["apiVersion"] = "v1"
    assert mount_into(Pod.of(once), mount, "finance/reader") == Mounted([], [])


def test_a_container_that_another_webhook_has_added_gets_it_too() -> None:
    """The others are left as they are."""
    once = mounted(pod())
    once["spec"]["containers"].insert(0, container("proxy"))
    once["spec"]["initContainers"] = [container("proxy-init")]
    twice = mounted(once)["spec"]
    assert twice["initContainers"][0]["volumeMounts"] == [OURS]
    assert [each["volumeMounts"] for each in twice["containers"]] == [[OURS], [OURS]]
    assert twice["containers"][1] == once["spec"]["containers"][1]
    assert len(twice["volumes"]) == 1


# Whatever a pod looks like

_names = st.sampled_from(["agent", "proxy", "init", "x", "y"])
_paths = st.sampled_from(
    ["/", "/data", "/var", "/var/run", "/run", PATH, f"{PATH}/x", "/run/agentid", "/etc/agentid"]
)
_mounts = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["agentid", "a", "b"]), "mountPath": _paths},
        optional={"readOnly": st.booleans(), "subPath": st.sampled_from(["", "x"])},
    ),
    max_size=3,
)
_env = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["AGENTID_DIR", "AGENTID_POD_UID", "AGENTID_SPIFFE_ID", "A"])},
        optional={"value": st.sampled_from(["", PATH, "v"]), "valueFrom": st.just({})},
    ),
    max_size=3,
)
_containers = st.lists(
    st.fixed_dictionaries(
        {"name": _names, "image": st.just("i")},
        optional={"volumeMounts": _mounts | st.none(), "env": _env | st.none()},
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda each: str(each["name"]),
)
_volumes = st.lists(
    st.one_of(
        st.just(VOLUME),
        st.just({"name": "agentid", "emptyDir": {}}),
        st.just({"name": "a", "emptyDir": {}}),
        st.just({"name": "b", "configMap": {"name": "b"}}),
    ),
    max_size=3,
    unique_by=lambda each: str(each["name"]),
)
_pods = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {"name": st.just("p")},
            optional={
                "annotations": st.fixed_dictionaries(
                    {}, optional={"agentid.dev/containers": st.sampled_from(["agent", "x,y", ","])}
                )
            },
        ),
        "spec": st.fixed_dictionaries(
            {"containers": _containers},
            optional={
                "initContainers": _containers | st.none(),
                "volumes": _volumes | st.none(),
                "ephemeralContainers": _containers,
                "hostNetwork": st.booleans(),
            },
        ),
    }
)


def _without_ours(body: Json) -> Json:
    """A pod without whatever may be ours, so that the rest can be compared."""
    rest = copy.deepcopy(body)
    spec = rest["spec"]
    spec["volumes"] = [v for v in spec.get("volumes") or () if v["name"] != "agentid"]
    for each in (*(spec.get("initContainers") or ()), *spec["containers"]):
        mounts = each.get("volumeMounts") or ()
        each["volumeMounts"] = [m for m in mounts if m["name"] != "agentid"]
        each["env"] = [e for e in each.get("env") or () if not e["name"].startswith("AGENTID_")]
    return rest


def _named(entries: object) -> Mapping[str, Json]:
    assert isinstance(entries, list)
    return {each["name"]: each for each in entries}


@given(_pods, st.sampled_from([MOUNT, Mount(VOLUME, OURS, (DIR, UID, EACH))]))
def test_whatever_a_pod_looks_like(body: Json, mount: Mount) -> None:
    """It is refused, or whole: what was there is there, what is ours is there once, and no more."""
    before = copy.deepcopy(body)
    view = Pod.of(body)
    done = mount_into(view, mount, "finance/reader")
    assert body == before, "a pod that is looked at is not changed"
    if isinstance(done, Refusal):
        assert "; " in done.message
        return
    after = patched(
        {**body, "spec": {k: v for k, v in _cleaned(body["spec"]).items() if v is not None}},
        done.patch,
    )
    assert _without_ours(after) == _without_ours(_with_cleaned_spec(body))
    assert [v for v in after["spec"]["volumes"] if v["name"] == "agentid"] == [VOLUME]
    wanted = view.wanted
    chosen = None if wanted is None else {name.strip() for name in wanted.split(",")}
    old = [*(before["spec"].get("initContainers") or ()), *before["spec"]["containers"]]
    new = [*(after["spec"].get("initContainers") or ()), *after["spec"]["containers"]]
    for was, now in zip(old, new, strict=True):
        if chosen is not None and now["name"] not in chosen:
            assert _cleaned(was) == now
            continue
        ours = [m for m in now["volumeMounts"] if m["mountPath"] == PATH]
        assert [(m["name"], m["readOnly"]) for m in ours] == [("agentid", True)]
        there = _named(was.get("env") or [])
        for entry in mount.env:
            assert _named(now["env"])[str(entry["name"])] == there.get(str(entry["name"]), entry)
    assert mount_into(Pod.of(after), mount, "finance/reader") == Mounted([], done.warnings)


def _cleaned(value: Json) -> Json:
    """Without lists that are null, which JSON from an API server never holds."""
    return {
        name: [_cleaned(each) if isinstance(each, dict) else each for each in part]
        if isinstance(part, list)
        else part
        for name, part in value.items()
        if part is not None
    }


def _with_cleaned_spec(body: Json) -> Json:
    return {**body, "spec": _cleaned(body["spec"])}


def test_every_delivery_has_its_mount() -> None:
    """A new one would have to be thought of here."""
    assert {each.value for each in DeliveryMode} == {"Secret", "PodCertificate", "CSI"}
