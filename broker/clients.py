"""The clients that have logged in: by client id, and how many each user has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from broker.connection import Connection
from gpumon.roles import Principal, Role


class Clients:
    """The open connections, each under a client id of its own."""

    def __init__(self) -> None:
        self._by_id: dict[str, Connection] = {}
        self._count: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Connection]:
        return iter(tuple(self._by_id.values()))

    def holder(self, client_id: str) -> Connection | None:
        """Return the connection that has this client id."""
        return self._by_id.get(client_id)

    def count(self, user: str) -> int:
        """Return how many connections a user has."""
        return self._count[user]

    def oldest_of(self, user: str) -> Connection | None:
        """Return the connection of a user that has been there for longest; looks at all."""
        return next((each for each in self._by_id.values() if each.principal.name == user), None)

    def add(self, connection: Connection) -> None:
        """Add a connection under a client id that nobody has."""
        self._by_id[connection.session.client_id] = connection
        self._count[connection.principal.name] += 1

    def remove(self, connection: Connection) -> bool:
        """Remove a connection; tell whether it was there."""
        if self._by_id.get(connection.session.client_id) is not connection:
            return False
        del self._by_id[connection.session.client_id]
        user = connection.principal.name
        self._count[user] -= 1
        if not self._count[user]:
            del self._count[user]
        return True

    def principals(self) -> set[Principal]:
        """Return who is connected."""
        return {connection.principal for connection in self._by_id.values()}

    def slowest(self, too_much_bytes: int) -> list[Connection]:
        """Return those with the most waiting for them, until this many bytes are found; the master is spared."""
        readers = [each for each in self._by_id.values() if each.principal.role is not Role.MASTER]
        readers.sort(key=lambda each: each.waiting_bytes, reverse=True)
        found: list[Connection] = []
        for reader in readers:
            if too_much_bytes <= 0:
                break
            found.append(reader)
            too_much_bytes -= reader.waiting_bytes
        return found
