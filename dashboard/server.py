"""The web server: routes, login, and Bokeh's sessions, on a socket that is already bound."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import socket
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final

import bokeh
from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.document import Document
from bokeh.server.tornado import BokehTornado
from bokeh.server.views.ws import WSHandler
from bokeh.settings import settings as bokeh_settings
from bokeh.util.token import generate_jwt_token, generate_session_id
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.ioloop import IOLoop
from tornado.web import HTTPError, RequestHandler, StaticFileHandler

from . import api
from .auth import COOKIE_LIFETIME_S, Authenticator
from .guard import Access, Guard, guarded
from .handlers import Audience, Handler, Source
from .pages import status

logger = logging.getLogger(__name__)

#: Browser pages that may be open at a time; each costs a document of some megabytes and a share of the loop.
SESSIONS_MAX: Final = 32
#: A browser only sends requests for its document, acknowledgements, and ranges it has moved.
WEBSOCKET_MESSAGE_BYTES_MAX: Final = 64 * 1024
#: No route takes a body.
BODY_BYTES_MAX: Final = 16 * 1024
#: Seconds that the document of a closed page is kept.
SESSION_LINGER_S: Final = 5.0
_STATIC: Final = Path(__file__).parent / "static"
_BOKEH_SCRIPT: Final = "js/bokeh.min.js"


class Dashboard(BokehTornado):
    """All routes, each behind the guard.

    Parameters
    ----------
    source : Source
        What the pages show.
    access : Access
        Who may look.
    """

    def __init__(self, source: Source, access: Access) -> None:
        self.source = source
        self.access = access
        self.audience = Audience(source)

        def build(document: Document) -> None:
            status.build(document, source)

        super().__init__(
            {"/status": Application(FunctionHandler(build))},
            extra_patterns=[
                (r"/", RootHandler),
                (r"/login", LoginHandler),
                (r"/health", HealthHandler),
                (r"/status/?", StatusHandler),
                (r"/tasks", PageHandler, {"view": "tasks"}),
                (r"/task", PageHandler, {"view": "task"}),
                (r"/worker/([^/]+)", PageHandler, {"view": "worker"}),
                (r"/view/tasks", api.TasksView),
                (r"/view/task", api.TaskView),
                (r"/view/worker", api.WorkerView),
                (r"/api/v1/overview", api.OverviewHandler),
                (r"/api/v1/progress", api.ProgressHandler),
                (r"/api/v1/workers", api.WorkersHandler),
                (r"/api/v1/workers/(.+)", api.WorkerHandler),
                (r"/api/v1/tasks", api.TasksHandler),
                (r"/api/v1/tasks/(.+)", api.TaskHandler),
                (r"/metrics", api.MetricsHandler),
                (r"/assets/(.+)", StaticFileHandler, {"path": str(_STATIC / "assets")}),
                (
                    rf"/bokeh/({re.escape(_BOKEH_SCRIPT)})",
                    StaticFileHandler,
                    {"path": str(bokeh_settings.bokehjs_path())},
                ),
            ],
            secret_key=access.auth.derive_secret("bokeh sessions"),
            sign_sessions=True,
            generate_session_ids=False,
            include_headers=[],
            include_cookies=[],
            session_token_expiration=120,
            xsrf_cookies=True,
            use_index=False,
            websocket_max_message_size_bytes=WEBSOCKET_MESSAGE_BYTES_MAX,
            unused_session_lifetime_milliseconds=int(SESSION_LINGER_S * 1000),
            check_unused_sessions_milliseconds=int(SESSION_LINGER_S * 1000),
            access=access,
            source=source,
            audience=self.audience,
            template_path=str(_STATIC),
            log_function=_log_request,
            default_handler_class=NotFoundHandler,
        )
        # Of Bokeh's own routes only the websocket is needed; the page around it is ours.
        ours = (Guard, StaticFileHandler, WSHandler)
        rules = self.wildcard_router.rules
        rules[:] = [rule for rule in rules if _is_ours(rule.target, ours)]

    def get_handler_delegate(
        self,
        request: HTTPServerRequest,
        target_class: type[RequestHandler],
        target_kwargs: dict[str, Any] | None = None,
        path_args: list[bytes] | None = None,
        path_kwargs: dict[str, bytes] | None = None,
    ) -> Any:
        """Put the guard in front of whatever the routes say: every request passes here."""
        return super().get_handler_delegate(request, guarded(target_class), target_kwargs, path_args, path_kwargs)


def _is_ours(target: Any, ours: tuple[type[RequestHandler], ...]) -> bool:
    if not isinstance(target, type) or not issubclass(target, ours):
        return False
    # Bokeh serves its whole static folder through a subclass; we serve one file of it.
    return not target.__module__.startswith("bokeh.") or issubclass(target, WSHandler)


class HealthHandler(Handler):
    """Says that the process serves; nothing about the cluster."""

    open_to_all: ClassVar[bool] = True

    def get(self) -> None:
        """A constant."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish("ok\n")


