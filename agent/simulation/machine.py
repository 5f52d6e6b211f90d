"""A simulated machine: its cards, the jobs that come and go on them, and the host around them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from agent.machine import Machine
from agent.processes import ProcessSetting
from agent.simulation.card import SimulatedCard
from agent.simulation.jobs import KINDS, Job, new_job
from agent.simulation.models import PROFILES, Fault, Profile
from gpumon.messages import Event, EventKind, GpuReading, HostReading

LOST_AFTER_S = 45.0
XID_FALLEN_OFF_THE_BUS = 79
XID_UNCORRECTABLE_ECC = 48
MEAN_IDLE_S = 180.0  # between the end of a job and the next one on a card of a machine that is half busy


class SimulatedMachine:
    """A machine seeded by a worker's id, so that the same worker has the same cards each time.

    `clock` gives seconds since 1970. Time passes when a method is called: there are no threads, and a benchmark may
    pass a clock of its own.
    """

    def __init__(self, worker_id: str, profile: Profile | None, clock: Callable[[], float]) -> None:
        self._rng = random.Random(worker_id)  # noqa: S311 - a simulation keeps no secret  # nosec B311
        self.profile = profile if profile is not None else self._rng.choice(PROFILES)
        self._worker_id = worker_id
        self._clock = clock
        self._started = clock()
        self._last = self._started
        self._booted = self._started - self._rng.uniform(1, 60) * 86400
        self._jobs: list[Job] = []
        self._events: list[Event] = []
        self._cards = [self._card(index) for index in range(self.profile.count)]
        for card in sorted(self._cards, key=lambda card: card.fault is None):
            is_busy = card.fault in (Fault.HOT, Fault.MIG) or self._rng.random() < self.profile.busy
            if is_busy and not self._jobs_on(card):
                self._begin_job(card, self._started - self._rng.uniform(60, 600))

    @property
    def facts(self) -> Machine:
        """What does not change about the machine."""
        return Machine(
            hostname=f"{self._worker_id}.demo",
            os="Ubuntu 24.04.3 LTS",
            kernel="6.8.0-88-generic",
            cpu=self.profile.cpu,
            cpu_count=self.profile.cpu_count,
            memory_total_bytes=self.profile.memory_bytes,
        )

    def cards(self) -> list[SimulatedCard]:
        """Return the cards that answer now."""
        return [card for card in self._cards if card.fault is not Fault.LOST or not self._is_past_loss()]

    def read(self, setting: ProcessSetting) -> list[GpuReading]:
        """Let jobs end and begin, and read every card that answers."""
        now = self._clock()
        elapsed, self._last = max(0.0, now - self._last), now
        self._jobs = [job for job in self._jobs if job.ends > now]
        for card in self._cards:
            chance = 1 - math.exp(-elapsed * self.profile.busy / MEAN_IDLE_S)
            is_due = card.fault is Fault.HOT or self._rng.random() < chance
            if is_due and not self._jobs_on(card):
                self._begin_job(card, now)
        self._let_cards_fail(now)
        return [card.read(now, self._jobs_on(card), setting) for card in self.cards()]

    def events(self) -> list[Event]:
        """Return what happened since the last call."""
        events, self._events = self._events, []
        return events

    def host(self) -> HostReading:
        """Return the host's readings, busier the more runs on its cards."""
        now = self._clock()
        share = len(self._jobs) / len(self._cards)
        wave = 1 + 0.15 * math.sin(now / 37 + len(self._worker_id))
        memory = int(self.profile.memory_bytes * (0.06 + 0.3 * share * wave))
        return HostReading(
            cpu_percent=round(min(100.0, (4 + 38 * share) * wave), 1),
            load_1m=round(self.profile.cpu_count * 0.4 * share * wave, 2),
            memory_used_bytes=memory,
            memory_total_bytes=self.profile.memory_bytes,
            swap_used_bytes=0,
            disk_used_bytes=int(2.6e12 + (now - self._booted) * 2e4),
            disk_total_bytes=7_680_000_000_000,
            network_rx_bytes_per_s=int(4e5 + 9e7 * share * wave),
            network_tx_bytes_per_s=int(2e5 + 2e7 * share * wave),
            uptime_s=round(now - self._booted, 1),
        )

    def _card(self, index: int) -> SimulatedCard:
        fault = self.profile.fault if index == self.profile.faulty_card else None
        return SimulatedCard(self.profile.model, index, random.Random(f"{self._worker_id}/{index}"), fault)  # noqa: S311  # nosec B311

    def _jobs_on(self, card: SimulatedCard) -> list[Job]:
        return [job for job in self._jobs if card.index in job.pids]

    def _begin_job(self, card: SimulatedCard, started: float) -> None:
        """Start work on a card, and on further free ones where it is of a kind that takes several."""
        if card.fault is Fault.MIG:
            self._jobs += [new_job("inference", [card.index], started, self._rng) for _ in range(3)]
            return
        name = "training" if card.fault is Fault.HOT else self._rng.choice(self.profile.kinds)
        free = [other.index for other in self._cards if other.fault is None and not self._jobs_on(other)]
        others = [index for index in free if index != card.index][: self._rng.choice(KINDS[name].cards) - 1]
        self._jobs.append(new_job(name, [card.index, *others], started, self._rng))

    def _is_past_loss(self) -> bool:
        return self._last - self._started >= LOST_AFTER_S

    def _let_cards_fail(self, now: float) -> None:
        for card in self._cards:
            if card.fault is Fault.LOST and card.last_xid is None and self._is_past_loss():
                card.last_xid = XID_FALLEN_OFF_THE_BUS
                self._happened(now, "xid", card, XID_FALLEN_OFF_THE_BUS, "GPU has fallen off the bus")
            elif card.fault is Fault.ECC and card.last_xid is None and self._is_past_loss():
                card.last_xid = XID_UNCORRECTABLE_ECC
                card.ecc_uncorrected += 1
                self._happened(now, "ecc", card, card.ecc_uncorrected, "an uncorrectable ECC error in memory")

    def _happened(self, now: float, kind: EventKind, card: SimulatedCard, value: int, text: str) -> None:
        self._events.append(Event(time=now, kind=kind, gpu=card.uuid, value=value, text=text))
