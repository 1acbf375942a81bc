"""A real headless Chromium, driven by its DevTools protocol: for tests and for screenshots.

It talks to this machine and to nobody else.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp

from e2e.errors import E2EError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

__all__ = ["Tab", "browser", "chromium"]

_PACKAGES: Final = ("chromium", "fonts-dejavu-core")
_INSTALL_SECONDS: Final = 600.0
_PATIENCE: Final = 60.0
"""Seconds for a page, or for the browser to start, on a machine that has other things to do."""

_MAX_MESSAGE: Final = 64 * 1024 * 1024
"""Octets of a message: a screenshot of a long page comes as one."""

_FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",  # root has no user namespace of its own; only pages of this machine are opened
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-port=0",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)

_KEYS: Final[Mapping[str, int]] = {"Tab": 9, "Enter": 13, "Escape": 27}


def chromium() -> str:
    """The path of Chromium; root installs it with Debian's packages where it is missing.

    Raises:
        E2EError: There is none.
    """
    found = shutil.which("chromium")
    if found is not None:
        return found
    if os.geteuid() == 0 and shutil.which("apt-get"):
        command = ["apt-get", "install", "--quiet", "--yes", "--no-install-recommends", *_PACKAGES]
        variables = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for each in (["apt-get", "update", "--quiet"], command):
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(
                    each, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    timeout=_INSTALL_SECONDS, check=False,
                )  # fmt: skip
        if (found := shutil.which("chromium")) is not None:
            return found
    msg = f"chromium is not on PATH; on Debian: apt-get install {' '.join(_PACKAGES)}"
    raise E2EError(msg)


@dataclass(slots=True)
class Tab:
    """One tab of a browser.

    Attributes:
        complaints: What the browser had to say: errors and warnings of the console, violations of
            a page's policy, scripts that failed, dialogs that a page opened.
    """

    socket: aiohttp.ClientWebSocketResponse = field(repr=False)
    complaints: list[str] = field(default_factory=list)
    _session: str = ""
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _answers: dict[int, asyncio.Future[dict[str, object]]] = field(default_factory=dict)
    _loaded: asyncio.Event = field(default_factory=asyncio.Event)

    # The protocol

    async def send(self, method: str, **params: object) -> dict[str, object]:
        """Send a command, and return what it answers.

        Raises:
            E2EError: The browser refuses it, or does not answer.
        """
        number = next(self._numbers)
        message: dict[str, object] = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self.socket.send_str(json.dumps(message))
        try:
            async with asyncio.timeout(_PATIENCE):
                told = await answer
        except TimeoutError as error:
            msg = f"the browser has not answered {method} after {_PATIENCE:.0f} s"
            raise E2EError(msg) from error
        if "error" in told:
            msg = f"the browser refuses {method}: {told['error']}"
            raise E2EError(msg)
        result = told.get("result")
        return result if isinstance(result, dict) else {}

    async def listen(self) -> None:
        """Take in what the browser says, until it ends."""
        async for message in self.socket:
            told = json.loads(str(message.data))
            if (number := told.get("id")) in self._answers:
                self._answers.pop(number).set_result(told)
            else:
                self._hear(str(told.get("method")), told.get("params") or {})

    def _hear(self, event: str, params: Mapping[str, object]) -> None:
        match event, params:
            case "Page.loadEventFired", _:
                self._loaded.set()
            case "Log.entryAdded", {"entry": {"level": "error" | "warning", "text": text}}:
                self.complaints.append(str(text))
            case "Runtime.exceptionThrown" | "Runtime.consoleAPICalled", _:
                self.complaints.append(f"{event}: {json.dumps(params)[:500]}")
            case "Page.javascriptDialogOpening", _:
                self.complaints.append(f"a dialog: {params.get('message')}")
            case "Audits.issueAdded", {"issue": {"code": "ContentSecurityPolicyIssue" as code}}:
                self.complaints.append(f"{code}: {json.dumps(params)[:500]}")
            case _:
                pass

    # What a person does

    async def open(self, url: str) -> None:
        """Go to a page, and wait until it is there."""
        self._loaded.clear()
        await self.send("Page.navigate", url=url)
        await self.loaded()

    async def loaded(self) -> None:
        """Wait until the page that is on its way is there; `expect` announces it.

        Raises:
            E2EError: It does not come.
        """
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._loaded.wait()
        except TimeoutError as error:
            msg = f"the page is not there after {_PATIENCE:.0f} s"
            raise E2EError(msg) from error

    def expect(self) -> None:
        """A page is about to come; to be called before what brings it."""
        self._loaded.clear()

    async def press(self, key: str) -> None:
        """Press a key such as `Tab` or `Enter`."""
        code = _KEYS[key]
        text = {"text": "\r"} if key == "Enter" else {}
        fields = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        await self.send("Input.dispatchKeyEvent", type="keyDown", **fields, **text)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **fields)

    async def write(self, text: str) -> None:
        """Type text into what has the focus."""
        await self.send("Input.insertText", text=text)

    async def ask(self, expression: str) -> object:
        """The value of an expression of JavaScript in the page.

        It is evaluated beside the page, which its policy does not forbid.
        """
        told = await self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        result = told.get("result")
        return result.get("value") if isinstance(result, dict) else None

    async def shape(
        self, width: int, height: int, *, dark: bool = False, scale: float = 1.0
    ) -> None:
        """Give the window a size in CSS pixels, and a light or dark mode."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height,
            deviceScaleFactor=scale, mobile=False,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])

    async def picture(self) -> bytes:
        """A screenshot of the whole page as PNG."""
        told = await self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(str(told["data"]))


@asynccontextmanager
async def browser() -> AsyncIterator[Tab]:
    """A browser with one empty tab, which takes any certificate; it ends with the context.

    Raises:
        E2EError: There is none, or it does not start.
    """
    program = chromium()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        process = subprocess.Popen(  # noqa: ASYNC220 - it is not waited for here
            [program, *_FLAGS, f"--user-data-dir={scratch}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        try:
            address = await _address(process, Path(scratch) / "DevToolsActivePort")
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(address, max_msg_size=_MAX_MESSAGE) as socket,
            ):
                tab = Tab(socket)
                listening = asyncio.create_task(tab.listen())
                try:
                    yield await _attached(tab)
                finally:
                    with contextlib.suppress(E2EError, ConnectionError, RuntimeError):
                        tab._session = ""  # noqa: SLF001 - to the browser, not to its tab
                        await tab.send("Browser.close")
                    listening.cancel()
                    await asyncio.gather(listening, return_exceptions=True)
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()


async def _attached(tab: Tab) -> Tab:
    target = await tab.send("Target.createTarget", url="about:blank")
    told = await tab.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
    tab._session = str(told["sessionId"])  # noqa: SLF001 - of the tab that is being made
    for domain in ("Page", "Runtime", "Log", "Audits", "Accessibility"):
        await tab.send(f"{domain}.enable")
    await tab.send("Security.setIgnoreCertificateErrors", ignore=True)
    return tab


async def _address(process: subprocess.Popen[bytes], told: Path) -> str:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        lines = _lines(told)
        if len(lines) > 1:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        await asyncio.sleep(0.05)
    msg = f"chromium has not opened its DevTools port; it ended with {process.poll()}"
    raise E2EError(msg)


def _lines(path: Path) -> list[str]:
    """What stands in a file, nothing if there is none yet."""
    return path.read_text().splitlines() if path.exists() else []
