"""Envoys that have certificates and trust from an agent's socket, by SDS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["agent_socket", "backend", "bootstrap", "downstream", "listener", "upstream"]

Json = dict[str, Any]

TLS: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
FILTERS: Final = "type.googleapis.com/envoy.extensions.filters"
HTTP: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def _address(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}


def _tls(kind: str, peers: str, peer: str | None = None, **more: object) -> Json:
    """Certificate and trust by SDS from the cluster `agent_socket`.

    Args:
        kind: `DownstreamTlsContext` or `UpstreamTlsContext`.
        peers: The secret with which peers are validated.
        peer: The one SPIFFE ID that a peer may have; by default any that is valid.
        more: What else the context says.
    """
    source = {
        "resource_api_version": "V3",
        "api_config_source": {
            "api_type": "GRPC",
            "transport_api_version": "V3",
            "grpc_services": [{"envoy_grpc": {"cluster_name": "agent_socket"}}],
        },
    }
    trust = {"validation_context_sds_secret_config": {"name": peers, "sds_config": source}}
    if peer is not None:
        match = {"san_type": "URI", "matcher": {"exact": peer}}
        listed = {"default_validation_context": {"match_typed_subject_alt_names": [match]}}
        trust = {"combined_validation_context": {**listed, **trust}}
    own = [{"name": "default", "sds_config": source}]
    common = {"tls_certificate_sds_secret_configs": own, **trust}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {"@type": f"{TLS}.{kind}", "common_tls_context": common, **more},
    }


def downstream(peers: str, peer: str | None = None) -> Json:
    """What a listener asks of its callers; no session is resumed, as nobody is verified then."""
    return _tls(
        "DownstreamTlsContext", peers, peer, require_client_certificate=True,
        disable_stateless_session_resumption=True, disable_stateful_session_resumption=True,
    )  # fmt: skip


def upstream(peers: str, peer: str | None = None) -> Json:
    """What a cluster asks of its server, likewise."""
    return _tls("UpstreamTlsContext", peers, peer, max_session_keys=0)


def listener(
    port: int, route: Json, headers: Mapping[str, str], *, host: str = "127.0.0.1", **chain: object
) -> Json:
    """HTTP on a port, where no connection serves more than three requests.

    Args:
        port: The port.
        route: What is done with each request.
        headers: Of each answer, as Envoy's access log has its formats.
        host: The address to listen on.
        chain: What else its filter chain says.
    """
    manager = f"{FILTERS}.network.http_connection_manager.v3.HttpConnectionManager"
    router = {"@type": f"{FILTERS}.http.router.v3.Router"}
    told = [{"header": {"key": key, "value": value}} for key, value in headers.items()]
    everything = {
        "name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **route}],
        "response_headers_to_add": told,
    }  # fmt: skip
    connections = {
        "@type": manager,
        "stat_prefix": "test",
        "common_http_protocol_options": {"max_requests_per_connection": 3},
        "http_filters": [{"name": "router", "typed_config": router}],
        "route_config": {"virtual_hosts": [everything]},
    }
    filters = [{"name": "http", "typed_config": connections}]
    return {
        "name": str(port), "address": _address(host, port),
        "filter_chains": [{"filters": filters, **chain}],
    }  # fmt: skip


def agent_socket(path: str) -> Json:
    """The cluster of an agent's socket, spoken to in HTTP/2."""
    http2 = {
        "@type": f"type.googleapis.com/{HTTP}",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    endpoint = {"endpoint": {"address": {"pipe": {"path": path}}}}
    return {
        "name": "agent_socket",
        "connect_timeout": "2s",
        "typed_extension_protocol_options": {HTTP: http2},
        "load_assignment": {
            "cluster_name": "agent_socket", "endpoints": [{"lb_endpoints": [endpoint]}]
        },
    }  # fmt: skip


def backend(name: str, host: str, port: int, transport: Json) -> Json:
    """The cluster of a server at one address."""
    endpoint = {"endpoint": {"address": _address(host, port)}}
    return {
        "name": name,
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "transport_socket": transport,
    }


def bootstrap(name: str, *resources: Json) -> Json:
    """What an Envoy is started with: its name, listeners and clusters."""
    return {
        "node": {"id": name, "cluster": "test"},
        "static_resources": {
            "listeners": [each for each in resources if "address" in each],
            "clusters": [each for each in resources if "address" not in each],
        },
    }
