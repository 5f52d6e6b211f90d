"""Names of users and places as usage keeps them: bounded, fit to be shown, and numbered for the database."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b

# Nobody holds the card; somebody does, and it is not known who; users beyond what is kept apart.
NOBODY = "nobody"
UNKNOWN = "unknown"
OTHERS = "others"
_OURS = frozenset({NOBODY, UNKNOWN, OTHERS})

MAX_NAME = 64
MAX_LABELS = 32


@lru_cache(maxsize=8192)
def user_name(told: str | None) -> str:
    """Return the name under which a process's user is kept, `unknown` where it has none.

    An account that has one of our own names (Unix has a `nobody`) is told apart from what that name means here.
    """
    name = shown(told or "").strip()
    if not name:
        return UNKNOWN
    return f"{name} (account)" if name in _OURS else name


def shown(text: str) -> str:
    """Return a text of bounded length in which everything can be printed."""
    cut = text[:MAX_NAME]
    return cut if cut.isprintable() else "".join(c if c.isprintable() else "?" for c in cut)


@lru_cache(maxsize=8192)
def number_of(text: str) -> int:
    """Return the number that stands for a text in the database: 63 bits of its BLAKE2b (RFC 7693).

    It follows from the text alone, so nothing has to be looked up, and any process gives the same.
    """
    return int.from_bytes(blake2b(text.encode(errors="replace"), digest_size=8).digest(), "big") >> 1


@dataclass(frozen=True, slots=True)
class Place:
    """Where cards are of which there is usage: a worker, a model, and the labels the worker had at that time."""

    worker_id: str
    model: str
    labels: Mapping[str, str]
    number: int = field(default=0, compare=False)

    def __hash__(self) -> int:
        return self.number


def place(worker_id: str, model: str | None, labels: Mapping[str, str]) -> Place:
    """Return the place of a card."""
    kept = {shown(key): shown(labels[key]) for key in sorted(labels)[:MAX_LABELS]}
    name = shown(model or UNKNOWN)
    return Place(worker_id, name, kept, number_of("\0".join((worker_id, name, labels_text(kept)))))


def labels_text(labels: Mapping[str, str]) -> str:
    """Return labels as they are kept."""
    return json.dumps(dict(labels), ensure_ascii=False, sort_keys=True)
