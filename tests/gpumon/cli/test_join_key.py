"""`gpumon join-key`, and what `gpumon worker` shows of who has joined."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from gpumon.cli import main
from gpumon.cli.agent import _gives
from gpumon.cli.reach import known_reach, note_reach
from gpumon.datafolder import DataFolder
from gpumon.joining import JoinLine, JoinRequest, parse_join_line
from gpumon.settings import BrokerSettings, MqttSettings, Settings, TlsSettings
from master.join_keys import JoinKeys
from master.store.engine import Store
from tests.gpumon.test_joining import LINE


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


def asked(capsys: pytest.CaptureFixture[str], data: DataFolder, *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main([*words, "--data", str(data.root)])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def line_of(capsys: pytest.CaptureFixture[str], data: DataFolder, *words: str) -> JoinLine:
    code, out, err = asked(capsys, data, "join-key", *words)
    assert code == 0, err
    assert out.count("\n") == 1
    return parse_join_line(out)


def with_authority(data: DataFolder) -> None:
    data.certificates.mkdir(parents=True)
    data.authority.write_text(LINE.ca_pem or "")


def joins(data: DataFolder, line: JoinLine, worker_id: str) -> str:
    store = Store(data)
    try:
        return JoinKeys(store).use(JoinRequest(worker_id=worker_id, hostname="h", key=line.key)).key_id
    finally:
        store.stop()


def test_the_line_alone_is_on_standard_output_and_lets_a_worker_in(
    data: DataFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    line = line_of(capsys, data)
    assert (str(line.address), line.ca, line.base) == ("mqtt://127.0.0.1:1883", None, "gpumon")
    key_id = joins(data, line, "gpu1")
    _, listed, _ = asked(capsys, data, "join-key", "list")
    assert listed.startswith(f"{key_id}\tused up\tuntil 20")
    _, workers, _ = asked(capsys, data, "worker", "list")
    assert workers.startswith("gpu1\tjoined 20")
    assert workers.endswith(f" with {key_id}\n")
    for secret in (line.key, line.key[:20]):
        assert secret not in listed + workers


def test_what_the_running_master_said_is_in_the_line_whatever_this_shell_knows(
    data: DataFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    with_authority(data)
    note_reach(Settings(host="10.0.0.7", mqtt=MqttSettings(tls_port=18883, base="site-a")), data)
    line = line_of(capsys, data)
    assert (str(line.address), line.ca, line.base) == ("mqtts://10.0.0.7:18883", LINE.ca, "site-a")
    _, said, _ = asked(capsys, data, "worker", "add", "gpu1")
    assert f"--master mqtts://10.0.0.7:18883 --cafile {data.authority} --worker-id gpu1" in said


def test_a_line_kept_in_a_file_is_made_anew_only_when_it_has_let_nobody_in_and_lets_nobody_in_any_more(
    data: DataFolder, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "line"
    words = ("join-key", "--keep-in", str(path))
    assert asked(capsys, data, *words) == (0, "", "")
    assert path.stat().st_mode & 0o777 == 0o600
    first = path.read_text()
    assert asked(capsys, data, *words) == (0, "", "")
    assert path.read_text() == first  # it still counts
    key_id = joins(data, parse_join_line(first), "gpu1")
    assert asked(capsys, data, *words) == (0, "", "")
    assert path.read_text() == first  # it has let a machine in
    _, listed, _ = asked(capsys, data, "join-key", "list")
    assert listed.startswith(f"{key_id}\tused up")
    assert listed.count("\n") == 1
    asked(capsys, data, "join-key", "revoke", key_id)
    assert asked(capsys, data, *words) == (0, "", "")
    second = path.read_text()
    assert second != first
    path.write_text("no line")
    assert asked(capsys, data, *words) == (0, "", "")
    third = path.read_text()
    assert third not in (first, second, "no line")
    assert asked(capsys, data, *words, "--worker-id", "gpu1", "--replace") == (0, "", "")  # gpu1 has lost its token
    assert path.read_text() != third


def test_a_file_that_cannot_be_written_is_told(
    data: DataFolder, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, _, told = asked(capsys, data, "join-key", "--keep-in", str(tmp_path / "none" / "line"))
    assert code == 3
    assert "line cannot be written: No such file or directory" in told


def test_another_address_can_be_given(data: DataFolder, capsys: pytest.CaptureFixture[str]) -> None:
    with_authority(data)
    line = line_of(capsys, data, "--address", "mqtts://gpu-master.lab:8884")
    assert (str(line.address), line.ca) == ("mqtts://gpu-master.lab:8884", LINE.ca)
    code, out, err = asked(capsys, data, "join-key", "--address", "mqtt://gpu-master.lab")
    assert (code, out) == (2, "")
    assert "no machine joins unencrypted" in err
    code, _, err = asked(capsys, data, "join-key", "--address", "http://gpu-master:5000")
    assert code == 2
    assert "--address" in err
    _, listed, _ = asked(capsys, data, "join-key", "list")
    assert listed.count("\n") == 1  # no key without a line


def test_a_certificate_that_was_given_brings_its_authority_or_the_systems(data: DataFolder, tmp_path: Path) -> None:
    given = TlsSettings(cert="cert.pem", key="key.pem")
    assert known_reach(Settings(host="10.0.0.7", tls=given), data).cafile is None
    own_ca = TlsSettings(cert="cert.pem", key="key.pem", ca=str(tmp_path / "lab-ca.crt"))
    assert known_reach(Settings(host="10.0.0.7", tls=own_ca), data).cafile == str(tmp_path / "lab-ca.crt")


def test_without_the_authoritys_certificate_there_is_no_line_and_no_key(
    data: DataFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = asked(capsys, data, "join-key", "--host", "10.0.0.7")
    assert (code, out) == (2, "")
    assert "start gpumon up --host first" in err
    assert asked(capsys, data, "join-key", "list")[1] == ""


def test_a_broker_that_keeps_its_own_accounts_is_told_apart(
    data: DataFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = asked(capsys, data, "join-key", "--broker-url", "mqtts://mosquitto")
    assert code == 2
    assert "gpumon worker add" in err


def test_a_key_is_for_as_many_workers_and_as_long_as_was_said(
    data: DataFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    line_of(capsys, data, "--uses", "40", "--expires", "7d", "--worker-id", "gpu7", "--replace")
    _, listed, _ = asked(capsys, data, "join-key", "list")
    assert "40 uses left" in listed
    assert "for gpu7, replaces" in listed
    for wrong in (["--uses", "0"], ["--expires", "0h"], ["--worker-id", "a/b"], ["--worker-id", "master"]):
        code, out, _ = asked(capsys, data, "join-key", *wrong)
        assert (code, out) == (1, "")
    for wrong in (["--uses", "x"], ["--expires", "soon"], ["--expires", "24"], ["--expires", "-1h"]):
        with pytest.raises(SystemExit) as ended:
            main(["join-key", *wrong, "--data", str(data.root)])
        assert ended.value.code == 2


def test_a_taken_name_is_told_when_the_key_is_made(data: DataFolder, capsys: pytest.CaptureFixture[str]) -> None:
    asked(capsys, data, "worker", "add", "gpu7")
    code, out, err = asked(capsys, data, "join-key", "--worker-id", "gpu7")
    assert (code, out) == (1, "")
    assert "--replace" in err
    line_of(capsys, data, "--worker-id", "gpu7", "--replace")


def test_a_key_is_revoked(data: DataFolder, capsys: pytest.CaptureFixture[str]) -> None:
    line_of(capsys, data)
    key_id = asked(capsys, data, "join-key", "list")[1].split("\t")[0]
    assert asked(capsys, data, "join-key", "revoke", key_id)[:2] == (0, f"{key_id} is revoked\n")
    code, _, err = asked(capsys, data, "join-key", "revoke", key_id)
    assert code == 1
    assert f"no join key '{key_id}'" in err


def test_workers_that_are_known_are_removed_though_another_is_not(
    data: DataFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    asked(capsys, data, "worker", "add", "gpu1", "gpu2", "gpu3")
    code, out, err = asked(capsys, data, "worker", "remove", "gpu1", "nobody", "gpu2")
    assert code == 1
    assert out == "gpu1 is removed and cut off\ngpu2 is removed and cut off\n"
    assert "there is no worker 'nobody'" in err
    assert asked(capsys, data, "worker", "list")[1].startswith("gpu3\tadded 20")


def test_a_damaged_word_of_the_master_is_passed_over(data: DataFolder, capsys: pytest.CaptureFixture[str]) -> None:
    data.root.mkdir()
    data.reach.write_text('{"master":7')
    assert str(line_of(capsys, data).address) == "mqtt://127.0.0.1:1883"
    broken = Settings(broker=BrokerSettings(url="mqtts://lab-broker", cafile="/etc/ca.crt"))
    assert known_reach(broken, data).cafile == "/etc/ca.crt"


@pytest.mark.parametrize(
    "given",
    [
        ["--join", "LINE", "--worker-id", "gpu1"],
        ["--worker-id", "gpu1", "--join", "LINE"],
        ["--worker-id", "gpu1", "--join=LINE"],
    ],
)
def test_the_line_is_taken_out_of_the_arguments_and_nothing_else_is(given: list[str]) -> None:
    words = ["python", "-m", "agent", *given]
    left = [word for place, word in enumerate(words) if not _gives(words, place, "LINE")]
    assert left == ["python", "-m", "agent", "--worker-id", "gpu1"]


def test_a_line_is_pasted_at_a_terminal_also_where_it_was_wrapped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = LINE.encode()
    given: list[str | None] = []
    pasted = f"{line[:70]}\n{line[70:]}\nnot read any more\n"

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("gpumon.cli.agent.run_agent", lambda settings, _stop: given.append(settings.agent.join))
    monkeypatch.setattr("gpumon.cli.agent.stop_on_signals", lambda: None)
    monkeypatch.setattr(sys, "stdin", Terminal(pasted))
    assert main(["agent", "--join", "-", "--data", str(tmp_path)]) == 0
    assert "Paste the line" in capsys.readouterr().err
    assert parse_join_line(given[0] or "") == LINE


def test_a_join_line_does_not_belong_in_the_settings_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "gpumon.toml").write_text(f'[agent]\njoin = "{LINE.encode()}"\n')
    assert main(["agent", "--data", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "keep that in a file (0600)" in said
    assert LINE.encode()[:40] not in said
