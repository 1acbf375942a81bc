"""The page in a real Chromium, used by keyboard, with hostile names on it."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from e2e.browser import browser
from tests.responder.inventory.conftest import HOSTILE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from e2e.browser import Tab
    from tests.responder.inventory.conftest import Stage

pytestmark = [pytest.mark.integration, pytest.mark.browser]

FOCUSED = "document.activeElement.textContent.trim() || document.activeElement.id"
WIDTH = "document.documentElement.scrollWidth"

PAGES = ("/", "/agents", "/agents/page-a/hostile", "/revocations", "/authorities", "/agents?q=zzz")


@asynccontextmanager
async def logged_in(stage: Stage, token: str, after: str = "/") -> AsyncIterator[Tab]:
    """A browser in which somebody has logged in by the form, with nothing but the keyboard."""
    async with browser() as tab:
        await tab.open(stage.site.base + after)
        await focused(tab, "token")
        await tab.write(token)
        tab.expect()
        await tab.press("Enter")
        await tab.loaded()
        # A refused resource is told as an error: the page before the login is one.
        tab.complaints = [each for each in tab.complaints if "401" not in each]
        yield tab


async def focused(tab: Tab, words: str) -> None:
    """Wait until what has the focus says so: a browser sets it once it has drawn the page."""
    told: object = None
    for _ in range(100):
        if (told := await tab.ask(FOCUSED)) == words:
            return
        await asyncio.sleep(0.05)
    pytest.fail(f"{words} has no focus, {told} has")


async def tab_to(tab: Tab, words: str, limit: int = 60) -> None:
    """Press Tab until what has the focus says so."""
    for _ in range(limit):
        await tab.press("Tab")
        if await tab.ask(FOCUSED) == words:
            return
    pytest.fail(f"{words} is not reached by {limit} times Tab")


async def text_of(tab: Tab, selector: str) -> list[str]:
    """The text of all elements that a selector finds."""
    found = await tab.ask(
        f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.textContent.trim())"
    )
    assert isinstance(found, list)
    return [str(each) for each in found]


async def test_a_person_with_a_keyboard_finds_an_agent(stage: Stage) -> None:
    """Log in, search, sort, open an agent, log out; each step by keys, and nothing complains."""
    async with logged_in(stage, stage.officer) as tab:
        assert await tab.ask("location.pathname") == "/"
        await tab.press("Tab")
        assert await tab.ask(FOCUSED) == "Skip to the content"
        await tab_to(tab, "search")
        await tab.write("page-b wri")
        tab.expect()
        await tab.press("Enter")
        await tab.loaded()
        assert await text_of(tab, "tbody th") == ["page-b/writer"]
        assert await text_of(tab, "[role=status]") == ["1 to 1 of 1 agents"]

        await tab.open(f"{stage.site.base}/agents?q=page-class")
        ascending = await text_of(tab, "tbody th")
        assert ascending[:2] == ["page-a/hostile", "page-a/reader"]
        await tab_to(tab, "Agent")
        tab.expect()
        await tab.press("Enter")
        await tab.loaded()
        assert await text_of(tab, "tbody th") == ascending[::-1]
        sorting = "document.querySelector('th[aria-sort]').getAttribute('aria-sort')"
        assert await tab.ask(sorting) == "descending"

        await tab_to(tab, "page-a/reader")
        tab.expect()
        await tab.press("Enter")
        await tab.loaded()
        assert await text_of(tab, "h1") == ["page-a/reader"]
        assert await tab.ask("document.title") == "page-a/reader · agentid"

        await tab.open(f"{stage.site.base}/authorities")
        await tab_to(tab, "Log out")
        tab.expect()
        await tab.press("Enter")
        await tab.loaded()
        assert await text_of(tab, "h1") == ["Log in"]
        assert tab.complaints == []


async def test_hostile_text_is_shown_and_does_nothing(stage: Stage) -> None:
    """A purpose full of markup stands there letter by letter; no element comes of it."""
    async with logged_in(stage, stage.officer) as tab:
        for path in ("/agents/page-a/hostile", f"/agents?q={'%3Cscript%3Ealert(3)%3C/script%3E'}"):
            await tab.open(stage.site.base + path)
            assert await tab.ask("document.querySelectorAll('script, img, [onerror]').length") == 0
        await tab.open(f"{stage.site.base}/agents/page-a/hostile")
        assert HOSTILE in await text_of(tab, "bdi")
        assert tab.complaints == []


async def test_the_policy_would_stop_what_slipped_through(stage: Stage) -> None:
    """A script and a style that get into the page all the same are not run."""
    async with logged_in(stage, stage.officer) as tab:
        inject = """
            const s = document.createElement('script'); s.textContent = 'window.slipped = 1';
            document.body.append(s);
            const i = document.createElement('img');
            i.setAttribute('onerror', 'window.slipped = 2'); i.src = 'https://127.0.0.1:1/x';
            document.body.append(i);
        """
        await tab.ask(inject)
        assert await tab.ask("window.slipped") is None
        assert any("Content Security Policy" in each for each in tab.complaints)
        assert await tab.ask("document.cookie") == ""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_nothing_complains_and_everything_has_a_name(stage: Stage, *, dark: bool) -> None:
    """Every page: landmarks, one heading of the first rank, names for all that is operated."""
    async with logged_in(stage, stage.officer) as tab:
        await tab.shape(1280, 900, dark=dark)
        for path in PAGES:
            await tab.open(stage.site.base + path)
            nodes = await tree(tab)
            roles = [role for role, _ in nodes]
            for landmark in ("banner", "navigation", "main", "contentinfo", "search"):
                assert landmark in roles, (path, landmark)
            assert roles.count("main") == 1
            assert len(await text_of(tab, "h1")) == 1
            for role, name in nodes:
                if role in OPERATED:
                    assert name.strip(), (path, role)
            heads = await tab.ask("[...document.querySelectorAll('th')].every(t => t.scope)")
            assert heads is True, path
            twice = "new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size"
            assert await tab.ask(f"document.querySelectorAll('[id]').length - {twice}") == 0, path
            assert await contrasts(tab) == [], path
        assert tab.complaints == []


OPERATED = {"link", "button", "textbox", "searchbox", "combobox", "navigation", "region"}


async def tree(tab: Tab) -> list[tuple[str, str]]:
    """Role and name of everything that a screen reader is told."""
    told: Any = await tab.send("Accessibility.getFullAXTree")
    return [
        (str(node["role"]["value"]), str(node.get("name", {}).get("value", "")))
        for node in told["nodes"]
        if not node.get("ignored")
    ]


CONTRASTS = """
(() => {
  const parse = c => c.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ground = e => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c;
    }
    return parse(getComputedStyle(document.body).backgroundColor);
  };
  const poor = new Set();
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) poor.add(`${e.tagName}.${e.className}: ${ratio.toFixed(2)}`);
  }
  return [...poor];
})()
"""
"""Text with less contrast than WCAG 2.2 asks for (1.4.3), as the browser paints it."""


async def contrasts(tab: Tab) -> object:
    """What of the page is hard to read."""
    return await tab.ask(CONTRASTS)


@pytest.mark.parametrize("width", [320, 640, 1280])
async def test_nothing_is_cut_off_in_a_narrow_window(stage: Stage, width: int) -> None:
    """At 320 pixels, which is 1280 at 400 % (WCAG 2.2, 1.4.10), only tables scroll sideways."""
    async with logged_in(stage, stage.officer) as tab:
        await tab.shape(width, 800)
        for path in (*PAGES, "/login"):
            await tab.open(stage.site.base + path)
            assert await tab.ask(WIDTH) == width, path


async def test_who_may_look_into_one_namespace_gets_there(stage: Stage) -> None:
    """Told that not everything may be seen, and led on by the field for the namespace."""
    async with logged_in(stage, stage.team) as tab:
        assert await text_of(tab, "h1") == ["Not for you"]
        await tab_to(tab, "scope")
        await tab.write("page-a")
        tab.expect()
        await tab.press("Enter")
        await tab.loaded()
        assert await text_of(tab, "h1") == ["3 agents in page-a"]
        await tab_to(tab, "Agents")
        tab.expect()
        await tab.press("Enter")
        await tab.loaded()
        found = await text_of(tab, "tbody th")
        assert found == ["page-a/hostile", "page-a/reader", "page-a/writer"]


async def test_a_token_that_is_not_accepted_is_told_and_read_out(stage: Stage) -> None:
    """The reason is an alert, and belongs to the field."""
    async with logged_in(stage, "garbage", "/agents") as tab:
        (told,) = await text_of(tab, "[role=alert]")
        assert told.startswith("The API server does not accept this token")
        described = "document.getElementById('token').getAttribute('aria-describedby')"
        assert await tab.ask(described) == "refused how"
        assert await tab.ask("document.getElementById('token').value") == ""
