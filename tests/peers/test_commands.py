"""Commands where two masters share a fleet: from any page, seen on both, ended once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.peers.support import a_master, workers
from tests.postgres_server import PostgresServer
from tests.support import eventually


def test_a_command_from_one_page_is_seen_on_both_and_ends_once_though_its_master_is_killed(
    tmp_path: Path, shared: Mapping[str, str], mosquitto_port: int, postgres: PostgresServer
) -> None:
    with a_master(tmp_path, "one", shared) as one, a_master(tmp_path, "two", shared) as two:
        eventually(lambda: one.shares_with(1) and two.shares_with(1), 40)
        fleet = {**one.environment, "GPUMON_MQTT_PORT": str(mosquitto_port), "GPUMON_DATA": str(tmp_path / "workers")}
        with workers(tmp_path, fleet, 3) as ids:
            pages = [one.client(), two.client()]
            eventually(lambda: all(page.state(name) == "online" for page in pages for name in ids), 40)
            quick = pages[0].run(ids[0], "echo said once")
            eventually(lambda: all(_states(page, quick) == ["finished"] for page in pages), 20)
            for page in pages:
                assert "said once" in str(page.get(f"commands/{quick}/output?worker={ids[0]}"))
            slow = pages[1].run(ids[1], "sleep 3; echo late")
            eventually(lambda: _states(pages[0], slow) in (["sent"], ["running"]), 10)
            two.kill()
            eventually(lambda: _states(pages[0], slow) == ["finished"], 20)
            database = shared["GPUMON_DATABASE_URL"].rpartition("/")[2]
            for command in (quick, slow):
                audit = postgres.sql(f"SELECT action, origin FROM audit WHERE subject = '{command}'", database)
                assert sorted(action for action, _ in audit) == ["command.ended", "command.run"], audit
                targets = f"SELECT state, exit_code FROM command_targets WHERE command_id = '{command}'"
                assert postgres.sql(targets, database) == [("finished", 0)]


def _states(page: object, command_id: str) -> list[str]:
    return [target["state"] for target in page.command(command_id)["targets"]]  # type: ignore[attr-defined]
