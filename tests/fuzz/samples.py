"""Valid inputs of every parser; the mutations begin from them."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtensionOID, NameOID

from agentid.admission.mount import Mount
from agentid.api.vocabulary import DeliveryMode, Instances, Tier
from agentid.identity import SerialNumber
from agentid.identity.revocation import RevocationReason
from agentid.issuers.authority_set import RECORDS_FILE
from agentid.ledger import StoredSegment
from agentid.ledger.export import Exporter
from agentid.ledger.naming import segment_name
from agentid.ledger.records import encode_record
from agentid.ledger.segment import Cover, Head, Header, seal
from agentid.pki import KeyAlgorithm
from agentid.pki.authorization import AgentAuthorization, encode
from agentid.pki.authorized_policy import AuthorizedPolicy, AuthorizedSchedule
from agentid.pki.crl import crl_pem, make_crl
from agentid.pki.crl_entry import CrlEntry
from agentid.pki.jwk import base64url_octets
from agentid.pki.jwt_bundle import jwt_jwk
from agentid.pki.jwt_svid import JwtOrder, mint
from agentid.pki.keys import load_private_key, public_key_der, to_pkcs8_pem
from agentid.pki.spiffe_bundle import SpiffeBundle, encode_spiffe_bundle
from agentid.policy.grant import Grant
from agentid.policy.permissions import Permissions
from agentid.policy.schedule import Schedule
from agentid.testing.ca import NOON, ThrowawayCA
from agentid.testing.ledger import make_issued, make_revoked
from agentid.testing.publications import Published
from tests.support.asked import key, request_body
from tests.support.manifests import agent_class, identity, issuer
from tests.support.pod_requests import stub
from tests.support.reviewing import container, pod, review_of

__all__ = [
    "SEGMENT",
    "authority_records",
    "authorizations",
    "bundle_documents",
    "ca",
    "certificates",
    "chains",
    "classes",
    "crl_files",
    "crls",
    "csrs",
    "documents",
    "exports",
    "grants",
    "identities",
    "issuers",
    "jwks",
    "keys",
    "mount",
    "name_constraints",
    "names",
    "ocsp_requests",
    "public_keys",
    "published_bundles",
    "records",
    "responder_svid",
    "reviews",
    "segments",
    "spiffe_ids",
    "tls_chains",
    "token_texts",
    "tokens",
]

SEGMENT = segment_name("w", 2)
"""The name of the segment in `segments`."""


@cache
def ca() -> ThrowawayCA:
    """The CA of all certificates here."""
    return ThrowawayCA(seed="fuzz")


@cache
def certificates() -> tuple[bytes, ...]:
    """A leaf, an intermediate and a root."""
    made = ca()
    root = made.root.certificate.public_bytes(Encoding.DER)
    return (made.issue().leaf.der, made.authority.chain_der[0], root)


@cache
def chains() -> tuple[bytes, ...]:
    """Certificates in PEM."""
    return (ca().issue().leaf.chain_pem, ca().root.certificate_pem)


def _extension(oid: x509.ObjectIdentifier) -> tuple[bytes, ...]:
    return tuple(
        extension.value.public_bytes()
        for der in certificates()
        for extension in x509.load_der_x509_certificate(der).extensions
        if extension.oid == oid
    )


@cache
def names() -> tuple[bytes, ...]:
    """Values of subjectAltName."""
    return _extension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)


@cache
def name_constraints() -> tuple[bytes, ...]:
    """Values of nameConstraints."""
    return _extension(ExtensionOID.NAME_CONSTRAINTS)


@cache
def keys() -> tuple[bytes, ...]:
    """Private keys in PEM."""
    algorithms = (KeyAlgorithm.ECDSAP256, KeyAlgorithm.ED25519, KeyAlgorithm.MLDSA44)
    return tuple(to_pkcs8_pem(ca().key(f"fuzz-{one}", one)) for one in algorithms)


@cache
def public_keys() -> tuple[bytes, ...]:
    """Public keys in DER."""
    return tuple(public_key_der(load_private_key(pem).public_key()) for pem in keys())


@cache
def ocsp_requests() -> tuple[bytes, ...]:
    """Questions about one certificate, with a nonce and without."""
    leaf, issuing, _ = map(x509.load_der_x509_certificate, certificates())
    made: list[bytes] = []
    for algorithm in (hashes.SHA1(), hashes.SHA256()):
        builder = ocsp.OCSPRequestBuilder().add_certificate(leaf, issuing, algorithm)
        made.append(builder.build().public_bytes(Encoding.DER))
        builder = builder.add_extension(x509.OCSPNonce(b"n" * 32), critical=False)
        made.append(builder.build().public_bytes(Encoding.DER))
    return tuple(made)


@cache
def csrs() -> tuple[bytes, ...]:
    """Certificate signing requests in DER."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "whoever")])
    builder = x509.CertificateSigningRequestBuilder(name)
    wanted = x509.SubjectAlternativeName([x509.DNSName("example.org")])
    builder = builder.add_extension(wanted, critical=False)
    elliptic = ec.derive_private_key(7, ec.SECP256R1())
    edwards = ed25519.Ed25519PrivateKey.from_private_bytes(b"k" * 32)
    return (
        builder.sign(elliptic, hashes.SHA256()).public_bytes(Encoding.DER),
        builder.sign(edwards, None).public_bytes(Encoding.DER),
    )


