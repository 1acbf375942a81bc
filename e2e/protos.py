"""`python -m e2e.protos [--check]`: messages of the node plugin, in Python.

Only messages are generated, with their types. Services are a few names each; the node plugin
declares them where it serves them, with handlers that see the bytes before they are parsed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

__all__: list[str] = []

ROOT: Final = Path(__file__).parent.parent / "operator"
PROTO: Final = ROOT / "agentid" / "node" / "proto"


def main() -> int:
    """Write the modules, or compare them with what would be written."""
    parser = argparse.ArgumentParser(prog="python -m e2e.protos", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if one differs")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as scratch:
        sources = sorted(str(path.relative_to(ROOT)) for path in PROTO.glob("*.proto"))
        subprocess.run(
            [
                sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={ROOT}",
                f"--python_out={scratch}", f"--pyi_out={scratch}", *sources,
            ],
            check=True,
        )  # fmt: skip
        made = {path.name: path.read_bytes() for path in Path(scratch).rglob("*_pb2.py*")}
    there = {path.name: path.read_bytes() for path in PROTO.glob("*_pb2.py*")}
    if check:
        differing = sorted(n for n in made.keys() | there.keys() if made.get(n) != there.get(n))
        if differing:
            print(f"make protos would change {', '.join(differing)}", file=sys.stderr)
        return 1 if differing else 0
    for name in there.keys() - made.keys():
        (PROTO / name).unlink()
    for name, content in made.items():
        (PROTO / name).write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
