"""Usage as it is asked for and answered over the API: the arguments, and the shapes of the answers."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from master.usage.query import Figures, Prices
from webui.arguments import Time
from webui.calendar import Step

MOST_GROUPS = 50
# In the description of the API; `webui.api_usage` reads them, and says more of what is wrong with them.
BY = Meta(
    extra_json_schema={
        "anyOf": [{"enum": ["user", "worker", "model"]}, {"type": "string", "pattern": r"^label:[\s\S]"}]
    }
)
LABEL = Meta(extra_json_schema={"pattern": "^[^=]+="})


class UsageQuery(msgspec.Struct, frozen=True):
    """When (seconds since 1970, or negative, before now; the last 30 days), grouped by what, and of whom and where.

    `by`: user, worker, model, or label:KEY. `label`: KEY=VALUE, may be given several times.
    """

    since: Time | None = msgspec.field(name="from", default=None)
    until: Time | None = msgspec.field(name="to", default=None)
    by: Annotated[str, BY] = "user"
    user: str = ""
    worker: str = ""
    label: list[Annotated[str, LABEL]] = []


class SeriesQuery(UsageQuery, frozen=True):
    """The same over time: `step` hour or day, of the days of the time zone `tz`; the `groups` largest by `order`."""

    step: Step | None = None
    tz: str | None = None
    groups: Annotated[int, Meta(ge=1, le=MOST_GROUPS)] = 8
    order: Literal["held", "busy", "idle", "energy"] = "held"


class UsageAsked(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for, the prices that costs are reckoned with, and why usage is not being kept (None: it is).

    `hours_from` is since when hours are known (None: no usage at all); before, whole days are.
    """

    since: float = msgspec.field(name="from")
    until: float = msgspec.field(name="to")
    by: str
    user: str | None
    worker: str | None
    labels: dict[str, str]
    prices: Prices
    hours_from: float | None
    problem: str | None


class UsageGroup(Figures, frozen=True, kw_only=True):
    """A group's figures, as docs/usage.md explains them; `name` None: workers without that label."""

    name: str | None


class UsageTotals(UsageAsked, frozen=True, kw_only=True):
    """Who has used what, the largest first; `label_keys` are those that usage can be grouped by."""

    label_keys: list[str]
    total: Figures
    groups: list[UsageGroup]


class SeriesGroup(msgspec.Struct, frozen=True, kw_only=True):
    """A group over time; `is_rest`: all others, `of` how many those are."""

    name: str | None
    is_rest: bool = False
    of: int = 0
    held_hours: list[float]
    busy_hours: list[float | None]
    idle_hours: list[float | None]
    memory_gib_hours: list[float]
    energy_kwh: list[float | None]
    cost: list[float | None]
    idle_cost: list[float | None]
    free_hours: list[float]
    free_energy_kwh: list[float | None]
    free_cost: list[float | None]
    metered_hours: list[float]


class UsageSeries(UsageAsked, frozen=True, kw_only=True):
    """The largest groups over time; `time` is when each step begins."""

    step: str
    tz: str
    time: list[float]
    groups: list[SeriesGroup]