@cache
def stubs() -> tuple[bytes, ...]:
    """Signing requests of kubelets, and what is none."""
    return (stub(key()), *csrs())


@cache
def requests() -> tuple[bytes, ...]:
    """PodCertificateRequests, one that waits and one that was answered."""
    answered = {
        "conditions": [{"type": "Issued", "lastTransitionTime": "2026-11-01T12:00:00Z"}],
        "certificateChain": ca().issue().leaf.chain_pem.decode(),
    }
    return (
        json.dumps(request_body()).encode(),
        json.dumps({**request_body(), "status": answered}).encode(),
    )


@cache
def bundle_documents() -> tuple[bytes, ...]:
    """SPIFFE bundle documents."""
    hint = timedelta(minutes=5)
    return (encode_spiffe_bundle(SpiffeBundle(ca().bundle, 7, hint)),)


@cache
def published_bundles() -> tuple[bytes, ...]:
    """The data of the ConfigMap of a bundle."""
    body = Published(ca()).bundle(federated={"other.example": {"keys": []}})
    return (json.dumps(body["data"]).encode(),)


@cache
def responder_svid() -> tuple[bytes, bytes]:
    """Chain and key of a responder."""
    return Published(ca()).svid()


@cache
def tls_chains() -> tuple[bytes, ...]:
    """The chain of a responder."""
    return (responder_svid()[0],)


@cache
def credentials() -> tuple[bytes, ...]:
    """What a pod finds in `credentials.pem`: key and chain."""
    made = ca().issue()
    return (to_pkcs8_pem(made.private_key) + made.leaf.chain_pem,)


def authority_records() -> tuple[bytes, ...]:
    """What an issuer keeps about its authorities."""
    return (ca().authority_set.files[RECORDS_FILE],)


@cache
def crl_files() -> tuple[bytes, ...]:
    """CRLs in PEM."""
    return tuple(crl_pem(der) for der in crls())


@cache
def crls() -> tuple[bytes, ...]:
    """A list of a shard, and one of everything."""
    entries = [
        CrlEntry(SerialNumber(7), NOON, RevocationReason.KEY_COMPROMISE),
        CrlEntry(SerialNumber(1 << 126), NOON),
    ]
    until, uri = NOON + timedelta(hours=1), "http://responder.example.org/crl/1.crl"
    return (
        make_crl(ca().authority, entries, 3, NOON, until, uri),
        make_crl(ca().authority, [], 4, NOON, until),
    )


_BERLIN = AuthorizedSchedule("Europe/Berlin", ((480, 1080), (1920, 2520)))
_POLICY = AuthorizedPolicy(("crm.contacts", "erp.*"), ("list", "read"), _BERLIN, ("gdpr",))


@cache
def authorizations() -> tuple[bytes, ...]:
    """The extension of ours, inline and by reference."""
    inline = AgentAuthorization.of(
        agent_class="assistant", tier="High", sponsor="finance@example.org", policy=_POLICY
    )
    uri = f"http://responder.example.org/policy/{inline.policy_hash.hex()}"
    reference = AgentAuthorization("assistant", "High", None, None, inline.policy_hash, uri)
    return (encode(inline), encode(reference))


@cache
def documents() -> tuple[bytes, ...]:
    """Policy documents."""
    return (_POLICY.document(agent_class="assistant", tier="High", sponsor=None),)


