"""Results on their way to the broker: each is kept in the journal until the broker has acknowledged it."""

from __future__ import annotations

import logging
import threading

from agent.journal import Journal
from agent.publisher import Publisher
from gpumon.commands import CommandResult
from gpumon.link import Delivery
from gpumon.log import OncePer

logger = logging.getLogger(__name__)


class ResultOutbox:
    """Publishes results, and publishes again what an earlier run of the agent could not deliver. Thread-safe."""

    def __init__(self, publisher: Publisher, journal: Journal) -> None:
        self._publisher = publisher
        self._journal = journal
        self._lock = threading.Lock()
        self._deliveries: dict[str, Delivery] = {}
        self._due = OncePer(60.0)

    @property
    def is_empty(self) -> bool:
        """Whether the broker has everything, as far as `sweep` has seen."""
        with self._lock:
            return not self._deliveries

    def send(self, result: CommandResult) -> None:
        """Keep a result and publish it."""
        try:
            self._journal.ended(result)
        except OSError as error:
            if self._due("journal"):
                logger.warning("a command's result could not be kept on disk: %s", error)
        self._publish(result)

    def send_undelivered(self) -> None:
        """Publish what the journal still holds from an earlier run."""
        for result in self._journal.undelivered():
            self._publish(result)

    def sweep(self) -> None:
        """Forget what has been acknowledged, and publish again what did not fit into the link's queue."""
        with self._lock:
            ended = {id_: each for id_, each in self._deliveries.items() if each.is_acknowledged or each.is_dropped}
            for command_id in ended:
                del self._deliveries[command_id]
        dropped = {command_id for command_id, delivery in ended.items() if delivery.is_dropped}
        for command_id in ended.keys() - dropped:
            try:
                self._journal.delivered(command_id)
            except OSError as error:  # noqa: PERF203 - one that cannot be noted must not keep the others
                logger.debug("the delivery of %s could not be noted: %s", command_id, error)
        for result in self._journal.undelivered() if dropped else []:
            if result.id in dropped:
                self._publish(result)

    def _publish(self, result: CommandResult) -> None:
        delivery = self._publisher.result(result)
        with self._lock:
            self._deliveries[result.id] = delivery
