"""Who sees what: real tokens of real ServiceAccounts, reviewed by a real API server."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.support.api import until
from tests.support.inventory import site_of, token_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.providers import Cluster
    from tests.responder.inventory.conftest import Stage

pytestmark = pytest.mark.integration

COOKIE = "__Host-agentid-inventory"


def names(told: object) -> set[str]:
    """Namespace and name of each item."""
    assert isinstance(told, dict)
    return {f"{each['namespace']}/{each['name']}" for each in told["items"]}


def test_who_may_list_everywhere_sees_everything(stage: Stage) -> None:
    """By a token of the page's own audience, and by one for the API server itself."""
    cluster = stage.site.cluster
    for token in (stage.officer, token_of(cluster, "page-people", "officer", audience="")):
        answer = stage.site.ask("/agents.json", token)
        assert answer.status == 200
        found = names(answer.json)
        assert {"page-a/reader", "page-a/hostile", "page-b/writer"} <= found


def test_who_may_list_in_a_namespace_sees_that_alone(stage: Stage) -> None:
    """And is told the way there; no page tells them of another namespace, whatever its path."""
    ask = stage.site.ask
    assert names(ask("/agents.json?namespace=page-a", stage.team).json) == {
        "page-a/reader", "page-a/writer", "page-a/hostile",
    }  # fmt: skip
    assert ask("/agents/page-a/reader.json", stage.team).json["name"] == "reader"
    for path in (
        "/agents.json", "/agents.json?namespace=page-b", "/agents/page-b/reader.json",
        "/agents/page-b/nobody.json", "/revocations.json", "/overview.json",
        "/agents/page-b/reader.json?namespace=page-a",
    ):  # fmt: skip
        answer = ask(path, stage.team)
        assert (answer.status, "page-people:team may not list" in answer.text) == (403, True), path
        assert "writer" not in answer.text
    told = ask("/", stage.team)
    assert told.status == 403
    assert "Give a namespace above in which it may." in told.text
    assert ask("/?namespace=page-a", stage.team).status == 200


def test_who_may_list_nothing_sees_nothing(stage: Stage) -> None:
    """But the issuers, which every authenticated user may list in the cluster too."""
    for path in (
        "/",
        "/agents",
        "/agents?namespace=page-a",
        "/revocations",
        "/agents/page-a/reader",
    ):
        answer = stage.site.ask(path, stage.nobody)
        assert answer.status == 403
        assert "page-people:nobody may not list agentidentities.agentid.dev" in answer.text
    told = stage.site.ask("/authorities.json", stage.nobody).json
    assert "page-issuer" in {each["name"] for each in told["items"]}


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="none"),
        pytest.param("garbage", id="garbage"),
        pytest.param("a.b.c", id="shape-of-a-token"),
        pytest.param("x" * 3000, id="long"),
    ],
)
def test_without_a_token_that_counts_there_is_a_login(stage: Stage, token: str) -> None:
    """For scripts a 401 that names the scheme, for people the form; and nothing of an agent."""
    for path in ("/", "/agents/page-a/reader", "/authorities", "/nothing"):
        answer = stage.site.ask(path, token)
        assert answer.status == 401
        assert '<input type="password"' in answer.text
        assert "page-" not in answer.text.replace(f'value="{path}"', "")
    answer = stage.site.ask("/agents.json", token)
    assert (answer.status, "error" in answer.json) == (401, True)
    assert answer.headers["www-authenticate"] == 'Bearer realm="agentid-inventory"'


def test_a_token_for_somebody_else_does_not_count(stage: Stage) -> None:
    """One that was made for another audience, such as a vault, gives no access here."""
    token = token_of(stage.site.cluster, "page-people", "officer", audience="vault")
    assert stage.site.ask("/agents.json", token).status == 401


def resigned(cluster: Cluster, token: str, expires: int) -> str:
    """The same token with another end, signed by the cluster's own key."""
    found = next(cluster.directory.rglob("sa.key"), None)
    if found is None:
        pytest.fail("this test signs with the cluster's own key: CLUSTER=devcluster")
    key = serialization.load_pem_private_key(found.read_bytes(), None)
    head, claims, _ = token.split(".")
    body = json.loads(base64.urlsafe_b64decode(claims + "=="))
    body |= {"exp": expires, "iat": expires - 600, "nbf": expires - 600}
    signed = f"{head}.{_base64(json.dumps(body).encode())}"
    if isinstance(key, rsa.RSAPrivateKey):
        made = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    else:
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        parts = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        made = b"".join(part.to_bytes(32, "big") for part in parts)
    return f"{signed}.{_base64(made)}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def test_an_expired_token_does_not_count(stage: Stage) -> None:
    """Everything about it is right but its time; the same one with time left is good."""
    now = int(time.time())
    good = resigned(stage.site.cluster, stage.officer, now + 500)
    expired = resigned(stage.site.cluster, stage.officer, now - 60)
    assert stage.site.ask("/agents.json", good).status == 200
    assert stage.site.ask("/agents.json", expired).status == 401
    assert stage.site.login(expired).status == 401


def test_a_token_that_was_tampered_with_does_not_count(stage: Stage) -> None:
    """Whatever was changed in it."""
    head, claims, signature = stage.officer.split(".")
    for changed in (f"{head}.{claims[:-2]}.{signature}", f"{head}.{claims}.{signature[:-4]}AAAA"):
        assert stage.site.ask("/agents.json", changed).status == 401


