"""Agents as pods see themselves: directories with key, chain and bundle, exchanged under them."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.serialization import Encoding

from agentid.identity import SpiffeId
from agentid.pki import KeyAlgorithm, prepare, sign, to_pkcs8_pem
from agentid.testing.ca import ThrowawayCA
from tests.support.mounted import write_together

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from agentid.testing.ca import LeafParts

__all__ = ["TRUST_DOMAIN", "Domain", "as_secret", "write_each", "write_together"]

TRUST_DOMAIN: Final = "agents.example.org"

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Made:
    """What one certificate consists of, PEM."""

    key: bytes
    chain: bytes


class Domain:
    """A trust domain whose authorities change; certificates are valid now.

    Attributes:
        roots: Those that are believed, each with what is below it; the last one signs.
    """

    def __init__(self, folder: Path, trust_domain: str = TRUST_DOMAIN, seed: str = "first") -> None:
        """Make a first root."""
        self.folder = folder
        self.trust_domain = trust_domain
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.roots = [self.authority(seed)]

    def authority(self, seed: str) -> ThrowawayCA:
        """Another root, which nobody believes yet."""
        return ThrowawayCA(
            self.trust_domain, algorithm=KeyAlgorithm.ECDSAP256, now=self.now, seed=seed
        )

    @property
    def bundle(self) -> bytes:
        """The roots that are believed."""
        return b"".join(each.bundle.pem for each in self.roots)

    def spiffe_id(self, name: str) -> str:
        """The SPIFFE ID of an agent in the namespace finance."""
        return str(self.roots[-1].spiffe_id(name))

    def issue(
        self,
        name: str,
        *,
        by: ThrowawayCA | None = None,
        lifetime: timedelta = timedelta(hours=1),
        pod: str | None = None,
        algorithm: KeyAlgorithm | None = None,
    ) -> Made:
        """A certificate with a key of its own."""
        ca = by or self.roots[-1]
        profile = ca.profile(name, lifetime=lifetime, key_algorithm=algorithm)
        if pod is not None:
            spiffe_id = SpiffeId.for_agent(ca.trust_domain, "finance", name, pod_uid=pod)
            profile = replace(profile, spiffe_id=spiffe_id)
        key = ca.key(f"{name} {next(_numbers)}", algorithm)
        leaf = sign(prepare(profile, key.public_key(), ca.authority, ca.serial()), ca.authority)
        return Made(to_pkcs8_pem(key), leaf.chain_pem)

    def tweaked(self, name: str, tweak: Callable[[LeafParts], object]) -> Made:
        """A certificate with a defect, signed all the same."""
        ca = self.roots[-1]
        profile = ca.profile(name)
        certificate = ca.issue_tweaked(tweak, profile)
        key = ca.key(str(profile.spiffe_id))
        chain = certificate.public_bytes(Encoding.PEM) + ca.intermediate.certificate_pem
        return Made(to_pkcs8_pem(key), chain)

    def files(self, made: Made) -> dict[str, bytes]:
        """As in a podCertificate volume: a credential bundle, and the same in two files."""
        return {
            "credentials.pem": made.key + made.chain,
            "tls.key": made.key,
            "tls.crt": made.chain,
            "ca.crt": self.bundle,
        }

    def agent(self, name: str, made: Made | None = None, *, place: str | None = None) -> Path:
        """Write the files of an agent, or renew them all at once, and tell where they are."""
        folder = self.folder / (place or name)
        write_together(folder, self.files(made or self.issue(name)))
        return folder


def as_secret(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """What of it a Secret has."""
    return {name: content for name, content in files.items() if name != "credentials.pem"}


def write_each(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files one after the other where they stand, as nobody should."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
