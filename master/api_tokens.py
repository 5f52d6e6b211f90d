"""API tokens: what a program shows in place of its user's password, each with a label and, if wanted, an end."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

from sqlalchemy import delete, insert, select

from gpumon.errors import GpumonError
from master.audit import BY_ITSELF, Actor, add_entry
from master.passwords import new_api_token, token_digest
from master.store.engine import Store
from master.store.models import ApiTokenRow, UserRow

LONGEST_LABEL = 64
MOST_TOKENS = 50


class TokenError(GpumonError):
    """A token that cannot be made or found as asked; the message says why."""

    see = "troubleshooting.md#an-account-cannot-be-changed"


@dataclass(frozen=True, slots=True)
class ApiToken:
    """What is known of a token, which is not the token; times in seconds since 1970.

    `expires` is None for one that does not end by itself, `last_used` for one that was not shown at the API yet (what
    the broker sees is not noted).
    """

    id: str
    user_name: str
    label: str
    created: float
    expires: float | None
    last_used: float | None


class ApiTokens:
    """Makes, lists and removes API tokens. Every method raises StoreError where the database does not answer."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def make(
        self, user_name: str, label: str, lifetime_s: float | None = None, by: Actor = BY_ITSELF
    ) -> tuple[ApiToken, str]:
        """Make a token for a person; return what is known of it, and the token itself, which is not kept.

        Raises TokenError: for an unknown person, a label that is too long or no text, and more tokens than a person
        may have.
        """
        label = label.strip() or "unnamed"
        if len(label) > LONGEST_LABEL or not label.isprintable():
            raise TokenError(f"the label must be one line of {LONGEST_LABEL} characters at most")
        now = time.time()
        expires = None if lifetime_s is None else now + lifetime_s
        made, token = ApiToken(f"t-{secrets.token_hex(6)}", user_name, label, now, expires, None), new_api_token()
        row = {
            "id": made.id,
            "user_name": user_name,
            "label": label,
            "token_sha256": token_digest(token),
            "created": now,
            "expires": expires,
        }
        with self._store.write() as connection:
            if connection.execute(select(UserRow.name).where(UserRow.name == user_name)).first() is None:
                raise TokenError(f"there is no user {user_name!r}: see gpumon user list")
            connection.execute(delete(ApiTokenRow).where(ApiTokenRow.expires < now))
            kept = connection.execute(select(ApiTokenRow.id).where(ApiTokenRow.user_name == user_name)).all()
            if len(kept) >= MOST_TOKENS:
                raise TokenError(f"{user_name} has {len(kept)} tokens already: revoke those that are not used any more")
            connection.execute(insert(ApiTokenRow).values(row))
            add_entry(connection, by, "token.made", user_name, token=made.id, label=label, expires=expires)
        return made, token

    def of(self, user_name: str | None = None) -> list[ApiToken]:
        """Return a person's tokens, or everybody's, oldest first; those that have expired are left out."""
        query = select(
            ApiTokenRow.id,
            ApiTokenRow.user_name,
            ApiTokenRow.label,
            ApiTokenRow.created,
            ApiTokenRow.expires,
            ApiTokenRow.last_used,
        ).order_by(ApiTokenRow.created, ApiTokenRow.id)
        if user_name is not None:
            query = query.where(ApiTokenRow.user_name == user_name)
        now = time.time()
        with self._store.read() as connection:
            found = [ApiToken(*row) for row in connection.execute(query)]
        return [token for token in found if token.expires is None or token.expires > now]

    def revoke(self, token_id: str, user_name: str | None = None, by: Actor = BY_ITSELF) -> ApiToken:
        """Remove a token, of this person where one is named, and return what was known of it.

        Raises TokenError: where there is no such token.
        """
        found = next((token for token in self.of(user_name) if token.id == token_id), None)
        with self._store.write() as connection:
            if found is None or connection.execute(delete(ApiTokenRow).where(ApiTokenRow.id == token_id)).rowcount == 0:
                raise TokenError(f"there is no token {token_id!r}: see gpumon user tokens")
            add_entry(connection, by, "token.revoked", found.user_name, token=token_id, label=found.label)
        return found
