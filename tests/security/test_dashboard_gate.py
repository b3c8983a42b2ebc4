"""Every route of the dashboard, found by reflection, against every way in that is none."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.dashboard.demo import DemoSource
from tests.dashboard.serving import TOKEN, Site, serving
from tests.dashboard.test_server import OPEN, UPGRADE, paths

#: What a proxy may claim, and what we must not believe.
FORWARDED = {
    "X_Forwarded_For": "127.0.0.1",
    "X_Forwarded_Host": "{host}",
    "X_Forwarded_Proto": "https",
    "X_Real_Ip": "127.0.0.1",
    "Forwarded": "for=127.0.0.1;host={host};proto=https",
}
#: Without the cookie, or with one that is none.
STRANGERS = [
    {},
    {"Cookie": "myscheduler-{port}=9999999999." + "0" * 64},
    {"Cookie": "myscheduler-1={value}"},
    {"Authorization": "Bearer " + TOKEN[:-1]},
    {"Authorization": "Basic " + TOKEN},
    FORWARDED,
]
HOSTS = [
    "evil.example",
    "{host}.evil.example",
    "127.0.0.1.evil.example:{port}",
    "user@{host}",
    "0.0.0.0:{port}",
    "127.1:{port}",
]
ORIGINS = [
    "http://evil.example", "null", "http://{host}.evil.example", "http://good.host.evil.com", "https://{host}",
    "http://localhost:{port}", "file://", "http://{host}:80",
]  # fmt: skip


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    source = DemoSource(workers=2, threads=2)
    source.step()
    async with serving(source) as running:
        yield running


def fill(site: Site, headers: dict[str, str], cookie: str = "") -> dict[str, str]:
    value = cookie.partition("=")[2]
    return {name: text.format(host=site.host, port=site.port, value=value) for name, text in headers.items()}


@pytest.mark.parametrize("headers", STRANGERS)
async def test_no_route_opens_to_strangers(site: Site, headers: dict[str, str]) -> None:
    cookie = await site.cookie()
    found = paths(site)
    assert len(found) >= 18
    for path in found:
        answer = await site.get(path, **fill(site, headers, cookie))
        assert answer.code == OPEN.get(path, 403), path
        upgraded = await site.get(path, **fill(site, headers, cookie), **UPGRADE, Origin=f"http://{site.host}")
        assert upgraded.code == OPEN.get(path, 403), path


@pytest.mark.parametrize("host", HOSTS)
async def test_no_route_answers_to_another_name(site: Site, host: str) -> None:
    cookie = await site.cookie()
    (name,) = fill(site, {"Host": host}).values()
    for path in paths(site):
        answer = await site.get(path, Host=name, Cookie=cookie, **fill(site, FORWARDED))
        assert answer.code == (400 if "@" in host else 403), path  # the former is no host at all by the rules of HTTP


@pytest.mark.parametrize("origin", ORIGINS)
async def test_no_socket_opens_to_a_page_of_others(site: Site, origin: str) -> None:
    cookie = await site.cookie()
    (name,) = fill(site, {"Origin": origin}).values()
    sockets = [path for path in paths(site) if path.endswith("/ws")]
    assert sockets
    for path in sockets:
        assert (await site.get(path, Cookie=cookie, Origin=name, **UPGRADE)).code == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
async def test_no_route_changes_anything_for_anybody(site: Site, method: str) -> None:
    cookie = await site.cookie()
    for path in paths(site):
        for headers in ({}, {"Cookie": cookie}, {"Cookie": cookie, "Origin": "http://evil.example"}):
            answer = await site.get(path, method=method, **headers)
            assert answer.code in (403, 405), (path, headers)
            assert "Access-Control-Allow-Origin" not in answer.headers


async def test_scripts_are_ours_and_frames_are_nobodys(site: Site) -> None:
    cookie = await site.cookie()
    for path in paths(site):
        policy = (await site.get(path, Cookie=cookie)).headers["Content-Security-Policy"]
        assert "script-src 'self';" in policy, path
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
