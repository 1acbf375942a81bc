"""What a pod holds, in each form that somebody reads it in.

Files are PEM, the Workload API is DER and SDS is PEM again; all are made from one `Material`, so
they never tell different things.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeAlias

import orjson
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from agentid.errors import InputError
from agentid.identity import SpiffeId, TrustDomain
from agentid.node.proto import workload_pb2
from agentid.pki import load_private_key
from agentid.pki.keys import public_key_der
from agentid.pki.load import read_certificates
from agentid.pki.pem import (
    MAX_BUNDLE_PEM_BYTES,
    MAX_CHAIN_PEM_BYTES,
    MAX_KEY_PEM_BYTES,
    read_blocks,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentid.node.issuer import X509Grant
    from agentid.pki import PrivateKey

__all__ = ["Ended", "Material", "Serving", "Starting", "State", "bundle_der"]

_MAX_CHAIN: Final = 8
_MAX_ROOTS: Final = 64
_BUNDLES: Final = 16
"""Bundles that are kept read, of up to 200 KiB each."""

MAX_CRL_PEM_BYTES: Final = 4 * 1024 * 1024
"""All shards of an issuer's CRL."""


@dataclass(frozen=True)
class Material:
    """A certificate with its key, what is trusted, and the bytes that say so.

    Attributes:
        spiffe_id: In the leaf.
        chain_pem: The leaf first.
        key_pem: PKCS#8, unencrypted.
        bundle_pem: The roots of the trust domain.
        federated: Roots in PEM, by the name of the foreign trust domain.
        crl_pem: All shards; None where the class has none.
        jwt_bundles: JWK Sets of keys for JWT-SVIDs, by the name of the trust domain.
        agent: `agent.json`.
        serial: Of the leaf, in lower-case hex.
    """

    spiffe_id: SpiffeId
    chain_pem: bytes = field(repr=False)
    key_pem: bytes = field(repr=False)
    bundle_pem: bytes = field(repr=False)
    federated: Mapping[str, bytes] = field(repr=False)
    crl_pem: bytes | None = field(repr=False)
    jwt_bundles: Mapping[str, bytes] = field(repr=False)
    agent: bytes = field(repr=False)
    serial: str

    @classmethod
    def of(cls, grant: X509Grant, key: PrivateKey, jwt_bundles: Mapping[str, bytes]) -> Material:
        """Put a grant and the key that it was asked for together.

        Raises:
            InputError: The certificate is for another key or another SPIFFE ID than the grant says,
                or a part does not parse.
        """
        key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return cls.read(
            spiffe_id=grant.spiffe_id,
            chain_pem=grant.chain_pem,
            key_pem=key_pem,
            bundle_pem=grant.bundle_pem,
            federated=dict(grant.federated),
            crl_pem=grant.crl_pem,
            jwt_bundles=dict(jwt_bundles),
            agent=orjson.dumps(dict(grant.agent), option=orjson.OPT_INDENT_2) + b"\n",
        )

    @classmethod
    def read(
        cls,
        *,
        spiffe_id: str,
        chain_pem: bytes,
        key_pem: bytes,
        bundle_pem: bytes,
        federated: Mapping[str, bytes],
        crl_pem: bytes | None,
        jwt_bundles: Mapping[str, bytes],
        agent: bytes,
    ) -> Material:
        """Take the parts, once they are seen to belong together.

        Raises:
            InputError: They do not, or one does not parse.
        """
        leaf = read_certificates(
            chain_pem, what="chain", limit=MAX_CHAIN_PEM_BYTES, most=_MAX_CHAIN
        )[0]
        key = load_private_key(key_pem, what="key")
        certified = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if certified != public_key_der(key.public_key()):
            msg = "the certificate that the issuer service returned is for another key"
            raise InputError(msg)
        _check_trust(bundle_pem, federated, crl_pem)
        return cls(
            spiffe_id=SpiffeId.parse(spiffe_id),
            chain_pem=chain_pem,
            key_pem=key_pem,
            bundle_pem=bundle_pem,
            federated=federated,
            crl_pem=crl_pem,
            jwt_bundles=jwt_bundles,
            agent=agent,
            serial=f"{leaf.serial_number:x}",
        )

    def with_trust(
        self,
        bundle_pem: bytes,
        federated: Mapping[str, bytes],
        crl_pem: bytes | None,
        jwt_bundles: Mapping[str, bytes],
    ) -> Material:
        """The same certificate beside other trust.

        Raises:
            InputError: A part does not parse.
        """
        _check_trust(bundle_pem, federated, crl_pem)
        return dataclasses.replace(
            self,
            bundle_pem=bundle_pem,
            federated=federated,
            crl_pem=crl_pem,
            jwt_bundles=jwt_bundles,
        )

    @cached_property
    def x509_svid_response(self) -> bytes:
        """The whole answer of FetchX509SVID, serialized."""
        chain = b"".join(
            block.der
            for block in read_blocks(self.chain_pem, what="chain", limit=MAX_CHAIN_PEM_BYTES)
        )
        (key,) = read_blocks(self.key_pem, what="key", limit=MAX_KEY_PEM_BYTES)
        svid = workload_pb2.X509SVID(
            spiffe_id=str(self.spiffe_id),
            x509_svid=chain,
            x509_svid_key=key.der,
            bundle=bundle_der(self.bundle_pem),
        )
        return workload_pb2.X509SVIDResponse(
            svids=[svid],
            crl=self._crl_der,
            federated_bundles={
                f"spiffe://{name}": bundle_der(pem) for name, pem in self.federated.items()
            },
        ).SerializeToString(deterministic=True)

    @cached_property
    def x509_bundles_response(self) -> bytes:
        """The whole answer of FetchX509Bundles, serialized."""
        bundles = {**self.federated, self.spiffe_id.trust_domain.name: self.bundle_pem}
        return workload_pb2.X509BundlesResponse(
            crl=self._crl_der,
            bundles={f"spiffe://{name}": bundle_der(pem) for name, pem in bundles.items()},
        ).SerializeToString(deterministic=True)

    @cached_property
    def jwt_bundles_response(self) -> bytes:
        """The whole answer of FetchJWTBundles, serialized."""
        return workload_pb2.JWTBundlesResponse(
            bundles={f"spiffe://{name}": jwks for name, jwks in self.jwt_bundles.items()}
        ).SerializeToString(deterministic=True)

    @cached_property
    def version(self) -> str:
        """A digest of all of it: the same for the same contents."""
        digest = hashlib.sha256(self.x509_svid_response + self.jwt_bundles_response)
        return digest.hexdigest()[:16]

    @property
    def _crl_der(self) -> tuple[bytes, ...]:
        return () if self.crl_pem is None else _crls(self.crl_pem)

    def files(self) -> dict[str, bytes]:
        """The files in the pod's mount, by name."""
        files = {
            "tls.crt": self.chain_pem,
            "tls.key": self.key_pem,
            "credentials.pem": self.key_pem + self.chain_pem,
            "ca.crt": self.bundle_pem,
            "agent.json": self.agent,
        }
        if self.crl_pem is not None:
            files["crl.pem"] = self.crl_pem
        return files


