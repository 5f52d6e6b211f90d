"""What is asked of usage, how it is answered, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from master.usage import amounts
from master.usage.amounts import Amounts, add, nothing
from master.usage.names import NOBODY, Place

_HOUR_S = 3600.0
_GIB_HOUR_MIB_S = 1024.0 * 3600.0
_KWH_J = 3.6e6
# Less is what is left over of a difference, as where hours are taken away from a day.
LITTLE_S = 1e-6
USER, WORKER, MODEL = "user", "worker", "model"


@dataclass(frozen=True, slots=True)
class Filter:
    """Of whom and where usage is asked for; None and nothing stand for all."""

    user: str | None = None
    worker_id: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_about_places(self) -> bool:
        """Whether some places are left out."""
        return self.worker_id is not None or bool(self.labels)

    def covers(self, place: Place) -> bool:
        """Tell whether a place is asked for."""
        return self.worker_id in (None, place.worker_id) and self.labels.items() <= place.labels.items()


@dataclass(frozen=True, slots=True)
class By:
    """What usage is grouped by: `user`, `worker`, `model`, or `label` with a key."""

    kind: str
    label: str = ""

    def name(self, place: Place, user: str) -> str | None:
        """Return the group of a user at a place; None for a worker without the label."""
        if self.kind == USER:
            return user
        if self.kind == WORKER:
            return place.worker_id
        return place.model if self.kind == MODEL else place.labels.get(self.label)


@dataclass(slots=True)
class Group:
    """What one group (by its name) has: the amounts of its users together, and those of cards that nobody held."""

    name: str | None
    users: Amounts = field(default_factory=nothing)
    nobody: Amounts = field(default_factory=nothing)

    def add(self, *, is_nobody: bool, more: Sequence[float]) -> None:
        """Take in more."""
        add(self.nobody if is_nobody else self.users, more)

    def join(self, other: Group) -> None:
        """Take in another group."""
        add(self.users, other.users)
        add(self.nobody, other.nobody)

    @property
    def seconds(self) -> float:
        """Of how much time of cards it is, held or free."""
        return self.users[amounts.HELD] + self.nobody[amounts.HELD]


Groups = dict[str | None, Group]


@dataclass(frozen=True, slots=True)
class Prices:
    """What is reckoned with: per hour of a card and per kWh, in a currency; None where none is set."""

    per_gpu_hour: float | None = None
    per_kwh: float | None = None
    currency: str | None = None

    def cost(self, held_hours: float, energy_kwh: float) -> float | None:
        """Return what this costs, None without any price."""
        if self.per_gpu_hour is None and self.per_kwh is None:
            return None
        return held_hours * (self.per_gpu_hour or 0.0) + energy_kwh * (self.per_kwh or 0.0)


class Figures(msgspec.Struct, frozen=True):
    """A group in the units in which it is told; None is what is not known of it, or where no price is set.

    `held_hours` to `cost` are of users, `free_` of cards that nobody held. `metered_hours` are those, held or free,
    of which the energy is known.
    """

    held_hours: float
    busy_hours: float | None
    idle_hours: float | None
    memory_gib_hours: float
    energy_kwh: float | None
    cost: float | None
    idle_cost: float | None
    free_hours: float
    free_energy_kwh: float | None
    free_cost: float | None
    metered_hours: float


def figures(group: Group, prices: Prices) -> Figures:
    """Return a group's figures."""
    users, nobody = group.users, group.nobody
    held = users[amounts.HELD] / _HOUR_S
    free = nobody[amounts.HELD] / _HOUR_S
    idle = users[amounts.IDLE] / _HOUR_S
    is_told = users[amounts.TOLD] > LITTLE_S or held <= LITTLE_S
    energy = users[amounts.ENERGY] / _KWH_J
    free_energy = nobody[amounts.ENERGY] / _KWH_J
    cost, free_cost = prices.cost(held, energy), prices.cost(free, free_energy)
    idle_cost = prices.cost(idle, 0.0) if prices.per_gpu_hour is not None and is_told else None
    return Figures(
        held_hours=_rounded(held),
        busy_hours=_rounded(users[amounts.BUSY] / _HOUR_S) if is_told else None,
        idle_hours=_rounded(idle) if is_told else None,
        memory_gib_hours=_rounded(users[amounts.MEMORY] / _GIB_HOUR_MIB_S),
        energy_kwh=_rounded(energy) if users[amounts.METERED] > LITTLE_S or held <= LITTLE_S else None,
        cost=None if cost is None else _rounded(cost),
        idle_cost=None if idle_cost is None else _rounded(idle_cost),
        free_hours=_rounded(free),
        free_energy_kwh=_rounded(free_energy) if nobody[amounts.METERED] > LITTLE_S or free <= LITTLE_S else None,
        free_cost=None if free_cost is None else _rounded(free_cost),
        metered_hours=_rounded((users[amounts.METERED] + nobody[amounts.METERED]) / _HOUR_S),
    )


def _rounded(value: float) -> float:
    """Return the value to a millionth, so that 0.1 + 0.2 is told as 0.3."""
    return round(value, 6) + 0.0 if math.isfinite(value) else 0.0


def in_order(groups: Groups, by: int = amounts.HELD) -> list[Group]:
    """Return the groups, those first whose users have the most of a column; `nobody` stands last."""

    def place(group: Group) -> tuple[Any, ...]:
        return (group.name == NOBODY, -group.users[by], -group.seconds, group.name is None, group.name or "")

    return sorted(groups.values(), key=place)
