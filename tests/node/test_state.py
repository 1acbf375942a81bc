"""What a node plugin keeps of its volumes, in files that other releases wrote or will read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from agentid.errors import InputError, UnknownVersionError
from agentid.node.state import Held, StateFolder, Unread, VolumeState, read_state
from tests.support.later import LATER_RELEASE
from tests.support.node import POD

if TYPE_CHECKING:
    from pathlib import Path

STATE = VolumeState(
    "csi-1", "/var/lib/kubelet/pods/p/volumes/mount", 2000, POD,
    Held("spiffe://example.org/ns/finance/agent/reader", "ECDSAP256", 10.0, 20.0, {}, {}),
)  # fmt: skip


def written(folder: Path, state: VolumeState = STATE) -> Path:
    """The file in which a state is kept."""
    StateFolder(folder).save(state)
    return folder / f"{state.key}.json"


def test_it_says_which_version_it_is(tmp_path: Path) -> None:
    """And is read back as it was."""
    path = written(tmp_path)
    assert orjson.loads(path.read_bytes())["version"] == 1
    assert list(StateFolder(tmp_path).load()) == [STATE]


def test_one_without_a_version_is_the_first(tmp_path: Path) -> None:
    """An earlier release wrote none."""
    path = written(tmp_path)
    body = orjson.loads(path.read_bytes())
    del body["version"]
    assert read_state(orjson.dumps(body)) == STATE


def test_one_of_a_later_release_is_left_as_it_is(tmp_path: Path) -> None:
    """The file stays, and it is said which release reads it."""
    path = written(tmp_path)
    body = orjson.loads(path.read_bytes()) | {"version": 2, "readBy": LATER_RELEASE, "tpm": {}}
    path.write_bytes(orjson.dumps(body))
    before = path.read_bytes()
    (found,) = StateFolder(tmp_path).load()
    assert isinstance(found, Unread)
    assert found.key == STATE.key
    assert f"version 2 was written by agentid {LATER_RELEASE}" in found.why
    assert path.read_bytes() == before


@pytest.mark.parametrize("version", [0, -1, "2", 1.5, None])
def test_a_version_that_is_none_does_not_parse(version: object, tmp_path: Path) -> None:
    """Damage is removed, as before: the kubelet publishes the volume anew."""
    path = written(tmp_path)
    path.write_bytes(orjson.dumps(orjson.loads(path.read_bytes()) | {"version": version}))
    with pytest.raises(InputError, match="does not parse; the kubelet publishes") as raised:
        read_state(path.read_bytes())
    assert not isinstance(raised.value, UnknownVersionError)
    assert list(StateFolder(tmp_path).load()) == []
    assert not path.exists()
