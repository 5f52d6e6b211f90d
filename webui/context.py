"""What the page's views share, kept with the Flask application instead of in module globals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import flask

from gpumon.settings import Settings
from gpumon.topics import Topics
from master.join_keys import JoinKey
from master.master import Master
from webui.failed_logins import FailedLogins
from webui.metrics_exposition import Exposition
from webui.sessions import Sessions
from webui.throttle import KnownBrowsers, LoginThrottle

EXTENSION = "gpumon"
# Returns the join line of a key and its secret; with no key, tries whether there can be one. Raises GpumonError.
JoinLineOf = Callable[[JoinKey | None, str], str]
THREADS_KEPT_FREE = 8


@dataclass(frozen=True, slots=True)
class PageContext:
    """The running master and what was set, for the views; `static_version` changes with the static files."""

    master: Master
    settings: Settings
    sessions: Sessions
    throttle: LoginThrottle
    known_browsers: KnownBrowsers
    failed_logins: FailedLogins
    join_line: JoinLineOf | None
    static_version: str
    modules: tuple[str, ...]
    exposition: Exposition

    @property
    def topics(self) -> Topics:
        """The topics under this installation's base."""
        return Topics(self.settings.mqtt.base)

    @property
    def most_viewers(self) -> int:
        """How many live connections are taken: each holds a thread, and some threads stay for everything else."""
        return max(self.settings.page.threads - THREADS_KEPT_FREE, 1)


def context() -> PageContext:
    """Return what belongs to the application that handles this request."""
    found: PageContext = flask.current_app.extensions[EXTENSION]
    return found
