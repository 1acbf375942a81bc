"""What the tests of GitOps tools share: the cluster with an issuer, and a recorder of states."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.controller.conftest import api, make_class, running
from tests.support.gitopsview import CUSTOMIZATIONS, argo_health, flux_health, kstatus

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["api", "make_class", "running"]

Judge = "Callable[..., None]"


@pytest.fixture
def judged(tmp_path: Path) -> Callable[..., None]:
    """Asks Argo CD and Flux what they make of an object, and says what they should.

    With GITOPS_RECORD=1 in the environment the object is written to the test data of its kind; not
    one that is being deleted, of which Argo CD asks no script.
    """

    def judge(name: str, body: dict[str, Any], argo: str, flux: str, shipped: str = "") -> None:
        (found,) = argo_health(body)
        assert (name, found.status) == (name, argo), found.message
        (told,) = kstatus(body)
        assert (name, told.status) == (name, flux), told.message
        if body["kind"] == "AgentIdentity":
            (chosen,) = flux_health(tmp_path, body)
            assert (name, chosen.status) == (name, shipped or flux)
        if os.environ.get("GITOPS_RECORD") and "deletionTimestamp" not in body["metadata"]:
            _record(name, body)

    return judge


def _record(name: str, body: dict[str, Any]) -> None:
    """Keep an object as the API server held it, without what says nothing about its health."""
    metadata = {key: each for key, each in body["metadata"].items() if key != "managedFields"}
    text = yaml.safe_dump({**body, "metadata": metadata}, sort_keys=False, width=100)
    namespace = metadata.get("namespace")
    if namespace:
        text = text.replace(namespace, "finance")
    (CUSTOMIZATIONS / body["kind"] / "testdata" / f"{name}.yaml").write_text(text)
