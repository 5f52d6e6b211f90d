"""Rules as people write them: what is taken, and what is said of what is not."""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import Any

import pytest

from gpumon.errors import SettingError
from gpumon.settings_sources import load_settings
from master.alerts.builtin import BUILT_IN
from master.alerts.errors import RuleError
from master.alerts.quantities import parse_quiet_hours
from master.alerts.records import Kind, Severity
from master.alerts.rule_parsing import parse_rule, rule_fields
from tests.master.alerts.support import World


@pytest.mark.parametrize("rule", BUILT_IN.values(), ids=lambda rule: rule.name)
def test_every_built_in_rule_can_be_written_down_and_read_again(rule: Any) -> None:
    assert parse_rule(rule.name, rule_fields(rule)) == rule


@pytest.mark.parametrize(
    ("written", "unit", "number"),
    [
        (85, "°C", 85.0),
        (85.5, "°C", 85.5),
        ("85", "°C", 85.0),
        ("85 °C", "°C", 85.0),
        ("85C", "°C", 85.0),
        (" 85 celsius ", "°C", 85.0),
    ],
)
def test_a_temperature_may_be_written_with_or_without_its_unit(written: Any, unit: str, number: float) -> None:
    rule = parse_rule("warm", {"kind": "temperature", "above": written})
    assert (rule.above, rule.unit, rule.clear) == (number, unit, number)


def test_power_may_be_of_its_limit_or_in_watts() -> None:
    assert parse_rule("p", {"kind": "power", "above": "90 %"}).unit == "%"
    watts = parse_rule("p", {"kind": "power", "above": "600 W", "clear": "550 W"})
    assert (watts.above, watts.clear, watts.unit) == (600.0, 550.0, "W")


@pytest.mark.parametrize(
    ("written", "seconds"), [(90, 90), ("90", 90), ("90s", 90), ("15m", 900), ("1.5 h", 5400), ("2 days", 172_800)]
)
def test_a_duration_may_be_written_in_any_unit(written: Any, seconds: float) -> None:
    assert parse_rule("hot", {"for_s": written}, BUILT_IN["hot"]).for_s == seconds


def test_a_built_in_rule_is_changed_by_the_fields_that_differ() -> None:
    rule = parse_rule("hot", {"above": "78 °C", "severity": "page"}, BUILT_IN["hot"])
    assert (rule.above, rule.clear, rule.severity, rule.for_s) == (78.0, 73.0, Severity.PAGE, 120.0)


def test_a_name_of_a_built_in_rule_may_be_taken_for_another_kind() -> None:
    rule = parse_rule("hot", {"kind": "memory_temperature", "above": 95}, BUILT_IN["hot"])
    assert (rule.kind, rule.above, rule.for_s) == (Kind.MEMORY_TEMPERATURE, 95.0, 0.0)


