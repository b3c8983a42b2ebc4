"""The pages in a real browser: what they show, that nothing comes from elsewhere, and that no name becomes markup.

Needs Chromium and playwright. Browsers are few and slow, so each test looks at several things.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from typing import Any

import pytest

from tests.dashboard.browsing import HOSTILE, NEEDS_BROWSER, browser, open_page, running, until, when
from tests.dashboard.demo import DemoSource
from tests.dashboard.serving import serving

pytestmark = NEEDS_BROWSER


async def columns(page: Any) -> dict[str, int]:
    """How much the figures hold."""
    return await page.evaluate(
        "() => Object.fromEntries(Bokeh.documents[0].roots().map((r) => "
        "[r.name, Object.values(r.renderers.at(-1).data_source.data)[0].length]))"
    )


async def test_the_page_shows_a_live_cluster(chromium: Any) -> None:
    async with running(DemoSource(workers=6, threads=4)) as site, browser(chromium) as page:
        await open_page(page, site)
        assert page.url.endswith("/status"), "the token is gone from the address"
        await until(lambda: page.locator("#link.good").count())
        assert await page.inner_text("#workers-count") == "6"
        assert await page.locator("#workers tbody tr").count() == 6
        assert await page.locator("#progress li").count() == 4
        before = await columns(page)
        assert before["stream"] > 100
        done = await page.inner_text("#done")
        after = await until(lambda: when(columns(page), lambda now: now["rate"] > before["rate"] + 2))
        assert after["stream"] > before["stream"]
        await until(lambda: when(page.inner_text("#done"), lambda text: text != done))
        names = await page.evaluate("[...document.querySelectorAll('#workers strong')].map((e) => e.textContent)")
        assert names == [f"worker-{i}" for i in range(6)]
        await page.click("th[data-sort=memory_bytes] button")
        assert await page.inner_text("#workers tbody tr:first-child strong") == "worker-5"
        await page.click("#window [data-seconds='10']")
        span = await page.evaluate(
            "(() => { const r = Bokeh.documents[0].roots()[0].x_range; return r.end - r.start; })()"
        )
        assert span == pytest.approx(10_200, rel=0.01)
        await _drag(page)
        await until(lambda: when(page.inner_text("#stream-hint"), lambda text: text.startswith("Standing still.")))
        await page.click("#window [data-seconds='30']")
        assert (await page.inner_text("#stream-hint")).startswith("One row per thread")


async def _drag(page: Any) -> None:
    box = await page.locator("#plot-stream").bounding_box()
    await page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + 100)
    await page.mouse.down()
    await page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 100, steps=5)
    await page.mouse.up()


@pytest.mark.parametrize("width", [390, 800, 1400])
async def test_nothing_is_cut_off_at_any_width(chromium: Any, width: int) -> None:
    async with running(DemoSource(workers=2)) as site, browser(chromium, width, 844) as page:
        await open_page(page, site)
        assert await page.evaluate("document.documentElement.scrollWidth") == width
        cut = await page.evaluate(
            "[...document.querySelectorAll('.stat p, .gauge .value, .choice button')]"
            ".filter((e) => e.scrollWidth > e.clientWidth + 1 && e.clientWidth).map((e) => e.textContent)"
        )
        assert cut == []


async def test_empty_pages_say_what_to_do(chromium: Any) -> None:
    source = DemoSource()
    source.model.set_connection("connected")
    async with serving(source) as site, browser(chromium) as page:
        await open_page(page, site)
        assert await page.locator("#stream-empty").is_visible()
        assert "client.map(" in await page.inner_text("#stream-empty")
        assert "myworker" in await page.inner_text("#workers-empty")


async def test_a_page_that_is_opened_late_says_why_it_shows_no_runs(chromium: Any) -> None:
    source = DemoSource()
    source.step()
    overview = source._overview(0.0)
    source = DemoSource()
    source.model.set_connection("connected")
    source.model.set_overview(0.0, overview)
    async with serving(source) as site, browser(chromium) as page:
        await open_page(page, site)
        await until(lambda: when(page.inner_text("#stream-empty"), lambda text: "Runs are recorded while" in text))
        assert "client.map(" not in await page.inner_text("#stream-empty")


async def test_no_name_becomes_markup(chromium: Any) -> None:
    source = DemoSource(workers=2, names=((HOSTILE, 0.2, 0.01), ("plain", 0.2, 0.01)))
    source.model.name = HOSTILE
    original = source._overview

    def overview(now: float) -> dict[str, Any]:
        reply = original(now)
        for row in reply["workers"]:
            row.update(name=f"{HOSTILE}{row['name']}", address=HOSTILE, host=HOSTILE, status=HOSTILE)
        return {**reply, "address": HOSTILE}

    source._overview = overview  # type: ignore[method-assign]
    async with running(source) as site, browser(chromium) as page:
        await open_page(page, site)
        await until(lambda: page.locator("#progress li").count())
        await _hover_over_a_task(page)
        source.model.set_connection("lost", HOSTILE)
        shown = await page.inner_text("body")
        assert HOSTILE in shown
        assert await page.locator("img[src=x]").count() == 0


async def _hover_over_a_task(page: Any) -> None:
    """Move over the stream until a tooltip shows."""
    box = await page.locator("#plot-stream").bounding_box()

    async def shown() -> Any:
        for share in (0.6, 0.7, 0.8):
            await page.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] * (share - 0.2), steps=3)
            if await page.locator(".bk-Tooltip", has_text="took").count():
                return True
        return False

    await until(shown)


async def test_a_tooltip_tells_about_a_task(chromium: Any) -> None:
    async with running(DemoSource()) as site, browser(chromium) as page:
        await open_page(page, site)
        await until(lambda: page.locator("#progress li").count())
        await _hover_over_a_task(page)
        shown = re.compile(r"took.*ended.*onworker-\d, thread \d")
        assert await until(lambda: page.locator(".bk-Tooltip", has_text=shown).count())


async def test_a_finger_scrolls_the_page(chromium: Any) -> None:
    async with running(DemoSource()) as site, browser(chromium, 390, 844, has_touch=True, is_mobile=True) as page:
        await open_page(page, site)
        actions = await page.evaluate(
            "(() => { const found = []; const walk = (root) => { for (const e of root.querySelectorAll('*')) {"
            "if (e.shadowRoot) walk(e.shadowRoot); if (e.classList.contains('bk-events')) "
            "found.push(getComputedStyle(e).touchAction); } }; walk(document); return found; })()"
        )
        assert len(actions) == 4
        assert all(action == "auto" or "pan-y" in action for action in actions)


async def test_a_lost_scheduler_is_said(chromium: Any) -> None:
    source = DemoSource()
    async with serving(source) as site, browser(chromium) as page:
        source.step()
        await open_page(page, site)
        await until(lambda: page.locator("#link.good").count())
        source.model.set_connection("lost", "it was killed")
        for changed in list(source._watchers.values()):
            changed()
        await until(lambda: page.locator("#banner:visible").count())
        assert "Lost the connection to the scheduler: it was killed." in await page.inner_text("#banner")


async def test_why_nothing_goes_on_is_said_until_it_goes_on(chromium: Any) -> None:
    source = DemoSource()
    async with serving(source) as site, browser(chromium) as page:
        source.step()
        await open_page(page, site)
        for why, shown in (
            ("Nothing goes on, although 1 task waits to be run.", "#banner:visible"),
            ("", "#link.good"),
        ):
            source.model.stalled = why
            for changed in list(source._watchers.values()):
                changed()
            await until(page.locator(shown).count)
            assert await page.inner_text("#banner") == why
            assert not await page.locator("body.stale").count()  # the numbers are not old


async def test_a_dashboard_that_comes_back_is_found_again(chromium: Any) -> None:
    from myscheduler.dashboard.server import Server
    from tests.dashboard.serving import TOKEN

    source = DemoSource()
    source.step()
    async with browser(chromium) as page:
        await page.clock.install()
        async with serving(source) as site:
            await open_page(page, site)
            port = site.port
        await page.clock.fast_forward(8_000)  # so long it waits for a sign of life, and looks whether there was one
        await until(lambda: page.locator("#banner:visible").count())
        assert "Lost the connection to the dashboard" in await page.inner_text("#banner")
        server = Server(source, TOKEN, [socket.create_server(("127.0.0.1", port))])
        server.start()
        try:
            await page.clock.fast_forward(2_000)
            await until(lambda: page.locator("body.ready #link.good").count(), 30)
        finally:
            await server.stop()
        page.alarms[:] = [
            alarm for alarm in page.alarms if "ERR_CONNECTION_REFUSED" not in alarm and "WebSocket" not in alarm
        ]


async def test_the_link_works_from_another_site(chromium: Any) -> None:
    """Cookies are strict: a browser would not send them along a redirect that another site began."""
    async with running(DemoSource()) as site, browser(chromium) as page:
        page_text = f'<a href="{site.link}">dashboard</a>'
        other = await asyncio.start_server(lambda r, w: _answer(r, w, page_text), "127.0.0.1", 0)
        await page.goto(f"http://localhost:{other.sockets[0].getsockname()[1]}/")
        page.alarms.clear()
        await page.click("a")
        await page.wait_for_selector("body.ready", timeout=30_000)
        assert page.url == f"http://{site.host}/status"
        other.close()
        await other.wait_closed()
        page.alarms[:] = [alarm for alarm in page.alarms if "favicon" not in alarm]


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: str) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError):  # browsers also open connections that they do not use
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n" + text.encode())
    writer.close()
    await writer.wait_closed()
