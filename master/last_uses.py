"""When sessions and API tokens were last used: noted now and then, behind the back of the request that uses them."""

from __future__ import annotations

import time
from functools import partial

from sqlalchemy import Connection, update

from gpumon.log import OncePer
from master.store.models import ApiTokenRow, SessionRow
from master.store.writer import Writer

NOTED_EACH_S = 300.0


class LastUses:
    """Has the running master's writer note uses, each at most every five minutes; one that fails is not missed."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._due = OncePer(NOTED_EACH_S)

    def session(self, id_sha256: str) -> None:
        """Note that the session of which this is kept is used now."""
        if self._due(id_sha256):
            self._writer.run(partial(_note_session, id_sha256, time.time()))

    def token(self, token_id: str) -> None:
        """Note that this API token is used now."""
        if self._due(token_id):
            self._writer.run(partial(_note_token, token_id, time.time()))


def _note_session(id_sha256: str, now: float, connection: Connection) -> bool:
    connection.execute(update(SessionRow).where(SessionRow.id_sha256 == id_sha256).values(last_seen=now))
    return False


def _note_token(token_id: str, now: float, connection: Connection) -> bool:
    connection.execute(update(ApiTokenRow).where(ApiTokenRow.id == token_id).values(last_used=now))
    return False
