"""The tables. Times are seconds since 1970-01-01 UTC; payloads are kept as JSON text, so that `sqlite3` shows them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Double, ForeignKey, Index, Integer, MetaData, Table, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from master.store.values import PlainText

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
    type_annotation_map = {str: PlainText, int: BigInteger, float: Double}  # noqa: RUF012 - SQLAlchemy's own way to say it


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
    """A person's account; the password as an argon2 hash.

    `commands_on` is a JSON object of labels (see `gpumon.roles.Principal`), null for what the role has by itself.
    """

    __tablename__ = "users"

    name: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str]
    password_hash: Mapped[str]
    created: Mapped[float]
    commands_on: Mapped[str | None]


class WorkerTokenRow(Base):
    """A worker's account; the token as its SHA-256 in hexadecimal (it has 256 random bits, so that is enough).

    `joined` and `join_key_id` say when it last joined and with which key, null for one that was added by hand.
    """

    __tablename__ = "worker_tokens"

    worker_id: Mapped[str] = mapped_column(primary_key=True)
    token_sha256: Mapped[str]
    created: Mapped[float]
    joined: Mapped[float | None]
    join_key_id: Mapped[str | None]


class RemovedWorkerRow(Base):
    """A worker that was removed and that the running master, whichever process that is, has yet to forget."""

    __tablename__ = "removed_workers"

    worker_id: Mapped[str] = mapped_column(primary_key=True)
    removed: Mapped[float]


class ApiTokenRow(Base):
    """A token that stands for its user at the API and the broker; kept as its SHA-256 in hexadecimal."""

    __tablename__ = "api_tokens"
    __table_args__ = (UniqueConstraint("token_sha256"), Index("ix_api_tokens_user_name", "user_name"))

    id: Mapped[str] = mapped_column(primary_key=True)
    user_name: Mapped[str] = mapped_column(ForeignKey("users.name", ondelete="CASCADE"))
    label: Mapped[str]
    token_sha256: Mapped[str]
    created: Mapped[float]
    expires: Mapped[float | None]
    last_used: Mapped[float | None]


class SessionRow(Base):
    """A log-in on the page; the random id in the browser's cookie is kept as its SHA-256 in hexadecimal."""

    __tablename__ = "sessions"
    __table_args__ = (Index("ix_sessions_user_name", "user_name"),)

    id_sha256: Mapped[str] = mapped_column(primary_key=True)
    user_name: Mapped[str] = mapped_column(ForeignKey("users.name", ondelete="CASCADE"))
    created: Mapped[float]
    expires: Mapped[float]
    last_seen: Mapped[float]
    address: Mapped[str]
    browser: Mapped[str]


