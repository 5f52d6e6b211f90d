"""Reading a rule as a person has written it, in `gpumon.toml` or on the page, and writing it down again."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from master.alerts.errors import RuleError
from master.alerts.kinds import THROTTLE_REASONS
from master.alerts.placeholders import problem_of
from master.alerts.quantities import parse_duration, parse_quantity, parse_quiet_hours, quantity_text
from master.alerts.records import Kind, Severity
from master.alerts.rules import Rule

MOST_COMMANDS = 10
LONGEST_TEXT = 4096
MOST_XID = 1023

FIELDS = (
    "kind",
    "enabled",
    "severity",
    "above",
    "below",
    "clear",
    "for_s",
    "labels",
    "quiet_hours",
    "xids",
    "reasons",
    "commands",
)
# The page gives back what it was given; the name and unit stand elsewhere.
_PASSED_OVER = frozenset({"name", "unit"})
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_NO_FIELD = object()

T = TypeVar("T")


def check_name(name: Any) -> str:
    """Return a rule's name if it can be one: it is a part of topics. Raises RuleError."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RuleError(
            f"a rule cannot be named {_shown(name)}: use 1 to 63 small letters, digits and '-', beginning with a "
            "letter or digit"
        )
    return name


def parse_rule(name: Any, fields: Any, base: Rule | None = None) -> Rule:
    """Return the rule that `fields` describes; what they do not hold is as in `base`, where it is of the same kind.

    Raises RuleError: naming the rule, the field, its value and what is expected, for the first thing that is wrong.
    """
    return _Reader(check_name(name), fields, base).read()


def rule_fields(rule: Rule) -> dict[str, Any]:
    """Return the rule as `parse_rule` reads it, every field that its kind has; thresholds as text with their unit."""
    facts = rule.facts
    fields: dict[str, Any] = {
        "kind": rule.kind.value,
        "enabled": rule.enabled,
        "severity": rule.severity.value,
        "for_s": rule.for_s,
        "labels": dict(rule.labels),
        "quiet_hours": str(rule.quiet_hours) if rule.quiet_hours is not None else "",
        "commands": dict(rule.commands),
    }
    for key in ("above", "below", "clear"):
        value = getattr(rule, key)
        if value is not None:
            fields[key] = f"{value:.10g} {rule.unit}"
    if facts.is_event:
        del fields["for_s"]
    if facts.lists is not None:
        fields[facts.lists] = list(getattr(rule, facts.lists))
    return fields


class _Reader:
    """Reads one rule, field by field."""

    def __init__(self, name: str, fields: Any, base: Rule | None) -> None:
        self._name = name
        self._fields = fields
        self._base = base

    def read(self) -> Rule:
        if not isinstance(self._fields, Mapping):
            raise RuleError(f"rule {self._name}: {_shown(self._fields)} cannot be used: expected fields, such as kind")
        for key in self._fields:
            if key not in FIELDS and key not in _PASSED_OVER:
                hint = _near(key, FIELDS) or f"it has {', '.join(FIELDS)}"
                raise RuleError(f"rule {self._name} has an unknown field {key}: {hint}")
        kind = self._kind()
        if self._base is not None and self._base.kind is not kind:
            self._base = None
        base = self._base or Rule(self._name, kind)
        self._refuse_what_the_kind_lacks(base)
        above, below, clear, unit = self._thresholds(base)
        rule = Rule(
            name=self._name,
            kind=kind,
            severity=self._read("severity", base.severity, lambda value: _one_of(value, Severity)),
            enabled=self._read("enabled", base.enabled, _switch),
            above=above,
            below=below,
            clear=clear,
            unit=unit,
            for_s=self._read("for_s", base.for_s, parse_duration),
            labels=self._read("labels", base.labels, _labels),
            quiet_hours=self._read("quiet_hours", base.quiet_hours, parse_quiet_hours, none_too=True),
            xids=self._read("xids", base.xids, _xids),
            reasons=self._read("reasons", base.reasons, _reasons),
            commands=self._read("commands", base.commands, lambda value: _commands(value, kind)),
        )
        lists = rule.facts.lists
        if lists is not None and not getattr(rule, lists):
            example = "[79]" if lists == "xids" else '["hw_thermal_slowdown"]'
            raise RuleError(f"rule {self._name} needs {lists}, for example {lists} = {example}")
        return rule

    def _kind(self) -> Kind:
        if "kind" not in self._fields:
            if self._base is None:
                raise RuleError(f"rule {self._name} needs kind, one of {_listed(kind.value for kind in Kind)}")
            return self._base.kind
        return self._read("kind", Kind.XID, lambda value: _one_of(value, Kind))

    def _read(self, key: str, default: T, read: Callable[[Any], T], *, none_too: bool = False) -> T:
        value = self._fields.get(key, _NO_FIELD)
        if value is _NO_FIELD or (value is None and not none_too):
            return default
        try:
            return read(value)
        except ValueError as error:
            raise RuleError(f"rule {self._name}: {key} {_shown(value)} cannot be used: {error}") from error

    def _given(self, key: str) -> bool:
        value = self._fields.get(key)
        return value is not None and value not in ("", [], {}, ())

    def _refuse_what_the_kind_lacks(self, base: Rule) -> None:
        facts = base.facts
        has = {*facts.sides, *(["clear"] if facts.sides else []), facts.lists}
        for key in ("above", "below", "clear", "xids", "reasons"):
            if self._given(key) and key not in has:
                raise RuleError(
                    f"rule {self._name}: {key} {_shown(self._fields[key])} cannot be used: a rule of kind "
                    f"{base.kind.value} looks at {facts.looks_at} and has no {key}"
                )
        if facts.is_event and self._given("for_s") and self._fields["for_s"] != 0:
            raise RuleError(
                f"rule {self._name}: for_s {_shown(self._fields['for_s'])} cannot be used: a rule of kind "
                f"{base.kind.value} tells of moments, which do not last"
            )

    def _thresholds(self, base: Rule) -> tuple[float | None, float | None, float | None, str | None]:
        sides = base.facts.sides
        if not sides:
            return None, None, None, None
        if self._given("above") and self._given("below"):
            raise RuleError(f"rule {self._name} has above and below: give one of them, and a second rule for the other")
        given = next((side for side in sides if self._given(side)), None)
        if given is None:
            if base.threshold is None:
                example = f"{sides[0]} = {quantity_text(85, base.facts.units[0])!r}"
                raise RuleError(f"rule {self._name} needs {' or '.join(sides)}, for example {example}")
            side, threshold, unit = ("above" if base.above is not None else "below"), base.threshold, base.unit
        else:
            side = given
            read = self._read(given, (0.0, ""), lambda value: parse_quantity(value, base.facts.units))
            threshold, unit = read
        clear = self._clear(base, side, threshold, unit or base.facts.units[0])
        return (threshold, None, clear, unit) if side == "above" else (None, threshold, clear, unit)

    def _clear(self, base: Rule, side: str, threshold: float, unit: str) -> float:
        """Return the given one, else one as far from the threshold as it is in the rule that this one changes."""
        if not self._given("clear"):
            has_same_side = getattr(base, side) is not None and base.unit == unit
            if not has_same_side or base.threshold is None or base.clear is None:
                return threshold
            return max(0.0, threshold - (base.threshold - base.clear))
        clear, _ = self._read("clear", (0.0, ""), lambda value: parse_quantity(value, (unit,)))
        if (clear > threshold) if side == "above" else (clear < threshold):
            expected = f"{'at most' if side == 'above' else 'at least'} {quantity_text(threshold, unit)}, as {side}"
            shown = _shown(self._fields["clear"])
            raise RuleError(f"rule {self._name}: clear {shown} cannot be used: expected {expected}")
        return clear


