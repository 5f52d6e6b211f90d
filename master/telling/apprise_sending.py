"""Sending by Apprise; only ever in a process of its own (`send_one`), since it is large and its plugins are many.

Apprise waits 4 s for a connection and 4 s for each read (`cto`, `rto` in its URLs), SMTP 15 s for each line; none of
these ends a service that answers a byte every 3 s. From version 2 on it stops waiting for a service after 60 s, but the
thread goes on, and keeps the interpreter from ending. So the deadline is the process's.
"""

from __future__ import annotations

import difflib
import importlib
import logging
import re
from typing import Any

# What may be shown of an exception that a plugin has logged: no address stands in these.
_REASONS = re.compile(
    r"Connection refused|Connection reset by peer|Name or service not known|Temporary failure in name resolution|"
    r"No address associated with hostname|Network is unreachable|No route to host|timed out|"
    r"certificate verify failed: [a-z -]+|WRONG_VERSION_NUMBER|Connection unexpectedly closed|"
    r"Remote end closed connection without response"
)


class _Heard(logging.Handler):
    """Keeps what Apprise warns of, and reasons out of what it logs for developers."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.warnings: list[str] = []
        self.reasons: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what one record tells."""
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            self.warnings.append(text)
        else:
            self.reasons.extend(_REASONS.findall(text))

    def problem(self) -> str:
        """Return what was wrong, in words."""
        told = "; ".join(dict.fromkeys(self.warnings[-3:])) or "Apprise could not send it and does not say why"
        reasons = ", ".join(dict.fromkeys(self.reasons))
        return f"{told} ({reasons})" if reasons else told


def check_urls(urls: list[str]) -> list[str | None]:
    """Return what is wrong with each URL, None where Apprise can use it; nothing is sent."""
    return [_problem_of(url) for url in urls]


def send_by_apprise(job: dict[str, Any]) -> tuple[str, str | None]:
    """Send `title` and `body` to `url`, and return how it went and what was wrong."""
    apprise: Any = importlib.import_module("apprise")
    heard = _listening()
    service = _service(apprise, job["url"])
    if service is None:
        return "failed", heard.problem()
    # A service that takes less gets the beginning, where the gravest stands, unless the URL says otherwise (overflow=).
    if service.overflow_mode == apprise.OverflowMode.UPSTREAM:
        service.overflow_mode = apprise.OverflowMode.TRUNCATE
    sender = apprise.Apprise(asset=service.asset)
    sender.add(service)
    is_sent = sender.notify(
        title=job["title"], body=job["body"], notify_type=job["type"], body_format=apprise.NotifyFormat.TEXT
    )
    return ("sent", None) if is_sent else ("failed", heard.problem())


def _problem_of(url: str) -> str | None:
    apprise: Any = importlib.import_module("apprise")
    if _service(apprise, url) is not None:
        return None
    scheme = url.partition("://")[0].lower()
    known = {str(name) for service in apprise.Apprise().details()["schemas"] for name in _schemes(service)}
    if scheme in known:
        return f"this {scheme}:// URL is not one that Apprise can use: see its page about {scheme}://"
    near = difflib.get_close_matches(scheme, known, n=1)
    return f"Apprise knows no {scheme}://" + (f": did you mean {near[0]}://?" if near else "")


def _service(apprise: Any, url: str) -> Any:
    asset = apprise.AppriseAsset(
        app_id="gpumon",
        app_desc="gpumon",
        async_mode=False,
        # Its default pictures stand on the internet, where readers' programs would fetch them.
        image_url_mask="",
        image_url_logo="",
        app_url="",
    )
    return apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)


def _schemes(service: dict[str, Any]) -> list[str]:
    return [*(service["protocols"] or ()), *(service["secure_protocols"] or ())]


def _listening() -> _Heard:
    heard = _Heard()
    logger = logging.getLogger("apprise")
    logger.addHandler(heard)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    return heard
