"""A real browser for tests: fails whoever makes it say anything alarming, or ask anybody but us."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.dashboard.demo import DemoSource
from tests.dashboard.serving import Site, serving

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MISSING = [
    *([] if CHROMIUM else ["a chromium in PATH (apt-get install chromium)"]),
    *([] if importlib.util.find_spec("playwright") else ["playwright (pip install playwright)"]),
]
#: For every module that needs a browser. Its tests run in one event loop, which is the browser's.
NEEDS_BROWSER = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"BROWSER TESTS NOT RUN: missing {' and '.join(MISSING)}"),
]

ARGUMENTS = (
    "--no-sandbox --headless=new --disable-gpu --disable-background-networking --disable-component-update --disable-sync "
    "--no-first-run --disable-quic"
).split()
#: Would open a dialog if any of it became markup, and an attribute if it became one.
HOSTILE = "<img src=x onerror=alert(1)>\"'$$\\alert{x}$$<script>alert(2)</script>"


@asynccontextmanager
async def browser(chromium: Any, width: int = 1400, height: int = 1000, **options: Any) -> AsyncIterator[Any]:
    """A page of a browser that knows nothing yet; fails if it says anything alarming or asks anybody but us."""
    alarms: list[str] = []

    def complain_of(message: Any) -> None:
        if message.type in {"error", "warning"}:
            alarms.append(f"console: {message.text}")

    def look_where(request: Any) -> None:
        if not is_ours(request.url):
            alarms.append(f"request: {request.url}")

    context = await chromium.new_context(viewport={"width": width, "height": height}, **options)
    page: Any = await context.new_page()
    page.on("console", complain_of)
    page.on("pageerror", lambda error: alarms.append(f"error: {error}"))
    page.on("dialog", lambda dialog: alarms.append(f"dialog: {dialog.message}"))
    page.on("request", look_where)
    page.alarms = alarms
    try:
        yield page
    finally:
        await context.close()
    assert not alarms, alarms


def is_ours(url: str) -> bool:
    return url.startswith(("http://127.0.0.1:", "data:", "blob:"))


@asynccontextmanager
async def running(source: DemoSource) -> AsyncIterator[Site]:
    """A dashboard whose cluster works on."""

    async def work() -> None:
        while True:
            source.step()
            await asyncio.sleep(0.25)

    async with serving(source) as site:
        working = asyncio.create_task(work())
        try:
            yield site
        finally:
            working.cancel()
            await asyncio.wait([working])


async def open_page(page: Any, site: Site) -> None:
    await page.goto(site.link)
    await page.wait_for_selector("body.ready", timeout=30_000)


async def enter(page: Any, site: Site) -> None:
    """Log in without the first page, which takes seconds to draw."""
    name, _, value = (await site.cookie()).partition("=")
    cookie = {"name": name, "value": value, "url": f"http://{site.host}", "httpOnly": True, "sameSite": "Strict"}
    await page.context.add_cookies([cookie])


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = 20) -> Any:
    async with asyncio.timeout(seconds):
        while not (value := await condition()):
            await asyncio.sleep(0.05)
    return value


async def when(value: Awaitable[Any], condition: Callable[[Any], bool]) -> Any:
    result = await value
    return result if condition(result) else None
