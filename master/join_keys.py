"""Join keys: what lets new machines in, for a time and a number of times; kept as SHA-256, like tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, Row, delete, insert, select, update

from gpumon.errors import GpumonError
from gpumon.files import read_secret
from gpumon.joining import JoinRequest
from master.account_mirror import AccountMirror, MirrorRefusedError, NoMirror
from master.accounts import AccountError, check_name, let_worker_in
from master.audit import Actor, add_entry
from master.passwords import is_same, new_token, token_digest
from master.principals import stranger, worker
from master.store.engine import Store
from master.store.models import JoinKeyRow, UserRow, WorkerTokenRow

PREFIX = "gpj_"
LIFETIME_S = 86_400.0
# Who joins says only by a key who it is, and the master does not hear its address.
STRANGER = Actor(None, "mqtt")
LONGEST_LIFETIME_S = 366 * 86_400.0
MOST_USES = 100_000
# How long keys that let nobody in any more are listed.
_KEPT_S = 30 * 86_400.0
_NOTHING_KNOWN = "the join key is not known here, or was revoked: make another with gpumon join-key"


class JoinKeyError(GpumonError):
    """A key that cannot be made or found as asked; the message says why."""

    see = "troubleshooting.md#a-machine-cannot-join"


class JoinRefusedError(GpumonError):
    """A machine that may not join; `key_id` says with which key it tried, None for one that is not known."""

    see = "troubleshooting.md#a-machine-cannot-join"

    def __init__(self, reason: str, key_id: str | None = None) -> None:
        super().__init__(reason)
        self.key_id = key_id


@dataclass(frozen=True, slots=True)
class JoinKey:
    """What is known of a key, which is not the key; times in seconds since 1970.

    `worker_id` is None for a key with which any id can join, `replaces` allows that to be a known worker's.
    """

    id: str
    created: float
    created_by: str
    expires: float
    uses_left: int
    last_used: float | None
    worker_id: str | None
    replaces: bool

    @property
    def is_usable(self) -> bool:
        """Whether a machine can join with it now."""
        return self.uses_left > 0 and time.time() < self.expires


@dataclass(frozen=True, slots=True)
class Joined:
    """A worker that has joined; `is_repeated` where it was given the token of its first question again."""

    worker_id: str
    key_id: str
    token: str
    has_replaced: bool = False
    is_repeated: bool = False

    def __repr__(self) -> str:
        return f"Joined(worker_id={self.worker_id!r}, key_id={self.key_id!r})"


class JoinKeys:
    """Makes, lists, revokes and uses join keys; every method raises StoreError where the database does not answer."""

    def __init__(
        self, store: Store, mirror: AccountMirror | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._mirror = mirror or NoMirror()
        self._clock = clock

    def make(
        self,
        by: Actor,
        *,
        uses: int = 1,
        lifetime_s: float = LIFETIME_S,
        worker_id: str | None = None,
        replaces: bool = False,
    ) -> tuple[JoinKey, str]:
        """Make a key; return what is known of it, and the key itself, which is not kept.

        Raises JoinKeyError: for bounds that make no sense. Raises AccountError: for a worker id that is not allowed or
        a person's name, and for one that is taken where the key does not replace.
        """
        if not 1 <= uses <= MOST_USES:
            raise JoinKeyError(f"a join key cannot have {uses} uses: give 1 to {MOST_USES}")
        if not 0 < lifetime_s <= LONGEST_LIFETIME_S:
            raise JoinKeyError("a join key must expire, within a year at most: give for example 24h or 7d")
        if worker_id is not None:
            check_name(worker_id)
        self._mirror.ready()
        now, key = self._clock(), PREFIX + new_token()
        made = JoinKey(
            f"k-{secrets.token_hex(4)}", now, by.who or "gpumon", now + lifetime_s, uses, None, worker_id, replaces
        )
        row = {name: getattr(made, name) for name in JoinKey.__slots__}
        with self._store.write() as connection:
            connection.execute(delete(JoinKeyRow).where(JoinKeyRow.expires < now - _KEPT_S))
            if worker_id is not None:
                _check_can_join(connection, worker_id, replaces=replaces)
            connection.execute(insert(JoinKeyRow).values({**row, "key_sha256": token_digest(key)}))
            add_entry(
                connection,
                by,
                "join_key.made",
                made.id,
                uses=uses,
                expires=made.expires,
                worker_id=worker_id,
                replaces=replaces,
            )
            self._mirror.put(stranger(made.id), key)
        return made, key

    def all(self) -> list[JoinKey]:
        """Return all keys of the last 30 days, the newest first."""
        with self._store.read() as connection:
            rows = connection.execute(select(JoinKeyRow.__table__).order_by(JoinKeyRow.created.desc()))
            return [_key_of(row) for row in rows]

    def known(self, secret: str) -> JoinKey | None:
        """Return what is known of the key itself, None where it is not known here (any more)."""
        query = select(JoinKeyRow.__table__).where(JoinKeyRow.key_sha256 == token_digest(secret))
        with self._store.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _key_of(row)

    def revoke(self, key_id: str, by: Actor) -> None:
        """Remove a key; workers that have joined with it stay. Raises JoinKeyError: for an unknown one."""
        self._mirror.ready()
        with self._store.write() as connection:
            if connection.execute(delete(JoinKeyRow).where(JoinKeyRow.id == key_id)).rowcount == 0:
                raise JoinKeyError(f"there is no join key {key_id!r}: see gpumon join-key list")
            add_entry(connection, by, "join_key.revoked", key_id)
            self._mirror.remove(stranger(key_id))

    def use(self, request: JoinRequest) -> Joined:
        """Let a machine in: the key's use is counted and the worker added in one transaction.

        A machine that asks again with the same key and nonce gets the same token, and no other use is counted; so
        nothing is lost where an answer is, or where the master ends between the two. Raises JoinRefusedError.
        """
        digest = token_digest(request.key)
        with self._store.read() as connection:  # a flood of unknown keys does not take the lock to write
            self._found(connection, digest)
        self._mirror.ready()
        with self._store.write() as connection:
            key = self._found(connection, digest)
            repeated = self._token_given_before(connection, key, request)
            if repeated is not None:
                return Joined(request.worker_id, key.id, repeated, is_repeated=True)
            return self._let_in(connection, key, request)

    def _let_in(self, connection: Connection, key: JoinKey, request: JoinRequest) -> Joined:
        worker_id, now = request.worker_id, self._clock()
        if key.worker_id not in (None, worker_id):
            raise JoinRefusedError(f"the join key is for {key.worker_id}: give --worker-id {key.worker_id}", key.id)
        used = update(JoinKeyRow).where(JoinKeyRow.id == key.id, JoinKeyRow.uses_left > 0)
        values = {"uses_left": JoinKeyRow.uses_left - 1, "last_used": now}
        if connection.execute(used.values(values)).rowcount == 0:
            raise JoinRefusedError("the join key is used up: make another with gpumon join-key", key.id)
        token = self._token(key.id, request, now)
        try:
            check_name(worker_id)
            _check_can_join(connection, worker_id, replaces=key.replaces)
            has_replaced = let_worker_in(
                connection, worker_id, token, replace=key.replaces, joined=now, join_key_id=key.id
            )
            self._mirror.put(worker(worker_id, token_digest(token)), token)
        except (AccountError, MirrorRefusedError) as error:
            raise JoinRefusedError(str(error), key.id) from error  # the use above is undone with the transaction
        add_entry(
            connection,
            STRANGER,
            "worker.joined",
            worker_id,
            hostname=request.hostname,
            join_key=key.id,
            replaced=has_replaced,
        )
        return Joined(worker_id, key.id, token, has_replaced=has_replaced)

    def _found(self, connection: Connection, digest: str) -> JoinKey:
        query = select(JoinKeyRow.__table__).where(JoinKeyRow.key_sha256 == digest)
        row = connection.execute(query).one_or_none()
        if row is None or not is_same(row.key_sha256, digest):
            raise JoinRefusedError(_NOTHING_KNOWN)
        key = _key_of(row)
        if key.expires <= self._clock():
            raise JoinRefusedError("the join key has expired: make another with gpumon join-key", key.id)
        return key

    def _token_given_before(self, connection: Connection, key: JoinKey, request: JoinRequest) -> str | None:
        """Return the worker's token where this machine was given it with this key, and it is still the worker's."""
        columns = WorkerTokenRow.token_sha256, WorkerTokenRow.joined, WorkerTokenRow.join_key_id
        row = connection.execute(select(*columns).where(WorkerTokenRow.worker_id == request.worker_id)).one_or_none()
        if request.nonce is None or row is None or row.joined is None or row.join_key_id != key.id:
            return None
        token = self._token(key.id, request, row.joined)
        return token if is_same(row.token_sha256, token_digest(token)) else None

    def _token(self, key_id: str, request: JoinRequest, joined: float) -> str:
        """Return the token of this question: made from the master's secret, so that it need not be kept to repeat it.

        HMAC-SHA256 (RFC 2104) under 256 random bits is as good as random to whoever has not got these.
        """
        if request.nonce is None:
            return new_token()
        asked = "\n".join((key_id, request.worker_id, request.nonce, repr(joined)))
        secret = read_secret(self._store.data.master_secret)
        digest = hmac.new(secret.encode(), f"worker token\n{asked}".encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _key_of(row: Row[tuple[object, ...]]) -> JoinKey:
    return JoinKey(**{name: getattr(row, name) for name in JoinKey.__slots__})


def _check_can_join(connection: Connection, worker_id: str, *, replaces: bool) -> None:
    """Refuse an id that a key cannot bring in. Raises AccountError."""
    if connection.execute(select(UserRow.name).where(UserRow.name == worker_id)).first():
        raise AccountError(f"{worker_id} is a person's name: choose another --worker-id")
    known = select(WorkerTokenRow.worker_id).where(WorkerTokenRow.worker_id == worker_id)
    if not replaces and connection.execute(known).first():
        raise AccountError(
            f"{worker_id} is taken by another worker: choose another --worker-id, or allow that it is replaced with "
            f"gpumon join-key --worker-id {worker_id} --replace"
        )
