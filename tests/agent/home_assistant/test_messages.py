"""What is announced keeps to Home Assistant's rules, and shows each card's readings and no others."""

from __future__ import annotations

import re

import msgspec
import pytest

from gpumon.messages import GpuInventory, GpuReading, Process
from gpumon.topics import Topics
from tests.agent.home_assistant.support import (
    CARD,
    CARD_TOPIC,
    ONE,
    OTHER,
    OTHER_CARD,
    WORKER_TOPIC,
    Config,
    announced,
    attributes,
    full_reading,
    host,
    rendered,
    sample,
    values,
)

# Home Assistant's sensor documentation: the units and state classes that a device class may have.
CLASSES: dict[str, tuple[set[str | None], set[str | None]]] = {
    "temperature": ({"°C"}, {"measurement"}),
    "power": ({"W"}, {"measurement"}),
    "energy": ({"kWh"}, {"total_increasing"}),
    "data_size": ({"GiB"}, {"measurement"}),
    "data_rate": ({"MB/s"}, {"measurement"}),
    "frequency": ({"MHz"}, {"measurement"}),
    "enum": ({None}, {None}),
    "timestamp": ({None}, {None}),
}
BINARY_CLASSES = {"problem", "connectivity"}


def every_component() -> list[tuple[str, Config]]:
    messages = announced(CARD, buttons={"button_reboot": ("Reboot", "reboot")})
    return [(key, component) for message in messages.values() for key, component in message["cmps"].items()]


def test_a_worker_and_each_of_its_cards_are_a_device_and_the_cards_are_behind_the_worker() -> None:
    messages = announced(CARD, OTHER_CARD, driver_version="580.1")
    assert next(iter(messages)) == WORKER_TOPIC
    worker, card, other = (message["dev"] for message in messages.values())
    assert worker["ids"] == ["gpumon_w1"]
    assert (card["ids"], other["ids"]) == ([ONE], [OTHER])
    assert card["via_device"] == other["via_device"] == "gpumon_w1"
    assert (card["name"], card["mdl"], card["mf"], card["sw"]) == ("w1 H200", "NVIDIA H200", "NVIDIA", "driver 580.1")
    assert all(message["o"]["name"] == "gpumon" for message in messages.values())
    assert all(value is not None for device in (worker, card, other) for value in device.values())


def test_cards_of_one_model_are_told_apart_by_their_uuid_and_not_by_their_place() -> None:
    twin = GpuInventory(uuid=OTHER, index=1, name="NVIDIA H200")
    names = [message["dev"]["name"] for message in announced(CARD, twin).values()]
    assert names == ["w1", "w1 H200 8f6a0c2e", "w1 H200 00000000"]
    again = [message["dev"]["name"] for message in announced(twin, CARD).values()]
    assert sorted(again) == sorted(names)


def test_what_is_simulated_is_marked_as_such() -> None:
    worker, card = (message["dev"] for message in announced(CARD, source="simulated").values())
    assert (worker["name"], card["name"]) == ("w1 (simulated)", "w1 H200 (simulated)")


def test_unique_ids_are_unique_and_a_cards_are_by_its_uuid_alone() -> None:
    ids = [component["uniq_id"] for _, component in every_component()]
    assert len(set(ids)) == len(ids)
    before = announced(CARD)[CARD_TOPIC]["cmps"]
    after = announced(OTHER_CARD, msgspec.structs.replace(CARD, index=None))[CARD_TOPIC]["cmps"]
    assert {key: component["uniq_id"] for key, component in before.items()} == {
        key: f"gpumon_{ONE}_{key}" for key in after
    }


@pytest.mark.parametrize(("key", "component"), every_component())
def test_units_and_classes_go_together(key: str, component: Config) -> None:
    assert re.fullmatch(r"[a-z0-9_]+", key)  # a space would take the key apart in Home Assistant
    platform, device_class = component["p"], component.get("dev_cla")
    if platform == "binary_sensor":
        assert device_class in BINARY_CLASSES
        assert "unit_of_meas" not in component
    elif platform == "sensor" and device_class is not None:
        units, state_classes = CLASSES[device_class]
        assert component.get("unit_of_meas") in units
        assert component.get("stat_cla") in state_classes
        assert (device_class == "enum") == bool(component.get("ops"))
    assert component.get("ent_cat") in (None, "diagnostic")


def test_readings_expire_after_three_intervals_and_the_status_does_not() -> None:
    for interval_s, expected in ((5.0, 15), (0.5, 2), (60.0, 180)):
        for message in announced(CARD, interval_s=interval_s).values():
            expiries = {component.get("exp_aft") for component in message["cmps"].values() if "stat_t" not in component}
            assert expiries == {expected}
    assert "exp_aft" not in announced()[WORKER_TOPIC]["cmps"]["connected"]


