"""The lines of docs/mqtt.md do what the page says, run as they stand with Debian's clients."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.running import Running, an_agent, gpumon_up, online
from tests.support import eventually, free_port, program_or_skip, stopping

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "mqtt.md"
LINES: list[str] = [
    line for block in re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(), re.DOTALL) for line in block.splitlines()
]

pytestmark = pytest.mark.mosquitto


def line_with(*parts: str) -> str:
    """Return the page's one line that holds all of these parts."""
    found = [line for line in LINES if all(part in line for part in parts)]
    assert len(found) == 1, found
    return found[0]


SAMPLE = next(line for line in LINES if line.endswith("w1/metrics -C 1"))
FLEET = line_with("+/metrics")
STATUSES = line_with("+/status")
INFO = line_with("w1/info")
TEMPERATURES = line_with("jq", ".temperature_c")
ALERTS = line_with("+/alert/+")
LISTEN = line_with("cmd/#")
MARKER = "mosquitto_pub -q 1 -t gpumon/w1/cmd/marker -m x"
PLAIN = line_with("mosquitto_pub", "'nvidia-smi -L'")
TO_ALL = line_with("gpumon/all/cmd")
OBJECT = line_with("disk-1", "df -h")
CANCEL = line_with("disk-1", "cancel")
REQUEST = line_with("mosquitto_rr", "'nvidia-smi -L'")
REQUESTED_OUTPUT = line_with("mosquitto_rr", "jq -r .output")
OVER_TLS = line_with("--cafile")
TLS_PORT = free_port()
ALERT_RULE = '[alerts.rules.warm]\nkind = "temperature"\nabove = "1 °C"\nfor_s = 0\n'


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A master with the worker that the page speaks of."""
    program_or_skip("mosquitto_sub", "mosquitto-clients")
    folder = tmp_path_factory.mktemp("documented")
    (folder / "data").mkdir(mode=0o700)
    (folder / "data" / "gpumon.toml").write_text(ALERT_RULE)
    with ExitStack() as stack:
        flags = ("--host", "127.0.0.1", "--insecure-http", "--mqtts-port", str(TLS_PORT))
        more = {"HOME": str(folder), "LD_LIBRARY_PATH": "/nonexistent"}
        running = stack.enter_context(gpumon_up(folder, *flags, more=more))
        stack.enter_context(an_agent(running, "w1", "--source", "simulated", "--interval", "0.5"))
        eventually(lambda: online(running, ["w1"]), 30)
        # As the page says, and the port of this test besides.
        (folder / ".config").mkdir()
        for client in ("mosquitto_pub", "mosquitto_sub", "mosquitto_rr"):
            options = f"-h 127.0.0.1\n-p {running.mqtt_port}\n-u admin\n-P {running.admin_password}\n"
            (folder / ".config" / client).write_text(options)
        shutil.copy(running.data.authority, folder / ".config" / "gpumon-ca.crt")
        yield running


def ran(fleet: Running, line: str, *, limit_s: float = 30) -> subprocess.CompletedProcess[str]:
    """Run a line of the page in a shell."""
    return subprocess.run(
        line, shell=True, env=fleet.environment, capture_output=True, text=True, timeout=limit_s, check=False
    )


def test_every_line_of_the_page_is_tried_here() -> None:
    looking = {OVER_TLS, SAMPLE, FLEET, STATUSES, INFO, TEMPERATURES, ALERTS, LISTEN}
    assert looking | {PLAIN, TO_ALL, OBJECT, CANCEL, REQUEST, REQUESTED_OUTPUT} == set(LINES)


def test_from_another_machine_over_tls(fleet: Running) -> None:
    heard = ran(fleet, OVER_TLS.replace("8883", str(TLS_PORT)))
    assert heard.stdout.strip() == "online", heard.stderr


def test_one_sample_of_a_worker(fleet: Running) -> None:
    assert json.loads(ran(fleet, SAMPLE).stdout)["source"] == "simulated"


def test_the_whole_fleet_as_it_comes(fleet: Running) -> None:
    received = ran(fleet, FLEET.replace("-W 10", "-W 2")).stdout.splitlines()
    assert len(received) >= 2
    assert all(item.startswith("gpumon/w1/metrics {") for item in received)


def test_who_is_there(fleet: Running) -> None:
    # The line listens for a second, in which on a busy machine not even the log-in may be answered.
    eventually(lambda: "gpumon/w1/status online" in ran(fleet, STATUSES).stdout, 30)


def test_a_workers_inventory(fleet: Running) -> None:
    assert json.loads(ran(fleet, INFO).stdout)["gpus"]


def test_temperatures_through_jq(fleet: Running) -> None:
    program_or_skip("jq", "jq")
    cards = ran(fleet, TEMPERATURES).stdout.splitlines()
    assert cards
    assert all(len(json.loads(card)) == 2 for card in cards)


def test_the_alerts_that_there_are(fleet: Running) -> None:
    said = eventually(lambda: ran(fleet, ALERTS).stdout, 30)
    topic, _, payload = said.splitlines()[0].partition(" ")
    assert topic == "gpumon/w1/alert/warm"
    assert json.loads(payload)["state"] == "firing"


def answers_to(fleet: Running, line: str) -> list[tuple[str, dict[str, Any]]]:
    """Run a publishing line while the page's subscribing line listens; return what came up to the first result."""
    heard: list[str] = []
    process = subprocess.Popen(
        f"exec {LISTEN}", shell=True, env=fleet.environment, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    lines = process.stdout
    assert lines is not None
    listening = threading.Thread(target=lambda: heard.extend(iter(lines.readline, "")))
    with stopping(process):
        listening.start()
        # The subscription is in place once the listener hears a marker.
        eventually(
            lambda: ran(fleet, MARKER).returncode == 0 and any("marker" in item for item in heard), interval_s=0.1
        )
        assert ran(fleet, line).returncode == 0
        eventually(lambda: any("cmd/result " in item for item in heard), 30)
        process.terminate()
        listening.join(10)
    answers = [item.partition(" ") for item in heard if "/cmd/output " in item or "/cmd/result " in item]
    return [(topic, json.loads(payload)) for topic, _, payload in answers]


def test_plain_text_is_run_and_answered_with_output_and_result(fleet: Running) -> None:
    received = answers_to(fleet, PLAIN.replace("nvidia-smi -L", "echo hello"))
    topics = [topic for topic, _ in received]
    assert topics == ["gpumon/w1/cmd/output", "gpumon/w1/cmd/result"]
    assert received[0][1]["data"] == "hello\n"
    assert (received[1][1]["state"], received[1][1]["exit_code"]) == ("finished", 0)


def test_the_documented_nvidia_smi_line_ends_with_a_result_wherever_it_runs(fleet: Running) -> None:
    received = answers_to(fleet, PLAIN)
    assert received[-1][1]["command"] == "nvidia-smi -L"
    assert received[-1][1]["state"] == "finished"


def test_a_command_to_everybody(fleet: Running) -> None:
    assert answers_to(fleet, TO_ALL)[-1][1]["exit_code"] == 0


def test_a_command_object_runs_once_under_its_own_id(fleet: Running) -> None:
    assert answers_to(fleet, OBJECT)[-1][1]["id"] == "disk-1"
    assert ran(fleet, OBJECT).returncode == 0
    again = answers_to(fleet, "mosquitto_pub -q 1 -t gpumon/w1/cmd -m 'echo next'")
    assert [answer["command"] for topic, answer in again if topic.endswith("result")] == ["echo next"]


def test_a_cancellation_ends_a_running_command(fleet: Running) -> None:
    cancel = CANCEL.replace("disk-1", "slow-1")
    start = OBJECT.replace("disk-1", "slow-1").replace("df -h /", "sleep 30")
    assert answers_to(fleet, f"{start}; {cancel}")[-1][1]["state"] == "cancelled"


def test_a_command_and_its_result_in_one_line(fleet: Running) -> None:
    answered = ran(fleet, REQUEST)
    assert answered.returncode == 0, answered.stderr
    result = json.loads(answered.stdout)
    assert (result["command"], result["state"]) == ("nvidia-smi -L", "finished")


def test_a_commands_output_in_one_line(fleet: Running) -> None:
    program_or_skip("jq", "jq")
    assert ran(fleet, REQUESTED_OUTPUT).stdout.splitlines()[0].startswith("Filesystem")


def test_without_the_version_mosquitto_rr_says_what_the_page_says(fleet: Running) -> None:
    refused = ran(fleet, REQUEST.replace("-V 311 ", ""))
    assert refused.returncode != 0
    assert "Unsupported Protocol Version" in refused.stderr
    assert "Unsupported Protocol Version" in DOCUMENT.read_text()


def test_what_was_run_by_mqtt_is_kept_with_who_sent_it(fleet: Running) -> None:
    answers_to(fleet, "mosquitto_pub -q 1 -t gpumon/w1/cmd -m 'echo kept'")

    def kept() -> Any:
        with closing(sqlite3.connect(fleet.data.database)) as database:
            query = "SELECT by, state FROM commands JOIN command_targets ON id = command_id WHERE command = 'echo kept'"
            return database.execute(query).fetchone()

    assert eventually(lambda: kept() == ("admin", "finished") and kept()) == ("admin", "finished")
