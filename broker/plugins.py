"""The two amqtt plugins: who may log in, and which topics they may publish and read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amqtt.contexts import Action, BaseContext
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin

from broker.access import LabelsOf, may_publish, may_read
from broker.logins import LoginDesk
from broker.session import Session, principal_of
from gpumon.topics import Topics


class LoginPlugin(BaseAuthPlugin):  # type: ignore[misc]
    """Asks the desk for log-ins."""

    @dataclass
    class Config:
        """What amqtt hands to the plugin (Any, since amqtt checks types at run time)."""

        desk: Any

    def __init__(self, context: BaseContext) -> None:
        super().__init__(context)
        self._desk: LoginDesk = self.config.desk

    async def authenticate(self, *, session: Session) -> bool:
        """Let in whom the directory knows; nobody is anonymous.

        Raises LoginsLimitedError, and whatever the directory raises.
        """
        name, password = session.username, session.password
        session.password = None
        principal = await self._desk.who_is(name or "", password or "", session.remote_address)
        if principal is None:
            return False
        session.principal = principal
        return True

    async def close(self) -> None:
        """End the desk's threads."""
        self._desk.close()


class TopicAccessPlugin(BaseTopicPlugin):  # type: ignore[misc]
    """Puts the access table between amqtt's sessions and topics."""

    @dataclass
    class Config:
        """What amqtt hands to the plugin."""

        topics: Topics
        labels_of: Any

    def __init__(self, context: BaseContext) -> None:
        super().__init__(context)
        self._topics: Topics = self.config.topics
        self._labels_of: LabelsOf = self.config.labels_of

    def allows(self, session: Session, topic: str, action: Action) -> bool:
        """Tell whether this session may do that; without waiting, for the broker asks for every message."""
        principal, client_id = principal_of(session), session.client_id
        if action is Action.PUBLISH:
            return may_publish(principal, topic, self._topics, client_id=client_id, labels_of=self._labels_of)
        return may_read(principal, topic, self._topics, client_id=client_id)

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool:
        """Answer amqtt's question; it makes a task for each, which is why the broker calls `allows`."""
        return session is not None and topic is not None and self.allows(session, topic, action)
