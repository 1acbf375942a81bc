"""Runs kwok beside a cluster: kubelets for all nodes that are objects only."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from e2e import toolchain
from e2e.errors import E2EError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.providers import Cluster

__all__ = ["kwok"]

_LEASE: Final = 40
"""Seconds that a node's Lease lasts, as kubelets have it: each writes one every ten seconds."""

_AT_ONCE: Final = 8
"""Pods that kwok sees to at a time. With four, its default, the others wait for it to delete them.
With 32 on two cores it loses its watch of pods again and again, and patches up to half of them
twice."""

_STOP: Final = 15.0


@contextmanager
def kwok(cluster: Cluster) -> Iterator[int]:
    """Run kwok while the context is open; its log is in the cluster's directory.

    It acts as the cluster's admin, since its nodes are more than one.

    Yields:
        Its process id.

    Raises:
        E2EError: It cannot be built, or ended by itself.
    """
    program = toolchain.kwok()
    options = cluster.directory / "kwok-options.yaml"
    options.write_text(json.dumps(_options()), encoding="utf-8")
    command = [str(program), "--kubeconfig", str(cluster.kubeconfig)]
    command += ["--config", str(program.with_name("stages.yaml")), "--config", str(options)]
    log = cluster.directory / "kwok.log"
    # A configuration of kwok in somebody's home directory is none of ours.
    environment = {**os.environ, "KWOK_WORKDIR": str(cluster.directory / "kwok")}
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield process.pid
    finally:
        ended = process.poll()
        process.terminate()
        try:
            process.wait(_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if ended is not None:  # whatever else failed, it is because of that
            said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
            msg = f"kwok ended by itself with {ended}:\n" + "\n".join(said)
            raise E2EError(msg)


def _options() -> dict[str, object]:
    # Who gives one option has to give them all: what is left out is zero then.
    return {
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "kind": "KwokConfiguration",
        "options": {
            "manageAllNodes": True,
            "nodeLeaseDurationSeconds": _LEASE,
            "nodeLeaseParallelism": 4,
            "nodePlayStageParallelism": 4,
            "podPlayStageParallelism": _AT_ONCE,
            "podsOnNodeSyncParallelism": 1,
            "cidr": "10.0.0.0/16",
        },
    }