def test_a_reading_is_that_of_the_card_wherever_it_stands_in_the_list() -> None:
    config = announced(CARD)[CARD_TOPIC]
    other = GpuReading(uuid=OTHER, index=0, temperature_c=99, utilization_percent=99)
    for gpus in ((full_reading(), other), (other, full_reading())):
        shown = values(config, sample(*gpus))
        assert shown == {
            "temperature": "41",
            "memory_temperature": "44",
            "utilization": "93",
            "memory_utilization": "37",
            "memory_used": "1.0",
            "memory_usage": "25.0",
            "memory_total": "4.0",
            "power": "612.4",
            "power_limit": "700.0",
            "energy": "2.0",
            "fan": "30",
            "sm_clock": "1980",
            "memory_clock": "3201",
            "encoder": "1",
            "decoder": "2",
            "pcie_rx": "1.5",
            "pcie_tx": "0.0",
            "nvlink_rx": "2.0",
            "nvlink_tx": "3.0",
            "performance_state": "P2",
            "users": "?, lena",
            "processes": "3",
            "state": "ok",
            "throttled": "OFF",
            "last_xid": "79",
            "ecc_corrected": "0",
            "ecc_uncorrected": "1",
            "index": "0",
            "pcie_generation": "5",
            "pcie_width": "16",
            "connected": "ON",
            "problem": "OFF",
        }


@pytest.mark.parametrize(
    "gpus",
    [
        (),
        (full_reading(OTHER),),
        (GpuReading(uuid=ONE, state="lost"),),
        (GpuReading(uuid=ONE, state="error"),),
        (GpuReading(uuid=ONE, state="asleep"),),
    ],
    ids=["no card at all", "another card alone", "lost", "error", "asleep"],
)
def test_what_is_not_known_is_said_to_be_unknown_and_never_0(gpus: tuple[GpuReading, ...]) -> None:
    shown = values(announced(CARD)[CARD_TOPIC], sample(*gpus))
    told = {key: shown.pop(key) for key in ("state", "connected", "problem")}
    assert set(shown.values()) == {"None"}
    state = gpus[0].state if gpus and gpus[0].uuid == ONE else None
    assert told == {
        "state": str(state),
        "connected": "OFF" if state in (None, "lost") else "ON",
        "problem": "OFF" if state == "asleep" else "ON",
    }


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        ((full_reading(),), "online"),
        ((GpuReading(uuid=ONE, state="asleep"),), "online"),
        ((GpuReading(uuid=ONE, state="error"),), "online"),
        ((GpuReading(uuid=ONE, state="lost"),), "offline"),
        ((full_reading(OTHER),), "offline"),
    ],
)
def test_a_card_is_available_where_it_and_its_worker_are(gpus: tuple[GpuReading, ...], expected: str) -> None:
    config = announced(CARD)[CARD_TOPIC]
    status, metrics = config["avty"]
    assert config["avty_mode"] == "all"
    assert status == {"t": "gpumon/w1/status"}
    assert metrics["t"] == config["stat_t"] == "gpumon/w1/metrics"
    assert rendered(metrics["val_tpl"], sample(*gpus)) == expected


def test_whether_a_worker_or_a_card_is_connected_is_said_while_it_is_not() -> None:
    worker, card = announced(CARD).values()
    connected = worker["cmps"]["connected"]
    assert (connected["stat_t"], connected["avty"]) == ("gpumon/w1/status", [])
    assert [rendered(connected["val_tpl"], status) for status in ("online", "offline", "?")] == ["ON", "OFF", "None"]
    assert {key for key, component in card["cmps"].items() if "avty" in component} == {"connected", "problem"}
    assert card["cmps"]["connected"]["avty"] == [{"t": "gpumon/w1/status"}]


def test_slowed_down_by_heat_is_a_problem_and_a_power_cap_is_not() -> None:
    config = announced(CARD)[CARD_TOPIC]
    for reasons, expected in ((["gpu_idle"], "OFF"), (["sw_power_cap", "hw_thermal_slowdown"], "ON"), (None, "None")):
        message = sample(GpuReading(uuid=ONE, throttle_reasons=reasons))
        assert values(config, message)["throttled"] == expected
        assert attributes(config, "throttled", message) == {"reasons": reasons}


def test_users_are_shown_with_their_processes_and_without_command_lines() -> None:
    config = announced(CARD)[CARD_TOPIC]
    message = sample(full_reading())
    processes = attributes(config, "users", message)["processes"]
    assert processes[0] == {
        "user": "lena",
        "name": "python",
        "pid": 7,
        "type": "compute",
        "container": None,
        "memory_gib": 3.0,
    }
    assert processes[1]["memory_gib"] is None
    assert "s3cret" not in str(processes)
    free = sample(GpuReading(uuid=ONE))
    assert (values(config, free)["users"], values(config, free)["processes"]) == ("free", "0")
    assert attributes(config, "users", sample()) == {"processes": []}


