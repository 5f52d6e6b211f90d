"""Channels as they stand in the settings: what each wrong one is told, without the secret in it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from gpumon.errors import SettingError
from gpumon.settings import AlertSettings, ChannelSettings, Settings
from master.alerts.records import Severity
from master.telling.channels import read_channels
from tests.master.support import new_master
from tests.support import free_port


def read(**fields: Any) -> Any:
    """Read one channel."""
    return read_channels({"ops": ChannelSettings(**fields)})[0]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "it needs one of apprise, apprise_file and webhook, and has none of them"),
        ({"apprise": "ntfy://s3cret", "webhook": "https://x/s3cret"}, "and has apprise and webhook"),
        ({"apprise": "s3cret"}, "what apprise holds is no URL of Apprise, such as ntfy://"),
        ({"apprise": "ntfy://s3cret two"}, "what apprise holds is no URL of Apprise"),
        ({"apprise": "ntfy://h/s3cret", "secret_file": "x"}, "secret_file is for a webhook"),
        ({"apprise_file": "/nonexistent/s"}, "apprise_file: /nonexistent/s cannot be read: No such file"),
        ({"webhook": "http://example.org/s3cret"}, "webhook begins with http://, use https://"),
        ({"webhook": "s3cret"}, "what webhook holds is no URL"),
        ({"webhook": "https://[s3cret"}, "what webhook holds is no URL"),
        ({"webhook": "https://u:s3cret@example.org/"}, "a user or password before its host"),
        ({"webhook": "https://example.org/", "secret_file": "/nonexistent/s"}, "secret_file: /nonexistent/s cannot"),
    ],
)
def test_a_wrong_channel_names_itself_and_says_what_to_do(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingError) as raised:
        read(**fields)
    assert str(raised.value).startswith("gpumon.toml, [alerts.channels.ops]: ")
    assert told in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "oncall.url"
    file.write_text("ntfy://host/s3cret")
    file.chmod(0o644)
    with pytest.raises(SettingError, match=rf"apprise_file: .*others may read it: run chmod 600 {file}"):
        read(apprise_file=str(file))
    file.chmod(0o600)
    channel = read(apprise_file=str(file), severities=["page"], labels={"rack": "3"})
    assert (channel.kind, channel.severities, channel.labels) == ("ntfy", {Severity.PAGE}, {"rack": "3"})
    assert "s3cret" not in repr(channel)


def test_a_name_that_cannot_be_one_is_refused() -> None:
    with pytest.raises(SettingError, match="a channel's name is 1 to 63 letters"):
        read_channels({"on call": ChannelSettings(webhook="https://example.org/")})


def test_without_apprise_the_line_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r"Apprise, which is not installed: pip install 'gpumon\[notify\]'"):
        read(apprise="ntfy://host/topic")
    assert read(webhook="https://example.org/").is_webhook


@pytest.mark.parametrize(
    ("alerts", "told"),
    [
        (AlertSettings(channels={"ops": ChannelSettings()}), "it needs one of"),
        (AlertSettings(quiet_hours="22-7"), "alerts.quiet_hours: '22-7' cannot be used: expected times of day"),
    ],
)
def test_the_master_does_not_start_with_what_cannot_be_used(tmp_path: Path, alerts: AlertSettings, told: str) -> None:
    master = new_master(tmp_path / "data", free_port(), Settings(alerts=alerts))
    with pytest.raises(SettingError, match=told):
        master.start()
