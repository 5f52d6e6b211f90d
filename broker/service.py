"""Runs the broker: inside a loop that is there (`BrokerService`), or as a process of its own (`run_broker`)."""

from __future__ import annotations

import asyncio
import logging
import resource
import signal

import uvloop

from broker.connection import Limits
from broker.counters import BrokerCounters
from broker.fleet_broker import FleetBroker
from broker.listener import open_listener
from broker.trust import Directory
from gpumon.settings import Settings
from gpumon.topics import Topics

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"


class BrokerService:
    """The broker of one data folder: plain MQTT for this machine alone."""

    def __init__(self, settings: Settings, directory: Directory, topics: Topics) -> None:
        self._settings = settings
        self._directory = directory
        self._topics = topics
        self._broker: FleetBroker | None = None

    @property
    def counters(self) -> BrokerCounters:
        """What the broker has counted since its start."""
        return self._broker.counters if self._broker is not None else BrokerCounters()

    async def start(self) -> None:
        """Listen, in the running loop.

        Raises StartError: when the port cannot be opened.
        """
        limits = Limits(self._settings.broker.max_packet_bytes, self._settings.broker.max_queued_messages)
        listener = open_listener("mqtt", LOOPBACK, self._settings.mqtt.port, "--mqtt-port")
        self._broker = FleetBroker([listener], self._directory, self._topics, limits)
        await self._broker.start()
        logger.info("the broker listens on %s:%s", LOOPBACK, self._settings.mqtt.port)

    async def stop(self) -> None:
        """Close all connections and stop listening."""
        if self._broker is not None:
            await self._broker.shutdown()
            self._broker = None


def run_broker(settings: Settings, directory: Directory) -> None:
    """Serve on uvloop until SIGTERM or SIGINT.

    Raises StartError: when the port cannot be opened.
    """
    _allow_many_connections()
    uvloop.run(_serve(BrokerService(settings, directory, Topics(settings.mqtt.base))))


async def _serve(service: BrokerService) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await service.start()
    try:
        await stopping.wait()
    finally:
        await service.stop()


def _allow_many_connections() -> None:
    """Raise the soft limit of open files to the hard one: many systems start with 1,024, and each client needs one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