Choice = TypeVar("Choice", Kind, Severity)


def _one_of(value: Any, choices: type[Choice]) -> Choice:
    values = [choice.value for choice in choices]
    if value in values:
        return choices(value)
    hint = _near(value, values)
    raise ValueError(f"{hint} " * bool(hint) + f"expected one of {_listed(values)}")


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def _text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT and value.isprintable()


def _labels(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(_text(part) for pair in value.items() for part in pair):
        raise ValueError('expected labels and their values, such as { rack = "3" }')
    return dict(value)


def _xids(value: Any) -> tuple[int, ...]:
    is_list = isinstance(value, (list, tuple)) and value
    if not is_list or not all(type(xid) is int and 0 < xid <= MOST_XID for xid in value):
        raise ValueError(f"expected a list of XIDs, numbers from 1 to {MOST_XID}, such as [48, 79]")
    return tuple(sorted(set(value)))


def _reasons(value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not value:
        raise ValueError(f"expected a list of reasons out of {_listed(THROTTLE_REASONS)}")
    for reason in value:
        if reason not in THROTTLE_REASONS:
            hint = _near(reason, THROTTLE_REASONS) or f"expected some of {_listed(THROTTLE_REASONS)}"
            raise ValueError(f"there is no reason {_shown(reason)}, {hint}")
    return tuple(reason for reason in THROTTLE_REASONS if reason in value)


def _commands(value: Any, kind: Kind) -> dict[str, str]:
    if not isinstance(value, Mapping) or len(value) > MOST_COMMANDS:
        raise ValueError(
            f"expected up to {MOST_COMMANDS} commands by name, such as {{ \"End them\" = 'kill {{pids}}' }}"
        )
    for name, command in value.items():
        if not _text(name) or len(name) > 100:
            raise ValueError("each needs a name of 1 to 100 characters")
        if not isinstance(command, str) or not command.strip() or len(command) > LONGEST_TEXT or "\0" in command:
            raise ValueError(f"the command of {name!r} must be text of 1 to {LONGEST_TEXT} characters")
        problem = problem_of(command, kind)
        if problem is not None:
            raise ValueError(f"the command of {name!r}: {problem}")
    return dict(value)


def _near(value: Any, choices: Iterable[str]) -> str | None:
    near = difflib.get_close_matches(value, list(choices), n=1, cutoff=0.5) if isinstance(value, str) else []
    return f"did you mean {near[0]}?" if near else None


def _listed(values: Iterable[str]) -> str:
    return ", ".join(values)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
