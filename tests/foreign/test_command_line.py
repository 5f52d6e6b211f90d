"""gpumon's subcommands where accounts are kept at a real mosquitto as well."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gpumon.cli.supervisor import gpumon_command
from gpumon.datafolder import DataFolder
from gpumon.joining import JoinRequest
from gpumon.roles import Role
from master.accounts import open_accounts
from master.audit import BY_ITSELF
from master.foreign_access import ForeignAccess
from master.join_keys import JoinKeys, JoinRefusedError
from master.store.engine import Store
from tests.foreign.support import Mosquitto, client, gpumon_environment, somebody_elses
from tests.support import free_port

pytestmark = pytest.mark.mosquitto


def gpumon(broker: Mosquitto, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    environment = gpumon_environment(broker, broker.folder / "data")
    return subprocess.run(
        gpumon_command(*arguments), check=False, env=environment, input=text, capture_output=True, text=True
    )


def test_somebody_added_on_the_command_line_can_log_in_at_once(broker: Mosquitto) -> None:
    added = gpumon(broker, "user", "add", "ann", text="a password\n")
    assert (added.returncode, added.stdout) == (0, "ann's password is set\n")
    with client(broker.port, "ann", "a password") as viewer:
        assert viewer.subscribe("gpumon/#") == [1]
    assert gpumon(broker, "worker", "add", "w1").returncode == 0
    token = DataFolder(broker.folder / "data").token_file("w1").read_text().strip()
    with client(broker.port, "w1", token) as worker:
        assert worker.subscribe("gpumon/w1/cmd") == [1]


def test_without_the_broker_the_command_line_says_so_and_changes_nothing(tmp_path: Path) -> None:
    nobody = Mosquitto(free_port(), tmp_path)
    added = gpumon(nobody, "user", "add", "ann", "--generate")
    assert added.returncode == 1
    assert added.stdout == ""
    assert added.stderr.splitlines()[-2] == (
        f"gpumon: no connection to mqtt://127.0.0.1:{nobody.port}: no broker answers there: is it running?; accounts "
        "cannot be changed without it"
    )
    listed = gpumon(nobody, "user", "list")
    assert (listed.returncode, listed.stdout) == (0, "")


def test_the_plugin_needs_another_broker(tmp_path: Path) -> None:
    command = gpumon_command("user", "add", "ann", "--generate", "--broker-dynamic-security", "--data", str(tmp_path))
    finished = subprocess.run(command, check=False, capture_output=True, text=True)
    assert finished.returncode == 2
    assert "give it with --broker-url, --broker-username and --broker-password-file" in finished.stderr


def test_passwords_do_not_travel_openly_to_another_machine(tmp_path: Path) -> None:
    nobody = Mosquitto(1883, tmp_path)
    finished = gpumon(nobody, "user", "add", "ann", "--generate", "--broker-url", "mqtt://mqtt.lab")
    assert finished.returncode == 2
    assert "would travel openly to mqtt://mqtt.lab:1883: use an address that begins with mqtts://" in finished.stderr


def test_no_two_machines_share_a_join_key_at_mosquitto(broker: Mosquitto) -> None:
    made = gpumon(broker, "join-key", "--uses", "2")
    assert made.returncode == 2
    assert "make a join key for each machine" in made.stderr


def test_a_machine_whose_name_is_somebody_elses_at_the_broker_is_told_that_it_may_not_join(
    broker: Mosquitto, access: ForeignAccess
) -> None:
    somebody_elses(broker, "lamp")
    data = DataFolder(broker.folder / "data")
    with open_accounts(data, access) as accounts:
        accounts.add_user("root", Role.ADMIN)
    store = Store(data)
    keys = JoinKeys(store, access)
    made, key = keys.make(BY_ITSELF)
    with pytest.raises(JoinRefusedError, match="lamp is a client of the broker"):
        keys.use(JoinRequest(worker_id="lamp", hostname="lamp.lab", key=key))
    assert [it.uses_left for it in keys.all() if it.id == made.id] == [1]
    store.stop()
