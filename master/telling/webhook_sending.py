"""Posting JSON to a webhook; only ever in a process of its own (`send_one`)."""

from __future__ import annotations

import http.client
import socket
import ssl
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_S = 15.0
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
# Raised before anything of the message has gone out.
_BEFORE_SENDING = (ConnectionRefusedError, socket.gaierror, ssl.SSLCertVerificationError)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows none: a redirected POST loses its body, and may lead anywhere."""

    def redirect_request(self, *_arguments: Any) -> None:
        """Follow nowhere."""


def send_by_webhook(job: dict[str, Any]) -> tuple[str, str | None]:
    """Post `body` with `headers` to `url`, and return how it went and what was wrong."""
    request = urllib.request.Request(  # noqa: S310 - https, or http on this machine: the channel was checked
        job["url"], data=job["body"].encode(), headers=job["headers"], method="POST"
    )
    try:
        with _opener(job["url"]).open(request, timeout=TIMEOUT_S) as answer:  # nosec B310 - as above
            return ("sent", None) if answer.status < 300 else ("failed", f"it answers {answer.status}")
    except urllib.error.HTTPError as error:
        if 300 <= error.code < 400:
            return "failed", f"it answers {error.code}, a redirect, which is not followed: give the address it leads to"
        # A gateway's 502 or 504 does not say whether the service behind it has taken the message.
        outcome = "uncertain" if error.code >= 500 else "failed"
        return outcome, f"it answers {error.code} {error.reason}"
    except urllib.error.URLError as error:
        reason = error.reason
        return "failed" if isinstance(reason, _BEFORE_SENDING) else "uncertain", _words(reason)
    except (OSError, http.client.HTTPException) as error:
        return "uncertain", _words(error)


def _opener(url: str) -> urllib.request.OpenerDirector:
    handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
    if urlsplit(url).hostname in _THIS_MACHINE:
        handlers.append(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(*handlers)


def _words(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return f"no answer within {TIMEOUT_S:g} s"
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate cannot be trusted: {reason.verify_message}"
    if isinstance(reason, socket.gaierror):
        return f"its name is not known: {reason.strerror}"
    if isinstance(reason, OSError) and reason.strerror:
        return f"it cannot be reached: {reason.strerror}"
    return f"it does not speak HTTP as it should: {type(reason).__name__}"
