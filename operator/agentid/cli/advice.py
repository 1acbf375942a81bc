"""What a person can do about an error of the API server; pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from agentid.errors import (
    AgentIdError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["in_one_line", "next_step"]

_NO_KIND: Final = ("could not find the requested resource", "404 page not found")
"""What the API server says where a whole kind is missing, and not one object."""

_ELSEWHERE: Final = re.compile(
    r"no connection to the API server|is this a Kubernetes API server|: 3\d\d "
)
_PASSING: Final = re.compile(r": no answer within|: 429 |: 5\d\d ")
"""What messages of `kube.failures` hold that tell of the API server's own trouble."""

_LOG_IN: Final = (
    "the API server does not know you: your token or certificate has expired or is of another "
    "cluster; log in again (kubectl auth whoami tells who you are)"
)
_INSTALL: Final = (
    "this cluster does not serve what was asked for: agentid is not installed, or in another "
    "version; install its CRDs (agentid crds | kubectl apply --server-side -f -), and look with: "
    "agentid doctor"
)
_CHOOSE: Final = (
    "is the cluster up, and is it the one you mean? kubectl config view --minify tells which; "
    "--context and --kubeconfig choose another"
)

_ROLES: Final[Mapping[str, str]] = {
    "agentidentities": "agentid-view or agentid-edit, which view and edit include",
    "agentrevocations": "agentid-security-officer",
    "agentclasses": "agentid-catalogue-view",
    "agentissuers": "agentid-catalogue-view",
    "configmaps": "one that may read ConfigMaps in the operator's namespace",
}


def in_one_line(error: AgentIdError) -> str:
    """The error and the next step, without a line break."""
    said, step = " ".join(str(error).split()), next_step(error)
    return f"{said}; {step}" if step else said


def next_step(error: AgentIdError) -> str:
    """What to do next; empty where the message says so itself."""
    said = str(error)
    match error:
        case ForbiddenError(status=401):
            step = _LOG_IN
        case ForbiddenError():
            step = _ask_for_a_role(said)
        case NotFoundError() if any(each in said for each in _NO_KIND):
            step = _INSTALL
        case NotFoundError():
            step = "look for it with kubectl get; is it in another namespace (-n, -A)?"
        case ConflictError():
            step = "somebody else changed it meanwhile; try again"
        case UnavailableError() if _ELSEWHERE.search(said):
            step = _CHOOSE
        case UnavailableError() if _PASSING.search(said):
            step = "try again; kubectl get --raw /readyz tells how the API server is"
        case _:
            step = ""
    return step


def _ask_for_a_role(said: str) -> str:
    if "cannot" not in said:
        return ""  # an admission policy, whose message tells what to do
    resource = next((name for name in _ROLES if name in said), None)
    role = "" if resource is None else f" such as {_ROLES[resource]}"
    return f"ask whoever runs the cluster for a role that allows it{role}"
