"""Home Assistant itself shows what an agent announces, at its own broker and at gpumon's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.home_assistant.lab import INTERVAL_S, ONE, OTHER, QUOTED, Lab, Machine, embedded_broker, own_broker
from tests.home_assistant.support import HomeAssistant, home_assistant, home_assistants_python, shown
from tests.support import eventually

pytestmark = [pytest.mark.mosquitto, pytest.mark.timeout(240)]

FLAGS = ("--interval", str(INTERVAL_S))
BROKERS = {"home-assistants-own-broker": own_broker, "gpumons-broker": embedded_broker}
TEMPERATURE = f"gpumon_{ONE}_temperature"

# State, unit, device class, state class and category of what one card shows.
CARD = {
    "temperature": ("41", "°C", "temperature", "measurement", None),
    "power": (None, "W", "power", "measurement", None),
    "energy": (None, "kWh", "energy", "total_increasing", None),
    "memory_used": (None, "GiB", "data_size", "measurement", None),
    "sm_clock": (None, "MHz", "frequency", "measurement", None),
    "pcie_rx": (None, "MB/s", "data_rate", "measurement", None),
    "utilization": (None, "%", None, "measurement", None),
    "performance_state": (None, None, "enum", None, "diagnostic"),
    "state": ("ok", None, "enum", None, "diagnostic"),
    "users": (None, None, None, None, None),
    "processes": ("1", None, None, "measurement", None),
    "problem": ("off", None, "problem", None, "diagnostic"),
    "connected": ("on", None, "connectivity", None, "diagnostic"),
}


@dataclass(frozen=True, slots=True)
class Running:
    """Home Assistant, the machine it shows as the worker w1, and where a button leaves its mark."""

    home: HomeAssistant
    lab: Lab
    machine: Machine
    pressed: Path


@pytest.fixture(scope="module", params=list(BROKERS.values()), ids=list(BROKERS))
def running(
    request: pytest.FixtureRequest, library: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """Home Assistant that knows the worker w1."""
    home_assistants_python()
    folder = tmp_path_factory.mktemp("home")
    machine = Machine(library, folder / "gpus.txt")
    machine.show()
    pressed = folder / "pressed"
    with contextlib.ExitStack() as stack:
        lab: Lab = stack.enter_context(request.param(folder))
        button = ("--home-assistant-button", f"Leave a mark=echo pressed >> {pressed}")
        stack.enter_context(lab.agent("w1", *FLAGS, *button, more=machine.environment))
        home = stack.enter_context(home_assistant(folder / "ha"))
        home.use_broker(lab.port, lab.username, lab.password)
        shown(home, TEMPERATURE, "41")
        shown(home, "gpumon_w1_connected", "on")
        yield Running(home, lab, machine, pressed)


def test_the_worker_and_its_cards_are_devices(running: Running) -> None:
    devices = running.home.devices()
    assert set(devices) == {"gpumon_w1", ONE, OTHER}
    worker = devices["gpumon_w1"]
    assert devices[ONE]["via_device_id"] == devices[OTHER]["via_device_id"] == worker["id"]
    assert (worker["name"], worker["manufacturer"]) == ("w1", "gpumon")
    assert (devices[ONE]["model"], devices[ONE]["name"]) == (QUOTED, f"w1 {QUOTED.removeprefix('NVIDIA ')}")
    assert (devices[OTHER]["model"], devices[OTHER]["manufacturer"]) == ("NVIDIA L40S", "NVIDIA")


def test_readings_have_the_states_units_and_classes_that_home_assistant_knows(running: Running) -> None:
    states, entities = running.home.states(), running.home.entities()
    for key, (state, unit, device_class, state_class, category) in CARD.items():
        unique_id = f"gpumon_{ONE}_{key}"
        said = states[unique_id]["attributes"]
        found = (said.get("unit_of_measurement"), said.get("device_class"), said.get("state_class"))
        assert found == (unit, device_class, state_class), key
        assert entities[unique_id]["entity_category"] == category, key
        assert states[unique_id]["state"] not in ("unknown", "unavailable"), key
        assert state in (None, states[unique_id]["state"]), key
    assert states[f"gpumon_{OTHER}_temperature"]["state"] == "62"
    assert "T" in states["gpumon_w1_booted"]["state"]
    (process,) = states[f"gpumon_{ONE}_users"]["attributes"]["processes"]
    assert set(process) == {"user", "name", "pid", "type", "container", "memory_gib"}


def test_a_reading_that_a_card_does_not_have_is_unknown(running: Running) -> None:
    states = running.home.states()
    for key in ("fan", "ecc_corrected", "last_xid"):
        assert states[f"gpumon_{OTHER}_{key}"]["state"] == "unknown", key
    assert states[f"gpumon_{ONE}_fan"]["state"] not in ("unknown", "unavailable")


def test_a_lost_card_is_unavailable_and_comes_back_as_itself(running: Running) -> None:
    home, before = running.home, running.home.entities()
    running.machine.show(lost=True)
    shown(home, TEMPERATURE, "unavailable")
    shown(home, f"gpumon_{ONE}_connected", "off")
    states = home.states()
    assert states[f"gpumon_{ONE}_problem"]["state"] == "on"
    assert states["gpumon_w1_lost_gpus"]["state"] == "1"
    assert states["gpumon_w1_lost_gpus"]["attributes"]["gpus"] == [ONE]
    assert states[f"gpumon_{OTHER}_temperature"]["state"] == "62"
    running.machine.show()
    shown(home, TEMPERATURE, "41")
    assert home.entities() == before


def test_a_button_that_is_pressed_runs_its_command_each_time(running: Running) -> None:
    for times in (1, 2):
        running.home.press("gpumon_w1_button_leave_a_mark")
        expected = "pressed\n" * times
        eventually(lambda: running.pressed.exists() and running.pressed.read_text() == expected)  # noqa: B023


def test_home_assistant_has_the_same_entities_after_a_restart(running: Running, tmp_path: Path) -> None:
    with home_assistant(tmp_path / "ha") as home:
        home.use_broker(running.lab.port, running.lab.username, running.lab.password)
        shown(home, TEMPERATURE, "41")
        eventually(lambda: home.entities().keys() == running.home.entities().keys())
        before = {unique_id: entity["entity_id"] for unique_id, entity in home.entities().items()}
    running.machine.show(lost=True)
    with home_assistant(tmp_path / "ha") as home:
        shown(home, f"gpumon_{OTHER}_temperature", "62")
        shown(home, TEMPERATURE, "unavailable")
        running.machine.show()
        shown(home, TEMPERATURE, "41")
        assert {unique_id: entity["entity_id"] for unique_id, entity in home.entities().items()} == before
        assert home.said() == []


def test_a_worker_that_stops_is_unavailable_and_is_back_when_it_runs_again(running: Running) -> None:
    home = running.home
    for _ in range(2):
        with running.lab.agent("w2", *FLAGS, "--source", "simulated", more={}):
            shown(home, "gpumon_w2_connected", "on")
            eventually(lambda: home.state("gpumon_w2_cpu") not in (None, "unknown", "unavailable"), 60)
        shown(home, "gpumon_w2_connected", "off")
        shown(home, "gpumon_w2_cpu", "unavailable")


def test_a_worker_that_was_removed_leaves_no_devices(running: Running) -> None:
    if running.lab.remove is None:
        pytest.skip("there is no master here that could remove a worker")
    home, before = running.home, set(running.home.devices())
    with running.lab.agent("w3", *FLAGS, "--source", "simulated", more={}):
        shown(home, "gpumon_w3_connected", "on")
        eventually(lambda: len(home.devices()) > len(before) + 1, 30)
        running.lab.remove("w3")
        eventually(lambda: set(home.devices()) == before, 60, 0.5)
    assert not [unique_id for unique_id in home.entities() if unique_id.startswith("gpumon_w3")]


def test_nothing_was_amiss_in_home_assistants_log(running: Running) -> None:
    assert running.home.said() == []


def test_a_machine_with_another_worker_id_keeps_its_cards_and_leaves_the_old_name_behind(
    running: Running, tmp_path: Path
) -> None:
    home = running.home
    one, other = ONE.replace("8f6a0c2e", "22222222"), OTHER.replace("11111111", "33333333")
    machine = Machine(running.machine.library, tmp_path / "gpus.txt", one, other)
    machine.show()
    temperature = f"gpumon_{one}_temperature"
    with running.lab.agent("w4", *FLAGS, more=machine.environment):
        shown(home, "gpumon_w4_connected", "on")
        shown(home, temperature, "41")
    shown(home, temperature, "unavailable")
    with running.lab.agent("w5", *FLAGS, more=machine.environment):
        shown(home, "gpumon_w5_connected", "on")
        if running.lab.remove is not None:  # a worker may not clear another's devices here: removing the old one does
            running.lab.remove("w4")
            eventually(lambda: "gpumon_w4" not in home.devices(), 30)
            home.ask("POST", "services/mqtt/publish", {"topic": "homeassistant/status", "payload": "online"})
        shown(home, temperature, "41")
        devices = home.devices()
        assert "gpumon_w4" not in devices
        assert devices[one]["via_device_id"] == devices["gpumon_w5"]["id"]
