"""What the page of a master on this machine says of itself, to whoever asks whether it works."""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from gpumon.address import local_page_address
from gpumon.cli.reach import known_reach
from gpumon.datafolder import DataFolder
from gpumon.settings import PageSettings, Settings

ANSWER_TIMEOUT_S = 5.0
MAX_ANSWER_BYTES = 4096


@dataclass(frozen=True, slots=True)
class PageHealth:
    """Where the page answers, and what does not work there: "the broker is not connected"."""

    address: str
    problems: tuple[str, ...]


def page_health(settings: Settings, data: DataFolder) -> PageHealth | None:
    """Ask the page on this machine how it is; None where none answers.

    A port that the settings give is tried first, else that which the master has said at its last start.
    """
    by_settings, said = local_page_address(settings), known_reach(settings, data).local_page
    is_usual = settings.page.port == PageSettings().port
    for address in dict.fromkeys((said, by_settings) if is_usual else (by_settings, said)):
        health = None if address is None else _asked(address)
        if address is not None and health is not None:
            wrong = [f"the {part} is {word}" for part, word in health.items() if word.startswith(("not", "cannot"))]
            return PageHealth(address, tuple(wrong))
    return None


def _asked(address: str) -> dict[str, str] | None:
    parts = urlsplit(address)
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
        health = json.loads(answer.read(MAX_ANSWER_BYTES)) if answer.status == http.HTTPStatus.OK else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    if not isinstance(health, dict) or "broker" not in health:
        return None
    return {str(part): str(word) for part, word in health.items()}


def _any_certificate() -> ssl.SSLContext:
    # One given with --cert is for the name by which others come, not for the address here; no secret is sent.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
