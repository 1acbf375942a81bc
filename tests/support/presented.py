"""Agents as files: chain, key, bundle and CRLs, as programs of others read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Unpack

from cryptography import x509

from agentid.identity import RevocationReason, SerialNumber
from agentid.pki import Authority, KeyAlgorithm, LocalSigner, to_pkcs8_pem
from agentid.pki.authorization import AgentAuthorization, AuthorizedPolicy
from agentid.pki.crl import CrlEntry, crl_pem, make_crl
from agentid.pki.oids import class_policy_oid
from agentid.testing.ca import ThrowawayCA

if TYPE_CHECKING:
    from pathlib import Path

    from agentid.testing.ca import Issued, LeafOptions

__all__ = ["BASE", "TRUST_DOMAIN", "Presented"]

TRUST_DOMAIN: Final = "agents.example.org"
BASE: Final = "http://responder.example.org"
SHARDS: Final = 3
_HOUR: Final = timedelta(hours=1)


class Presented:
    """A trust domain whose agents and lists lie in a folder; valid now.

    `ca.crt` is the bundle; `crl.pem` holds all shards and the list of the root, `leaves.pem` the
    shards alone. Every agent NAME has `NAME.crt`, its chain, and `NAME.key`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        algorithm: KeyAlgorithm = KeyAlgorithm.ECDSAP256,
        trust_domain: str = TRUST_DOMAIN,
        seed: str = "",
    ) -> None:
        """Make the authorities, and lists on which nothing stands."""
        self.folder = folder
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.ca = ThrowawayCA(trust_domain, algorithm=algorithm, now=self.now, seed=seed)
        self._number = 0
        folder.mkdir(exist_ok=True)
        (folder / "ca.crt").write_bytes(self.ca.bundle.pem)
        self.publish()

    def agent(
        self,
        name: str,
        *,
        shard: int = 0,
        algorithm: KeyAlgorithm | None = None,
        **options: Unpack[LeafOptions],
    ) -> Issued:
        """Issue a certificate with everything in it that may be in one, and write its files."""
        default: LeafOptions = {
            "policy_oid": class_policy_oid("assistant"),
            "cps_uri": "https://pki.example.org/cps",
            "crl_uri": self.uri(shard),
            "ocsp_uri": f"{BASE}/ocsp",
            "ca_issuers_uri": f"{BASE}/ca/0011223344556677.crt",
            "authorization": AgentAuthorization.of(
                agent_class="assistant",
                tier="Low",
                sponsor="finance@example.org",
                policy=AuthorizedPolicy(("erp.invoices",), ("read",)),
                base_uri=BASE,
            ),
        }
        wanted: LeafOptions = {**default, **options}
        made = self.ca.issue(self.ca.profile(name, key_algorithm=algorithm, **wanted))
        (self.folder / f"{name}.crt").write_bytes(made.leaf.chain_pem)
        (self.folder / f"{name}.key").write_bytes(to_pkcs8_pem(made.private_key))
        return made

    def spiffe_id(self, name: str) -> str:
        """The SPIFFE ID of an agent."""
        return str(self.ca.spiffe_id(name))

    @staticmethod
    def uri(shard: int) -> str:
        """Where a shard is found."""
        return f"{BASE}/crl/0011223344556677/{shard}.crl"

    def publish(
        self, *revoked: Issued, intermediate: bool = False, age: timedelta = timedelta(0)
    ) -> None:
        """Write the lists anew, with these on them.

        Args:
            revoked: Agents.
            intermediate: Whether the intermediate stands on the list of its root.
            age: How long ago they were signed, for an hour.
        """
        self._number += 1
        at = self.now - age
        by_shard: dict[int, list[CrlEntry]] = {shard: [] for shard in range(SHARDS)}
        for each in revoked:
            entry = CrlEntry(each.leaf.serial, at, RevocationReason.KEY_COMPROMISE)
            (shard,) = (shard for shard in by_shard if self.uri(shard) == _point(each))
            by_shard[shard].append(entry)
        shards = [
            make_crl(self.ca.authority, entries, self._number, at, at + _HOUR, self.uri(shard))
            for shard, entries in by_shard.items()
        ]
        root = self.ca.root.certificate
        above = Authority(
            self.ca.trust_domain, (root,), root, LocalSigner(self.ca.root.private_key)
        )
        number = SerialNumber(self.ca.intermediate.certificate.serial_number)
        entries = [CrlEntry(number, at, RevocationReason.CA_COMPROMISE)] if intermediate else []
        leaves = b"".join(map(crl_pem, shards))
        top = crl_pem(make_crl(above, entries, self._number, at, at + _HOUR))
        for name, content in (("leaves.pem", leaves), ("crl.pem", leaves + top)):
            fresh = self.folder / f"{name}.tmp"
            fresh.write_bytes(content)
            fresh.replace(self.folder / name)


def _point(issued: Issued) -> str:
    points = issued.leaf.certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints)
    names = points.value[0].full_name or []
    return str(names[0].value)