class JoinKeyRow(Base):
    """A key with which new workers join; `worker_id` null for any id that is free, `replaces` for a taken one too."""

    __tablename__ = "join_keys"
    __table_args__ = (UniqueConstraint("key_sha256"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    key_sha256: Mapped[str]
    created: Mapped[float]
    created_by: Mapped[str]
    expires: Mapped[float]
    uses_left: Mapped[int]
    last_used: Mapped[float | None]
    worker_id: Mapped[str | None]
    replaces: Mapped[bool]


class AuditRow(Base):
    """Who did what, from where, on what: triggers refuse to change or delete a row. `detail` is a JSON object."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_time", "time"),)

    seq: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    time: Mapped[float]
    who: Mapped[str | None]
    origin: Mapped[str]
    address: Mapped[str | None]
    action: Mapped[str]
    subject: Mapped[str | None]
    detail: Mapped[str | None]


class HistoryMinuteRow(Base):
    """One worker's minute from `start` on, with all its cards, until its hour is folded into blocks (MessagePack)."""

    __tablename__ = "history_minutes"
    __table_args__ = (Index("ix_history_minutes_start", "start"),)

    worker_id: Mapped[str] = mapped_column(primary_key=True)
    start: Mapped[int] = mapped_column(primary_key=True)
    cards: Mapped[bytes]


class HistoryBlockRow(Base):
    """One card's buckets of `step_s` from `start` on, packed; `uuid` is empty for the worker's host."""

    __tablename__ = "history_blocks"
    __table_args__ = (Index("ix_history_blocks_step_s_start", "step_s", "start"),)

    worker_id: Mapped[str] = mapped_column(primary_key=True)
    uuid: Mapped[str] = mapped_column(primary_key=True)
    step_s: Mapped[int] = mapped_column(primary_key=True)
    start: Mapped[int] = mapped_column(primary_key=True)
    data: Mapped[bytes]


class AlertRow(Base):
    """An alert, from its firing on; `alert` is all of it (JSON), the columns are what is asked by.

    While `ended` is null it goes on, or waits for its duration (`state` pending): a restart finds it as it was.
    """

    __tablename__ = "alerts"
    __table_args__ = (Index("ix_alerts_ended", "ended"), Index("ix_alerts_since", "since"))

    id: Mapped[str] = mapped_column(primary_key=True)
    rule: Mapped[str]
    worker_id: Mapped[str]
    gpu: Mapped[str | None]
    severity: Mapped[str]
    state: Mapped[str]
    since: Mapped[float]
    ended: Mapped[float | None]
    alert: Mapped[str]


class AlertRuleRow(Base):
    """A rule that was made or changed on the page (JSON); it wins over one of the same name in the settings."""

    __tablename__ = "alert_rules"

    name: Mapped[str] = mapped_column(primary_key=True)
    rule: Mapped[str]
    changed: Mapped[float]
    changed_by: Mapped[str]


class SilenceRow(Base):
    """A silence (JSON)."""

    __tablename__ = "silences"
    __table_args__ = (Index("ix_silences_until", "until"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    until: Mapped[float]
    silence: Mapped[str]


class NotificationRow(Base):
    """That an alert has fired (`what` firing) or ended (resolved), to be told by a channel, and what became of it.

    `state`: waiting | sending | sent | failed | dropped. The primary key keeps one from being told twice. `due` is when
    it is to be tried, `ended` when it was sent or given up. `message` is the message that may have told of it already:
    its sending was not seen to its end.
    """

    __tablename__ = "notifications"
    __table_args__ = (Index("ix_notifications_state_due", "state", "due"), Index("ix_notifications_created", "created"))

    alert_id: Mapped[str] = mapped_column(primary_key=True)
    what: Mapped[str] = mapped_column(primary_key=True)
    channel: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    created: Mapped[float]
    due: Mapped[float]
    attempts: Mapped[int]
    problem: Mapped[str | None]
    message: Mapped[str | None]
    ended: Mapped[float | None]


class UsageRow(Base):
    """What a user has held and used at a place in `step_s` (an hour or a UTC day) from `start` on.

    Both are given by number (see `master.usage.names`). It is a clustered table, in the order in which it is added up.
    """

    __tablename__ = "usage"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012 - SQLAlchemy's own way to say it

    step_s: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    start: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    user_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    place_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    held_ms: Mapped[int]
    busy_ms: Mapped[int]
    idle_ms: Mapped[int]
    told_ms: Mapped[int]
    metered_ms: Mapped[int]
    memory_mib_s: Mapped[int]
    energy_j: Mapped[int]


class UsagePlaceRow(Base):
    """A worker, a model of its cards, and the labels (JSON) it had at some time; `seen` is the newest hour of it."""

    __tablename__ = "usage_places"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    worker_id: Mapped[str]
    model: Mapped[str]
    labels: Mapped[str]
    seen: Mapped[int]


class UsageUserRow(Base):
    """A user of cards; `seen` is the newest hour in which there is something of him."""

    __tablename__ = "usage_users"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]
    seen: Mapped[int]


class InstallationRow(Base):
    """What several masters of one installation must have in common."""

    __tablename__ = "installation"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


def table_of(model: type[Base]) -> Table:
    """Return the model's table, for statements without the ORM."""
    table = model.__table__
    assert isinstance(table, Table)  # noqa: S101 - every model here has a table of its own  # nosec B101
    return table
