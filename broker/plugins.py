"""The two amqtt plugins: who may log in, and which topics they may publish and read."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

from amqtt.contexts import Action, BaseContext
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from broker.access import may_publish, may_read
from broker.trust import Directory
from gpumon.roles import Principal
from gpumon.topics import Topics

LOGIN_THREADS = 4
_PRINCIPAL = "gpumon.principal"


def principal_of(session: Session) -> Principal:
    """Return who has logged in; only for a session that `LoginPlugin` has let in."""
    return cast("Principal", session.attributes[_PRINCIPAL])


class LoginPlugin(BaseAuthPlugin):  # type: ignore[misc]
    """Asks the directory, in a few threads of its own: hashing a password takes 50 ms that no message should wait."""

    @dataclass
    class Config:
        """What amqtt hands to the plugin (Any, since amqtt checks types at run time)."""

        directory: Any

    def __init__(self, context: BaseContext) -> None:
        super().__init__(context)
        self._directory: Directory = self.config.directory
        self._threads = ThreadPoolExecutor(LOGIN_THREADS, thread_name_prefix="login")

    async def authenticate(self, *, session: Session) -> bool:
        """Let in whom the directory knows; nobody is anonymous."""
        name, password = session.username, session.password
        session.password = None
        if not name or not password:
            return False
        loop = asyncio.get_running_loop()
        principal = await loop.run_in_executor(self._threads, self._directory.authenticate, name, password)
        if principal is None:
            return False
        session.attributes[_PRINCIPAL] = principal
        return True

    async def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class TopicAccessPlugin(BaseTopicPlugin):  # type: ignore[misc]
    """Puts the access table between amqtt's sessions and topics."""

    @dataclass
    class Config:
        """What amqtt hands to the plugin."""

        topics: Topics

    def __init__(self, context: BaseContext) -> None:
        super().__init__(context)
        self._topics: Topics = self.config.topics

    def allows(self, session: Session, topic: str, action: Action) -> bool:
        """Tell whether this session may do that; without waiting, for the broker asks for every message."""
        check = may_publish if action is Action.PUBLISH else may_read
        return check(principal_of(session), topic, self._topics)

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool:
        """Answer amqtt's question; it makes a task for each, which is why the broker calls `allows`."""
        return session is not None and topic is not None and self.allows(session, topic, action)
