"""The page over HTTP, from memory: what it shows, how it fails, and what it costs."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from agentid.errors import ForbiddenError, UnavailableError
from agentid.identity import SerialNumber
from agentid.identity.revocation import RevocationReason
from agentid.kube.objects import ObjectKey
from agentid.kube.resources import AGENT_IDENTITIES, AGENT_ISSUERS
from agentid.ledger import Revoked
from agentid.testing.ledger import NOON, make_issued, make_revoked
from tests.support.inventory_memory import served, spread

if TYPE_CHECKING:
    from agentid.testing.clock import ManualClock
    from tests.support.inventory_memory import Served


def identity(name: str, serial: str = "01", **spec: object) -> dict[str, Any]:
    """An identity in `demo` that has this certificate."""
    body: dict[str, Any] = spread(1)
    body["metadata"] |= {"namespace": "demo", "name": name}
    body["spec"] |= spec
    body["status"]["certificate"]["serial"] = serial
    return body


async def test_a_revocation_shows_at_once(clock: ManualClock) -> None:
    """On the ledger, the agent's row says so before its status does; expired ones are left out."""
    async with served(clock) as page:
        page.put(identity("reader"))
        page.ledger.record(make_issued(1), make_issued(2, "writer", lifetime=timedelta(minutes=9)))
        row = json.loads((await page.ask("/agents.json"))[2])["items"][0]
        assert row["revoked"] is None
        page.ledger.record(make_revoked(1), make_revoked(2, lifetime=timedelta(minutes=9)))
        row = json.loads((await page.ask("/agents.json"))[2])["items"][0]
        assert row["revoked"]["reason"] == "superseded"
        assert ">Revoked<" in (await page.ask("/agents"))[2]
        clock.advance(timedelta(minutes=10))
        found = json.loads((await page.ask("/revocations.json"))[2])
        assert [each["name"] for each in found["items"]] == ["reader"]
        one = json.loads((await page.ask("/agents/demo/reader.json"))[2])
        assert one["certificates"][0]["revoked"]["actor"] == "a test"


async def test_an_agent_that_is_gone_is_shown_from_the_ledger(clock: ManualClock) -> None:
    """Its revocation leads to what is on record; without a record there is no such page."""
    async with served(clock) as page:
        page.put(identity("reader"))
        page.ledger.record(make_issued(1), make_revoked(1))
        page.inventory.catalogue.drop(AGENT_IDENTITIES, ObjectKey("demo", "reader"))
        status, _, text = await page.ask("/agents/demo/reader")
        assert (status, "There is no such AgentIdentity any more." in text) == (200, True)
        told = json.loads((await page.ask("/agents/demo/reader.json"))[2])
        assert (told["state"], told["certificates"][0]["serial"]) == ("Gone", "01")
        status, _, text = await page.ask("/agents/demo/other")
        assert (status, "There is no AgentIdentity demo/other" in text) == (404, True)


async def test_a_revocation_on_no_record_is_for_those_who_see_everything(
    clock: ManualClock,
) -> None:
    """Whose it is nobody knows, so it belongs to no namespace."""
    async with served(clock) as page:
        page.ledger.record(make_revoked(7), make_issued(1), make_revoked(1))
        everything = json.loads((await page.ask("/revocations.json"))[2])
        assert {each["serial"]: each["name"] for each in everything["items"]} == {
            "07": None, "01": "reader",
        }  # fmt: skip
        some = json.loads((await page.ask("/revocations.json?namespace=demo", "team"))[2])
        assert [each["serial"] for each in some["items"]] == ["01"]
        assert "not on record" in (await page.ask("/revocations"))[2]


async def test_an_agent_named_like_a_file_is_found(clock: ManualClock) -> None:
    """A name may end in `.json`, and then the path with that end is its own as well."""
    async with served(clock) as page:
        page.put(identity("a.json"), identity("b"))
        for path, name in (
            ("/agents/demo/a.json", "a.json"), ("/agents/demo/a.json.json", "a.json"),
            ("/agents/demo/b.json", "b"),
        ):  # fmt: skip
            assert json.loads((await page.ask(path))[2])["name"] == name


@pytest.mark.parametrize(
    ("path", "accept", "is_json"),
    [
        ("/agents", "application/json", True),
        ("/agents", "text/html,application/xhtml+xml,*/*;q=0.8", False),
        ("/agents", "application/json, text/html;q=0.1", False),
        ("/agents.json", "text/html", True),
        ("/overview.json", "*/*", True),
        ("/", "application/json", True),
    ],
)
async def test_scripts_get_json(
    clock: ManualClock, path: str, accept: str, *, is_json: bool
) -> None:
    """By what they accept, or by the end of the path."""
    async with served(clock) as page:
        status, headers, _ = await page.ask(path, headers={"Accept": accept})
        assert status == 200
        assert headers["Content-Type"].startswith("application/json") is is_json


