"""Records and their lines."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentid.api.vocabulary import DeliveryMode
from agentid.errors import InputError
from agentid.identity import PodRef, SerialNumber
from agentid.identity.revocation import RevocationReason
from agentid.ledger import Issued, Revoked
from agentid.ledger.records import MAX_RECORD_BYTES, Record, decode_record, encode_record
from agentid.testing.ledger import NOON, make_issued, make_revoked

serials = st.integers(1, (1 << 159) - 1).map(SerialNumber)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
times = st.datetimes(datetime(1970, 1, 1), datetime(2999, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
seconds = times.map(lambda moment: moment.replace(microsecond=0))
issued = st.builds(
    Issued,
    serial=serials,
    fingerprint=st.binary(min_size=32, max_size=32).map(bytes.hex),
    spiffe_id=texts,
    namespace=texts,
    name=texts,
    uid=texts,
    issuer=texts,
    authority=st.binary(min_size=8, max_size=8).map(bytes.hex),
    shard=st.none() | st.integers(0, 1 << 20),
    bundle=st.integers(0, (1 << 53) - 1),
    not_before=st.just(datetime(1970, 1, 1, tzinfo=UTC)),
    not_after=seconds,
    issued_at=times,
    door=st.sampled_from(DeliveryMode),
    grant=texts,
    replaces=st.none() | serials,
    pod=st.none() | st.builds(PodRef, texts, texts, texts, texts),
)
revoked = st.builds(
    Revoked,
    serial=serials,
    reason=st.sampled_from([reason for reason in RevocationReason if reason.is_final]),
    revoked_at=times,
    not_after=seconds,
    actor=texts,
)


@given(issued | revoked)
def test_every_record_round_trips(record: Record) -> None:
    """A record is one line, and reads back as it was, to the microsecond."""
    line = encode_record(record)
    assert b"\n" not in line
    assert decode_record(line) == record


@given(issued | revoked)
def test_lines_are_canonical(record: Record) -> None:
    """Sorted keys, no spaces: equal records make equal bytes, and anybody can make them again."""
    line = encode_record(record)
    assert orjson.dumps(orjson.loads(line), option=orjson.OPT_SORT_KEYS) == line


def test_a_line_is_as_documented() -> None:
    """The keys are those of the API, spelled as auditors know them."""
    assert encode_record(make_revoked(0x1F)).decode() == (
        '{"actor":"a test","notAfter":"2026-11-01T13:00:00Z","reason":"superseded",'
        '"revokedAt":"2026-11-01T12:05:00Z","serial":"1f","type":"revoked"}'
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"fingerprint": "AB" * 32}, 'fingerprint "ABAB.*" is not 64', id="upper-case"),
        pytest.param({"authority": "AB" * 8}, 'authority "ABAB.*" is not 16 lower', id="authority"),
        pytest.param({"shard": -1}, 'shard "-1" is not a whole number from 0', id="shard"),
        pytest.param({"bundle": 1 << 53}, "bundle .* is not a whole number", id="bundle"),
        pytest.param({"namespace": ""}, 'namespace "" is not a text that is not', id="empty-text"),
        pytest.param(
            {"not_after": NOON.replace(tzinfo=None)}, "notAfter .* zone is UTC", id="naive"
        ),
        pytest.param(
            {"issued_at": NOON.astimezone(timezone(timedelta(hours=1)))},
            "issuedAt .* is not a time whose zone is UTC",
            id="another-zone",
        ),
        pytest.param(
            {"not_before": NOON.replace(microsecond=1)},
            "notBefore .* whole seconds",
            id="fraction",
        ),
        pytest.param(
            {"not_after": NOON - timedelta(hours=1)}, "notAfter .* not before", id="ends-first"
        ),
    ],
)
def test_issued_records_that_would_not_read_back_are_refused(
    changes: dict[str, object], message: str
) -> None:
    """What could not be read back the same is refused when it is made."""
    made = make_issued(1)
    with pytest.raises(InputError, match=message):
        replace(made, **changes)  # type: ignore[arg-type] # the rows are typed by their fields


@pytest.mark.parametrize("reason", ["certificateHold", "removeFromCRL"])
def test_no_record_takes_a_revocation_back(reason: str) -> None:
    """Revoked stays revoked: reasons that may end are no reasons here."""
    with pytest.raises(InputError, match=f'reason "{reason}" is not a final one'):
        replace(make_revoked(1), reason=RevocationReason(reason))


def test_an_enormous_record_is_refused_by_name() -> None:
    """The message names the identity and says what to do."""
    record = make_issued(1, grant="x" * MAX_RECORD_BYTES)
    with pytest.raises(
        InputError, match=r"above the 65536 .* shorten the permissions of demo/read"
    ):
        encode_record(record)


def test_text_that_is_no_unicode_is_refused() -> None:
    """A lone surrogate cannot be written as UTF-8."""
    with pytest.raises(InputError, match="no Unicode"):
        encode_record(make_issued(1, grant="\ud800"))


def _line(**changes: object) -> bytes:
    body = orjson.loads(encode_record(make_issued(1))) | changes
    return orjson.dumps({key: value for key, value in body.items() if value != "absent"})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param(b"{", "not JSON", id="no-json"),
        pytest.param(b"[]", "where a JSON object belongs", id="no-object"),
        pytest.param(b"{}", "is neither issued nor revoked", id="no-type"),
        pytest.param(_line(type="Issued"), '"Issued" is neither', id="other-type"),
        pytest.param(_line(uid="absent"), 'key "uid" is missing', id="key-missing"),
        pytest.param(_line(extra=1), 'key "extra" is unknown', id="key-unknown"),
        pytest.param(_line(name=7), "name a value of type int is not a text", id="no-text"),
        pytest.param(_line(shard="1"), 'shard "1" is not a whole number', id="shard-text"),
        pytest.param(_line(bundle=True), "bundle .* is not a whole number", id="bundle-bool"),
        pytest.param(_line(authority=None), "authority .* is not a text", id="authority-none"),
        pytest.param(_line(serial="0"), "serial: serial number", id="bad-serial"),
        pytest.param(_line(replaces="zz"), "replaces: serial number", id="bad-replaces"),
        pytest.param(_line(door="Window"), 'door "Window" is not one of Secret', id="bad-door"),
        pytest.param(
            _line(notAfter="2026-11-01 13:00:00"), "notAfter .* is not a time such", id="bad-time"
        ),
        pytest.param(
            _line(notAfter="2026-13-01T13:00:00Z"), "notAfter .* is not a time such", id="month-13"
        ),
        pytest.param(
            encode_record(make_revoked(1)).replace(b"superseded", b"bored"),
            'revocation reason: "bored" is not one of unspecified',
            id="bad-reason",
        ),
    ],
)
def test_lines_of_something_else_are_refused(line: bytes, message: str) -> None:
    """Each fault is named with its key."""
    with pytest.raises(InputError, match=message):
        decode_record(line)


@given(st.binary(max_size=200))
def test_no_bytes_let_out_another_error(line: bytes) -> None:
    """Whatever the line holds, it is read or refused."""
    with suppress(InputError):
        decode_record(line)


def test_a_record_without_a_pod_is_as_it_always_was() -> None:
    """Records of earlier releases say podUID null, and none of the other keys."""
    record = make_issued(1)
    line = encode_record(record)
    body = orjson.loads(line)
    assert body["podUID"] is None
    assert not {"podName", "node", "request"} & body.keys()
    assert decode_record(line) == record


def test_a_record_for_a_pod_says_which_in_full() -> None:
    """An auditor reads pod, node and request on the ledger itself."""
    pod = PodRef("reader-x", "uid-x", "node-1", "uid-of-request")
    line = encode_record(make_issued(1, pod=pod))
    body = orjson.loads(line)
    assert {key: body[key] for key in ("podName", "podUID", "node", "request")} == {
        "podName": "reader-x",
        "podUID": "uid-x",
        "node": "node-1",
        "request": "uid-of-request",
    }
    assert decode_record(line) == make_issued(1, pod=pod)


@pytest.mark.parametrize("key", ["podName", "podUID", "node", "request"])
@pytest.mark.parametrize("value", [None, "", 7, [], {}])
def test_half_a_pod_is_no_record(key: str, value: object) -> None:
    """What names a pod names it in full; nothing is made up for what is missing."""
    pod = PodRef("reader-x", "uid-x", "node-1", "uid-of-request")
    body = orjson.loads(encode_record(make_issued(1, pod=pod)))
    body[key] = value
    with pytest.raises(InputError, match=r"pod|node|request|unknown|key"):
        decode_record(orjson.dumps(body))
    del body[key]
    with pytest.raises(InputError, match=rf"{key}|is unknown"):
        decode_record(orjson.dumps(body))