def test_what_is_taken_back_ends_within_the_review_period(
    stage: Stage, installed: Cluster, make_namespace: Callable[[], str]
) -> None:
    """A right and a token; the session of a browser as well."""
    namespace = make_namespace()
    installed.kubectl("create", "serviceaccount", "leaver", "-n", namespace)
    account = f"--serviceaccount={namespace}:leaver"
    role = ("--clusterrole=agentid-view", account)
    installed.kubectl("create", "rolebinding", "leaver", "-n", namespace, *role)
    path = f"/agents.json?namespace={namespace}"
    with site_of(installed, "inventory-short", "--inventory-review", "1") as site:
        token = token_of(installed, namespace, "leaver")
        until("access", lambda: site.ask(path, token).status == 200)
        cookie = site.login(token).headers["set-cookie"].partition(";")[0]
        assert site.ask(path, Cookie=cookie).status == 200
        installed.kubectl("delete", "rolebinding", "leaver", "-n", namespace)
        until("the right's end", lambda: site.ask(path, token).status == 403, 15)
        assert site.ask(path, Cookie=cookie).status == 403
        installed.kubectl("delete", "serviceaccount", "leaver", "-n", namespace)
        # The API server itself remembers a token for ten seconds.
        until("the token's end", lambda: site.ask(path, token).status == 401, 30)
        answer = site.ask("/agents", Cookie=cookie)
        assert (answer.status, "does not accept this token" in answer.text) == (401, True)
    assert stage.site.running.process.poll() is None


def test_a_browser_logs_in_and_out(stage: Stage) -> None:
    """The cookie is bound to this host, out of reach of scripts, and new at each login."""
    site = stage.site
    first = site.login(stage.officer, "/agents?namespace=page-a")
    assert (first.status, first.headers["location"]) == (303, "/agents?namespace=page-a")
    crumb = first.headers["set-cookie"]
    assert crumb.startswith(f"{COOKIE}=")
    flags = {each.strip() for each in crumb.split(";")[1:]}
    assert flags == {"Path=/", "Secure", "HttpOnly", "SameSite=Strict"}
    cookie = crumb.partition(";")[0]
    assert stage.officer not in crumb
    assert site.ask("/agents", Cookie=cookie).status == 200
    second = site.login(stage.officer, Cookie=cookie).headers["set-cookie"].partition(";")[0]
    assert second != cookie
    assert site.ask("/agents", Cookie=cookie).status == 401, "the earlier session goes on"
    out = site.ask("/logout", form={}, Cookie=second, Origin=site.base)
    assert (out.status, out.headers["location"]) == (303, "/login")
    assert "Max-Age=0" in out.headers["set-cookie"]
    assert site.ask("/agents", Cookie=second).status == 401


def test_a_session_cannot_be_chosen_by_somebody_else(stage: Stage) -> None:
    """An id that the server has not made is nobody's, before a login and after it."""
    chosen = f"{COOKIE}=chosen-by-an-attacker"
    assert stage.site.ask("/", Cookie=chosen).status == 401
    given = stage.site.login(stage.officer, Cookie=chosen).headers["set-cookie"]
    assert "chosen-by-an-attacker" not in given
    assert stage.site.ask("/", Cookie=chosen).status == 401


@pytest.mark.parametrize("path", ["/login", "/logout"])
@pytest.mark.parametrize("origin", ["", "null", "https://evil.example", "http://127.0.0.1", "same"])
def test_a_form_comes_from_the_page_itself(stage: Stage, path: str, origin: str) -> None:
    """No other site logs somebody in or out, nor another port of the same host."""
    site = stage.site
    if origin == "same":
        origin = "https://127.0.0.1:1"
    cookie = site.login(stage.officer).headers["set-cookie"].partition(";")[0]
    headers = {"Cookie": cookie, **({"Origin": origin} if origin else {})}
    answer = site.ask(path, form={"token": stage.officer}, **headers)
    assert (answer.status, "set-cookie" in answer.headers) == (403, False)
    assert site.ask("/", Cookie=cookie).status == 200


@pytest.mark.parametrize(
    "after",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "/nothing",
     "javascript:alert(1)", "/agents\r\nSet-Cookie: a=b", "", "/static/x"],
)  # fmt: skip
def test_a_login_leads_to_a_page_of_ours(stage: Stage, after: str) -> None:
    """Or to the overview; it never sends anybody away."""
    answer = stage.site.login(stage.officer, after)
    assert (answer.status, answer.headers["location"]) == (303, "/")


def test_every_answer_carries_the_rules_for_browsers(stage: Stage) -> None:
    """Nothing is kept, framed, sniffed or loaded from elsewhere; there is no script at all."""
    ask = stage.site.ask
    for answer in (
        ask("/", stage.officer), ask("/agents.json", stage.officer), ask("/"), ask("/login"),
        ask("/nothing", stage.officer), ask("/agents?page=x", stage.officer),
        ask("/agents", method="DELETE"), ask("/agents", stage.nobody),
    ):  # fmt: skip
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src" not in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "same-origin"


def test_the_log_tells_who_logged_in_and_no_token(stage: Stage) -> None:
    """Neither a token nor a session's id stands there, nor part of one."""
    crumb = stage.site.login(stage.officer).headers["set-cookie"]
    stage.site.login("secret-garbage-token")
    stage.site.ask("/", "secret-garbage-token")
    log = stage.site.running.log.read_text()
    assert '"user": "system:serviceaccount:page-people:officer"' in log
    session = crumb.partition("=")[2].partition(";")[0]
    for secret in (*stage.officer.split("."), session, "secret-garbage-token"):
        assert secret not in log
