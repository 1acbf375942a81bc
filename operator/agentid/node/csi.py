"""The Container Storage Interface, as the kubelet speaks it to an ephemeral driver.

Identity and node service of CSI 1.13, and the kubelet's registration of plugins. What is not
offered is answered by grpcio with Unimplemented.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

import grpc
import structlog
from google.protobuf.message import Message

from agentid.errors import AgentIdError, InputError, UnavailableError
from agentid.node.issuer import RefusedError
from agentid.node.proto import csi_pb2, registration_pb2
from agentid.node.rpc import Context, abort, parse, unary_method
from agentid.node.volume import DRIVER_NAME, MAX_VOLUME_ID, read_order, read_target

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from agentid.node.driver import Driver
    from agentid.node.rpc import Unary

__all__ = ["CsiServices", "Registration", "serve"]

_log = structlog.stdlib.get_logger(__name__)

M = TypeVar("M", bound=Message)

_MAX_REQUEST: Final = 1024 * 1024
"""Octets: a volume context with the tokens of several audiences takes some 10 KiB."""


class CsiServices:
    """Identity and node service.

    Attributes:
        ready: Whether volumes can be published.
        running: What keeps them current, once that has begun.
    """

    def __init__(self, driver: Driver, targets: Path, node: str, version: str) -> None:
        """Take the parts.

        Args:
            driver: Does the work.
            targets: The folder below which every target lies.
            node: Name of the node.
            version: Of this program.
        """
        self._driver = driver
        self._targets = targets
        self._node = node
        self._version = version
        self.ready = False
        self.running: asyncio.Future[None] | None = None

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """The methods, for a server."""
        return (
            grpc.method_handlers_generic_handler(
                "csi.v1.Identity",
                {
                    "GetPluginInfo": _method(csi_pb2.GetPluginInfoRequest, self.plugin_info),
                    "GetPluginCapabilities": _method(
                        csi_pb2.GetPluginCapabilitiesRequest, self.plugin_capabilities
                    ),
                    "Probe": _method(csi_pb2.ProbeRequest, self.probe),
                },
            ),
            grpc.method_handlers_generic_handler(
                "csi.v1.Node",
                {
                    "NodePublishVolume": _method(csi_pb2.NodePublishVolumeRequest, self.publish),
                    "NodeUnpublishVolume": _method(
                        csi_pb2.NodeUnpublishVolumeRequest, self.unpublish
                    ),
                    "NodeGetCapabilities": _method(
                        csi_pb2.NodeGetCapabilitiesRequest, self.node_capabilities
                    ),
                    "NodeGetInfo": _method(csi_pb2.NodeGetInfoRequest, self.node_info),
                },
            ),
        )

    async def plugin_info(self, _: csi_pb2.GetPluginInfoRequest) -> Message:
        """Who this is."""
        return csi_pb2.GetPluginInfoResponse(name=DRIVER_NAME, vendor_version=self._version)

    async def plugin_capabilities(self, _: csi_pb2.GetPluginCapabilitiesRequest) -> Message:
        """No controller service, no topology."""
        return csi_pb2.GetPluginCapabilitiesResponse()

    async def probe(self, _: csi_pb2.ProbeRequest) -> Message:
        """Whether volumes can be published."""
        response = csi_pb2.ProbeResponse()
        response.ready.value = self.ready
        return response

    async def node_info(self, _: csi_pb2.NodeGetInfoRequest) -> Message:
        """Which node this is."""
        return csi_pb2.NodeGetInfoResponse(node_id=self._node)

    async def node_capabilities(self, _: csi_pb2.NodeGetCapabilitiesRequest) -> Message:
        """Files get the pod's fsGroup here: the kubelet could not write to what it is shown."""
        kind = csi_pb2.NodeServiceCapability.RPC.VOLUME_MOUNT_GROUP
        rpc = csi_pb2.NodeServiceCapability.RPC(type=kind)
        return csi_pb2.NodeGetCapabilitiesResponse(
            capabilities=[csi_pb2.NodeServiceCapability(rpc=rpc)]
        )

    async def publish(self, request: csi_pb2.NodePublishVolumeRequest) -> Message:
        """Give a pod its identity."""
        await self._driver.publish(read_order(request, self._targets))
        return csi_pb2.NodePublishVolumeResponse()

    async def unpublish(self, request: csi_pb2.NodeUnpublishVolumeRequest) -> Message:
        """Take it away, whatever of it is there."""
        if not 0 < len(request.volume_id) <= MAX_VOLUME_ID:
            msg = f"volume_id: it has {len(request.volume_id)} characters"
            raise InputError(msg)
        target = read_target(request.target_path, self._targets)
        await self._driver.unpublish(request.volume_id, target)
        return csi_pb2.NodeUnpublishVolumeResponse()


class Registration:
    """How the kubelet learns of the driver."""

    def __init__(self, endpoint: Path) -> None:
        self._endpoint = endpoint
        self.registered = asyncio.Event()

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """The methods, for a server."""
        return (
            grpc.method_handlers_generic_handler(
                "pluginregistration.Registration",
                {
                    "GetInfo": _method(registration_pb2.InfoRequest, self.info),
                    "NotifyRegistrationStatus": _method(
                        registration_pb2.RegistrationStatus, self.told
                    ),
                },
            ),
        )

    async def info(self, _: registration_pb2.InfoRequest) -> Message:
        """Where the driver listens."""
        return registration_pb2.PluginInfo(
            type="CSIPlugin",
            name=DRIVER_NAME,
            endpoint=str(self._endpoint),
            supported_versions=["1.0.0"],
        )

    async def told(self, status: registration_pb2.RegistrationStatus) -> Message:
        """The kubelet's word on it."""
        if status.plugin_registered:
            self.registered.set()
            _log.info("plugin_registered", driver=DRIVER_NAME)
        else:
            self.registered.clear()
            _log.error("plugin_not_registered", driver=DRIVER_NAME, error=status.error)
        return registration_pb2.RegistrationStatusResponse()


async def serve(path: Path, handlers: tuple[grpc.GenericRpcHandler, ...]) -> grpc.aio.Server:
    """Serve at this socket, for root of the node alone."""
    _make_room(path)
    server = grpc.aio.server(
        handlers=handlers, options=(("grpc.max_receive_message_length", _MAX_REQUEST),)
    )
    server.add_insecure_port(f"unix:{path}")
    _close_to_others(path)
    await server.start()
    return server


def _make_room(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)


def _close_to_others(path: Path) -> None:
    path.chmod(0o600)


def _method(
    kind: type[M], work: Callable[[M], Awaitable[Message]]
) -> grpc.RpcMethodHandler[bytes, bytes]:
    async def method(data: bytes, context: Context) -> bytes:
        request = await parse(context, kind, data)
        try:
            response = await work(request)
        except AgentIdError as error:
            _log.warning("request_failed", method=kind.DESCRIPTOR.name, error=str(error))
            await abort(context, _code(error), str(error))
        return response.SerializeToString()

    handler: Unary = method
    return unary_method(handler)


def _code(error: AgentIdError) -> grpc.StatusCode:
    """The status by which the kubelet reports it in an event of the pod, with the message."""
    match error:
        case InputError():
            return grpc.StatusCode.INVALID_ARGUMENT
        case RefusedError():
            return grpc.StatusCode.PERMISSION_DENIED
        case UnavailableError():
            return grpc.StatusCode.UNAVAILABLE
        case _:
            return grpc.StatusCode.INTERNAL
