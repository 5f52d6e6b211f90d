"""The master's bus: whoever changes something publishes an event, whoever cares has subscribed to its type."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from gpumon.log import OncePer

logger = logging.getLogger(__name__)

E = TypeVar("E")


class EventBus:
    """Hands each event to the handlers of its type, in the publisher's thread; handlers must be quick."""

    def __init__(self) -> None:
        self._handlers: dict[type, tuple[Callable[[Any], None], ...]] = {}
        self._lock = threading.Lock()
        self._due = OncePer(60.0)

    def subscribe(self, event_type: type[E], handler: Callable[[E], None]) -> None:
        """Call `handler` with every event of exactly this type from now on."""
        with self._lock:
            self._handlers[event_type] = (*self._handlers.get(event_type, ()), handler)

    def unsubscribe(self, event_type: type[E], handler: Callable[[E], None]) -> None:
        """Call `handler` no more; nothing happens where it was not subscribed."""
        with self._lock:
            kept = tuple(other for other in self._handlers.get(event_type, ()) if other != handler)
            self._handlers[event_type] = kept

    def publish(self, event: object) -> None:
        """Hand the event out; a handler that fails is logged (once a minute) and hurts nobody."""
        for handler in self._handlers.get(type(event), ()):
            self._hand(event, handler)

    def _hand(self, event: object, handler: Callable[[Any], None]) -> None:
        try:
            handler(event)
        except Exception:
            if self._due(repr(handler)):
                logger.exception("a handler of %s failed", type(event).__name__)
