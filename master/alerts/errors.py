"""What is raised where something about alerts cannot be done as asked."""

from __future__ import annotations

from gpumon.errors import GpumonError


class AlertError(GpumonError):
    """An alert, rule or silence that is not there or cannot be used as given; the message says what to do."""

    see = "alerts.md#acknowledging-silencing-quiet-hours"


class RuleError(AlertError):
    """A rule that cannot be used: the message names the rule, the field, its value and what is expected."""

    see = "alerts.md#rules-of-your-own"
