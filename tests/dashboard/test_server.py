"""The web server as attackers and browsers see it: no route without cookie, no foreign host, no foreign origin."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import pytest
from tornado.web import RequestHandler

from myscheduler.dashboard import server as module
from tests.dashboard.browsing import until
from tests.dashboard.demo import DemoSource
from tests.dashboard.serving import TOKEN, Site, serving

#: Routes that answer without a cookie, and with what.
OPEN = {"/health": 200}
#: What makes a request the beginning of a websocket.
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec_WebSocket_Protocol": "bokeh, token",
}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    source = DemoSource(workers=2, threads=2)
    source.step()
    async with serving(source, hosts=("dash.example.org",)) as running:
        yield running


def paths(site: Site) -> list[str]:
    """One path for every route of the application, found by reflection."""
    application = site.server.application
    found = []
    for router in (application.wildcard_router, application.default_router):
        for rule in router.rules:
            regex = getattr(rule.matcher, "regex", None)
            if regex is not None:
                pattern = regex.pattern.rstrip("$").replace("/?", "").replace("/assets/(.+)", "/assets/status.css")
                pattern = pattern.replace("/tasks/(.+)", "/tasks/score-1").replace("/workers/(.+)", "/workers/worker-1")
                pattern = pattern.replace("/worker/([^/]+)", "/worker/worker-1")
                found.append(pattern.replace("(js/bokeh\\.min\\.js)", "js/bokeh.min.js"))
    return found


def test_reflection_finds_the_routes(site: Site) -> None:
    found = paths(site)
    assert {
        "/", "/login", "/health", "/status", "/status/ws", "/task", "/tasks", "/worker/worker-1", "/metrics",
        "/view/task", "/view/tasks", "/view/worker", "/api/v1/overview", "/api/v1/progress",
        "/api/v1/workers", "/api/v1/workers/worker-1", "/api/v1/tasks", "/api/v1/tasks/score-1",
    } <= set(found)  # fmt: skip
    assert not [path for path in found if any(char in path for char in "()[]*\\")], "teach paths() about this route"


async def test_no_route_answers_without_the_cookie(site: Site) -> None:
    bokehs_own = ["/status/metadata", "/status/autoload.js", "/static/js/bokeh.min.js", "/favicon.ico"]
    wrong = ({}, {"Cookie": f"myscheduler-{site.port}=1.2"}, {"Authorization": "Bearer x"}, {"X_Forwarded_For": "::1"})
    for path in [*paths(site), *bokehs_own, "/nothing/here"]:
        for headers in wrong:
            answer = await site.get(path, **headers)
            assert answer.code == OPEN.get(path, 403), path
            assert TOKEN not in answer.body.decode()


async def test_no_route_answers_to_a_foreign_host(site: Site) -> None:
    cookie = await site.cookie()
    foreign = [
        "evil.example", f"evil.example:{site.port}", "127.0.0.1", f"127.0.0.1:{site.port}.evil.example",
        f"127.0.0.1:{site.port + 1}", f"dash.example.org.evil.example:{site.port}", f"xdash.example.org:{site.port}",
    ]  # fmt: skip
    for path in [*paths(site), "/nothing/here", f"/?token={TOKEN}", f"/login?token={TOKEN}"]:
        for host in foreign if path == "/status" else foreign[:1]:
            answer = await site.get(path, Host=host, Cookie=cookie, X_Forwarded_Host=site.host)
            assert answer.code == 403, (path, host)
            assert "Set-Cookie" not in answer.headers


async def test_a_route_added_later_is_guarded_as_well(site: Site) -> None:
    class Careless(RequestHandler):
        def get(self) -> None:
            self.write("secret")

    site.server.application.add_handlers(".*", [("/later", Careless)])
    assert (await site.get("/later")).code == 403
    assert (await site.get("/later", Cookie=await site.cookie())).body == b"secret"


@pytest.mark.parametrize("host", ["localhost", "[::1]", "DASH.example.org"])
async def test_own_names_are_answered(site: Site, host: str) -> None:
    cookie = await site.cookie()
    assert (await site.get("/status", Host=f"{host}:{site.port}", Cookie=cookie)).code == 200


async def test_a_name_without_port_serves_proxies(site: Site) -> None:
    assert (await site.get("/health", Host="dash.example.org")).body == b"ok\n"


@pytest.mark.parametrize("path", ["/", "/login"])
async def test_the_link_sets_a_cookie_and_leads_on_without_the_token(site: Site, path: str) -> None:
    for _ in range(2):
        answer = await site.get(f"{path}?token={TOKEN}")
        assert (answer.code, answer.headers["Location"]) == (302, "status")
        cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith(f"myscheduler-{site.port}=")
        assert all(word in cookie for word in ("HttpOnly", "SameSite=Strict", "Path=/"))
        assert TOKEN not in cookie


async def test_a_link_clicked_on_another_site_goes_on_by_a_page_of_ours(site: Site) -> None:
    answer = await site.get(f"/?token={TOKEN}", Sec_Fetch_Site="cross-site")
    assert answer.code == 200
    assert "Set-Cookie" in answer.headers
    assert 'content="0; url=status"' in answer.body.decode()
    assert TOKEN not in answer.body.decode()


async def test_without_a_token_the_page_says_how_to_get_the_link(site: Site) -> None:
    body = (await site.get("/")).body.decode()
    assert "This dashboard is private" in body
    assert "client.dashboard_link" in body


async def test_a_wrong_token_is_explained(site: Site) -> None:
    answer = await site.get("/login?token=from-an-earlier-cluster")
    assert answer.code == 403
    assert "It may belong to an earlier cluster on the same port" in answer.body.decode()
    assert "Set-Cookie" not in answer.headers


async def test_with_the_cookie_the_root_leads_to_the_page(site: Site) -> None:
    answer = await site.get("/", Cookie=await site.cookie())
    assert (answer.code, answer.headers["Location"]) == (302, "status")


async def test_health_says_nothing_about_the_cluster(site: Site) -> None:
    answer = await site.get("/health")
    assert (answer.code, answer.body) == (200, b"ok\n")


async def test_overview_takes_a_bearer_or_a_cookie(site: Site) -> None:
    for headers in ({"Authorization": f"Bearer {TOKEN}"}, {"Cookie": await site.cookie()}):
        answer = await site.get("/api/v1/overview", **headers)
        assert answer.code == 200
        data = json.loads(answer.body)
        assert data["totals"]["workers"] == 2
        assert set(data) == {"cluster", "time", "totals", "progress", "workers"}
    refused = await site.get("/api/v1/overview")
    assert "Authorization: Bearer" in json.loads(refused.body)["error"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_nothing_can_be_changed(site: Site, method: str) -> None:
    cookie = await site.cookie()
    for path in paths(site):
        answer = await site.get(path, method, Cookie=cookie, Origin="http://evil.example")
        assert answer.code in {403, 405}, path
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_every_answer_forbids_what_pages_do_not_need(site: Site) -> None:
    cookie = await site.cookie()
    for path in [*paths(site), "/nothing"]:
        for headers in ({}, {"Cookie": cookie}):
            answer = await site.get(path, **headers)
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "script-src 'self';" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert "Server" not in answer.headers
            assert "Access-Control-Allow-Origin" not in answer.headers


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.resources: list[str] = []
        self.body: dict[str, Any] = {}
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.resources += [value for name, value in attrs if value and name in {"src", "href"}]
        self.inline += [name for name, _ in attrs if name.startswith("on") or name == "style"]
        if tag == "script" and "src" not in values:
            self.inline.append("script")
        if tag == "body":
            self.body = values


async def test_the_page_loads_only_what_we_serve(site: Site) -> None:
    cookie = await site.cookie()
    page = _Page((await site.get("/status", Cookie=cookie)).body.decode())
    assert page.inline == []
    assert len(page.resources) >= 6
    for resource in page.resources:
        assert not resource.startswith(("http", "/")), "addresses are relative, so that the page works behind a proxy"
        answer = await site.get(f"/{resource}", Cookie=cookie)
        assert answer.code == 200, resource
    assert set(json.loads(page.body["data-roots"])) == {"stream", "rate", "cpu", "memory"}


@pytest.mark.parametrize("path", ["/task", "/tasks", "/worker/worker-1"])
async def test_the_closer_pages_load_only_what_we_serve(site: Site, path: str) -> None:
    cookie = await site.cookie()
    page = _Page((await site.get(path, Cookie=cookie)).body.decode())
    assert page.inline == []
    assert len(page.resources) >= 8
    for resource in page.resources:
        assert not resource.startswith(("http", "/"))
        assert (await site.get(urljoin(path, resource), Cookie=cookie)).code == 200, resource


async def test_names_are_escaped_in_the_page() -> None:
    source = DemoSource()
    source.model.name = '"><script>alert(1)</script>'
    async with serving(source) as site:
        body = (await site.get("/status", Cookie=await site.cookie())).body.decode()
    assert "<script>alert" not in body
    assert "&lt;script&gt;alert(1)" in body


async def _connect(site: Site, **headers: str) -> Any:
    page = _Page((await site.get("/status", Cookie=await site.cookie())).body.decode())
    return await site.websocket("/status/ws", ["bokeh", page.body["data-token"]], **headers)


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "", None, "http://{host}.evil.example", "https://{host}", "http://localhost:{port}",
     "http://127.0.0.1", "{host}", "http://{host}/", "http://user@{host}"],
)  # fmt: skip
async def test_websockets_refuse_foreign_origins(site: Site, origin: str | None) -> None:
    headers = {} if origin is None else {"Origin": origin.format(host=site.host, port=site.port)}
    answer = await site.get("/status/ws", Cookie=await site.cookie(), **UPGRADE, **headers)
    assert answer.code == 403


async def test_websockets_refuse_strangers(site: Site) -> None:
    assert (await site.get("/status/ws", Origin=f"http://{site.host}", **UPGRADE)).code == 403


async def test_websockets_serve_our_own_page(site: Site) -> None:
    connection = await _connect(site, Cookie=await site.cookie(), Origin=f"http://{site.host}")
    assert await connection.read_message() is not None
    connection.close()


async def test_the_document_of_a_page_that_was_left_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SESSION_LINGER_S", 0.05)
    source = DemoSource(workers=1)
    async with serving(source) as site:
        connection = await _connect(site, Cookie=await site.cookie(), Origin=f"http://{site.host}")
        assert await connection.read_message() is not None
        assert source.watchers == 1
        connection.close()
        await until(lambda: asyncio.sleep(0, source.watchers == 0))


async def test_websockets_refuse_sessions_that_we_did_not_sign(site: Site) -> None:
    headers = {"Cookie": await site.cookie(), "Origin": f"http://{site.host}"}
    page = _Page((await site.get("/status", Cookie=headers["Cookie"])).body.decode())
    payload, _, signature = page.body["data-token"].partition(".")
    forged = f"{payload}.{signature[:-2]}{'AA' if signature[-2:] != 'AA' else 'BB'}"
    connection = await site.websocket("/status/ws", ["bokeh", forged], **headers)
    message = await connection.read_message()
    connection.close()
    assert message is None, "closed at once"


async def test_websockets_close_on_large_messages(site: Site) -> None:
    connection = await _connect(site, Cookie=await site.cookie(), Origin=f"http://{site.host}")
    assert await connection.read_message() is not None
    await connection.write_message(b"x" * (module.WEBSOCKET_MESSAGE_BYTES_MAX + 1), binary=True)
    messages = [await connection.read_message() for _ in range(3)]
    connection.close()
    assert messages[-1] is None


async def test_tokens_are_not_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(RequestHandler):
        def get(self) -> None:
            raise RuntimeError("a bug")

    site.server.application.add_handlers(".*", [("/broken", Broken)])
    with caplog.at_level(logging.DEBUG):
        await site.get(f"/?token={TOKEN}")
        await site.get(f"/login?token={TOKEN}x")
        answer = await site.get(f"/broken?token={TOKEN}", Cookie=await site.cookie())
    assert answer.code == 500
    assert b"a bug" not in answer.body
    assert "cannot answer GET /broken" in caplog.text
    assert TOKEN not in caplog.text


async def test_only_so_many_pages_at_a_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SESSIONS_MAX", 2)
    cookie = await site.cookie()
    codes = [(await site.get("/status", Cookie=cookie)).code for _ in range(3)]
    assert codes == [200, 200, 503]
    assert b"Close one and reload" in (await site.get("/status", Cookie=cookie)).body