async def test_json_has_the_same_numbers_as_the_page(clock: ManualClock) -> None:
    """Every state, tier and span is there, also where it counts nobody."""
    async with served(clock) as page:
        page.put(*(spread(number) for number in range(70)))
        told = json.loads((await page.ask("/overview.json"))[2])
        assert (told["agents"], told["overdue"]) == (70, 0)
        assert told["states"] == {
            "Stalled": 0,
            "Not ready": 7,
            "Deleting": 0,
            "Suspended": 0,
            "Ready": 63,
        }
        assert told["tiers"] == {"Critical": 10, "High": 10, "Moderate": 20, "Low": 30, "none": 0}
        assert told["expires"]["4h"] == 70
        assert sum(each["agents"] for each in told["classes"]) == 70
        assert "<h1>70 agents</h1>" in (await page.ask("/"))[2]


async def test_before_everything_was_read_nothing_is_shown(clock: ManualClock) -> None:
    """An empty table would be a lie; the page says what it waits for."""
    async with served(clock, read=False) as page:
        status, _, text = await page.ask("/agents")
        assert (status, "Not everything has been read yet." in text) == (503, True)
        page.inventory.catalogue.missing["agentidentities"] = "list agentidentities: 403"
        status, _, text = await page.ask("/agents.json")
        assert (status, "Apply manifests/inventory.yaml" in json.loads(text)["error"]) == (
            503,
            True,
        )
        assert len(page.inventory.remarks()) == 1
        page.current()
        assert (await page.ask("/agents"))[0] == 200
        assert page.inventory.remarks() == []


async def test_what_is_old_is_called_old(clock: ManualClock) -> None:
    """While the watches are silent the page is there, and says since when."""
    async with served(clock) as page:
        assert "things may have changed" not in (await page.ask("/"))[2]
        clock.advance(400)
        assert "last heard of 6 min 40 s ago; things may" in (await page.ask("/"))[2]
        page.current()
        assert "things may have changed" not in (await page.ask("/"))[2]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (UnavailableError("no answer"), "Come again in a few seconds"),
        (ForbiddenError("no right", status=403), "Apply manifests/inventory.yaml."),
    ],
)
async def test_without_reviews_nobody_sees_anything(
    clock: ManualClock, error: Exception, sentence: str
) -> None:
    """Not even who did a moment ago, once that has run out."""
    async with served(clock) as page:
        page.put(identity("reader"))
        assert (await page.ask("/agents"))[0] == 200
        clock.advance(30)
        page.reviews.error = error  # type: ignore[assignment]
        status, _, text = await page.ask("/agents")
        assert (status, sentence in text, "reader" in text) == (503, True, False)


