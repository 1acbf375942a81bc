"""`python -m e2e up|down|status|image|test-go`: what `make cluster-up` and its like call."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from e2e import toolchain
from e2e.errors import E2EError
from e2e.image import IMAGE, image, load, node_of, unpacked_size
from e2e.progress import say
from e2e.providers import DevCluster, provider


def main() -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m e2e", description=__doc__)
    parser.add_argument("command", choices=["up", "down", "status", "image", "test-go"])
    parser.add_argument("--dir", type=Path, default=Path(os.environ.get("CLUSTER_DIR", ".cluster")))
    parser.add_argument("--fsync", action="store_true", help="durable storage, for benchmarks")
    parser.add_argument("--node", action="store_true", help="with a real kubelet (root)")
    parser.add_argument(
        "--install-packages", action="store_true", help="the Debian packages that a node lacks"
    )
    args = parser.parse_args()
    try:
        if args.command == "up":
            cluster = provider(args.dir).up(
                fsync=args.fsync, node=args.node, install_packages=args.install_packages
            )
            say(f"The cluster answers. Talk to it:  export KUBECONFIG={cluster.kubeconfig}")
            say("End it:  make cluster-down")
        elif args.command == "down":
            say(provider(args.dir).down())
        elif args.command == "test-go":
            toolchain.check()
        elif args.command == "image":
            _image(args.dir)
        else:
            say(DevCluster(args.dir).run("status"))
    except E2EError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _image(cluster: Path) -> None:
    """Build the image, put it into `dist`, and give it to the cluster's node if there is one."""
    built = image()
    dist = Path("dist")
    dist.mkdir(exist_ok=True)
    name = IMAGE.rpartition("/")[2].replace(":", "-")
    for path in (built.archive, built.sbom):
        shutil.copy(path, dist / path.name.replace("agentid", name))
    size = unpacked_size(built) / 1e6
    say(f"{IMAGE}, {size:.0f} MB, is in dist/{name}.tar, with its SBOM beside it")
    if node_of(cluster) is not None:
        load(built, cluster)
        say(f"The node of {cluster} has it: imagePullPolicy Never or IfNotPresent")


if __name__ == "__main__":
    sys.exit(main())
