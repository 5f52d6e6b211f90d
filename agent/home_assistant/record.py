"""What this agent has announced, kept on disk: so that what is no longer there can be cleared from the broker."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from agent.folder_lock import is_in_use
from gpumon.files import write_atomically

logger = logging.getLogger(__name__)

RECORD_FILE = "home-assistant.json"


class _File(msgspec.Struct, frozen=True, kw_only=True):
    topics: list[str]
    cards: list[str]
    v: Literal[1] = 1


class Record:
    """The topics that hold a discovery message of ours, and the cards that they tell of."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / RECORD_FILE
        self.topics: frozenset[str] = frozenset()
        self._cards: frozenset[str] = frozenset()

    @property
    def exists(self) -> bool:
        """Whether something has been announced, in this run or an earlier one."""
        return self._file.exists()

    def load(self) -> None:
        """Read the file; one that cannot be read is told of, and holds nothing then."""
        content = _read(self._file)
        if content is not None:
            self.topics, self._cards = frozenset(content.topics), frozenset(content.cards)

    def keep(self, topics: Iterable[str], cards: Iterable[str]) -> None:
        """Know these from now on; without any the file goes."""
        kept = frozenset(topics), frozenset(cards)
        if kept == (self.topics, self._cards) and self.exists == bool(self.topics):
            return
        self.topics, self._cards = kept
        try:
            if self.topics:
                content = _File(topics=sorted(self.topics), cards=sorted(self._cards))
                write_atomically(self._file, msgspec.json.format(msgspec.json.encode(content)) + b"\n")
            else:
                self._file.unlink(missing_ok=True)
        except OSError as error:
            logger.warning(
                "%s cannot be written: what Home Assistant was told is not remembered (%s)", self._file, error
            )

    def forget(self, topics: Iterable[str]) -> None:
        """Know these topics no more: they are clear."""
        self.keep(self.topics.difference(topics), self._cards)

    def adopt_earlier_names(self, cards: Iterable[str]) -> None:
        """Take over what an agent announced that had one of these cards, kept its data here, and no longer runs.

        That was this machine under another worker id.
        """
        ours = frozenset(cards)
        for file in sorted(self._file.parent.parent.glob(f"*/{RECORD_FILE}")):
            if file == self._file or is_in_use(file.parent):
                continue
            content = _read(file)
            if content is None or ours.isdisjoint(content.cards):
                continue
            logger.info("this machine was %s before: its devices in Home Assistant are cleared", file.parent.name)
            self.keep(self.topics.union(content.topics), self._cards)
            with contextlib.suppress(OSError):
                file.unlink()


def _read(file: Path) -> _File | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=_File)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        logger.warning("%s cannot be read: what Home Assistant was told before is not known (%s)", file, error)
        return None