async def test_a_defect_is_told_in_the_log_and_to_nobody_else(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next request is answered; the body says no more than that there is one."""
    async with served(clock) as page:
        catalogue = type(page.inventory.catalogue)

        def broken(*_: object) -> object:
            message = "inner secret"
            raise RuntimeError(message)

        with monkeypatch.context() as patch:
            patch.setattr(catalogue, "revocations", broken)
            status, headers, text = await page.ask("/revocations")
        assert (status, "inner secret" in text) == (500, False)
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert (await page.ask("/revocations"))[0] == 200
        assert page.counted == [500, 200]


@pytest.mark.parametrize(
    ("method", "path", "data", "headers", "status"),
    [
        ("DELETE", "/agents", None, {}, 405),
        ("POST", "/agents", b"q=x", {}, 405),
        ("PUT", "/login", b"token=x", {}, 405),
        ("POST", "/static/x", b"", {}, 405),
        ("GET", "/logout", None, {}, 404),
        ("GET", "/static/other.css", None, {}, 404),
        ("GET", "/agents/", None, {}, 200),
        ("GET", "/agents/demo", None, {}, 404),
        ("GET", "/agents/demo/a/b", None, {}, 404),
        ("GET", "/agents/%ff/%00", None, {}, 404),
        ("GET", "/agents/..%2f../x", None, {}, 404),
        ("GET", "//evil.example", None, {}, 404),
        ("GET", "/authorities/x", None, {}, 404),
        ("GET", "/agents?sort=x", None, {}, 400),
        ("GET", "/agents?" + "a=1&" * 20, None, {}, 400),
        ("GET", "/agents?namespace=Demo", None, {}, 400),
    ],
)
async def test_requests_of_all_kinds(
    clock: ManualClock, method: str, path: str, data: bytes | None, headers: dict[str, str],
    status: int,
) -> None:  # fmt: skip
    """Each has its answer, and none of them is a 500."""
    async with served(clock) as page:
        assert (await page.ask(path, method=method, data=data, headers=headers))[0] == status


LONG = b"token=" + b"a" * 40_000


@pytest.mark.parametrize(
    ("data", "kind", "status"),
    [
        pytest.param(LONG, "application/x-www-form-urlencoded", 400, id="long"),
        pytest.param(b"token=officer", "text/plain", 400, id="no-form"),
        pytest.param(b"\xff\xfe%ff=%", "application/x-www-form-urlencoded", 400, id="no-text"),
        pytest.param(b"", "application/x-www-form-urlencoded", 401, id="empty"),
        pytest.param(b"token=a&token=officer", "application/x-www-form-urlencoded", 401, id="two"),
        pytest.param(
            b"token=%20officer%0A", "application/x-www-form-urlencoded; charset=utf-8", 303,
            id="with-a-line-end",
        ),
    ],
)  # fmt: skip
async def test_logins_of_all_kinds(clock: ManualClock, data: bytes, kind: str, status: int) -> None:
    """A form of one token that counts begins a session, and nothing else does."""
    async with served(clock) as page:
        host = page.base.removeprefix("http://")
        headers = {"Content-Type": kind, "Origin": f"https://{host}"}
        told = await page.ask("/login", "", method="POST", data=data, headers=headers)
        assert told[0] == status
        assert ("Set-Cookie" in told[1]) is (status == 303)


async def test_requests_are_counted_against_a_limit(clock: ManualClock) -> None:
    """A person never meets it; who does is told when to come again."""
    async with served(clock) as page:
        answers = [await page.ask("/login", "") for _ in range(101)]
        assert [status for status, _, _ in answers] == [200] * 100 + [429]
        assert answers[-1][1]["Retry-After"] == "1"
        clock.advance(1)
        assert (await page.ask("/login", ""))[0] == 200


async def test_pages_are_counted_by_user(clock: ManualClock) -> None:
    """Who has a script ask without end holds up neither verifiers nor other people."""
    async with served(clock) as page:
        busy = [(await page.ask("/agents"))[0] for _ in range(31)]
        assert busy == [200] * 30 + [429]
        assert (await page.ask("/agents?namespace=demo", "team"))[0] == 200
        clock.advance(1)
        assert (await page.ask("/agents"))[0] == 200


@pytest.mark.parametrize(
    "cookie",
    [
        "", ";;;=", "__Host-agentid-inventory", "__Host-agentid-inventory=",
        '__Host-agentid-inventory="; a', "a=" + "b" * 3000, "__Host-agentid-inventory=é",
    ],
)  # fmt: skip
async def test_odd_cookies_are_nobodys(clock: ManualClock, cookie: str) -> None:
    """They lead to the login, and never to a 500."""
    async with served(clock) as page:
        assert (await page.ask("/agents", "", headers={"Cookie": cookie}))[0] == 401


@pytest.mark.parametrize("scheme", ["Basic", "bearer", "BEARER", "Bearer "])
async def test_the_scheme_is_bearer_in_any_case(clock: ManualClock, scheme: str) -> None:
    """RFC 9110 §11.1; any other scheme is no login."""
    async with served(clock) as page:
        headers = {"Authorization": f"{scheme} officer"}
        status, _, _ = await page.ask("/agents", "", headers=headers)
        assert status == (401 if scheme == "Basic" else 200)


async def test_the_style_sheet_needs_no_login_and_is_kept(clock: ManualClock) -> None:
    """Its name is its hash, so a browser asks for it once."""
    async with served(clock) as page:
        text = (await page.ask("/login", ""))[2]
        (href,) = [each.split('"')[0] for each in text.split('href="') if ".css" in each[:60]]
        status, headers, _ = await page.ask(href, "")
        assert (status, headers["Content-Type"]) == (200, "text/css; charset=utf-8")
        assert headers["Cache-Control"] == "public, max-age=86400, immutable"


async def test_head_is_get_without_a_body(clock: ManualClock) -> None:
    """With the same headers."""
    async with served(clock) as page:
        got, headed = [await page.ask("/agents", method=each) for each in ("GET", "HEAD")]
        assert headed[2] == ""
        assert got[1]["Content-Length"] == headed[1]["Content-Length"]


async def test_hostile_names_are_text_wherever_they_stand(clock: ManualClock) -> None:
    """In every column, on every page, in links and in what a search repeats."""
    evil = '"><script>alert(1)</script>'
    body = identity("x" + evil, evil, sponsor=evil, purpose=evil, className=evil)
    body["status"] |= {"spiffeID": evil}
    body["status"]["conditions"][0] |= {"type": evil, "reason": evil, "message": evil}
    body["status"]["classification"]["reasons"] = [evil]
    issuer = {
        "metadata": {"name": evil},
        "spec": {"trustDomain": evil},
        "status": {"authorities": [{"role": evil, "state": "Signing", "id": evil,
                                    "subject": evil}],
                   "jwtKeys": [{"kid": evil, "state": evil, "algorithm": evil}]},
    }  # fmt: skip
    async with served(clock) as page:
        page.put(body)
        page.inventory.catalogue.put(AGENT_ISSUERS, issuer)
        page.ledger.record(
            make_issued(1, "x" + evil),
            Revoked(SerialNumber(1), RevocationReason.SUPERSEDED, NOON, NOON + timedelta(hours=1),
                    evil),
        )  # fmt: skip
        name = quote("x" + evil, safe="")
        for path in (
            "/", "/agents", f"/agents/demo/{name}", "/revocations", "/authorities",
            f"/agents?q={quote(evil)}&class={quote(evil)}", f"/agents?sort={quote(evil)}",
            f"/agents/demo/{quote(evil, safe='')}", f"/login?next={quote(evil)}",
        ):  # fmt: skip
            status, headers, text = await page.ask(path)
            assert status < 500
            assert headers["Content-Type"].startswith("text/html")
            assert "<script" not in text
            assert "&lt;script" in text or path.startswith("/login") or "sort" in path


async def test_keys_for_tokens_stand_beside_the_authorities(clock: ManualClock) -> None:
    """On the page and in its record: which signs, with what, since when."""
    key = {"kid": "a-thumbprint", "state": "Signing", "algorithm": "ES384", "fingerprint": "ab",
           "since": "2026-11-01T11:00:00Z"}  # fmt: skip
    issuer = {
        "metadata": {"name": "main"},
        "spec": {"trustDomain": "example.org"},
        "status": {"authorities": [], "jwtKeys": [key]},
    }
    async with served(clock) as page:
        page.inventory.catalogue.put(AGENT_ISSUERS, issuer)
        _, _, text = await page.ask("/authorities")
        assert "Keys for JWT-SVIDs of main" in text
        assert "a-thumbprint" in text
        assert "ES384" in text
        _, _, record = await page.ask("/authorities.json")
        (found,) = json.loads(record)["items"]
        assert found["jwtKeys"] == [key]


async def test_ten_thousand_agents_are_a_page_of_fifty(clock: ManualClock) -> None:
    """A page stays small and quick however many there are; the loop serves verifiers between."""
    async with served(clock) as page:
        page.put(*(spread(number) for number in range(10_000)))
        page.ledger.record(
            *(make_issued(number, f"agent-{number:05}") for number in range(1, 10_001)),
            *(make_revoked(number) for number in range(1, 1001)),
        )
        for path, most in (
            ("/", 40_000), ("/agents", 60_000), ("/agents?q=agent-09&sort=expires", 60_000),
            ("/agents?page=200", 60_000), ("/agents/team-1/agent-00001", 10_000),
            ("/revocations", 60_000), ("/agents.json?size=1000", 900_000),
        ):  # fmt: skip
            size, seconds = await cost(page, path)
            print(f"{path}: {size:,} octets, {seconds * 1000:.1f} ms of CPU")  # noqa: T201 - with -s
            assert size < most, path
            assert seconds < 0.5, path


async def cost(page: Served, path: str) -> tuple[int, float]:
    """Octets, and seconds of CPU of client and server together; the least of three."""
    took, text = [], ""
    for _ in range(3):
        began = time.process_time()
        status, _, text = await page.ask(path)
        took.append(time.process_time() - began)
        assert status == 200
    return len(text.encode()), min(took)


@pytest.mark.parametrize(
    "path",
    ["/", "/agents", "/agents?namespace=team-1", "/revocations", "/agents/team-1/agent-00001",
     "/agents/team-1/agent-00001?namespace=demo", "/agents/team-1/none?namespace=demo",
     "/agents/team-1/gone?namespace=demo", "/authorities"],
)  # fmt: skip
async def test_what_may_not_be_listed_is_not_shown(clock: ManualClock, path: str) -> None:
    """The namespace of the path counts and not that of the query; whether it exists is not told."""
    async with served(clock) as page:
        page.put(spread(1))
        page.ledger.record(make_issued(1, "gone", namespace="team-1"))
        status, _, text = await page.ask(path, "team")
        assert (status, "tom may not list" in text, "owner-1" in text) == (403, True, False)


@pytest.mark.parametrize("origin", [None, "null", "https://127.0.0.1:1", "same-host-by-http"])
async def test_a_login_from_elsewhere_is_refused(clock: ManualClock, origin: str | None) -> None:
    """Before the token is looked at."""
    async with served(clock) as page:
        origin = page.base if origin == "same-host-by-http" else origin
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        headers |= {} if origin is None else {"Origin": origin}
        status, _, _ = await page.ask(
            "/login", "", method="POST", data=b"token=officer", headers=headers
        )
        assert (status, page.reviews.asked) == (403, [])
