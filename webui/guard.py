"""What every request passes before its view: its host, its origin, its token against forged forms, and its right."""

from __future__ import annotations

import ipaddress
import math
from typing import Any
from urllib.parse import urlsplit

import flask
import flask_wtf
from werkzeug.exceptions import Forbidden, HTTPException, TooManyRequests, Unauthorized

from gpumon.settings import Settings
from webui.access import need_of
from webui.sessions import Sessions, Visitor, shows_token
from webui.wrong_tokens import WrongTokens

API = "/api/"
METRICS = "/metrics"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LOG_IN_FIRST = "log in first, at /login"
SHOW_ONE = "show an API token, as Authorization: Bearer TOKEN; gpumon user token NAME makes one"
NOT_KNOWN_HERE = (
    "this API token is not known here: it is mistyped, revoked, expired or of another gpumon; "
    "gpumon user token NAME makes one"
)


class WrongHost(HTTPException):
    """Another name than the page has, from a site that has pointed its own name at this machine."""

    code = 421
    description = (
        "This page is for this machine alone: use 127.0.0.1 or localhost in the address. Behind a proxy, name the "
        "page's address in page.origins."
    )


class Origins:
    """From which pages requests may come: this one's own, and those in `page.origins`."""

    def __init__(self, settings: Settings) -> None:
        self._named = {origin.rstrip("/").lower() for origin in settings.page.origins}
        self._named_hosts = {urlsplit(origin).netloc for origin in self._named}
        self._is_local = settings.host is None

    def is_our_host(self, host: str) -> bool:
        """Tell whether the page may be asked for under this host name.

        A page for this machine alone knows its names, so a foreign one is refused: a site that points its name at
        127.0.0.1 (DNS rebinding) reaches nothing. A page for other machines cannot know by which names they find it;
        there such a site gets no cookie, and a log-in form.
        """
        if not self._is_local or host.lower() in self._named_hosts:
            return True
        name = (urlsplit(f"//{host}").hostname or "").lower()
        try:
            return name == "localhost" or ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False

    def is_ours(self, origin: str | None, scheme: str, host: str) -> bool:
        """Tell whether a page of this origin may send; None where there is no such header, as from programs."""
        return origin is None or origin.lower() in self._named or origin.lower() == f"{scheme}://{host}".lower()


class Guard:
    """Lets a request through to its view, or raises what it is answered with."""

    def __init__(
        self, sessions: Sessions, origins: Origins, csrf: flask_wtf.CSRFProtect, wrong_tokens: WrongTokens
    ) -> None:
        self._sessions = sessions
        self._origins = origins
        self._csrf = csrf
        self._wrong_tokens = wrong_tokens

    def check(self) -> Any:
        """Check the present request, as Flask's `before_request`."""
        request = flask.request
        if not self._origins.is_our_host(request.host):
            raise WrongHost
        if request.endpoint is None:  # no such route, or not with this method: Flask says so
            return None
        is_safe = request.method in SAFE_METHODS
        if not is_safe and not self._origins.is_ours(request.headers.get("Origin"), request.scheme, request.host):
            raise Forbidden("The request comes from a page of another site.")
        visitor = self._sessions.visitor()
        by_token = visitor is not None and visitor.by_token
        flask.g.visitor = visitor
        is_api = is_for_programs(request.path)
        need = need_of(flask.current_app.view_functions[request.endpoint])
        if not need.is_met_by(visitor.principal if visitor else None, by_token=by_token):
            if visitor is not None:
                raise Forbidden(need.refusal(by_token=by_token))
            if shows_token():
                self._refuse_token()
            if is_safe and not is_api:
                return flask.redirect(flask.url_for("auth.login_form", next=request.full_path.rstrip("?")))
            raise Unauthorized(SHOW_ONE if request.path == METRICS else LOG_IN_FIRST)
        if not (is_api and by_token):  # no other site can make a browser show an API token
            self._csrf.protect()
        return None

    def _refuse_token(self) -> None:
        wait_s = self._wrong_tokens.add(flask.request.remote_addr or "?", flask.request.path)
        if wait_s > 0:
            text = "Too many requests with an API token that is not known here."
            raise TooManyRequests(text, retry_after=math.ceil(wait_s))
        raise Unauthorized(NOT_KNOWN_HERE)

    def socket_problem(self) -> str | None:
        """Return why the present request may open no live connection, None where it may."""
        request = flask.request
        if not self._origins.is_our_host(request.host):
            return "not this page's host"
        if not self._origins.is_ours(request.headers.get("Origin"), request.scheme, request.host):
            return "another page's origin"
        visitor = self._sessions.visitor()
        return "log in first" if visitor is None or visitor.by_token else None


def is_for_programs(path: str) -> bool:
    """Tell whether what is at this path is asked for by programs, which can do nothing with a form to log in."""
    return path.startswith(API) or path == METRICS


def visitor() -> Visitor:
    """Return who makes this request, for views that take a log-in."""
    found = flask.g.visitor
    if not isinstance(found, Visitor):
        raise Unauthorized(LOG_IN_FIRST)
    return found
