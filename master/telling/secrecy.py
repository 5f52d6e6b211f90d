"""Keeping what stands in a channel's URL out of what is shown: any part of it may be a token or a password."""

from __future__ import annotations

import re
from urllib.parse import unquote, unquote_plus, urlsplit

LONGEST = 400
SHORTEST_SECRET = 3

_PARTS = re.compile(r"[/:@?&=#,;+ ]+")
# A name of a machine is no secret, and is needed to know what does not answer; tokens in its place have no dots.
_MACHINE = re.compile(r"(?:[a-z0-9-]{1,30}\.)+[a-z]{2,24}|\d+(?:\.\d+){3}|localhost")


def without_secrets(text: str, url: str) -> str:
    """Return the text in one line of bounded length, with `...` for whatever stands in the URL but its machine."""
    shown = " ".join(text.split())
    for secret in sorted(_secrets(url), key=len, reverse=True):
        shown = shown.replace(secret, "...")
    shown = "".join(character if character.isprintable() else "?" for character in shown)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 3]}..."


def _secrets(url: str) -> set[str]:
    scheme, _, rest = url.partition("://")
    before, sign, _ = rest.rpartition("@")
    parts = [url, rest, *_PARTS.split(rest), before, *(_PARTS.split(before) if sign else ())]
    found = {form for part in parts for form in (part, unquote(part), unquote_plus(part))}
    # What remains of a password with signs in it, whichever way it was written.
    found |= {piece for part in parts for piece in _PARTS.split(unquote(part))}
    machine = _machine(url)
    return {part for part in found if len(part) >= SHORTEST_SECRET and part not in (scheme, machine)}


def _machine(url: str) -> str | None:
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return None
    return host if host is not None and _MACHINE.fullmatch(host) else None
