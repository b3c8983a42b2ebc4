"""Tokens and cookies."""

from __future__ import annotations

import inspect

import pytest

from myscheduler.base.errors import UsageError
from myscheduler.dashboard import auth as module
from myscheduler.dashboard.auth import COOKIE_LIFETIME_S, Authenticator

TOKEN = "correct-horse-battery-staple"
NOW = 1_700_000_000.0


def test_the_token_works_as_often_as_one_likes() -> None:
    auth = Authenticator(TOKEN, 8787)
    assert [auth.check_token(TOKEN), auth.check_token(TOKEN)] == [True, True]


@pytest.mark.parametrize("wrong", ["", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "\ud800", "é" * 40])
def test_any_other_token_does_not(wrong: str) -> None:
    auth = Authenticator(TOKEN, 8787)
    assert not auth.check_token(wrong)
    assert not auth.check_bearer(f"Bearer {wrong}")


def test_bearer() -> None:
    auth = Authenticator(TOKEN, 8787)
    assert auth.check_bearer(f"Bearer {TOKEN}")
    assert auth.check_bearer(f"bearer  {TOKEN}")
    assert not auth.check_bearer(TOKEN)
    assert not auth.check_bearer(f"Basic {TOKEN}")


def test_cookies_expire() -> None:
    auth = Authenticator(TOKEN, 8787)
    cookie = auth.issue(NOW)
    assert auth.check_cookie(cookie, NOW + COOKIE_LIFETIME_S - 1)
    assert not auth.check_cookie(cookie, NOW + COOKIE_LIFETIME_S + 1)


def test_a_cookie_survives_a_restart_but_not_another_token() -> None:
    cookie = Authenticator(TOKEN, 8787).issue(NOW)
    assert Authenticator(TOKEN, 8787).check_cookie(cookie, NOW)
    assert not Authenticator(TOKEN + "2", 8787).check_cookie(cookie, NOW)


def test_no_changed_cookie_passes() -> None:
    auth = Authenticator(TOKEN, 8787)
    cookie = auth.issue(NOW)
    for position, char in enumerate(cookie):
        changed = cookie[:position] + ("1" if char != "1" else "2") + cookie[position + 1 :]
        assert not auth.check_cookie(changed, NOW)
    for garbage in ("", ".", "x.y", "é.é", cookie + "0", "99999999999.", cookie.partition(".")[0]):
        assert not auth.check_cookie(garbage, NOW)


def test_short_tokens_are_refused_with_the_way_out() -> None:
    with pytest.raises(
        UsageError, match=r"has 5 characters; at least 16 are needed, for example secrets\.token_urlsafe"
    ):
        Authenticator("short", 8787)


def test_secrets_are_not_shown() -> None:
    auth = Authenticator(TOKEN, 8787)
    assert TOKEN not in repr(auth)
    assert TOKEN not in str(vars(auth))
    assert auth.derive_secret("a") != auth.derive_secret("b")


def test_comparisons_take_constant_time() -> None:
    source = inspect.getsource(module)
    assert source.count("compare_digest") == 2
    assert "==" not in source.replace("== _BEARER", "")
