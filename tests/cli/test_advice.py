"""Every error of the API server comes with a next step, in one line."""

from __future__ import annotations

import pytest

from agentid.cli.advice import in_one_line
from agentid.errors import AgentIdError, InputError, InternalError
from agentid.kube.failures import Call, from_answer, from_transport

CALL = Call("list", "agentidentities", "a")


def answer(code: int, reason: str, message: str) -> AgentIdError:
    """The error for an answer of the API server."""
    body = f'{{"kind":"Status","reason":"{reason}","message":"{message}"}}'
    return from_answer(CALL, code, {}, body.encode())


@pytest.mark.parametrize(
    ("error", "step"),
    [
        pytest.param(answer(401, "Unauthorized", "Unauthorized"), "log in again", id="401"),
        pytest.param(
            answer(403, "Forbidden", "User x cannot list resource agentidentities"),
            "ask whoever runs the cluster for a role that allows it such as agentid-view",
            id="rbac",
        ),
        pytest.param(
            answer(403, "Forbidden", "spec.className: x may not use it; ask its owner"),
            "may not use it; ask its owner", id="policy",
        ),
        pytest.param(
            answer(404, "NotFound", "the server could not find the requested resource"),
            "install its CRDs", id="no-kind",
        ),
        pytest.param(
            from_answer(CALL, 404, {}, b"404 page not found\n"), "install its CRDs", id="no-group",
        ),
        pytest.param(
            answer(404, "NotFound", "agentidentities x not found"), "another namespace", id="404",
        ),
        pytest.param(answer(409, "Conflict", "changed"), "try again", id="409"),
        pytest.param(answer(429, "", "slow down"), "kubectl get --raw /readyz", id="429"),
        pytest.param(answer(503, "", "away"), "kubectl get --raw /readyz", id="503"),
        pytest.param(
            from_transport(CALL, TimeoutError(), seconds=20), "kubectl get --raw /readyz",
            id="silent",
        ),
        pytest.param(
            from_answer(CALL, 302, {}, b"<html>log in</html>"), "--kubeconfig choose", id="page",
        ),
    ],
)  # fmt: skip
def test_each_has_a_next_step(error: AgentIdError, step: str) -> None:
    """What to do, behind what happened."""
    assert step in in_one_line(error)


@pytest.mark.parametrize(
    "error",
    [InputError("a: b; write c"), answer(422, "Invalid", "spec.x: wrong"), InternalError("x")],
)
def test_what_says_so_itself_is_left_alone(error: AgentIdError) -> None:
    """No advice is better than a wrong one."""
    assert in_one_line(error) == str(error)


def test_many_lines_become_one() -> None:
    """A parser's picture of a fault takes several."""
    assert in_one_line(InputError("a\n  b\n\tc")) == "a b c"