def test_a_sample_that_was_cleared_says_nothing() -> None:
    for config in announced(CARD).values():
        shown = values(config, "")
        assert set(shown.values()) - {"OFF", "ON"} == {"None"}
    assert rendered(announced(CARD)[CARD_TOPIC]["avty"][1]["val_tpl"], "") == "offline"


def test_what_many_processes_show_stays_within_what_home_assistant_keeps() -> None:
    processes = [Process(pid=pid, user=f"somebody-{pid}", name="p" * 256, container="c" * 64) for pid in range(500)]
    message = sample(GpuReading(uuid=ONE, processes=processes))
    config = announced(CARD)[CARD_TOPIC]
    assert len(values(config, message)["users"]) <= 255
    assert values(config, message)["processes"] == "500"
    assert len(rendered(config["cmps"]["users"]["json_attr_tpl"], message)) < 16_384


def test_a_worker_shows_its_machine_and_its_cards_together() -> None:
    config = announced(CARD)[WORKER_TOPIC]
    known = values(config, sample(full_reading(), GpuReading(uuid=OTHER, state="lost"), host=host(), health="ok"))
    assert known["gpus"] == known["lost_gpus"] == "1"
    assert known["gpu_power"] == "612.4"
    assert known["memory_used"] == "1.0"
    assert known["problem"] == "OFF"
    unknown = values(config, sample(health="degraded", problem="the driver hangs"))
    assert {unknown[key] for key in ("cpu", "load", "memory_used", "disk_used", "booted", "gpu_power")} == {"None"}
    assert (unknown["gpus"], unknown["problem"]) == ("0", "ON")
    assert attributes(config, "problem", sample(problem="the driver hangs")) == {"problem": "the driver hangs"}


def test_the_time_of_a_start_does_not_waver_with_the_clocks() -> None:
    template = announced()[WORKER_TOPIC]["cmps"]["booted"]["val_tpl"]
    message = sample(host=msgspec.structs.replace(host(), uptime_s=1000.0))
    first = rendered(template, message)
    assert first == "2025-12-23 14:10:00+00:00"
    later = msgspec.structs.replace(message, time=message.time + 30)
    assert rendered(template, later, first) == first
    restarted = msgspec.structs.replace(message, host=msgspec.structs.replace(host(), uptime_s=5.0))
    assert rendered(template, restarted, first) == "2025-12-23 14:26:35+00:00"


@pytest.mark.parametrize(
    "name", ['GeForce "RTX" 4090', "{{ 1/0 }}{% raw %}", "グラフィックス Größe 🎮", "it's \\ a / card", "", None]
)
def test_a_card_may_have_any_name(name: str | None) -> None:
    device = announced(GpuInventory(uuid=ONE, name=name))[CARD_TOPIC]["dev"]
    assert device["name"] == f"w1 {name or 'GPU'}".strip()


@pytest.mark.parametrize("uuid", ['GPU-"quoted"', "GPU-'", "GPU-ä/#+", "GPU-🎮 %} }}", "GPU-\\n\n"])
def test_a_card_with_a_strange_uuid_is_found_and_its_topic_is_one_that_home_assistant_takes(uuid: str) -> None:
    topic, config = list(announced(GpuInventory(uuid=uuid)).items())[1]
    assert re.fullmatch(r"homeassistant/device/[a-zA-Z0-9_-]+/config", topic)
    assert values(config, sample(full_reading(OTHER), full_reading(uuid)))["temperature"] == "41"


def test_base_and_prefix_are_those_of_the_settings() -> None:
    messages = announced(CARD, topics=Topics("lab", "ha"), buttons={"button_x": ("X", "true")})
    assert list(messages) == ["ha/device/gpumon_w1/config", f"ha/device/gpumon_w1_{ONE}/config"]
    assert "gpumon/w1" not in str(messages)
    assert messages["ha/device/gpumon_w1/config"]["cmps"]["button_x"]["cmd_t"] == "lab/w1/cmd"


def test_a_button_sends_plain_text_that_is_never_retained() -> None:
    button = announced(buttons={"button_reboot": ("Reboot", "systemctl reboot")})[WORKER_TOPIC]["cmps"]["button_reboot"]
    assert button["p"] == "button"
    assert (button["cmd_t"], button["pl_prs"], button["ret"]) == ("gpumon/w1/cmd", "systemctl reboot", False)