WRONG = [
    (
        "hot",
        {"above": "85 F"},
        "rule hot: above '85 F' cannot be used: 'F' is not its unit, expected a number in °C or text such as \"85 °C\"",
    ),
    ("hot", {"above": "warm"}, "rule hot: above 'warm' cannot be used: expected a number in °C or text such as"),
    ("hot", {"above": float("nan")}, "rule hot: above nan cannot be used: expected a number in °C"),
    ("hot", {"above": True}, "rule hot: above True cannot be used: expected a number in °C"),
    ("hot", {"above": 2000}, "rule hot: above 2000 cannot be used: expected 0 to 200 °C"),
    ("hot", {"abov": 85}, "rule hot has an unknown field abov: did you mean above?"),
    ("hot", {"for": "2m"}, "rule hot has an unknown field for: did you mean for_s?"),
    (
        "hot",
        {"for_s": "2 parsecs"},
        "rule hot: for_s '2 parsecs' cannot be used: expected seconds as a number, or text",
    ),
    ("hot", {"for_s": -1}, "rule hot: for_s -1 cannot be used: expected 0 to 7 days"),
    ("hot", {"clear": "90 °C"}, "rule hot: clear '90 °C' cannot be used: expected at most 85 °C, as above"),
    ("idle-held", {"clear": 3}, "rule idle-held: clear 3 cannot be used: expected at least 5 %, as below"),
    (
        "hot",
        {"severity": "pages"},
        "rule hot: severity 'pages' cannot be used: did you mean page? expected one of page,",
    ),
    ("hot", {"enabled": "yes"}, "rule hot: enabled 'yes' cannot be used: expected true or false"),
    ("hot", {"labels": ["rack"]}, "rule hot: labels ['rack'] cannot be used: expected labels and their values"),
    ("hot", {"quiet_hours": "22-7"}, "rule hot: quiet_hours '22-7' cannot be used: expected times of day such as"),
    ("hot", {"quiet_hours": "25:00-07:00"}, "there is no such time of day, expected 00:00 to 23:59"),
    ("hot", {"above": 80, "below": 20}, "rule hot has above and below: give one of them"),
    ("hot", {"xids": [79]}, "rule hot: xids [79] cannot be used: a rule of kind temperature looks at a card's"),
    ("hot", "85", "rule hot: '85' cannot be used: expected fields, such as kind"),
    ("warm", {"above": 70}, "rule warm needs kind, one of worker_offline, telemetry_broken,"),
    ("warm", {"kind": "temprature"}, "rule warm: kind 'temprature' cannot be used: did you mean temperature?"),
    ("warm", {"kind": "temperature"}, "rule warm needs above or below, for example above = '85 °C'"),
    ("warm", {"kind": "xid"}, "rule warm needs xids, for example xids = [79]"),
    ("warm", {"kind": "xid", "xids": ["79"]}, "rule warm: xids ['79'] cannot be used: expected a list of XIDs"),
    ("warm", {"kind": "xid", "xids": [79], "for_s": 60}, "a rule of kind xid tells of moments, which do not last"),
    ("throttling", {"reasons": ["hw_termal"]}, "there is no reason 'hw_termal', did you mean hw_thermal_slowdown?"),
    ("worker-offline", {"above": 3}, "looks at whether the worker is offline and has no above"),
    ("Too Hot", {"kind": "temperature"}, "a rule cannot be named 'Too Hot': use 1 to 63 small letters, digits and '-'"),
    ("a/b", {}, "a rule cannot be named 'a/b'"),
    ("hot", {"commands": {"x": "kill {pid}"}}, "there is no placeholder {pid}, did you mean {pids}?"),
    ("hot", {"commands": {"x": "kill '{pids}'"}}, "{pids} stands in quotes: take them away"),
    ("hot", {"commands": {"x": ""}}, "the command of 'x' must be text of 1 to 4096 characters"),
    ("worker-offline", {"commands": {"x": "echo {index}"}}, "{index} is not known in a rule of kind worker_offline"),
]


@pytest.mark.parametrize(("name", "fields", "sentence"), WRONG)
def test_a_wrong_rule_is_answered_with_what_is_wrong_and_what_is_expected(
    name: str, fields: Any, sentence: str
) -> None:
    with pytest.raises(RuleError) as raised:
        parse_rule(name, fields, BUILT_IN.get(name))
    assert sentence in str(raised.value)


def test_a_wrong_rule_in_the_settings_keeps_the_master_from_starting_with_it(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"gpumon\.toml, \[alerts\.rules\]: rule hott needs kind"):
        World(tmp_path / "data", {"hott": {"above": 90}})


def test_rules_are_read_from_the_settings_file(tmp_path: Path) -> None:
    file = tmp_path / "gpumon.toml"
    file.write_text('[alerts.rules.hot]\nabove = "90 °C"\n\n[alerts.rules.vault]\nkind = "power"\nabove = "300 W"\n')
    settings = load_settings({}, {}, file)
    made = World(tmp_path / "data", settings.alerts.rules)
    views = {view.name: view for view in made.desk.rules()}
    assert (views["hot"].origin, views["vault"].origin, views["power"].origin) == ("settings", "settings", "built in")
    hot = made.desk.rule("hot")
    assert hot is not None
    assert hot.above == 90.0
    made.stop()


def at(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()


def test_quiet_hours_last_until_their_end_over_midnight() -> None:
    quiet = parse_quiet_hours("22:00-07:00")
    assert quiet is not None
    assert quiet.until(at("2026-11-24T21:59:59")) is None
    assert quiet.until(at("2026-11-24T22:00:00")) == at("2026-11-25T07:00:00")
    assert quiet.until(at("2026-11-25T03:30:20")) == at("2026-11-25T07:00:00")
    assert quiet.until(at("2026-11-25T07:00:00")) is None
    assert str(quiet) == "22:00-07:00"


def test_quiet_hours_end_as_written_when_the_clocks_are_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = parse_quiet_hours("22:00-07:00")
    assert quiet is not None
    try:
        monkeypatch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        for evening, morning in (("2026-03-28T23:00", "2026-03-29T07:00"), ("2026-10-24T23:00", "2026-10-25T07:00")):
            assert quiet.until(at(evening)) == at(morning)
    finally:
        monkeypatch.undo()
        time.tzset()
