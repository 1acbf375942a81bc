"""The cluster of our own: side by side with another, ended in order and not, started again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.errors import E2EError
from e2e.providers import DevCluster
from tests.support.leftovers import kill_everything, leftovers, processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration


@pytest.fixture
def make_cluster(tmp_path: Path) -> Iterator[Callable[[str], DevCluster]]:
    """Makes clusters in directories of the test's own, and ends them with it."""
    made: list[DevCluster] = []

    def make(name: str) -> DevCluster:
        made.append(DevCluster(tmp_path / name))
        return made[-1]

    yield make
    for each in made:
        each.down()


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevCluster]:
    """One cluster for all that is refused; it goes on."""
    made = DevCluster(tmp_path_factory.mktemp("refusals") / "asked")
    made.up()
    yield made
    made.down()


def test_two_run_side_by_side(make_cluster: Callable[[str], DevCluster], tmp_path: Path) -> None:
    """Each has its own ports, storage and admin; the end of one does not touch the other."""
    one, other = make_cluster("one"), make_cluster("other")
    first, second = one.up(), other.up()
    first.kubectl("create", "namespace", "only-here")
    assert "only-here" not in second.kubectl("get", "namespaces", "-o", "name").stdout
    borrowed = second.kubectl("--kubeconfig", str(first.kubeconfig), "get", "namespaces")
    assert "only-here" in borrowed.stdout
    one.down()
    assert leftovers(tmp_path / "one") == []
    assert not (tmp_path / "one").exists()
    second.kubectl("get", "namespaces")


def test_killed_it_is_started_again(
    make_cluster: Callable[[str], DevCluster], tmp_path: Path
) -> None:
    """After SIGKILL of everything `status` says so, and `up` brings it back with what it held."""
    made = make_cluster("killed")
    before = made.up()
    kubeconfig = before.kubeconfig.read_text()
    before.kubectl("create", "namespace", "kept")
    kill_everything(tmp_path / "killed")
    with pytest.raises(E2EError, match=r"3 components do not run; start them: devcluster up --dir"):
        made.run("status")
    after = made.up()
    after.kubectl("get", "namespace", "kept")
    assert after.kubeconfig.read_text() == kubeconfig, "who has the old one goes on with it"
    kill_everything(tmp_path / "killed")
    made.down()
    assert leftovers(tmp_path / "killed") == []


def test_a_component_is_stopped_and_started(
    make_cluster: Callable[[str], DevCluster], tmp_path: Path
) -> None:
    """One part can be taken away, and the others go on under the same process ids."""
    made = make_cluster("parts")
    cluster = made.up()
    before = processes(tmp_path / "parts")
    made.run("stop", "kube-apiserver", "--kill")
    assert cluster.kubectl("get", "namespaces", check=False).returncode != 0
    made.run("start", "kube-apiserver")
    cluster.kubectl("get", "namespaces")
    after = processes(tmp_path / "parts")
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"kube-apiserver"}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        pytest.param(
            ("up", "--fsync"),
            r"the cluster runs with other options; end it first: devcluster down --dir /.*/asked",
            id="other options",
        ),
        pytest.param(
            ("stop", "kubelet"),
            r'no component "kubelet"; it has etcd, kube-apiserver, kube-controller-manager',
            id="a component that is not there",
        ),
        pytest.param(("start",), r"accepts 1 arg\(s\), received 0", id="no component"),
        pytest.param(("rise",), r'unknown command "rise"', id="unknown command"),
    ],
)
def test_what_it_cannot_do_it_says(asked: DevCluster, args: tuple[str, ...], message: str) -> None:
    """A refusal names what was found and the next step, and leaves the cluster as it is."""
    with pytest.raises(E2EError, match=message):
        asked.run(*args)
    asked.run("status")


def test_where_nothing_was_started(make_cluster: Callable[[str], DevCluster]) -> None:
    """`status` and `kubeconfig` say that there is no cluster; `down` is content."""
    made = make_cluster("never")
    with pytest.raises(E2EError, match=r"no cluster has been started in /.*/never"):
        made.run("status")
    with pytest.raises(E2EError, match=r"no cluster has been started in .*; run: devcluster up"):
        made.run("kubeconfig")
    made.run("down")
