"""Settings: which source wins, and what each wrong one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpumon.errors import SettingError
from gpumon.settings_sources import declarations, load_settings


def in_folder(folder: Path, text: str) -> dict[str, str]:
    """Write gpumon.toml into a data folder and return the flags that name the folder."""
    (folder / "gpumon.toml").write_text(text)
    return {"data": str(folder)}


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    data = in_folder(tmp_path, "[mqtt]\nport = 1001\n[page]\nport = 1002\n[agent]\ninterval_s = 3\n")
    environment = {"GPUMON_MQTT_PORT": "2001", "GPUMON_PAGE_PORT": "2002"}
    settings = load_settings({**data, "mqtt.port": "3001"}, environment)
    assert (settings.mqtt.port, settings.page.port, settings.agent.interval_s) == (3001, 2002, 3.0)


def test_the_names_people_know_from_containers_are_read() -> None:
    settings = load_settings({}, {"MASTER_URL": "mqtt://m", "WORKER_ID": "w1"})
    assert (settings.agent.master, settings.agent.worker_id) == ("mqtt://m", "w1")


def test_an_empty_variable_counts_as_unset(tmp_path: Path) -> None:
    data = in_folder(tmp_path, '[agent]\nworker_id = "w2"\n')
    settings = load_settings(data, {"WORKER_ID": "", "MASTER_URL": "", "GPUMON_MQTT_PORT": "", "GPUMON_TLS_NAMES": ""})
    assert (settings.agent.worker_id, settings.agent.master, settings.mqtt.port) == ("w2", None, 1883)
    assert settings.tls.names == []


def test_a_file_named_with_config_is_read_instead(tmp_path: Path) -> None:
    data = in_folder(tmp_path, "[mqtt]\nport = 1001\n")
    other = tmp_path / "other.toml"
    other.write_text("[page]\nport = 1002\n")
    settings = load_settings(data, {}, other)
    assert (settings.mqtt.port, settings.page.port) == (1883, 1002)


def test_labels_come_as_pairs_from_every_source(tmp_path: Path) -> None:
    data = in_folder(tmp_path, '[agent]\nlabels = { rack = "3" }\n')
    assert load_settings(data, {}).agent.labels == {"rack": "3"}
    assert load_settings({"agent.labels": ["rack=4", "row=b=c"]}, {}).agent.labels == {"rack": "4", "row": "b=c"}
    assert load_settings({}, {"GPUMON_AGENT_LABELS": "rack=5,row=d"}).agent.labels == {"rack": "5", "row": "d"}


@pytest.mark.parametrize("word", ["true", "1", "TRUE"])
def test_a_switch_is_read_from_words(word: str) -> None:
    assert load_settings({}, {"GPUMON_PAGE_INSECURE_HTTP": word}).page.insecure_http is True


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"agent.interval_s": "0"}, "--interval: '0'"),
        ({"agent.interval_s": "nan"}, "--interval"),
        ({"agent.interval_s": "often"}, "--interval"),
        ({"mqtt.port": "70000"}, "--mqtt-port"),
        ({"agent.source": "guess"}, "--source"),
        ({"agent.labels": ["rack"]}, "--label"),
        ({"mqtt.base": "a/b"}, "--mqtt-base"),
    ],
)
def test_a_wrong_value_names_the_flag_it_came_from(flags: dict[str, str], named: str) -> None:
    with pytest.raises(SettingError, match=named):
        load_settings(flags, {})


def test_a_wrong_value_names_the_variable_or_the_line_it_came_from(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="GPUMON_MQTT_PORT: 'x'"):
        load_settings({}, {"GPUMON_MQTT_PORT": "x"})
    with pytest.raises(SettingError, match=r"mqtt\.port in .*gpumon\.toml: 'x'"):
        load_settings(in_folder(tmp_path, '[mqtt]\nport = "x"\n'), {})


def test_an_unknown_line_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"unknown setting mqtt\.prot: did you mean mqtt\.port\?"):
        load_settings(in_folder(tmp_path, "[mqtt]\nprot = 1\n"), {})


def test_a_file_that_is_no_toml_says_where(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="line 1"):
        load_settings(in_folder(tmp_path, "[mqtt\n"), {})
    with pytest.raises(SettingError, match="not there"):
        load_settings({}, {}, tmp_path / "none.toml")


def test_every_setting_has_a_flag_a_variable_and_a_help_text_of_its_own() -> None:
    known = list(declarations().values())
    assert all(declaration.help for declaration in known)
    flags = [declaration.flag for declaration in known if not declaration.in_file_alone]
    assert all(flags)
    variables = [variable for declaration in known for variable in declaration.variables]
    assert len(set(flags)) == len(flags)
    assert len(set(variables)) == len(variables)


def test_a_join_line_is_shown_neither_by_an_error_nor_by_the_settings(tmp_path: Path) -> None:
    flags = in_folder(tmp_path, '[agent]\njoin = ["gpumon1.s3cret"]\n')
    with pytest.raises(SettingError, match=r"agent\.join in .*: what it holds cannot be used") as raised:
        load_settings(flags, {})
    assert "s3cret" not in str(raised.value)
    settings = load_settings({"agent.join": "gpumon1.s3cret", "agent.worker_id": "w1"}, {})
    assert "s3cret" not in repr(settings)
    assert "worker_id='w1'" in repr(settings)


@pytest.mark.parametrize("config", [None, "closed/gpumon.toml"], ids=["beside the data", "named"])
def test_a_folder_that_is_closed_to_the_user_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str | None
) -> None:
    def closed(path: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", closed)  # tests may run as root, to whom nothing is closed
    with pytest.raises(SettingError, match=r"closed is closed to this user: run this as its owner .*sudo -u gpumon"):
        load_settings({"data": str(tmp_path / "closed")}, {}, tmp_path / config if config else None)
