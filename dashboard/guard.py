"""The one gate in front of every route: whose names we answer to, who may look, and what a browser may do with our answers.

``guarded`` puts ``Guard`` in front of a handler class. The application wraps every handler it hands a request to, the
framework's own and those for unknown paths included, so no route can be added that is not guarded.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterable
from html import escape
from types import TracebackType
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from tornado.web import HTTPError, RequestHandler
from tornado.websocket import WebSocketHandler

from .auth import Authenticator

logger = logging.getLogger(__name__)

_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_NO_LINK: Final = (
    "This page needs the link that was printed when the cluster started, the one with <code>?token=</code> in it. "
    "In Python it is <code>client.dashboard_link</code>. Open that link once; this browser will then be remembered."
)
_WRONG_TOKEN: Final = (
    "The token in this link is not the one of this dashboard. It may belong to an earlier cluster on the same port: "
    "take the link from the cluster that runs now; in Python it is <code>client.dashboard_link</code>."
)
_WRONG_HOST: Final = (
    "This dashboard does not answer to the host name in your request. Open it through the printed link, "
    "or add the name to the dashboard's allowed hosts."
)
_WRONG_ORIGIN: Final = "Live connections are only accepted from the dashboard's own pages."
_REASONS: Final = {"host": _WRONG_HOST, "token": _NO_LINK, "wrong-token": _WRONG_TOKEN, "origin": _WRONG_ORIGIN}
_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><title>{title}</title><style nonce="{nonce}">
body {{ margin: 0; min-height: 100vh; display: grid; place-items: center; background: #f6f7f9; color: #1d2733;
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }}
main {{ max-width: 30rem; margin: 1rem; padding: 2rem 2.25rem; background: #fff; border: 1px solid #e4e8ed;
  border-radius: 14px; box-shadow: 0 1px 2px rgb(16 24 40 / 5%); }}
h1 {{ font-size: 1.2rem; margin: 0 0 .5rem; }}
p {{ margin: 0; color: #4b5868; }}
code {{ font: .9em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; background: #f1f3f6; border-radius: 5px;
  padding: .1em .35em; color: #1d2733; }}
</style></head><body><main><h1>{title}</h1><p>{text}</p></main></body></html>
"""


_wrapped: Final[dict[type[RequestHandler], type[RequestHandler]]] = {}


class Access:
    """The names the dashboard answers to, and the keeper of its token.

    Parameters
    ----------
    auth : Authenticator
        Checks tokens and cookies.
    port : int
        The port the dashboard listens on.
    hosts : iterable of str
        Names besides the loopback ones, as a browser sends them in ``Host``; without a port they are allowed with ours,
        and without any, as behind a proxy on a standard port.

    Examples
    --------
    >>> access = Access(Authenticator("0123456789abcdef", 8787), 8787, ["dash.example.org"])
    >>> [access.allows_host(host) for host in ("localhost:8787", "dash.example.org", "127.0.0.1", "evil.example:8787")]
    [True, True, False, False]
    >>> access.allows_origin("http://localhost:8787", "localhost:8787")
    True
    >>> access.allows_origin("http://localhost:8787.evil.example", "localhost:8787")
    False
    """

    def __init__(self, auth: Authenticator, port: int, hosts: Iterable[str] = ()) -> None:
        self.auth = auth
        self._loopback = {f"{host}:{port}": None for host in _LOOPBACK}
        if port == 80:
            self._loopback.update(dict.fromkeys(_LOOPBACK))
        self._named: dict[str, None] = {}
        for host in hosts:
            name = host.strip().lower()
            self._named[name] = None
            if urlsplit(f"//{name}").port is None:
                self._named[f"{name}:{port}"] = None

    def allows_host(self, host: str) -> bool:
        """Whether a ``Host`` header names us, exactly."""
        host = host.lower()
        return host in self._loopback or host in self._named

    def allows_origin(self, origin: str | None, host: str) -> bool:
        """Whether an ``Origin`` header is a page of ours, exactly: the host of the request and a scheme it can have."""
        if origin is None or not self.allows_host(host):
            return False
        host = host.lower()
        # Names may stand behind a proxy that adds TLS; nothing of the kind stands before a loopback address.
        allowed = (f"http://{host}", f"https://{host}") if host in self._named else (f"http://{host}",)
        return origin.lower() in allowed


