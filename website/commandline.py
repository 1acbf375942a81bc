"""The page about the command line: what the commands say of themselves."""

from __future__ import annotations

import inspect
import re
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from typer.main import get_command

from agentid.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["commands", "render"]

_HEAD: Final = """\
# The command line

`agentid` and `kubectl agentid` are the same program: kubectl finds it as `kubectl-agentid` on PATH.
It asks the cluster of your kubeconfig, as you: what you may not do, it may not do. In a pod without
a kubeconfig it is the pod's ServiceAccount.

```
kubectl agentid list -A --expiring 10m          which agents' certificates end soon
kubectl agentid show invoice-reader             who it is, why this tier, why not Ready, what next
kubectl agentid explain -f agent.yaml           what would happen if this were applied
kubectl agentid init > agent.yaml               a manifest, out of a few questions
kubectl agentid renew -l team=invoicing --wait  other certificates now
kubectl agentid suspend invoice-reader          every certificate revoked at once, until resume
kubectl agentid revoke invoice-reader --reason keyCompromise
kubectl agentid doctor                          what is wrong here, and how to mend it
```

## Exit codes

| code | means |
|---|---|
| 0 | done, and the answer is yes where there is one |
| 1 | done, and the answer is no: not Ready, refused, nothing hit, a problem found, declined |
| 2 | could not be done: no cluster, no rights, bad input; one line says why and what to do next |

## What is printed

`-o table` is for people, `-o wide` has more columns or lines, `-o json` and `-o yaml` are for
programs, `-o name` for xargs and kubectl. Answers go to standard output, everything else to
standard error. Colours and progress bars are for terminals only; `NO_COLOR` takes colours away.

What cannot be taken back is asked before, on a terminal; elsewhere it needs `--yes`.

## Rights

| command | needs |
|---|---|
| `list`, `show` | ClusterRole `agentid-view`, which `view` includes |
| `renew` | `agentid-edit`, which `edit` includes |
| `suspend`, `resume` | `agentid-edit`, and `use` of the class |
| `explain` | `agentid-edit` for the API server's own answer; else it says that it has none |
| `init` | nothing but to be known |
| `revoke` | `agentid-security-officer` |
| `issuer show` | nothing but to be known |
| `issuer rotate`, `issuer distrust` | `patch` on AgentIssuers |
| `bundle`, `ledger` | to read ConfigMaps in the operator's namespace; `bundle -n` in another |
| `doctor` | to read all that it looks at; what it may not read it says |

## Completion

`source <(agentid completion bash)`, likewise for zsh; `agentid completion fish | source`.
`kubectl agentid` is completed where kubectl itself is, by `kubectl_complete-agentid` on PATH.
"""


def render() -> str:
    """The page, without the note that it is generated."""
    parts = [_HEAD]
    for path, command in commands(get_command(app), "agentid"):
        arguments = [each for each in command.params if each.param_type_name == "argument"]
        options = [
            each
            for each in command.params
            if each.param_type_name == "option" and "--help" not in each.opts
        ]
        usage = " ".join([path, *map(_argument, arguments), *(["[OPTIONS]"] if options else [])])
        parts.append(
            f"\n## {path}\n\n```\n{usage}\n```\n\n{inspect.cleandoc(command.help or '')}\n"
        )
        if arguments or options:
            parts.append("\n| | |\n|---|---|\n")
        parts += [f"| `{_argument(each)}` | {_cell(each.help)} |\n" for each in arguments]
        parts += [f"| {_names(each)} | {_cell(each.help)}{_extra(each)} |\n" for each in options]
    return "".join(parts)


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - typer's
    """Every command below one, with the words that run it."""
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name, child in children.items():
        yield from commands(child, f"{path} {name}")


def _argument(argument: Any) -> str:  # noqa: ANN401
    name = (argument.metavar or argument.name).upper()
    many = "..." if argument.nargs == -1 else ""
    return f"{name}{many}" if argument.required else f"[{name}]{many}"


def _names(option: Any) -> str:  # noqa: ANN401
    names = sorted([*option.opts, *option.secondary_opts], key=len)
    return ", ".join(f"`{each}`" for each in names)


def _extra(option: Any) -> str:  # noqa: ANN401
    said = []
    kind = option.type_descriptor.annotation
    if isinstance(kind, type) and issubclass(kind, Enum):
        choices = [str(each.value) for each in kind]
        said.append(f"One of {', '.join(f'`{each}`' for each in choices)}.")
    if option.required:
        said.append("Required.")
    elif option.name != "process" and option.default not in {None, False, ""}:
        default = getattr(option.default, "value", option.default)
        said.append(f"Default `{'yes' if default is True else default}`.")
    if option.envvar:
        said.append(f"Also by `{option.envvar}`.")
    return "".join(f" {each}" for each in said)


def _cell(text: str | None) -> str:
    return re.sub(r"([<*|])", r"\\\1", " ".join((text or "").split()))
