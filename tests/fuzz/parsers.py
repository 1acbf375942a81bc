"""Every parser of bytes that come from outside, each a row. A new one is one more row."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

from agentid.admission.mounting import mount_into
from agentid.admission.pod import Pod
from agentid.admission.review import read_review
from agentid.api.agentclass import AgentClass
from agentid.api.agentidentity import AgentIdentity
from agentid.api.agentissuer import AgentIssuer
from agentid.api.duration import parse_duration
from agentid.errors import InputError, VerificationError
from agentid.identity import SerialNumber, SpiffeId, TrustDomain
from agentid.issuers.authority_records import Records
from agentid.issuers.authority_set import RECORDS_FILE, load_set
from agentid.issuing.keys import read_keys
from agentid.issuing.tokens import read_token
from agentid.issuing.wire import read_jwt_request, read_x509_request
from agentid.ledger.export import read_export
from agentid.ledger.reading import decode, inspect
from agentid.ledger.records import decode_record
from agentid.node.state import read_state
from agentid.pki import authorization
from agentid.pki.authorized_policy import read_document
from agentid.pki.crl_view import read_crl
from agentid.pki.csr import read_csr
from agentid.pki.describe import describe
from agentid.pki.jwk import read_jws_key
from agentid.pki.jws import sign_jws
from agentid.pki.jwt_bundle import JwtBundle, JwtVerificationKey
from agentid.pki.jwt_validation import validate
from agentid.pki.keys import load_private_key, load_public_key
from agentid.pki.load import load_authority, read_certificates
from agentid.pki.name_constraints import general_names, read_constraints
from agentid.pki.ocsp_request import parse_request
from agentid.pki.path import PathCertificate
from agentid.pki.pem import read_blocks
from agentid.pki.spiffe_bundle import decode_spiffe_bundle
from agentid.pki.view import read_certificate
from agentid.policy.grant import Grant
from agentid.responder.bundles import read_published_bundle
from agentid.responder.crl import CrlKey, read_served_crl
from agentid.responder.inventory.agents import agent_of
from agentid.responder.inventory.authorities import issuer_of
from agentid.responder.inventory.questions import Question, read_query
from agentid.serving.certificates import read_tls_identity
from agentid.signer.request import PodCertificateRequest
from agentid.signer.stub import read_stub
from agentid.verify import BundleSet, Verifier
from agentid.verify.bundles import read_bundle
from agentid.verify.revocation import read_crls
from agentid.workload.credentials import read_credentials, svid_of
from agentid.workload.files import Files
from tests.fuzz import node_samples, samples
from tests.fuzz.mutations import (
    changed_der,
    changed_json,
    changed_lines,
    changed_pem,
    changed_raw,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fuzz.mutations import Change

__all__ = ["PARSERS", "Parser"]


def _as_it_is(data: bytes) -> bytes:
    return data


@dataclass(frozen=True)
class Parser:
    """A parser and what to try it with.

    Attributes:
        name: Of the test.
        parse: Takes bytes; returns, or raises `error` and nothing else.
        samples: Makes inputs that it accepts; they are what is changed.
        change: Makes one change to an input, by what it is: DER, PEM, JSON, lines of JSON.
        fix: Puts a digest or the like right again, so that what is behind it is reached.
        error: What it may raise; None for one that raises nothing.
    """

    name: str
    parse: Callable[[bytes], object]
    samples: Callable[[], tuple[bytes, ...]]
    change: Change = changed_raw
    fix: Callable[[bytes], bytes] = _as_it_is
    error: type[Exception] | None = InputError


def _workload_files(file: str) -> Callable[[bytes], object]:
    """A reader of a pod's files, with the other one as it should be."""

    def parse(data: bytes) -> object:
        (good,), bundle = samples.credentials(), samples.ca().bundle.pem
        is_bundle = file == "ca.crt"
        files = Files("credentials.pem", good if is_bundle else data, data if is_bundle else bundle)
        return read_credentials(files)

    return parse


def _authority(file: str) -> Parser:
    """The row of one of an authority's files, with all others as they should be."""

    def parse(data: bytes) -> object:
        ca = samples.ca()
        files = {**ca.files, file: data}
        return load_authority(
            chain_pem=files["issuing.crt"],
            key_pem=files["issuing.key"],
            root_pem=files["root.crt"],
            trust_domain=ca.trust_domain,
            now=ca.now,
        )

    return Parser(f"authority-{file}", parse, lambda: (samples.ca().files[file],), changed_pem)


def _authority_set(records: bytes) -> object:
    kept = samples.ca().authority_set
    return load_set({**kept.files, RECORDS_FILE: records}, kept.trust_domain)


