"""`make run`: the operator in the foreground, as its own ServiceAccount."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from e2e.errors import E2EError
from e2e.install import NAMESPACE, SERVICE_ACCOUNT, install, operator_environment, samples
from e2e.progress import say
from e2e.providers import provider


def main() -> NoReturn:
    """Install what the operator needs, and become the operator."""
    try:
        cluster = provider(Path(os.environ.get("CLUSTER_DIR", ".cluster"))).up()
        say("Installing CRDs, RBAC, policies, and the sample issuer and classes")
        install(cluster)
        samples(cluster, "issuer", "classes")
        environment = operator_environment(cluster)
    except E2EError as error:
        sys.exit(str(error))
    say(f"Running the operator as {NAMESPACE}/{SERVICE_ACCOUNT}; Ctrl-C ends it")
    say(f"Talk to the cluster:  export KUBECONFIG={cluster.kubeconfig}")
    command = [sys.executable, "-m", "agentid", "operator", "--probe-host", "127.0.0.1"]
    os.execve(sys.executable, command, environment)  # noqa: S606 - becomes the operator itself


if __name__ == "__main__":
    main()
