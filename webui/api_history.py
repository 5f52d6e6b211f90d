"""History over the JSON API: for plots as columns, and as files in CSV and JSON."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Annotated

import flask
import msgspec
from msgspec import Meta
from werkzeug.exceptions import BadRequest, NotFound

from gpumon.roles import Role
from master.history.query import Answer, Question
from master.history.readings import GPU_READINGS, HOST, HOST_READINGS, Reading, readings_of
from webui.access import needs
from webui.answers import answer
from webui.arguments import BadQuestionError, Time, csv_line, span
from webui.context import context
from webui.typed import typed

blueprint = flask.Blueprint("api_history", __name__, url_prefix="/api/v1")

POINTS = 500
FEWEST_POINTS = 10
MOST_POINTS = 5_000
# A file has every value of the finest resolution that reaches back so far, as long as that is in any way sensible.
MOST_POINTS_OF_A_FILE = 100_000
DEFAULT_SPAN_S = 3600.0

_NAMES = tuple(dict.fromkeys(reading.name for reading in (*GPU_READINGS, *HOST_READINGS)))
_NAME = f"({'|'.join(_NAMES)})"
# In the description of the API; `_readings` reads it, and says more of what is wrong with it.
METRICS = Meta(extra_json_schema={"pattern": f"^{_NAME}(,{_NAME})*$"})


class RangeQuery(msgspec.Struct, frozen=True):
    """Which readings (names with commas between them; all), and when: seconds since 1970, or negative, before now."""

    metric: Annotated[str, METRICS] | None = None
    since: Time | None = msgspec.field(name="from", default=None)
    until: Time | None = msgspec.field(name="to", default=None)


class PlotQuery(RangeQuery, frozen=True):
    """The same in about `points` points."""

    points: Annotated[int, Meta(ge=FEWEST_POINTS, le=MOST_POINTS)] = POINTS


class FileQuery(RangeQuery, frozen=True):
    """The same in `points` points at most, by default with every value there is."""

    points: Annotated[int, Meta(ge=FEWEST_POINTS, le=MOST_POINTS_OF_A_FILE)] = MOST_POINTS_OF_A_FILE


class Cards(msgspec.Struct, frozen=True):
    """The uuids of cards."""

    gpus: list[str]


class History(Answer, frozen=True):
    """An answer, how long raw samples are kept, and why history is not being kept (None: it is)."""

    raw_window_s: float
    problem: str | None


@blueprint.get("/workers/<worker_id>/gpus")
@needs(Role.VIEWER)
@typed()
def cards(worker_id: str) -> Cards:
    """Return the uuids of the worker's cards with a history, those that are not in the machine any more too."""
    page = context()
    found = page.master.history.cards(worker_id)
    if not found and page.master.fleet.worker(worker_id) is None:
        raise NotFound(f"no worker {worker_id!r} is known")
    return Cards(sorted(found - {HOST}))


@blueprint.get("/workers/<worker_id>/gpus/<uuid>/history")
@needs(Role.VIEWER)
@typed()
def history(worker_id: str, uuid: str, query: PlotQuery) -> History:
    """Return a card's readings over time."""
    return _told(_answer(worker_id, uuid, query))


@blueprint.get("/workers/<worker_id>/history")
@needs(Role.VIEWER)
@typed()
def host_history(worker_id: str, query: PlotQuery) -> History:
    """Return a host's readings over time."""
    return _told(_answer(worker_id, HOST, query))


@blueprint.get("/workers/<worker_id>/gpus/<uuid>/history.json")
@needs(Role.VIEWER)
@typed(answers=History)
def history_json(worker_id: str, uuid: str, query: FileQuery) -> flask.Response:
    """Return a card's readings as a file to keep, by default with every value there is."""
    return _json_file(worker_id, uuid, query)


@blueprint.get("/workers/<worker_id>/history.json")
@needs(Role.VIEWER)
@typed(answers=History)
def host_history_json(worker_id: str, query: FileQuery) -> flask.Response:
    """Return a host's readings as a file to keep, by default with every value there is."""
    return _json_file(worker_id, HOST, query)