class NotFoundHandler(Handler):
    """Whatever has no route."""

    async def prepare(self) -> None:
        """Strangers learn nothing about which paths exist."""
        await super().prepare()
        raise HTTPError(404)


class LoginHandler(Handler):
    """The printed link: trades the token for a cookie and goes on to the page without it."""

    open_to_all: ClassVar[bool] = True
    application: Dashboard

    def get(self) -> None:
        """Set the cookie if the token is right."""
        self.log_in(self.get_query_argument("token", ""))

    def log_in(self, token: str) -> None:
        """Set the cookie and lead on to the first page."""
        auth = self.application.access.auth
        if not auth.check_token(token):
            raise HTTPError(403, "wrong-token" if token else "token", reason="Forbidden")
        self.set_cookie(
            auth.cookie_name,
            auth.issue(time.time()),
            max_age=COOKIE_LIFETIME_S,
            path="/",
            httponly=True,
            samesite="Strict",
            secure=self.request.protocol == "https",
        )
        if self.request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin"):
            self.redirect("status")
        else:
            # A browser that came from a link on another site would not send a strict cookie along a redirect, as that
            # is still the other site's navigation. A page of ours that goes on is a navigation of our own.
            self.set_header("Content-Type", "text/html; charset=utf-8")
            self.finish(
                '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url=status">'
                '<link rel="icon" href="data:,"><title>Dashboard</title><a href="status">Go on to the dashboard</a>'
            )


class RootHandler(LoginHandler):
    """``/?token=...`` is the printed link too; without a token it leads to the first page."""

    def get(self) -> None:
        """Log in, or go on."""
        token = self.get_query_argument("token", "")
        if token or not self._is_known():
            self.log_in(token)
        else:
            self.redirect("status")


class StatusHandler(Handler):
    """The page around the Bokeh document."""

    application: Dashboard

    async def get(self) -> None:
        """Make a session and the page that connects to it."""
        application = self.application
        context = application.applications["/status"]
        if len(list(context.sessions)) >= SESSIONS_MAX:
            raise HTTPError(503)
        session_id = generate_session_id(secret_key=application.secret_key, signed=True)
        token = generate_jwt_token(
            session_id,
            secret_key=application.secret_key,
            signed=True,
            expiration=application.session_token_expiration,
        )
        session = await context.create_session_if_needed(session_id, self.request, token)
        roots = {root.name: root.id for root in session.document.roots}
        model = application.source.model
        self.render(
            "status.html",
            name=model.name,
            token=token,
            roots=json.dumps(roots),
            nonce=self.csp_nonce,
            asset=_asset_url,
            bokeh_script=f"bokeh/{_BOKEH_SCRIPT}?v={bokeh.__version__}",
        )


class PageHandler(Handler):
    """A page that looks closer. It is the same for everything it may show: its script asks for that."""

    def initialize(self, view: str) -> None:
        """Which page it is."""
        self.view = view

    def get(self, *_: str) -> None:
        """The page around what the script writes."""
        root = "../" if "/" in self.request.path.lstrip("/") else ""
        self.render(
            "page.html",
            name=self.source.model.name,
            view=self.view,
            root=root,
            asset=lambda name: root + _asset_url(name),
        )


def _log_request(handler: RequestHandler) -> None:
    # Without the query: it may hold the token.
    request = handler.request
    logger.debug("%s %s %s", handler.get_status(), request.method, request.path)


@cache
def _asset_url(name: str) -> str:
    """A static file's address with its version, so that browsers may keep it for as long as it does not change."""
    digest = hashlib.sha256((_STATIC / "assets" / name).read_bytes()).hexdigest()
    return f"assets/{name}?v={digest[:12]}"


class Server:
    """Serves a dashboard on listening sockets, on the running event loop.

    Parameters
    ----------
    source : Source
        What the pages show.
    token : str
        What the printed link carries.
    sockets : sequence of socket
        Bound and listening; they are closed by ``stop``.
    hosts : sequence of str
        Names besides the loopback ones under which browsers reach us.
    """

    def __init__(self, source: Source, token: str, sockets: Sequence[socket.socket], hosts: Sequence[str] = ()) -> None:
        self.port: int = sockets[0].getsockname()[1]
        self.application = Dashboard(source, Access(Authenticator(token, self.port), self.port, hosts))
        self._http = HTTPServer(
            self.application,
            max_body_size=BODY_BYTES_MAX,
            max_header_size=16 * 1024,
            max_buffer_size=1024 * 1024,
            body_timeout=10.0,
            idle_connection_timeout=120.0,
            xheaders=False,
        )
        for sock in sockets:
            sock.setblocking(False)
        self._sockets = list(sockets)

    def start(self) -> None:
        """Serve from now on."""
        self.application.initialize(IOLoop.current())
        self.application.start()
        self._http.add_sockets(self._sockets)

    async def stop(self) -> None:
        """Serve no longer, and close what is open."""
        self._http.stop()
        self.application.audience.leave()
        self.application.stop()
        await self._http.close_all_connections()
