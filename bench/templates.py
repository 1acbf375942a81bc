"""Any resource that has a Ready condition, as a file with placeholders."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from string import Template as Text
from typing import TYPE_CHECKING, Final, Protocol

import orjson
import yaml

from agentid.errors import NotFoundError
from agentid.kube.resources import Resource
from e2e.errors import E2EError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from agentid.kube.objects import JsonObject

__all__ = ["Discovery", "Template", "all_known", "is_ready"]

_LOOK: Final = 0.2
"""Seconds between two looks for kinds that were defined a moment ago."""


class Discovery(Protocol):
    """What tells which kinds there are: an API server, by `agentid.kube.client.Client`."""

    async def get_raw(self, path: str) -> bytes:
        """Return the body of any path."""


@dataclass(frozen=True, slots=True)
class Template:
    """One kind of object to create many of.

    Attributes:
        name: What it is called in the report: that of its file.
        text: A manifest in YAML; `${NAME}`, `${NAMESPACE}` and `${INDEX}` stand for themselves.
    """

    name: str
    text: str

    @classmethod
    def read(cls, path: Path) -> Template:
        """Read a template.

        Raises:
            E2EError: There is no such file.
        """
        try:
            return cls(path.stem, path.read_text(encoding="utf-8"))
        except OSError as error:
            msg = f"--template {path}: cannot be read ({error.strerror})"
            raise E2EError(msg) from error

    def body(self, namespace: str, index: int, prefix: str = "bench") -> JsonObject:
        """Return one object.

        Raises:
            E2EError: The file is no manifest, or holds a placeholder that is not known.
        """
        values = {"NAME": f"{prefix}-{index}", "NAMESPACE": namespace, "INDEX": str(index)}
        try:
            body = yaml.safe_load(Text(self.text).substitute(values))
        except (yaml.YAMLError, KeyError, ValueError) as error:
            msg = (
                f"template {self.name}: {error}; allowed are ${{NAME}}, ${{NAMESPACE}}, ${{INDEX}}"
            )
            raise E2EError(msg) from error
        if not isinstance(body, dict) or not {"apiVersion", "kind", "metadata"} <= body.keys():
            msg = f"template {self.name}: no manifest of one object"
            raise E2EError(msg)
        return body

    async def resource(self, client: Discovery) -> Resource:
        """Ask the API server how the template's kind is spelled in paths.

        Raises:
            E2EError: It knows no such kind.
        """
        body = self.body("any", 0)
        group, _, version = str(body["apiVersion"]).rpartition("/")
        root = f"/apis/{group}/{version}" if group else f"/api/{version}"
        try:
            served = orjson.loads(await client.get_raw(root))["resources"]
        except NotFoundError:
            served = []
        for each in served:
            if each["kind"] == body["kind"] and "/" not in each["name"]:
                return Resource(group, version, each["name"], each["kind"], each["namespaced"])
        msg = (
            f"template {self.name}: the cluster knows no {body['kind']} in {body['apiVersion']}; "
            "install what defines it first"
        )
        raise E2EError(msg)


async def all_known(client: Discovery, templates: Sequence[Template], seconds: float) -> None:
    """Wait until the cluster knows the kind of each template.

    Args:
        client: Who knows.
        templates: What is to be measured.
        seconds: How long to wait: a kind is served a moment after it was defined.

    Raises:
        E2EError: It does not know one of them, or the file is no manifest.
    """
    deadline = time.monotonic() + seconds
    for template in templates:
        template.body("any", 0)  # what is no manifest does not become one
        while True:
            try:
                await template.resource(client)
            except E2EError:
                if time.monotonic() >= deadline:
                    raise
                await asyncio.sleep(_LOOK)
            else:
                break


def is_ready(body: Mapping[str, object], condition: str = "Ready") -> bool:
    """Whether an object has this condition, and it is true."""
    status = body.get("status")
    conditions = status.get("conditions") if isinstance(status, dict) else None
    return any(each["type"] == condition and each["status"] == "True" for each in conditions or ())
