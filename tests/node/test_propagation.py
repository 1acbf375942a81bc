"""What the node sees of a mount that the plugin makes in its container (Bidirectional)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

pytestmark = [
    pytest.mark.node,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root"),
]

OPERATOR: Final = Path(__file__).parents[2] / "operator"

SHOW: Final = """
import sys
from pathlib import Path
from agentid.node.mounts import Tmpfs, bind_read_only
root = Path(sys.argv[1])
(root / "state" / "key").mkdir(parents=True)
Tmpfs(1 << 20, 64).mount(root / "state" / "key")
(root / "state" / "key" / "tls.key").write_text("x")
(root / "target").mkdir()
bind_read_only(root / "state" / "key", root / "target")
"""

LOOK: Final = """
grep " $1/" /proc/self/mountinfo | cut -d' ' -f5,6
touch "$1/target/more" 2>&1
rm "$1/target/tls.key" 2>&1
cat "$1/target/tls.key"; echo; ls "$1/state"
"""
"""What somebody on the node, and so a pod, may do with it."""


def on_a_node(root: Path, script: str) -> str:
    """What a node prints whose folder is shared with a container that has shown a volume there."""
    node = f"""
        mount -t tmpfs node "$1" && mount --make-shared "$1" &&
        unshare --mount --propagation unchanged "{sys.executable}" -c "$SHOW" "$1" || exit 1
        {script}
    """
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", node, "sh", str(root)]
    environment = {**os.environ, "PYTHONPATH": str(OPERATOR), "SHOW": SHOW, "LC_ALL": "C"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, timeout=60
    )
    assert not done.stderr, done.stderr
    return done.stdout


def test_a_volume_is_read_only_for_the_node_too(tmp_path: Path) -> None:
    """So it is for a pod whose author did not write readOnly; and nothing lies beside it."""
    said = on_a_node(tmp_path, LOOK)
    mounts = dict(line.split(" ") for line in said.splitlines() if line.startswith(str(tmp_path)))
    assert mounts.keys() == {f"{tmp_path}/state/key", f"{tmp_path}/target"}
    assert "ro" in mounts[f"{tmp_path}/target"].split(",")
    assert {"nosuid", "nodev", "noexec"} <= set(mounts[f"{tmp_path}/target"].split(","))
    assert said.count("Read-only file system") == 2
    assert said.splitlines()[-2:] == ["x", "key"]
