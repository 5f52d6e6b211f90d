"""The rules in use: what is built in, changed by the settings, changed by the page; and where each comes from."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, select

from gpumon.errors import SettingError
from master.alerts.builtin import BUILT_IN
from master.alerts.errors import AlertError, RuleError
from master.alerts.rule_parsing import parse_rule, rule_fields
from master.alerts.rules import Origin, Rule, RuleView
from master.audit import Actor, add_entry
from master.store.engine import Store, upsert
from master.store.models import AlertRuleRow, table_of

logger = logging.getLogger(__name__)

# A thousand rules would cost every sample of every card.
MOST_RULES = 200


@dataclass(frozen=True, slots=True)
class _FromPage:
    rule: Rule | None
    problem: str | None
    changed: float
    changed_by: str


class RuleBook:
    """All rules by name. `load` reads them; what the page changes is written at once, with its entry in the audit."""

    def __init__(self, store: Store, from_settings: Mapping[str, Any]) -> None:
        self._store = store
        self._fields = from_settings
        self._set: dict[str, Rule] = {}
        self._changed: dict[str, _FromPage] = {}

    def check_settings(self) -> None:
        """Read the rules of the settings. Raises SettingError: for the first that cannot be used."""
        self._set = rules_of_settings(self._fields)

    def load(self) -> None:
        """Read the rules that the page has made or changed. Raises StoreError."""
        with self._store.read() as connection:
            rows = connection.execute(select(AlertRuleRow.__table__).order_by(AlertRuleRow.name)).all()
        self._changed = {row.name: _read(row) for row in rows}
        for found in self._changed.values():
            if found.problem is not None:
                logger.warning("%s; it is not used: change it on the page, or take it back there", found.problem)

    def rule(self, name: str) -> Rule | None:
        """Return the rule in use of this name, None where there is none."""
        found = self._changed.get(name)
        if found is not None and found.rule is not None:
            return found.rule
        return self._set.get(name) or BUILT_IN.get(name)

    def rules(self) -> list[Rule]:
        """Return the rules in use, also those that are turned off."""
        return [rule for name in self._names() if (rule := self.rule(name)) is not None]

    def views(self) -> list[RuleView]:
        """Return all rules as they are shown, built-in ones first."""
        return [self.view(name) for name in self._names()]

    def view(self, name: str) -> RuleView:
        """Return one rule as it is shown."""
        found = self._changed.get(name)
        changed = (found.changed, found.changed_by) if found is not None else (None, None)
        origin: Origin = "settings" if name in self._set else "built in"
        if found is not None and (found.rule is not None or self.rule(name) is None):
            origin = "page"
        return RuleView(name, self.rule(name), origin, found.problem if found is not None else None, *changed)

    def check_put(self, rule: Rule) -> None:
        """Refuse a rule too many. Raises AlertError."""
        if rule.name not in self._names() and len(self._names()) >= MOST_RULES:
            raise AlertError(f"there are {MOST_RULES} rules already: delete or change one of them")

    def put(self, connection: Connection, rule: Rule, at: float, by: Actor) -> None:
        """Write a rule of the page within a transaction; `load` takes it up."""
        fields = rule_fields(rule)
        row = {
            "name": rule.name,
            "rule": msgspec.json.encode(fields).decode(),
            "changed": at,
            "changed_by": by.who or by.origin,
        }
        connection.execute(upsert(connection.dialect.name, table_of(AlertRuleRow)).values(row))
        add_entry(connection, by, "alert_rule.changed", rule.name, rule=fields)

    def remove(self, connection: Connection, name: str, by: Actor) -> None:
        """Delete a rule of the page within a transaction; `load` takes it up.

        Raises AlertError: where the page has not made or changed it.
        """
        if connection.execute(delete(AlertRuleRow).where(AlertRuleRow.name == name)).rowcount == 0:
            raise AlertError(self._cannot_be_removed(name))
        add_entry(connection, by, "alert_rule.removed", name)

    def _cannot_be_removed(self, name: str) -> str:
        if name in self._set:
            return f"rule {name} stands in gpumon.toml: turn it off (enabled = false), or delete it there"
        if name in BUILT_IN:
            return f"rule {name} is built in: turn it off (enabled = false)"
        return f"there is no rule {name!r}"

    def _names(self) -> list[str]:
        return list(dict.fromkeys([*BUILT_IN, *sorted(self._set), *sorted(self._changed)]))


def rules_of_settings(fields_by_name: Mapping[str, Any]) -> dict[str, Rule]:
    """Return the rules of `alerts.rules` by name. Raises SettingError: for the first that cannot be used."""
    try:
        return {name: parse_rule(name, fields, BUILT_IN.get(name)) for name, fields in fields_by_name.items()}
    except RuleError as error:
        raise SettingError(f"gpumon.toml, [alerts.rules]: {error}") from error


def _read(row: Any) -> _FromPage:
    try:
        # What it was made of is all there: a later gpumon may have another built-in rule of that name.
        rule = parse_rule(row.name, msgspec.json.decode(row.rule))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _FromPage(None, f"rule {row.name} as kept cannot be read: {error}", row.changed, row.changed_by)
    except RuleError as error:
        return _FromPage(None, str(error), row.changed, row.changed_by)
    return _FromPage(rule, None, row.changed, row.changed_by)