def _verified(data: bytes) -> object:
    ca = samples.ca()
    return Verifier(BundleSet([ca.bundle])).verify(data, at=ca.now)


def _jwt_svid(data: bytes) -> object:
    ca = samples.ca()
    key = ca.jwt_signing_key
    known = {key.kid: JwtVerificationKey(key.public_key, None)}
    bundles = {ca.trust_domain: JwtBundle(ca.trust_domain, known)}
    return validate(data.decode(errors="surrogateescape"), bundles, "api", ca.now)


def _jwt_signed(data: bytes) -> object:
    """A token of this header and payload, one a line, whose signature is good."""
    header, _, payload = data.partition(b"\n")
    token = sign_jws(header or b"-", payload or b"-", samples.ca().jwt_signing_key.signer)
    return _jwt_svid(token.encode())


def _text(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    """A parser of text, given bytes as the command line would hand them on."""
    return lambda data: parse(data.decode(errors="surrogateescape"))


def _object(parse: Callable[[dict[str, object]], object]) -> Callable[[bytes], object]:
    """A parser of JSON objects, given what is JSON and an object."""

    def parse_object(data: bytes) -> object:
        try:
            body = json.loads(data)
        except (ValueError, RecursionError):
            return None
        return parse(body) if isinstance(body, dict) else None

    return parse_object


def _resealed(data: bytes) -> bytes:
    """A segment whose seal fits, and an export whose end does."""
    for seal in (rb'\{"sha256":"', rb'\{"end":\{"segments":\d+,"sha256":"'):
        for found in reversed(list(re.finditer(seal + rb"[0-9a-f]*", data))):
            digest = sha256(data[: found.start()]).hexdigest().encode()
            key = re.match(seal, found.group())
            if key is not None:
                data = data[: found.start()] + key.group() + digest + data[found.end() :]
    return data


def _served_crl(data: bytes) -> object:
    key = CrlKey(samples.ca().authority.key_id[:8].hex(), "0")
    return read_served_crl("builtin", key, data, timedelta(seconds=30))


def _published_bundle(data: bytes) -> object:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(str(error)) from error
    texts = body if isinstance(body, dict) else {}
    return read_published_bundle(
        "builtin", {name: text for name, text in texts.items() if isinstance(text, str)}
    )


def _tls_identity(data: bytes) -> object:
    _, key = samples.responder_svid()
    return read_tls_identity("builtin", data, key, svid=True)


def _review(data: bytes) -> object:
    """A review and the pod in it, with what would be mounted."""
    review = read_review(data)
    pod = Pod.of(review.pod)
    return mount_into(pod, samples.mount(), "finance/reader")


def _part(body: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(body).encode()).rstrip(b"=").decode()


_TOKENS = tuple(
    f"{_part({'alg': alg, 'kid': 'one'})}.{_part({'iss': 'x', 'aud': ['y']})}.AAAA".encode()
    for alg in ("RS256", "ES256")
)
_JWK = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
_KEYS = json.dumps({"keys": [{**_JWK, "kid": "one", "use": "sig", "alg": "ES256"}]}).encode()
_X509_REQUEST = b'{"items":[{"podToken":"a.b.c","csr":"AAAA"}]}'
_JWT_REQUEST = b'{"podToken":"a.b.c","audience":["spiffe://example.org/db"]}'


PARSERS = (
    # Certificates and keys
    Parser("certificate", read_certificate, samples.certificates, changed_der),
    Parser(
        "path-certificate",
        lambda data: PathCertificate.parse(data, what="leaf"),
        samples.certificates,
        changed_der,
    ),
    Parser("peer", svid_of, lambda: samples.certificates()[:1], changed_der),
    Parser(
        "workload-credentials",
        _workload_files("credentials.pem"),
        samples.credentials,
        changed_pem,
    ),
    Parser(
        "workload-bundle",
        _workload_files("ca.crt"),
        lambda: (samples.ca().bundle.pem,),
        changed_pem,
    ),
    Parser("describe-der", describe, samples.certificates, changed_der),
    Parser("describe-pem", describe, samples.chains, changed_pem),
    Parser(
        "pem", lambda data: read_blocks(data, what="x", limit=9999), samples.chains, changed_pem
    ),
    Parser(
        "chain",
        lambda data: read_certificates(data, what="x", limit=9999, most=3),
        samples.chains,
        changed_pem,
    ),
    Parser(
        "general-names",
        lambda data: general_names(data, what="x"),
        samples.names,
        changed_der,
    ),
    Parser("name-constraints", read_constraints, samples.name_constraints, changed_der),
    Parser("authorization", authorization.decode, samples.authorizations, changed_der),
    Parser("policy-document", read_document, samples.documents, changed_json),
    Parser("private-key", load_private_key, samples.keys, changed_pem),
    Parser("public-key", load_public_key, samples.public_keys, changed_der),
    _authority("issuing.crt"),
    _authority("issuing.key"),
    _authority("root.crt"),
    Parser("csr", read_csr, samples.csrs, changed_der),
    Parser("pod-certificate-stub", read_stub, samples.stubs, changed_der, error=None),
    Parser(
        "pod-certificate-request",
        _object(PodCertificateRequest.parse),
        samples.requests,
        changed_json,
    ),
    Parser("jwk", _object(read_jws_key), samples.jwks, changed_json),
    Parser("jwt-svid", _jwt_svid, samples.tokens, error=VerificationError),
    Parser(
        "jwt-svid-claims",
        _jwt_signed,
        samples.token_texts,
        changed_lines,
        error=VerificationError,
    ),
    # Trust
    Parser(
        "bundle-document",
        lambda data: decode_spiffe_bundle(data, samples.ca().trust_domain),
        samples.bundle_documents,
        changed_json,
    ),
    Parser(
        "bundle",
        lambda data: read_bundle(data, samples.ca().trust_domain),
        lambda: (*samples.bundle_documents(), samples.ca().root.certificate_pem),
        changed_json,
    ),
    Parser("authority-records", Records.decode, samples.authority_records, changed_json),
    Parser("authority-set", _authority_set, samples.authority_records, changed_json),
    Parser(
        "chain-to-verify",
        _verified,
        lambda: samples.chains()[:1],
        changed_pem,
        error=VerificationError,
    ),
    # Revocation
    Parser("crl-file", read_crls, samples.crl_files, changed_pem),
    Parser("crl", read_crl, samples.crls, changed_der),
    Parser("ocsp-request", parse_request, samples.ocsp_requests, changed_der),
    # What the responder serves
    Parser("served-crl", _served_crl, samples.crls, changed_der),
    Parser("published-bundle", _published_bundle, samples.published_bundles, changed_json),
    Parser("tls-identity", _tls_identity, samples.tls_chains, changed_pem),
    Parser("inventory-agent", _object(agent_of), samples.identities, changed_json),
    Parser("inventory-issuer", _object(issuer_of), samples.issuers, changed_json),
    Parser(
        "inventory-query",
        _text(lambda text: Question.of(read_query(text))),
        lambda: (b"q=reader&namespace=demo&tier=Low&sort=name&order=desc&page=2",),
    ),
    # What is sent to the webhook
    Parser("admission-review", _review, samples.reviews, changed_json),
    # The node plugin
    Parser("node-state", read_state, node_samples.states, changed_json),
    Parser("csi-publish", node_samples.publish, node_samples.orders),
    # The ledger
    Parser("record", decode_record, samples.records, changed_json),
    Parser(
        "segment",
        lambda data: decode(samples.SEGMENT, data),
        samples.segments,
        changed_lines,
        _resealed,
    ),
    Parser(
        "segment-of-anything",
        lambda data: inspect(samples.SEGMENT, data),
        samples.segments,
        changed_lines,
        _resealed,
        error=None,
    ),
    Parser(
        "export",
        lambda data: list(read_export(io.BytesIO(data))),
        samples.exports,
        changed_lines,
        _resealed,
    ),
    Parser("grant", _text(Grant.from_json), samples.grants, changed_json),
    # Resources and names
    Parser("account-token", _text(read_token), lambda: _TOKENS),
    Parser("account-keys", read_keys, lambda: (_KEYS,), changed_json),
    Parser("x509-request", read_x509_request, lambda: (_X509_REQUEST,), changed_json),
    Parser("jwt-request", read_jwt_request, lambda: (_JWT_REQUEST,), changed_json),
    Parser("agent-identity", _object(AgentIdentity.parse), samples.identities, changed_json),
    Parser("agent-class", _object(AgentClass.parse), samples.classes, changed_json),
    Parser("agent-issuer", _object(AgentIssuer.parse), samples.issuers, changed_json),
    Parser("spiffe-id", _text(SpiffeId.parse), samples.spiffe_ids),
    Parser("trust-domain", _text(TrustDomain.parse), lambda: (b"example.org",)),
    Parser("serial", _text(SerialNumber.parse), lambda: (b"4a0f", b"01")),
    Parser("duration", _text(parse_duration), lambda: (b"1h30m", b"45m", b"90s")),
)
