"""Who an agent is, read from its settings and its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.identity import keep_worker_id, load_identity, worker_id_of
from gpumon.errors import SettingError
from gpumon.settings import AgentSettings, Settings
from gpumon.topics import default_worker_id


def _settings(folder: Path, **agent: Any) -> Settings:
    return Settings(data=str(folder / "data"), agent=AgentSettings(**agent))


def _secret(folder: Path, content: str = "t0ken", mode: int = 0o600) -> str:
    path = folder / "token.txt"
    path.write_text(content)
    path.chmod(mode)
    return str(path)


def test_a_worker_logs_in_with_its_id_and_token(tmp_path: Path) -> None:
    who = load_identity(_settings(tmp_path, worker_id="gpu1", token_file=_secret(tmp_path, "t0ken\n")))
    assert who.credentials is not None
    assert (who.worker_id, who.credentials.username, who.credentials.password) == ("gpu1", "gpu1", "t0ken")


def test_the_client_id_is_random_and_stays_the_same_over_restarts(tmp_path: Path) -> None:
    settings = _settings(tmp_path, worker_id="gpu1", token_file=_secret(tmp_path))
    first, second = load_identity(settings), load_identity(settings)
    assert first.client_id == second.client_id
    assert len(first.client_id) > 20
    assert "gpu1" not in first.client_id
    assert (first.folder / "client-id").stat().st_mode & 0o077 == 0
    other = load_identity(_settings(tmp_path, worker_id="gpu2", token_file=_secret(tmp_path)))
    assert other.client_id != first.client_id


def test_without_a_worker_id_it_is_the_hostname(tmp_path: Path) -> None:
    assert load_identity(_settings(tmp_path, token_file=_secret(tmp_path))).worker_id == default_worker_id()


def test_the_first_id_is_kept_when_the_hostname_becomes_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _settings(tmp_path)
    (tmp_path / "data").mkdir()
    monkeypatch.setattr("socket.gethostname", lambda: "4f0c1d2e3a5b")
    keep_worker_id(settings, worker_id_of(settings))
    monkeypatch.setattr("socket.gethostname", lambda: "77aa00bb11cc")
    assert worker_id_of(settings) == "4f0c1d2e3a5b"
    given = _settings(tmp_path, worker_id="gpu7")
    keep_worker_id(given, worker_id_of(given))
    assert (worker_id_of(given), worker_id_of(settings)) == ("gpu7", "4f0c1d2e3a5b")


@pytest.mark.parametrize("content", [b"a/b\n", b"", b"\xff"])
def test_a_kept_id_that_is_none_is_told_with_its_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "worker-id").write_bytes(content)
    with pytest.raises(SettingError, match="worker-id"):
        worker_id_of(_settings(tmp_path))


def test_another_user_name_goes_with_a_password_file(tmp_path: Path) -> None:
    who = load_identity(_settings(tmp_path, worker_id="w", username="lab", password_file=_secret(tmp_path, "pw")))
    assert who.credentials is not None
    assert (who.worker_id, who.credentials.username, who.credentials.password) == ("w", "lab", "pw")


@pytest.mark.parametrize("worker_id", ["a/b", "a#", "+", "all", "master", "", "x" * 64])
def test_a_worker_id_that_is_not_allowed_is_refused(tmp_path: Path, worker_id: str) -> None:
    with pytest.raises(SettingError, match="--worker-id: worker id"):
        load_identity(_settings(tmp_path, worker_id=worker_id, token_file=_secret(tmp_path)))


def test_a_missing_token_says_where_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="gpumon worker add gpu1"):
        load_identity(_settings(tmp_path, worker_id="gpu1", token_file=str(tmp_path / "none")))


def test_a_token_that_others_may_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="chmod 600"):
        load_identity(_settings(tmp_path, worker_id="gpu1", token_file=_secret(tmp_path, mode=0o644)))


def test_an_empty_token_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="is empty"):
        load_identity(_settings(tmp_path, worker_id="gpu1", token_file=_secret(tmp_path, " \n")))


@pytest.mark.parametrize("given", [{"username": "lab"}, {"password_file": "pw"}])
def test_user_name_and_password_file_go_together(tmp_path: Path, given: dict[str, str]) -> None:
    with pytest.raises(SettingError, match="go together"):
        load_identity(_settings(tmp_path, worker_id="w", **given))