@blueprint.get("/workers/<worker_id>/gpus/<uuid>/history.csv")
@needs(Role.VIEWER)
@typed(media="text/csv")
def history_csv(worker_id: str, uuid: str, query: FileQuery) -> flask.Response:
    """Return a card's readings as a table: a line a point; what was not measured is empty."""
    return _table(worker_id, uuid, query)


@blueprint.get("/workers/<worker_id>/history.csv")
@needs(Role.VIEWER)
@typed(media="text/csv")
def host_history_csv(worker_id: str, query: FileQuery) -> flask.Response:
    """Return a host's readings as a table: a line a point; what was not measured is empty."""
    return _table(worker_id, HOST, query)


def _json_file(worker_id: str, uuid: str, query: FileQuery) -> flask.Response:
    found = _answer(worker_id, uuid, query)
    return _as_file(answer(_told(found)), found, "json")


def _table(worker_id: str, uuid: str, query: FileQuery) -> flask.Response:
    found = _answer(worker_id, uuid, query)
    return _as_file(flask.Response(_lines(found), mimetype="text/csv"), found, "csv")


def _answer(worker_id: str, uuid: str, query: PlotQuery | FileQuery) -> Answer:
    page = context()
    start, end = span(query.since, query.until, time.time(), DEFAULT_SPAN_S)
    question = Question(worker_id, uuid, _readings(query.metric, readings_of(uuid)), start, end, query.points)
    found = page.master.history.ask(question)
    if not _has_any(found) and not _is_known(worker_id, uuid):
        what = f"no worker {worker_id!r}" if uuid == HOST else f"no card {uuid!r} of a worker {worker_id!r}"
        raise NotFound(f"{what} is known")
    return found


def _readings(asked: str | None, known: tuple[Reading, ...]) -> tuple[Reading, ...]:
    if asked is None:
        return known
    by_name = {reading.name: reading for reading in known}
    names = list(dict.fromkeys(asked.split(",")))
    for name in names:
        if name not in by_name:
            problem = f"metric {name[:60]!r} has no history: choose from {', '.join(by_name)}"
            # A card's readings are not a host's.
            raise BadQuestionError(problem) if name in _NAMES else BadRequest(problem)
    return tuple(by_name[name] for name in names)


def _has_any(found: Answer) -> bool:
    return any(value is not None for series in found.series.values() for value in series.mean)


def _is_known(worker_id: str, uuid: str) -> bool:
    page = context()
    worker = page.master.fleet.worker(worker_id)
    if worker is not None:
        listed = [*(worker.metrics.gpus if worker.metrics else ()), *(worker.info.gpus if worker.info else ())]
        if uuid == HOST or uuid in {gpu.uuid for gpu in listed}:
            return True
    return uuid in page.master.history.cards(worker_id)


def _told(found: Answer) -> History:
    master = context().master
    fields = {name: getattr(found, name) for name in found.__struct_fields__}
    return History(**fields, raw_window_s=master.history.raw_window_s, problem=master.history_problem)


def _lines(found: Answer) -> Iterator[str]:
    head = ["time", "time_utc"]
    columns = []
    for name, series in found.series.items():
        head += [f"{name}_mean", f"{name}_min", f"{name}_max"]
        columns += [series.mean, series.min, series.max]
    yield csv_line(head)
    for moment, *values in zip(found.time, *columns, strict=True):
        utc = datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="milliseconds")
        yield csv_line([f"{moment:.3f}", utc, *("" if value is None else repr(value) for value in values)])


def _as_file(response: flask.Response, found: Answer, suffix: str) -> flask.Response:
    name = f"{found.worker}-{found.uuid or 'host'}-{found.start:.0f}-{found.end:.0f}.{suffix}"
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    response.headers["Content-Disposition"] = f'attachment; filename="{safe}"'
    return response
