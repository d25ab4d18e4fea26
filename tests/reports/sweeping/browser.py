"""A headless Chromium that opens a page of ours and says what happened in it, in real time."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--remote-debugging-port=0", "--remote-allow-origins=*"),
)
_BAD = ("Runtime.exceptionThrown", "Inspector.targetCrashed")


def chromium() -> str | None:
    """Return the path of a Chromium or Chrome; None: there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


class Browser:
    """One page in one Chromium, over its debugging protocol. Use as `async with`.

    `errors` collects exceptions and console errors, `fetched` the addresses that it asked for.
    """

    def __init__(self, profile: Path) -> None:
        self.errors: list[str] = []
        self.fetched: list[str] = []
        self._profile = profile
        self._count = 0

    async def __aenter__(self) -> Browser:
        from tornado.websocket import websocket_connect

        path = chromium()
        assert path is not None
        self._process = subprocess.Popen(
            [path, *FLAGS, f"--user-data-dir={self._profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        address = await self._address()
        self._socket = await websocket_connect(address, max_message_size=1 << 28)
        targets = await self.call("Target.getTargets")
        first = next(t for t in targets["targetInfos"] if t["type"] == "page")
        session = await self.call("Target.attachToTarget", targetId=first["targetId"], flatten=True)
        self._session = session["sessionId"]
        for domain in ("Runtime", "Log", "Network", "Page"):
            await self.call(f"{domain}.enable")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self.call("Browser.close"), 5)
        self._socket.close()
        try:
            await asyncio.to_thread(self._process.wait, 10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    async def _address(self) -> str:
        file = self._profile / "DevToolsActivePort"
        for _ in range(600):
            if file.is_file() and len(lines := file.read_text().splitlines()) == 2:
                return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
            assert self._process.poll() is None, "Chromium did not start"
            await asyncio.sleep(0.05)
        raise TimeoutError("Chromium did not listen within 30 s")

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if getattr(self, "_session", None):
            message["sessionId"] = self._session
        await self._socket.write_message(json.dumps(message))
        while True:
            text = await self._socket.read_message()
            assert text is not None, "Chromium went away"
            reply = json.loads(text)
            if reply.get("id") == self._count:
                assert "error" not in reply, f"{method}: {reply['error']}"
                return dict(reply["result"])
            self._note(reply)

    def _note(self, event: dict[str, Any]) -> None:
        name, about = event.get("method", ""), event.get("params", {})
        if name in _BAD or (name == "Log.entryAdded" and about["entry"]["level"] == "error"):
            self.errors.append(json.dumps(about)[:4000])
        if name == "Runtime.consoleAPICalled" and about["type"] in ("error", "assert"):
            self.errors.append(json.dumps(about["args"])[:500])
        if name == "Network.requestWillBeSent":
            url = about["request"]["url"]
            self.fetched += [] if url.startswith("data:") else [url]

    async def look(self, *, width: int = 1200, height: int = 900, dark: bool = False) -> None:
        """Set the size of the window, and what the reader prefers."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def open(self, page: Path, seconds: float = 30) -> None:
        """Open a page and wait until its explorer has drawn."""
        await self.call("Page.navigate", url=page.resolve().as_uri())
        await self.until("document.documentElement?.dataset.drawn !== undefined", seconds)

    async def until(self, condition: str, seconds: float = 30) -> None:
        """Wait until an expression is true in the page."""
        end = time.monotonic() + seconds
        while not await self.value(condition):
            assert time.monotonic() < end, f"not within {seconds} s: {condition}; {self.errors}"
            await asyncio.sleep(0.05)

    async def value(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        reply = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in reply, reply["exceptionDetails"]
        return reply["result"].get("value")

    async def faults(self) -> list[str]:
        """Return every error so far, those that are still on their way among them."""
        await asyncio.sleep(0.3)
        own = await self.value("document.documentElement.dataset.error ?? null")
        return self.errors + ([own] if own else [])

    async def mouse(self, kind: str, x: float, y: float) -> None:
        """Send a mouse event: mouseMoved, mousePressed or mouseReleased."""
        button = "none" if kind == "mouseMoved" else "left"
        await self.call(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=1
        )

    async def picture(self, box: list[float] | None = None) -> bytes:
        """Return a PNG of a part of the page, (x, y, width, height), or of the whole page."""
        if box is None:
            size = (await self.call("Page.getLayoutMetrics"))["cssContentSize"]
            box = [0, 0, size["width"], size["height"]]
        clip = dict(zip(("x", "y", "width", "height"), box, strict=True)) | {"scale": 1}
        reply = await self.call(
            "Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip
        )
        return base64.b64decode(reply["data"])
