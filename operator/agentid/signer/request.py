"""A PodCertificateRequest as the API server tells it, read within bounds."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from agentid.api.fields import parse_time
from agentid.errors import InputError
from agentid.identity.quoting import quoted
from agentid.kube.objects import ObjectKey, metadata_of, resource_version_of, uid_of
from agentid.pki.pem import read_blocks

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Answer", "AnswerType", "PodCertificateRequest"]

MAX_STUB_BYTES: Final = 10 * 1024
"""Of the stub CSR in DER, as the API server has it (MaxStubPKCS10RequestSize)."""

_MAX_STUB_TEXT: Final = (MAX_STUB_BYTES + 2) // 3 * 4

MAX_CHAIN_BYTES: Final = 100 * 1024
"""Of the chain in PEM, as the API server has it (MaxCertificateChainSize)."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class AnswerType(StrEnum):
    """The condition that ends a request, spelled as the API spells it."""

    ISSUED = "Issued"
    DENIED = "Denied"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Answer:
    """How a request was answered, for good.

    Attributes:
        type: The condition.
        time: When, by the clock of who answered.
        reason: Why, in one word.
        message: Why, in sentences.
        fingerprint: SHA-256 of the issued certificate, lower-case hexadecimal; empty if there is
            none.
    """

    type: AnswerType
    time: datetime
    reason: str
    message: str
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class PodCertificateRequest:
    """What a kubelet asks, or somebody who says so: nothing of it is believed here.

    Attributes:
        key: Namespace and name of the request; the pod is in the same namespace.
        uid: Of the request.
        version: Its resourceVersion, for the answer.
        created: When it was made, in whole seconds.
        pod_name: The pod that it says it is for.
        pod_uid: UID of that pod.
        service_account: Name of the ServiceAccount that it says the pod runs as.
        service_account_uid: UID of that.
        node_name: The node that it says the pod is on.
        node_uid: UID of that.
        max_lifetime: From notBefore to notAfter at most.
        stub: The certificate signing request in DER.
        annotations: What the author of the pod wrote into its volume.
        answer: How it was answered, None while it waits.
    """

    key: ObjectKey
    uid: str
    version: str
    created: datetime
    pod_name: str
    pod_uid: str
    service_account: str
    service_account_uid: str
    node_name: str
    node_uid: str
    max_lifetime: timedelta
    stub: bytes
    annotations: Mapping[str, str]
    answer: Answer | None = None

    @classmethod
    def parse(cls, body: Mapping[str, object]) -> PodCertificateRequest:
        """Read a request.

        Raises:
            InputError: A field is missing, or not what the API says that it is.
        """
        spec = body.get("spec")
        if not isinstance(spec, dict):
            raise _refused(spec, "spec", "an object")
        seconds = spec.get("maxExpirationSeconds")
        if not isinstance(seconds, int) or isinstance(seconds, bool) or not 0 < seconds < _MAX_INT:
            raise _refused(seconds, "spec.maxExpirationSeconds", "a positive number of 32 bits")
        if not (uid := uid_of(body)):
            raise _refused(None, "metadata.uid", "a text that is not empty")
        return cls(
            key=ObjectKey.of(body),
            uid=uid,
            version=resource_version_of(body),
            created=_time(metadata_of(body).get("creationTimestamp")),
            pod_name=_text(spec, "podName"),
            pod_uid=_text(spec, "podUID"),
            service_account=_text(spec, "serviceAccountName"),
            service_account_uid=_text(spec, "serviceAccountUID"),
            node_name=_text(spec, "nodeName"),
            node_uid=_text(spec, "nodeUID"),
            max_lifetime=timedelta(seconds=seconds),
            stub=_stub(spec.get("stubPKCS10Request")),
            annotations=_annotations(spec.get("unverifiedUserAnnotations")),
            answer=_answer(body.get("status")),
        )


_MAX_INT: Final = 1 << 31


def _text(spec: Mapping[str, object], field: str) -> str:
    value = spec.get(field)
    if not isinstance(value, str) or not value:
        raise _refused(value, f"spec.{field}", "a text that is not empty")
    return value


def _stub(value: object) -> bytes:
    field, wanted = "spec.stubPKCS10Request", f"at most {MAX_STUB_BYTES} bytes in Base64"
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_STUB_TEXT:
        raise _refused(value, field, wanted)
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _refused(value, field, wanted) from error


def _annotations(value: object) -> Mapping[str, str]:
    field, wanted = "spec.unverifiedUserAnnotations", "texts by name"
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _refused(value, field, wanted)
    found: dict[str, str] = {}
    for name, text in value.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise _refused(text, field, wanted)
        found[name] = text
    return found


def _answer(status: object) -> Answer | None:
    conditions = status.get("conditions") if isinstance(status, dict) else None
    for each in conditions if isinstance(conditions, list) else ():
        match each:
            case {"type": "Issued" | "Denied" | "Failed" as kind, **rest}:
                chain = status.get("certificateChain") if isinstance(status, dict) else None
                return Answer(
                    AnswerType(kind),
                    _time(rest.get("lastTransitionTime")),
                    str(rest.get("reason") or ""),
                    str(rest.get("message") or ""),
                    _fingerprint(chain),
                )
            case _:
                pass
    return None


def _fingerprint(chain: object) -> str:
    """Of the first certificate; empty for what is no chain of ours, which always reads."""
    if not isinstance(chain, str):
        return ""
    try:
        blocks = read_blocks(chain.encode(), what="status.certificateChain", limit=MAX_CHAIN_BYTES)
    except (InputError, UnicodeEncodeError):
        return ""
    return sha256(blocks[0].der).hexdigest()


def _time(text: object) -> datetime:
    """A time that only orders and is told; one that cannot be read is long past."""
    try:
        return parse_time(text) if isinstance(text, str) else _EPOCH
    except InputError:
        return _EPOCH


def _refused(found: object, field: str, wanted: str) -> InputError:
    return InputError(f"PodCertificateRequest: {field} is {quoted(found)}, not {wanted}")
