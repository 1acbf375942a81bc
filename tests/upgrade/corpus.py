"""What earlier releases stored, read back from `tests/upgrade`."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from agentid.ledger.configmaps import segment_of

if TYPE_CHECKING:
    from agentid.ledger import StoredSegment

__all__ = ["CORPORA", "DIGESTS", "Corpus", "of_kind"]

_HERE: Final = Path(__file__).parent
_BEGIN, _END = "-----BEGIN PRIVATE KEY-----\n", "-----END PRIVATE KEY-----\n"
_LINE: Final = 64

DIGESTS: Final[dict[str, str]] = json.loads((_HERE / "digests.json").read_text())
"""By release; what was frozen once is never changed."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Corpus:
    """What one release stored.

    Attributes:
        release: Which.
    """

    release: str

    @property
    def folder(self) -> Path:
        """Where it is."""
        return _HERE / self.release

    @cached_property
    def at(self) -> datetime:
        """The moment at which it was stored."""
        return datetime.fromisoformat(self._json("about")["at"])

    @cached_property
    def objects(self) -> dict[str, Json]:
        """Objects of the API server by path, private keys included."""
        found: dict[str, Json] = self._json("objects")
        keys: dict[str, str] = self._json("keys")
        for body in found.values():
            if body.get("kind") == "Secret":
                body["data"] = {name: _with_key(text, keys) for name, text in body["data"].items()}
        return found

    @cached_property
    def ledger(self) -> dict[str, Json]:
        """What the ledger added up to, by serial."""
        found: dict[str, Json] = self._json("ledger")
        return found

    @cached_property
    def node(self) -> Json:
        """Files of the node plugin."""
        found: Json = self._json("node")
        return found

    @cached_property
    def crds(self) -> dict[str, Json]:
        """The definitions, by kind."""
        bodies = (yaml.safe_load(each.read_text()) for each in (self.folder / "crds").iterdir())
        return {body["spec"]["names"]["kind"]: body for body in bodies}

    @property
    def segments(self) -> list[StoredSegment]:
        """The ledger, as it is stored."""
        return [
            segment_of(body)
            for body in self.objects.values()
            if "agentid.dev/ledger" in body["metadata"].get("labels", {})
        ]

    def files(self, secret: str, namespace: str = "agentid-system") -> dict[str, bytes]:
        """The files in a Secret."""
        body = self.objects[f"/api/v1/namespaces/{namespace}/secrets/{secret}"]
        return {name: base64.b64decode(text) for name, text in body["data"].items()}

    def _json(self, name: str) -> Any:  # noqa: ANN401 - JSON
        return json.loads((self.folder / f"{name}.json").read_text())

    def __str__(self) -> str:
        """The release, as the id of a test."""
        return self.release


def _with_key(text: str, keys: dict[str, str]) -> str:
    if (der := keys.get(text)) is None:
        return text
    lines = "".join(f"{der[at : at + _LINE]}\n" for at in range(0, len(der), _LINE))
    return base64.b64encode(f"{_BEGIN}{lines}{_END}".encode()).decode()


def of_kind(corpus: Corpus, kind: str) -> dict[str, Json]:
    """The resources of a kind of ours, by name."""
    return {
        body["metadata"]["name"]: body
        for body in corpus.objects.values()
        if body.get("kind") == kind and body["apiVersion"].startswith("agentid.dev/")
    }


CORPORA: Final = tuple(Corpus(release) for release in sorted(DIGESTS))
"""All there are, oldest first."""
