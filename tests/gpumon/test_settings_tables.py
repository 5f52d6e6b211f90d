"""Settings that are tables by name, of the file alone: what is read, and what each wrong one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpumon.errors import SettingError
from gpumon.settings import ChannelSettings, Settings
from gpumon.settings_sources import load_settings


def loaded(folder: Path, text: str) -> Settings:
    """Load a settings file of this text."""
    file = folder / "gpumon.toml"
    file.write_text(text)
    return load_settings({}, {}, file)


def test_each_channel_is_a_table_of_its_own(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        """
        [alerts]
        quiet_hours = "22:00-07:00"
        [alerts.channels.oncall]
        apprise_file = "oncall.url"
        severities = ["page"]
        [alerts.channels.log]
        webhook = "https://example.org/hook"
        labels = { rack = "3" }
        resolved = false
        gather_s = 60
        """,
    )
    assert settings.alerts.quiet_hours == "22:00-07:00"
    assert settings.alerts.channels == {
        "oncall": ChannelSettings(apprise_file="oncall.url", severities=["page"]),
        "log": ChannelSettings(webhook="https://example.org/hook", labels={"rack": "3"}, resolved=False, gather_s=60.0),
    }


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            "[alerts.channels.ops]\naprise = 'x'",
            r"alerts.channels.ops in .*gpumon.toml has no field aprise: did you mean",
        ),
        ("[alerts.channels.ops]\nzzz = 1", r"has no field zzz: there are apprise, apprise_file, webhook"),
        ("[alerts.channels.ops]\ngather_s = 'x'", r"alerts.channels.ops.gather_s in .*gpumon.toml: 'x' cannot be used"),
        ("[alerts.channels.ops]\ngather_s = -1", r"alerts.channels.ops.gather_s in .*: -1 cannot be used: .* >= 0"),
        (
            "[alerts.channels.ops]\nseverities = ['pager']",
            r"alerts.channels.ops.severities in .*: \['pager'\] cannot be",
        ),
        ("[alerts.channels]\nops = 'mailto://x'", r"alerts.channels.ops in .* must be a table"),
        ("[alerts]\nchannels = 3", r"alerts.channels in .* must hold tables by name"),
        (
            "[alerts.chanels.ops]\nwebhook = 'x'",
            r"unknown setting alerts.chanels.ops.webhook: did you mean alerts.channels",
        ),
    ],
)
def test_a_wrong_table_names_the_file_the_table_and_the_field(tmp_path: Path, lines: str, told: str) -> None:
    with pytest.raises(SettingError, match=told):
        loaded(tmp_path, lines)


def test_an_address_that_may_hold_a_secret_is_shown_neither_by_an_error_nor_by_the_settings(tmp_path: Path) -> None:
    for field in ("apprise", "webhook"):
        with pytest.raises(SettingError, match=rf"alerts.channels.ops.{field} in .*: what it holds") as raised:
            loaded(tmp_path, f"[alerts.channels.ops]\n{field} = ['slack://s3cret']")
        assert "s3cret" not in str(raised.value)
    with pytest.raises(SettingError) as raised:
        loaded(tmp_path, "[alerts.channels]\nops = 'slack://s3cret'")
    assert "s3cret" not in str(raised.value)
    settings = loaded(tmp_path, "[alerts.channels.ops]\napprise = 'slack://s3cret'")
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in str(settings.alerts)