class Guard(RequestHandler):
    """Checks host, origin and cookie before any handler runs, and sets the headers of every answer."""

    #: Open handlers answer without a cookie; they must say nothing about the cluster.
    open_to_all: ClassVar[bool] = False

    def set_default_headers(self) -> None:
        """Forbid browsers whatever our pages do not need. Replaces, on purpose, what the handler below would set."""
        self.csp_nonce = secrets.token_urlsafe(16)
        host = self.request.host if self._access.allows_host(self.request.host) else ""
        live = f" ws://{host} wss://{host}" if host else ""
        self.clear_header("Server")
        self.set_header(
            "Content-Security-Policy",
            f"default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{self.csp_nonce}'; img-src 'self' data:; "
            f"connect-src 'self'{live}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        )
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("X-Frame-Options", "DENY")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")
        self.set_header("Cache-Control", "no-store")

    @property
    def _access(self) -> Access:
        access = self.application.settings["access"]
        assert isinstance(access, Access)
        return access

    async def prepare(self) -> None:
        """Refuse whom we do not know, before anything else looks at the request."""
        if not self._access.allows_host(self.request.headers.get("Host", "")):
            raise HTTPError(403, "host", reason="Forbidden")
        if not self.open_to_all and not self._is_known():
            raise HTTPError(403, "token", reason="Forbidden")
        if isinstance(self, WebSocketHandler) and not self.check_origin(self.request.headers.get("Origin") or ""):
            raise HTTPError(403, "origin", reason="Forbidden")
        below = super().prepare()
        if below is not None:
            await below

    def _is_known(self) -> bool:
        auth = self._access.auth
        cookie = self.get_cookie(auth.cookie_name)
        if cookie is not None and auth.check_cookie(cookie, time.time()):
            return True
        return auth.check_bearer(self.request.headers.get("Authorization", ""))

    def check_origin(self, origin: str) -> bool:
        """For websockets: our own exact comparison instead of the frameworks'."""
        return self._access.allows_origin(origin or None, self.request.headers.get("Host", ""))

    def explain_error(self, status_code: int, error: BaseException | None) -> tuple[str, str]:
        """A title and a text (HTML) for an answer that is an error; never a traceback."""
        why = error.log_message if isinstance(error, HTTPError) else None
        if why in _REASONS:
            return "This dashboard is private", _REASONS[why]
        text = {
            404: "There is no such page here.",
            503: "As many pages as this dashboard can serve are open already. Close one and reload.",
        }.get(status_code, "The request could not be answered.")
        return f"{status_code} {self._reason}", text

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say what is wrong and what to do."""
        title, text = self.explain_error(status_code, kwargs.get("exc_info", (None, None))[1])
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(_PAGE.format(title=escape(title), text=text, nonce=self.csp_nonce))

    def log_exception(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Log our own faults with a traceback, and refusals in one line; never the query."""
        if isinstance(error, HTTPError):
            logger.info("%d %s: %s", error.status_code, self._request_summary(), error.log_message or self._reason)
        else:
            logger.error("cannot answer %s", self._request_summary(), exc_info=(kind, error, trace) if kind else None)  # type: ignore[arg-type]

    def _request_summary(self) -> str:
        # What goes into logs. The query is left out: it may hold the token.
        return f"{self.request.method} {self.request.path} ({self.request.remote_ip})"


def guarded(handler: type[RequestHandler]) -> type[RequestHandler]:
    """The same handler behind ``Guard``."""
    if issubclass(handler, Guard):
        return handler
    wrapped = _wrapped.get(handler)
    if wrapped is None:
        wrapped = _wrapped[handler] = type(f"Guarded{handler.__name__}", (Guard, handler), {"__doc__": handler.__doc__})
    return wrapped
