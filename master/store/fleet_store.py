"""What is kept of the fleet: workers with their latest sample, and their events."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, TypeVar, get_args

import msgspec
from sqlalchemy import Connection, delete, func, select

from gpumon.errors import InvalidPayloadError
from gpumon.messages import Decoder, Event, Info, Metrics, Status, encode
from master.store.engine import Store
from master.store.models import EventRow, WorkerRow
from master.store.values import fits
from master.store.writer import Writer
from master.worker import Worker

logger = logging.getLogger(__name__)

KEPT_EVENTS = 200
_PRUNED_AT_ONCE = 1_000

M = TypeVar("M", bound=msgspec.Struct)


class FleetStore:
    """Loads the last known fleet, and keeps what is new through the writer."""

    def __init__(self, store: Store, writer: Writer) -> None:
        self._store = store
        self._writer = writer

    def load(self) -> tuple[list[Worker], Mapping[str, list[tuple[float, Event]]]]:
        """Return all workers, and each one's last events with their receive times, oldest first.

        Raises StoreError.
        """
        infos, samples = Decoder(Info), Decoder(Metrics)
        with self._store.read() as connection:
            workers = [_worker(row, infos, samples) for row in connection.execute(select(WorkerRow.__table__))]
            newest = _numbered_events().subquery()
            rows = connection.execute(select(newest).where(newest.c.place <= KEPT_EVENTS).order_by(newest.c.received))
            events: dict[str, list[tuple[float, Event]]] = {}
            for row in rows:
                event = Event(time=row.time, kind=row.kind, text=row.text, gpu=row.gpu, value=row.value)
                events.setdefault(row.worker_id, []).append((row.received, event))
        return workers, events

    def keep_worker(self, worker: Worker) -> None:
        """Keep the worker as it is now."""
        self._writer.put(
            WorkerRow,
            {
                "id": worker.id,
                "status": worker.status,
                "last_seen": worker.last_seen,
                "info": encode(worker.info).decode() if worker.info else None,
                "metrics": worker.metrics_payload.decode(errors="replace") if worker.metrics_payload else None,
            },
        )

    def keep_event(self, worker_id: str, event: Event, received: float) -> None:
        """Keep an event."""
        self._writer.put(
            EventRow,
            {
                "id": _event_id(worker_id, event),
                "worker_id": worker_id,
                "received": received,
                "time": event.time,
                "kind": event.kind,
                "gpu": event.gpu,
                "value": fits(event.value),
                "text": event.text,
            },
        )

    def forget(self, worker_id: str) -> None:
        """Delete the worker and its events."""

        def job(connection: Connection) -> bool:
            connection.execute(delete(WorkerRow).where(WorkerRow.id == worker_id))
            connection.execute(delete(EventRow).where(EventRow.worker_id == worker_id))
            return False

        self._writer.run(job)

    def prune_events(self) -> None:
        """Delete events beyond each worker's last 200, a thousand at a time."""

        def job(connection: Connection) -> bool:
            numbered = _numbered_events().subquery()
            old = select(numbered.c.id).where(numbered.c.place > KEPT_EVENTS).limit(_PRUNED_AT_ONCE)
            return connection.execute(delete(EventRow).where(EventRow.id.in_(old))).rowcount == _PRUNED_AT_ONCE

        self._writer.run(job)


def _event_id(worker_id: str, event: Event) -> str:
    """Return the same id for the same event, so that two masters that both keep it keep one."""
    return blake2b(b"%b %b" % (worker_id.encode(), encode(event)), digest_size=16).hexdigest()


def _numbered_events() -> Any:
    place = func.row_number().over(partition_by=EventRow.worker_id, order_by=EventRow.received.desc())
    return select(EventRow.__table__, place.label("place"))


def _worker(row: Any, infos: Decoder[Info], samples: Decoder[Metrics]) -> Worker:
    metrics = _decoded(samples, row.metrics, row.id)
    return Worker(
        id=row.id,
        status=row.status if row.status in get_args(Status) else None,
        info=_decoded(infos, row.info, row.id),
        metrics=metrics,
        metrics_payload=row.metrics.encode() if metrics else None,
        last_seen=row.last_seen,
        last_sample=row.last_seen if metrics else None,
    )


def _decoded(decoder: Decoder[M], text: str | None, worker_id: str) -> M | None:
    if text is None:
        return None
    try:
        return decoder.decode(text.encode())
    except InvalidPayloadError as error:
        logger.warning("what was kept of %s cannot be read any more and is passed over: %s", worker_id, error)
        return None
