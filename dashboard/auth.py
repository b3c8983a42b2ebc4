"""Who may look: the token in the printed link, and the cookie that a browser gets for it. Pure.

The token is the dashboard's own: it shows, but cannot run anything, so it may be handed to a colleague. The link can be
opened as often as one likes. The cookie says until when it is valid and is signed with a key made from the token, so it
survives a restart of the dashboard and dies with the token.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from ..base.errors import UsageError

#: Seconds after which the link has to be opened again.
COOKIE_LIFETIME_S: Final = 7 * 24 * 3600
#: Characters; a shorter token could be guessed.
TOKEN_CHARS_MIN: Final = 16
_BEARER: Final = "bearer "


class Authenticator:
    """Checks tokens and makes and checks cookies.

    Parameters
    ----------
    token : str
        What the printed link carries, at least 16 characters, drawn at random by whoever starts the dashboard.
    port : int
        The dashboard's port; it is part of the cookie's name, because browsers do not keep cookies of one host's ports apart.

    Raises
    ------
    UsageError
        The token is too short.

    Examples
    --------
    >>> auth = Authenticator("0123456789abcdef", 8787)
    >>> auth.cookie_name
    'myscheduler-8787'
    >>> cookie = auth.issue(now=0.0)
    >>> auth.check_cookie(cookie, now=60.0), auth.check_cookie(cookie, now=8 * 24 * 3600.0)
    (True, False)
    >>> auth.check_token("0123456789abcdef"), auth.check_token("x")
    (True, False)
    """

    def __init__(self, token: str, port: int) -> None:
        if len(token) < TOKEN_CHARS_MIN:
            raise UsageError(
                f"the dashboard's token has {len(token)} characters; at least {TOKEN_CHARS_MIN} are needed, "
                "for example secrets.token_urlsafe(24)"
            )
        self.cookie_name = f"myscheduler-{port}"
        self._digest = _digest(token)
        self._key = hmac.digest(token.encode(), b"myscheduler dashboard cookie v1", "sha256")

    def __repr__(self) -> str:
        return f"<Authenticator {self.cookie_name}>"

    def check_token(self, candidate: str) -> bool:
        """Whether this is the token, in a time that tells nothing about it, its length included."""
        return hmac.compare_digest(_digest(candidate), self._digest)

    def check_bearer(self, header: str) -> bool:
        """Whether an ``Authorization`` header carries the token as ``Bearer``."""
        return header[: len(_BEARER)].lower() == _BEARER and self.check_token(header[len(_BEARER) :].strip())

    def issue(self, now: float) -> str:
        """A cookie that is valid for ``COOKIE_LIFETIME_S`` from wall time ``now``."""
        expires = str(int(now) + COOKIE_LIFETIME_S)
        return f"{expires}.{self._sign(expires)}"

    def check_cookie(self, value: str, now: float) -> bool:
        """Whether we made this cookie and it is still valid at wall time ``now``."""
        expires, _, signature = value.partition(".")
        if not hmac.compare_digest(self._sign(expires).encode(), signature.encode("utf-8", "replace")):
            return False
        return int(expires) > now

    def derive_secret(self, purpose: str) -> bytes:
        """A key made from the token for another purpose."""
        return hmac.digest(self._key, purpose.encode(), "sha256")

    def _sign(self, expires: str) -> str:
        return hmac.digest(self._key, expires.encode("utf-8", "replace"), "sha256").hex()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
