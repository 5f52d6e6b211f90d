"""What the page of a master on this machine says of itself, to whoever asks whether it works."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from gpumon.address import local_page_address
from gpumon.cli.reach import known_reach
from gpumon.datafolder import DataFolder
from gpumon.settings import PageSettings, Settings

ANSWER_TIMEOUT_S = 5.0
MAX_ANSWER_BYTES = 4096


@dataclass(frozen=True, slots=True)
class PageHealth:
    """Where the page answers, and what does not work there: "the broker is not connected".

    `clock_ahead_s`: by how much this machine's clock is ahead of the page's, to a second (HTTP tells whole ones); None
    where that is not told.
    """

    address: str
    problems: tuple[str, ...]
    clock_ahead_s: float | None = None


def page_health(settings: Settings, data: DataFolder) -> PageHealth | None:
    """Ask the page on this machine how it is; None where none answers.

    A port that the settings give is tried first, else that which the master has said at its last start.
    """
    by_settings, said = local_page_address(settings), known_reach(settings, data).local_page
    is_usual = settings.page.port == PageSettings().port
    found = (health_at(address) for address in dict.fromkeys((said, by_settings) if is_usual else (by_settings, said)))
    return next((health for health in found if health is not None), None)


def health_at(address: str | None) -> PageHealth | None:
    """Ask the page at this address how it is; None where none answers."""
    parts = urlsplit(address or "")
    host = parts.hostname or ""
    if parts.scheme == "https":
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, parts.port, timeout=ANSWER_TIMEOUT_S, context=_any_certificate()
        )
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=ANSWER_TIMEOUT_S)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        now = time.time()
        health = json.loads(answer.read(MAX_ANSWER_BYTES)) if answer.status == http.HTTPStatus.OK else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    if not isinstance(health, dict) or "broker" not in health:
        return None
    wrong = [f"the {part} is {word}" for part, word in health.items() if str(word).startswith(("not", "cannot"))]
    return PageHealth(address or "", tuple(wrong), _clock_ahead_s(answer.headers.get("Date"), now))


def _clock_ahead_s(date: str | None, now: float) -> float | None:
    try:
        return None if date is None else now - parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None


def _any_certificate() -> ssl.SSLContext:
    # One given with --cert is for the name by which others come, not for the address here; no secret is sent.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
