"""Envoy's Secret Discovery Service on a pod's socket, with the names that SPIFFE users know.

| name | secret |
|---|---|
| `default`, the pod's SPIFFE ID | certificate and key |
| `ROOTCA`, `spiffe://<trust domain>` | the roots of the pod's trust domain |
| `ROOTCA-CRL` | the same, with the CRLs of the issuer |
| `spiffe://<foreign trust domain>` | the roots of a federated one |
| `ALL` | the roots of each trust domain, for Envoy's SPIFFE validator |

The CRLs have a name of their own, since an Envoy that has some refuses each leaf that they do not
cover: every leaf of an ephemeral class.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import grpc
import structlog
from google.protobuf.any_pb2 import Any as AnyMessage

from agentid.node.material import Ended
from agentid.node.proto import discovery_pb2, secret_pb2
from agentid.node.rpc import Context, abort, parse, require, send

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from agentid.node.material import Material
    from agentid.node.rpc import Door
    from agentid.node.workload import Source

__all__ = ["SECRET_TYPE", "SecretDiscovery", "secrets_of"]

_log = structlog.stdlib.get_logger(__name__)

SECRET_TYPE: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"  # noqa: S105
"""The only type of resource."""

_VALIDATOR: Final = "envoy.tls.cert_validator.spiffe"
_MAX_NAMES: Final = 64


class SecretDiscovery:
    """The service on one pod's socket."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def handlers(self, door: Door) -> grpc.GenericRpcHandler:
        """The methods, for a server."""
        return grpc.method_handlers_generic_handler(
            "envoy.service.secret.v3.SecretDiscoveryService",
            {
                "StreamSecrets": door.two_way("StreamSecrets", self.stream_secrets),
                "FetchSecrets": door.unary("FetchSecrets", self.fetch_secrets),
            },
        )

    async def fetch_secrets(self, request: bytes, context: Context) -> bytes:
        """One answer to one request."""
        asked = await _request(context, request)
        material = await require(context, self._source.state.value)
        return await _response(context, material, asked.resource_names, "0")

    async def stream_secrets(self, incoming: AsyncIterator[bytes], context: Context) -> None:
        """Secrets by the names last asked for, anew whenever one changes.

        A request acknowledges the answer whose nonce it carries, or refuses it (`error_detail`);
        what was refused is not sent again until it is another. One with an older nonce is passed
        over. An answer is due to the first request, to one that asks for other names, and when
        what the pod holds changes.
        """
        stream = _Stream()
        reading = asyncio.create_task(self._read(incoming, context, stream), name="sds requests")
        state = self._source.state
        try:
            while True:
                version = state.version
                await self._answer(context, stream)
                changed = asyncio.ensure_future(state.after(version))
                asked = asyncio.ensure_future(stream.asked.wait())
                try:
                    await asyncio.wait(
                        (changed, asked, reading), return_when=asyncio.FIRST_COMPLETED
                    )
                finally:
                    changed.cancel()
                    asked.cancel()
                if reading.done():
                    reading.result()
                    return
        finally:
            reading.cancel()

    async def _answer(self, context: Context, stream: _Stream) -> None:
        if isinstance(self._source.state.value, Ended):
            await require(context, self._source.state.value)
        if stream.names is None:
            return
        material = await require(context, self._source.state.value)
        new = stream.asked.is_set()
        stream.asked.clear()
        if not new and stream.sent == material.version:
            return
        stream.sent = material.version
        stream.number += 1
        message = await _response(context, material, stream.names, str(stream.number))
        await send(context, message, self._source.state)

    async def _read(
        self, incoming: AsyncIterator[bytes], context: Context, stream: _Stream
    ) -> None:
        async for data in incoming:
            asked = await _request(context, data)
            names = tuple(asked.resource_names)
            if asked.response_nonce and asked.response_nonce != str(stream.number):
                continue  # answers something that has been replaced since
            if asked.response_nonce and asked.HasField("error_detail"):
                _log.warning(
                    "secrets_refused_by_proxy", names=list(names[:4]),
                    error=asked.error_detail.message[:300],
                )  # fmt: skip
            if names != stream.names:
                stream.names = names
                stream.asked.set()