@cache
def grants() -> tuple[bytes, ...]:
    """Grants as the ledger keeps them."""
    grant = Grant(
        spiffe_id=ca().spiffe_id(),
        class_name="assistant",
        issuer_name="main",
        sponsor="finance@example.org",
        tier=Tier.HIGH,
        permissions=Permissions(("erp.*",), ("read",), Schedule("Europe/Berlin", 3 << 480), ()),
        lifetime=timedelta(hours=1),
        key_algorithm=KeyAlgorithm.ECDSAP256,
        delivery=DeliveryMode.SECRET,
        instances=Instances.SHARED,
        service_account="default",
        secret_name="reader-agentid",
        policy_oid="1.2.3",
        cps_uri="https://pki.example.org/cps",
        critical=False,
        ephemeral=False,
    )
    return (grant.to_json().encode(),)


@cache
def records() -> tuple[bytes, ...]:
    """Lines of the ledger."""
    return (encode_record(make_issued(1)), encode_record(make_revoked(1)))


@cache
def segments() -> tuple[bytes, ...]:
    """A segment with everything that a header can have."""
    digest = "0f" * 32
    header = Header(
        "w", 2, digest, NOON, (Head("u", 7, digest),), (Cover("v", 1, 3, None, digest, NOON),)
    )
    return (seal(header, records(), [make_revoked(1).serial]).data,)


@cache
def exports() -> tuple[bytes, ...]:
    """A ledger as a file."""
    out = io.BytesIO()
    exporter = Exporter(out.write, NOON)
    exporter.add(StoredSegment(SEGMENT, segments()[0], NOON))
    exporter.add(StoredSegment("stray", b"no segment"))
    exporter.end()
    return (out.getvalue(),)


def spiffe_ids() -> tuple[bytes, ...]:
    """SPIFFE IDs."""
    return (str(ca().spiffe_id()).encode(), b"spiffe://example.org/ns/a/agent/b/pod/c")


def identities() -> tuple[bytes, ...]:
    """AgentIdentities."""
    schedule = {
        "timeZone": "Europe/Berlin",
        "windows": [{"days": ["Mon"], "start": "08:00", "end": "18:00"}],
    }
    permissions = {"systems": ["erp.*"], "operations": ["read"], "schedule": schedule}
    body = identity("reader", "assistant", permissions=permissions)
    body["metadata"] |= {"namespace": "finance", "uid": "u-1", "generation": 1}
    return (json.dumps(body).encode(),)


def classes() -> tuple[bytes, ...]:
    """AgentClasses."""
    return (json.dumps(agent_class("assistant")).encode(),)


def issuers() -> tuple[bytes, ...]:
    """AgentIssuers."""
    return (json.dumps(issuer()).encode(),)


def mount() -> Mount:
    """What the pods in `reviews` get."""
    return Mount.of(Grant.from_json(grants()[0].decode()))


def reviews() -> tuple[bytes, ...]:
    """AdmissionReviews of pods, before and after."""
    mounted = {"name": "agentid", "mountPath": "/var/run/agentid", "readOnly": True}
    env = [{"name": "AGENTID_DIR", "value": "/var/run/agentid"}]
    bare = pod(
        annotations={"agentid.dev/containers": "agent"},
        initContainers=[container("init")],
        serviceAccountName="reader",
        volumes=[{"name": "data", "emptyDir": {}}],
    )
    whole = pod(containers=[container(volumeMounts=[mounted], env=env)], volumes=[mount().volume])
    return review_of(bare), review_of(whole)


def jwks() -> tuple[bytes, ...]:
    """Public keys that verify tokens, an elliptic one and one of RSA."""
    rsa = {"kty": "RSA", "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbU", "e": "AQAB"}
    return jwt_jwk(ca().jwt_signing_key.public_key).encode(), json.dumps(rsa).encode()


def tokens() -> tuple[bytes, ...]:
    """A JWT-SVID to the audience `api`."""
    order = JwtOrder(ca().spiffe_id(), ("api",), ca().now, timedelta(minutes=5), "id", "https://i")
    return (mint(order, ca().jwt_signing_key).token.encode(),)


def token_texts() -> tuple[bytes, ...]:
    """Header and payload of one, a line each."""
    header, payload, _ = tokens()[0].decode().split(".")
    lines = (base64url_octets(part, what="it") for part in (header, payload))
    return (b"\n".join(lines),)
