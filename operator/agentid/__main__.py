"""`python -m agentid` is the `agentid` command, and so is `agentid` wherever it is installed.

The package without its extra `operator` is what agents have, for `agentid.workload`; the command
says so there.
"""

from __future__ import annotations

import sys
from importlib import import_module

__all__ = ["complete", "main"]


def main() -> None:
    """Run the command."""
    _call("main")


def complete() -> None:
    """Tell kubectl what a line may go on with."""
    _call("complete")


def _call(name: str) -> None:
    try:
        cli = import_module("agentid.cli")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "agentid":
            raise
        sys.exit(
            f"agentid: the command needs {error.name}, which is not installed; "
            "install the extra: pip install 'agentid[operator]'"
        )
    getattr(cli, name)()


if __name__ == "__main__":
    main()