@dataclass(slots=True)
class _Stream:
    names: tuple[str, ...] | None
    asked: asyncio.Event
    sent: str
    number: int

    def __init__(self) -> None:
        self.names = None
        self.asked = asyncio.Event()
        self.sent = ""
        self.number = 0


async def _request(context: Context, data: bytes) -> discovery_pb2.DiscoveryRequest:
    asked = await parse(context, discovery_pb2.DiscoveryRequest, data)
    if asked.type_url not in {"", SECRET_TYPE}:
        await abort(
            context,
            grpc.StatusCode.INVALID_ARGUMENT,
            f"type_url is not {SECRET_TYPE}; there is nothing else here",
        )
    if len(asked.resource_names) > _MAX_NAMES:
        await abort(
            context, grpc.StatusCode.INVALID_ARGUMENT, f"more than {_MAX_NAMES} resource_names"
        )
    return asked


async def _response(
    context: Context, material: Material, names: Iterable[str], nonce: str
) -> bytes:
    secrets, unknown = secrets_of(material, names)
    if unknown is not None:
        await abort(
            context,
            grpc.StatusCode.INVALID_ARGUMENT,
            f"no secret is named {unknown[:256]!r}; there are default, ROOTCA, ALL, "
            f"{material.spiffe_id} and the SPIFFE IDs of its trust domains",
        )
    resources = []
    for secret in secrets:
        packed = AnyMessage()
        packed.Pack(secret)
        resources.append(packed)
    return discovery_pb2.DiscoveryResponse(
        version_info=material.version, resources=resources, type_url=SECRET_TYPE, nonce=nonce
    ).SerializeToString()


def secrets_of(
    material: Material, names: Iterable[str]
) -> tuple[list[secret_pb2.Secret], str | None]:
    """The secrets of these names, of no names all that have a SPIFFE ID; and one that is not there.

    Each has the name by which it was asked for: Envoy looks for no other.
    """
    identity = str(material.spiffe_id)
    domain = material.spiffe_id.trust_domain.id_string
    foreign = {f"spiffe://{name}": pem for name, pem in material.federated.items()}
    secrets: list[secret_pb2.Secret] = []
    for name in tuple(names) or (identity, domain, *foreign):
        if name in {"default", identity}:
            secrets.append(_certificate(name, material))
        elif name in {"ROOTCA", domain}:
            secrets.append(_roots(name, material.bundle_pem, None))
        elif name == "ROOTCA-CRL" and material.crl_pem is not None:
            secrets.append(_roots(name, material.bundle_pem, material.crl_pem))
        elif name == "ALL":
            secrets.append(_validator(name, material))
        elif name in foreign:
            secrets.append(_roots(name, foreign[name], None))
        else:
            return [], name
    return secrets, None


def _certificate(name: str, material: Material) -> secret_pb2.Secret:
    return secret_pb2.Secret(
        name=name,
        tls_certificate=secret_pb2.TlsCertificate(
            certificate_chain=_inline(material.chain_pem), private_key=_inline(material.key_pem)
        ),
    )


def _roots(name: str, pem: bytes, crl_pem: bytes | None) -> secret_pb2.Secret:
    context = secret_pb2.CertificateValidationContext(trusted_ca=_inline(pem))
    if crl_pem is not None:
        # The CRLs are those of issuing authorities; a root's own is not among them.
        context.crl.CopyFrom(_inline(crl_pem))
        context.only_verify_leaf_cert_crl = True
    return secret_pb2.Secret(name=name, validation_context=context)


def _validator(name: str, material: Material) -> secret_pb2.Secret:
    bundles = {material.spiffe_id.trust_domain.name: material.bundle_pem, **material.federated}
    config = secret_pb2.SPIFFECertValidatorConfig(
        trust_domains=[
            secret_pb2.SPIFFECertValidatorConfig.TrustDomain(name=domain, trust_bundle=_inline(pem))
            for domain, pem in bundles.items()
        ]
    )
    packed = AnyMessage()
    packed.Pack(config)
    extension = secret_pb2.TypedExtensionConfig(name=_VALIDATOR, typed_config=packed)
    return secret_pb2.Secret(
        name=name,
        validation_context=secret_pb2.CertificateValidationContext(
            custom_validator_config=extension
        ),
    )


def _inline(data: bytes) -> secret_pb2.DataSource:
    return secret_pb2.DataSource(inline_bytes=data)
