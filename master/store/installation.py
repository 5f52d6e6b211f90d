"""What belongs to the whole installation, whichever master asks: kept in the database, made at random once."""

from __future__ import annotations

import hashlib
import secrets

from sqlalchemy import insert, select

from master.store.engine import Store
from master.store.models import InstallationRow, table_of

_SESSION_KEY = "session_key"


def session_key(store: Store) -> str:
    """Return the key that signs the page's cookies, so that each master knows those of the others.

    Who can read it can still make no session: what a cookie holds must have its hash in the database. Raises
    StoreError.
    """
    query = select(InstallationRow.value).where(InstallationRow.name == _SESSION_KEY)
    with store.read() as connection:
        found = connection.execute(query).scalar()
    if found is not None:
        return str(found)
    with store.write() as connection:
        found = connection.execute(query).scalar()  # another master may have made it meanwhile
        if found is None:
            found = secrets.token_urlsafe(32)
            connection.execute(insert(table_of(InstallationRow)).values(name=_SESSION_KEY, value=found))
        return str(found)


def installation_id(store: Store) -> str:
    """Return what tells this installation from others. Raises StoreError."""
    return hashlib.sha256(f"installation {session_key(store)}".encode()).hexdigest()[:16]
