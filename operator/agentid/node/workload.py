"""The SPIFFE Workload API of one pod: X.509 and JWT profiles complete, no WIT profile.

Status codes: SPIFFE Workload API, and the profile in each method.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn, Protocol

import grpc
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.struct_pb2 import Struct

from agentid.errors import InputError, UnavailableError, VerificationError
from agentid.identity import SpiffeId
from agentid.node.issuer import RefusedError
from agentid.node.proto import workload_pb2
from agentid.node.rpc import Context, abort, parse, push, require

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agentid.node.issuer import JwtGrant
    from agentid.node.latest import Latest
    from agentid.node.material import Material, State
    from agentid.node.rpc import Door

__all__ = ["SECURITY_HEADER", "JwtClaims", "JwtValidator", "Source", "WorkloadApi"]

SECURITY_HEADER: Final = ("workload.spiffe.io", "true")
"""What each request carries (Workload Endpoint §4): a client that was tricked into calling a URL
of somebody else's cannot add it."""

MAX_AUDIENCES: Final = 16
MAX_AUDIENCE: Final = 512
"""Characters: a URL."""
MAX_TOKEN: Final = 16 * 1024
"""Octets of a token to be validated; verifiers behind HTTP headers take less."""


class Source(Protocol):
    """Where a pod's socket gets what it serves."""

    @property
    def state(self) -> Latest[State]:
        """What the pod holds."""

    async def jwt(self, audience: tuple[str, ...]) -> JwtGrant:
        """A JWT-SVID for the audience.

        Raises:
            RefusedError: The pod may not have one.
            UnavailableError: Nobody can issue it now.
        """


class JwtClaims(Protocol):
    """What a valid JWT-SVID says."""

    @property
    def spiffe_id(self) -> SpiffeId:
        """Its `sub`."""

    @property
    def claims(self) -> Mapping[str, object]:
        """All its claims."""


class JwtValidator(Protocol):
    """Checks a JWT-SVID against keys, by the name of the trust domain as a JWK Set each."""

    def __call__(self, token: str, audience: str, bundles: Mapping[str, bytes]) -> JwtClaims:
        """What it says.

        Raises:
            InputError: It is no JWT-SVID.
            VerificationError: It is not to be believed.
        """


class WorkloadApi:
    """The service on one pod's socket.

    The socket stands in the pod's own mount, so whoever can connect is the pod: nothing else is
    asked of a caller.
    """

    def __init__(self, source: Source, validate: JwtValidator) -> None:
        self._source = source
        self._validate = validate

    def handlers(self, door: Door) -> grpc.GenericRpcHandler:
        """The methods, for a server."""
        return grpc.method_handlers_generic_handler(
            "SpiffeWorkloadAPI",
            {
                "FetchX509SVID": door.stream("FetchX509SVID", self.fetch_x509_svid),
                "FetchX509Bundles": door.stream("FetchX509Bundles", self.fetch_x509_bundles),
                "FetchJWTSVID": door.unary("FetchJWTSVID", self.fetch_jwt_svid),
                "FetchJWTBundles": door.stream("FetchJWTBundles", self.fetch_jwt_bundles),
                "ValidateJWTSVID": door.unary("ValidateJWTSVID", self.validate_jwt_svid),
            },
        )

    async def fetch_x509_svid(self, request: bytes, context: Context) -> None:
        """X.509 profile: SVID, key and bundles, anew whenever one changes."""
        await _guard(context)
        await parse(context, workload_pb2.X509SVIDRequest, request)
        await push(context, self._source.state, _x509_svid)

    async def fetch_x509_bundles(self, request: bytes, context: Context) -> None:
        """X.509 profile: what is trusted, anew whenever it changes."""
        await _guard(context)
        await parse(context, workload_pb2.X509BundlesRequest, request)
        await push(context, self._source.state, _x509_bundles)

    async def fetch_jwt_bundles(self, request: bytes, context: Context) -> None:
        """JWT profile: the keys, anew whenever they change."""
        await _guard(context)
        await parse(context, workload_pb2.JWTBundlesRequest, request)
        await push(context, self._source.state, _jwt_bundles)

    async def fetch_jwt_svid(self, request: bytes, context: Context) -> bytes:
        """JWT profile: a token for an audience."""
        await _guard(context)
        wanted = await parse(context, workload_pb2.JWTSVIDRequest, request)
        audience = tuple(dict.fromkeys(wanted.audience))
        if not audience or not all(audience):
            await _invalid(context, "audience is empty; name who the token is for")
        if len(audience) > MAX_AUDIENCES or max(map(len, audience)) > MAX_AUDIENCE:
            await _invalid(
                context,
                f"audience is longer than {MAX_AUDIENCES} names of {MAX_AUDIENCE} characters",
            )
        material = await require(context, self._source.state.value)
        if wanted.spiffe_id:
            await self._same(context, wanted.spiffe_id, material)
        try:
            grant = await self._source.jwt(audience)
        except RefusedError as error:
            await abort(context, grpc.StatusCode.PERMISSION_DENIED, str(error))
        except UnavailableError as error:
            await abort(context, grpc.StatusCode.UNAVAILABLE, str(error))
        svid = workload_pb2.JWTSVID(spiffe_id=grant.spiffe_id, svid=grant.token)
        return workload_pb2.JWTSVIDResponse(svids=[svid]).SerializeToString()

    async def validate_jwt_svid(self, request: bytes, context: Context) -> bytes:
        """JWT profile: whether a token holds for an audience, by the keys of FetchJWTBundles."""
        await _guard(context)
        asked = await parse(context, workload_pb2.ValidateJWTSVIDRequest, request)
        if not asked.audience:
            await _invalid(context, "audience is empty; name whom the token has to be for")
        if not asked.svid:
            await _invalid(context, "svid is empty; give the token")
        if len(asked.svid) > MAX_TOKEN:
            await _invalid(context, f"svid is longer than {MAX_TOKEN} octets")
        material = await require(context, self._source.state.value)
        try:
            valid = self._validate(asked.svid, asked.audience, material.jwt_bundles)
        except (InputError, VerificationError) as error:
            await _invalid(context, str(error))
        try:
            claims = ParseDict(dict(valid.claims), Struct())
        except ParseError as error:
            await _invalid(context, f"its claims cannot be told: {error}")
        return workload_pb2.ValidateJWTSVIDResponse(
            spiffe_id=str(valid.spiffe_id), claims=claims
        ).SerializeToString()

    async def _same(self, context: Context, wanted: str, material: Material) -> None:
        try:
            same = SpiffeId.parse(wanted) == material.spiffe_id
        except InputError as error:
            await _invalid(context, str(error))
        if not same:
            await abort(
                context,
                grpc.StatusCode.PERMISSION_DENIED,
                f"this pod is {material.spiffe_id} and nobody else",
            )


def _x509_svid(material: Material) -> bytes:
    return material.x509_svid_response


def _x509_bundles(material: Material) -> bytes:
    return material.x509_bundles_response


def _jwt_bundles(material: Material) -> bytes:
    return material.jwt_bundles_response


async def _guard(context: Context) -> None:
    for key, value in context.invocation_metadata() or ():
        if (key, value) == SECURITY_HEADER:
            return
    await _invalid(context, "the security header is missing: send workload.spiffe.io: true")


async def _invalid(context: Context, message: str) -> NoReturn:
    await abort(context, grpc.StatusCode.INVALID_ARGUMENT, message)
