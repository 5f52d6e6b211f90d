"""The tables. Times are seconds since 1970-01-01 UTC; payloads are kept as JSON text, so that `sqlite3` shows them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Double, ForeignKey, Index, Integer, MetaData, Table, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# Named constraints, so that later migrations can change them on SQLite as well.
_NAMES = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map = {str: Text, int: BigInteger, float: Double}  # noqa: RUF012 - SQLAlchemy's own way to say it


class WorkerRow(Base):
    """A worker's latest status, inventory and sample; `last_seen` is the master's receive time."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str | None]
    last_seen: Mapped[float | None]
    info: Mapped[str | None]
    metrics: Mapped[str | None]


class EventRow(Base):
    """Something that happened to a worker: `time` by the worker's clock, `received` by the master's."""

    __tablename__ = "events"
    __table_args__ = (Index("ix_events_worker_id_received", "worker_id", "received"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    worker_id: Mapped[str]
    received: Mapped[float]
    time: Mapped[float]
    kind: Mapped[str]
    gpu: Mapped[str | None]
    value: Mapped[int | None]
    text: Mapped[str]


class CommandRow(Base):
    """A command; `ended` is null while a target has not ended, `by` where the author is not known."""

    __tablename__ = "commands"
    __table_args__ = (Index("ix_commands_created", "created"), Index("ix_commands_ended", "ended"))

    id: Mapped[str] = mapped_column(primary_key=True)
    command: Mapped[str]
    by: Mapped[str | None]
    origin: Mapped[str]
    created: Mapped[float]
    timeout_s: Mapped[float]
    ended: Mapped[float | None]


class TargetRow(Base):
    """A command on one worker."""

    __tablename__ = "command_targets"
    __table_args__ = (Index("ix_command_targets_worker_id", "worker_id"),)

    command_id: Mapped[str] = mapped_column(ForeignKey("commands.id", ondelete="CASCADE"), primary_key=True)
    worker_id: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(Integer)
    state: Mapped[str]
    exit_code: Mapped[int | None]
    started: Mapped[float | None]
    duration_s: Mapped[float | None]
    stdout_bytes: Mapped[int]
    stderr_bytes: Mapped[int]
    truncated: Mapped[bool]
    problem: Mapped[str | None]


class OutputRow(Base):
    """What a command wrote on one worker: a JSON list of `[seq, stream, data]`."""

    __tablename__ = "command_outputs"

    command_id: Mapped[str] = mapped_column(ForeignKey("commands.id", ondelete="CASCADE"), primary_key=True)
    worker_id: Mapped[str] = mapped_column(primary_key=True)
    chunks: Mapped[str]


class UserRow(Base):
    """A person's account; the password as an argon2 hash."""

    __tablename__ = "users"

    name: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str]
    password_hash: Mapped[str]
    created: Mapped[float]


class WorkerTokenRow(Base):
    """A worker's account; the token as its SHA-256 in hexadecimal (it has 256 random bits, so that is enough)."""

    __tablename__ = "worker_tokens"

    worker_id: Mapped[str] = mapped_column(primary_key=True)
    token_sha256: Mapped[str]
    created: Mapped[float]


def table_of(model: type[Base]) -> Table:
    """Return the model's table, for statements without the ORM."""
    table = model.__table__
    assert isinstance(table, Table)  # noqa: S101 - every model here has a table of its own
    return table