@dataclass(frozen=True, slots=True)
class Starting:
    """Nothing is there yet, and it is not known whether something will be."""


@dataclass(frozen=True, slots=True)
class Serving:
    """The pod has an identity."""

    material: Material


@dataclass(frozen=True, slots=True)
class Ended:
    """The pod may have no identity, or no more.

    Attributes:
        reason: CamelCase.
        message: A sentence.
    """

    reason: str
    message: str


State: TypeAlias = Starting | Serving | Ended
"""What a pod's socket serves."""


@functools.lru_cache(maxsize=_BUNDLES)
def bundle_der(pem: bytes) -> bytes:
    """Roots in PEM as DER, one after the other; nothing for nothing, which trusts nobody.

    The last ones are kept: all pods of a node see the same few.

    Raises:
        InputError: It holds something other than certificates.
    """
    if not pem.strip():
        return b""
    roots = read_certificates(pem, what="bundle", limit=MAX_BUNDLE_PEM_BYTES, most=_MAX_ROOTS)
    return b"".join(root.public_bytes(Encoding.DER) for root in roots)


def _check_trust(bundle_pem: bytes, federated: Mapping[str, bytes], crl_pem: bytes | None) -> None:
    bundle_der(bundle_pem)
    for foreign, roots in federated.items():
        TrustDomain.parse(foreign)
        bundle_der(roots)
    if crl_pem is not None:
        _crls(crl_pem)


def _crls(pem: bytes) -> tuple[bytes, ...]:
    blocks = read_blocks(pem, what="crl.pem", limit=MAX_CRL_PEM_BYTES)
    if any(block.label != "X509 CRL" for block in blocks):
        msg = "crl.pem: it holds something other than X509 CRL"
        raise InputError(msg)
    return tuple(block.der for block in blocks)
