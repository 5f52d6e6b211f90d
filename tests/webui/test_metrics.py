"""`/metrics` over the real server: what it serves of workers and cards, and what it leaves out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from gpumon.address import BrokerAddress
from gpumon.datafolder import DataFolder
from gpumon.messages import GpuReading, HostReading, Metrics, MigDevice, encode
from gpumon.settings import Settings
from gpumon.topics import Channel
from master.master import Master
from tests.support import eventually
from tests.webui.running import RunningPage
from tests.webui.worker_double import GIB, WorkerDouble, idle, lost, mig, reading
from webui.metrics_exposition import Exposition, unpacked

Workers = Callable[..., WorkerDouble]
Series = list[tuple[dict[str, str], float]]


class Scrape:
    """What a scrape has given, by metric."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.series: dict[str, Series] = {}
        self.kinds: dict[str, str] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                # This parser gives counters a name of OpenMetrics; Prometheus takes them as they stand.
                name = sample.name.removesuffix("_total") if sample.name.startswith("DCGM") else sample.name
                self.series.setdefault(name, []).append((dict(sample.labels), sample.value))
                self.kinds[name] = family.type

    def of(self, worker: WorkerDouble, name: str) -> Series:
        """Return the worker's series of a metric."""
        return [(labels, value) for labels, value in self.series.get(name, []) if labels.get("instance") == worker.id]

    def values(self, worker: WorkerDouble, name: str) -> list[float]:
        """Return their values alone."""
        return [value for _, value in self.of(worker, name)]

    def value(self, name: str, **labels: str) -> float | None:
        """Return the value of the series that has these labels, None where there is none."""
        return next((v for found, v in self.series.get(name, []) if labels.items() <= found.items()), None)


def scrape(page: RunningPage, headers: Mapping[str, str] | None = None) -> Scrape:
    answer = page.session("vera").get(f"{page.address}/metrics", headers=headers, timeout=10)
    assert answer.status_code == 200, answer.text
    return Scrape(answer.text)


def scraped(page: RunningPage, condition: Callable[[Scrape], Any]) -> Scrape:
    """Return the first scrape for which the condition holds."""

    def found() -> Scrape | None:
        got = scrape(page)
        return got if condition(got) else None

    return eventually(found, 20, 0.2) or Scrape("")


def has(worker: WorkerDouble, name: str = "gpumon_gpu_up") -> Callable[[Scrape], bool]:
    return lambda got: bool(got.of(worker, name))


def test_a_card_is_served_with_the_names_labels_and_units_of_dcgm(page: RunningPage, worker: Workers) -> None:
    double = worker("w", [reading(0, fan_percent=40, nvlink_tx_bytes_per_s=5, nvlink_rx_bytes_per_s=6)])

    got = scraped(page, has(double))

    assert got.of(double, "DCGM_FI_DEV_GPU_TEMP") == [
        (
            {
                "gpu": "0",
                "UUID": "GPU-00000000-0000-4000-8000-000000000000",
                "pci_bus_id": "00000000:00:00.0",
                "device": "nvidia0",
                "modelName": "NVIDIA H200",
                "Hostname": f"{double.id}.lab",
                "instance": double.id,
            },
            41.0,
        )
    ]
    values = {name: got.values(double, name) for name in got.series if name.startswith("DCGM_")}
    assert values == {
        "DCGM_FI_DEV_SM_CLOCK": [1980],
        "DCGM_FI_DEV_MEM_CLOCK": [3201],
        "DCGM_FI_DEV_MEMORY_TEMP": [44],
        "DCGM_FI_DEV_GPU_TEMP": [41],
        "DCGM_FI_DEV_POWER_USAGE": [612.4],
        "DCGM_FI_DEV_ENFORCED_POWER_LIMIT": [700],
        "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": [7.2e12],
        "DCGM_FI_DEV_GPU_UTIL": [90],
        "DCGM_FI_DEV_MEM_COPY_UTIL": [37],
        "DCGM_FI_DEV_ENC_UTIL": [0],
        "DCGM_FI_DEV_DEC_UTIL": [0],
        "DCGM_FI_DEV_FAN_SPEED": [40],
        "DCGM_FI_DEV_PSTATE": [0],
        "DCGM_FI_DEV_CLOCKS_EVENT_REASONS": [4],
        "DCGM_FI_DEV_PCIE_LINK_GEN": [5],
        "DCGM_FI_DEV_PCIE_LINK_WIDTH": [16],
        "DCGM_FI_PROF_PCIE_TX_BYTES": [3_100_000],
        "DCGM_FI_PROF_PCIE_RX_BYTES": [12_400_000],
        "DCGM_FI_PROF_NVLINK_TX_BYTES": [5],
        "DCGM_FI_PROF_NVLINK_RX_BYTES": [6],
        "DCGM_FI_PROF_SM_ACTIVE": [0.761],
        "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": [0.412],
        "DCGM_FI_PROF_DRAM_ACTIVE": [0.38],
        "DCGM_FI_DEV_ECC_SBE_VOL_TOTAL": [0],
        "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL": [0],
        "DCGM_FI_DEV_FB_TOTAL": [141 * 1024],
        "DCGM_FI_DEV_FB_FREE": [80 * 1024],
        "DCGM_FI_DEV_FB_USED": [61 * 1024],
        "DCGM_FI_DEV_XID_ERRORS": [0],
    }
    assert "# TYPE DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION counter\n" in got.text
    assert "# HELP DCGM_FI_DEV_FB_USED Framebuffer memory used (in MiB).\n" in got.text
    assert got.values(double, "gpumon_gpu_processes") == [1]


def test_what_is_not_measured_is_left_out_and_a_true_zero_stays(page: RunningPage, worker: Workers) -> None:
    nothing = {name: None for name in GpuReading.__struct_fields__ if name not in ("uuid", "index", "name", "state")}
    blank = reading(1, **{**nothing, "mig_devices": [], "processes": []})
    double = worker("w", [idle(0), blank], source="nvidia-smi")

    got = scraped(page, has(double))

    assert got.values(double, "DCGM_FI_DEV_GPU_UTIL") == [0]
    assert got.values(double, "DCGM_FI_DEV_FB_USED") == [0]
    uuids = {labels["UUID"]: name for name, all_of in got.series.items() for labels, _ in all_of if "UUID" in labels}
    of_blank = {name for name in got.series for labels, _ in got.of(double, name) if labels.get("UUID") == blank.uuid}
    assert blank.uuid in uuids
    assert of_blank == {"gpumon_gpu_up", "gpumon_gpu_processes"}
    assert not got.of(double, "DCGM_FI_DEV_XID_ERRORS")  # nvidia-smi tells of none


def test_a_lost_cards_readings_vanish_and_its_last_xid_says_why(page: RunningPage, worker: Workers) -> None:
    double = worker("w", [reading(0), reading(1)])
    before = scraped(page, has(double))
    assert len(before.of(double, "DCGM_FI_DEV_GPU_TEMP")) == 2

    gone = GpuReading(uuid=reading(1).uuid, name="NVIDIA H200", state="lost", last_xid=79)
    double.sample([reading(0), gone])
    got = scraped(page, lambda got: len(got.of(double, "DCGM_FI_DEV_GPU_TEMP")) == 1)

    up = {labels["gpu"]: value for labels, value in got.of(double, "gpumon_gpu_up")}
    assert up == {"0": 1, "1": 0}
    of_lost = {name for name in got.series for labels, _ in got.of(double, name) if labels.get("UUID") == gone.uuid}
    assert of_lost == {"gpumon_gpu_up", "DCGM_FI_DEV_XID_ERRORS"}
    xids = {labels["gpu"]: (labels["err_code"], value) for labels, value in got.of(double, "DCGM_FI_DEV_XID_ERRORS")}
    assert xids == {"0": ("0", 0), "1": ("79", 79)}


def test_a_worker_that_is_offline_leaves_nothing_but_that_it_is(page: RunningPage, worker: Workers) -> None:
    double = worker("w", [reading(0)])
    assert scraped(page, has(double)).values(double, "gpumon_worker_up") == [1]

    double.publish_text(Channel.STATUS, "offline")
    got = scraped(page, lambda got: got.values(double, "gpumon_worker_up") == [0])

    told = {name for name in got.series if got.of(double, name)}
    assert told == {
        "gpumon_worker_up",
        "gpumon_worker_info",
        "gpumon_worker_last_sample_timestamp_seconds",
        "gpumon_worker_rejected_payloads_total",
    }


def test_a_worker_whose_samples_stay_away_has_no_readings(tmp_path: Path) -> None:
    master = Master(Settings(), DataFolder(tmp_path), BrokerAddress("127.0.0.1", 1, tls=False), None)
    took = time.time()
    now = [took]
    metrics = Metrics(time=took, seq=1, interval_s=5.0, source="nvml", gpus=[reading(0)], host=HostReading(load_1m=1.0))
    master.fleet.take_status("w", "online", took, retained=False)
    master.fleet.take_sample("w", metrics, encode(metrics), took, retained=False)
    exposition = Exposition(master, lambda: 0, lambda: now[0])

    def told() -> set[str]:
        got = Scrape(b"".join(unpacked(exposition.gzipped())).decode())
        return {name for name, series in got.series.items() for labels, _ in series if labels.get("instance") == "w"}

    assert {"DCGM_FI_DEV_GPU_TEMP", "gpumon_gpu_up", "gpumon_host_load1"} <= told()
    now[0] = took + 16
    gone = {"gpumon_worker_up", "gpumon_worker_last_sample_timestamp_seconds", "gpumon_worker_rejected_payloads_total"}
    assert eventually(lambda: told() == gone)


def test_a_card_cut_by_mig_has_memory_by_slice_so_that_a_sum_counts_nothing_twice(
    page: RunningPage, worker: Workers
) -> None:
    cut = mig(0)
    second_compute_instance = MigDevice(
        uuid="MIG-9", gpu_instance=2, compute_instance=1, profile="1g.18gb", memory_used_bytes=2 * GIB
    )
    double = worker("w", [reading(0, mig_devices=[*cut.mig_devices, second_compute_instance])])

    got = scraped(page, has(double))

    used = got.of(double, "DCGM_FI_DEV_FB_USED")
    assert [(labels["GPU_I_ID"], labels["GPU_I_PROFILE"], labels["gpu"], value) for labels, value in used] == [
        ("1", "1g.18gb", "0", 2048),
        ("2", "1g.18gb", "0", 2048),
    ]
    assert got.values(double, "DCGM_FI_DEV_FB_FREE") == [15 * 1024, 15 * 1024]
    tensor = got.of(double, "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE")
    assert [(labels["GPU_I_ID"], value) for labels, value in tensor] == [("1", 0.11), ("2", 0.12)]
    assert len(got.of(double, "DCGM_FI_DEV_POWER_USAGE")) == 1


def test_what_a_cards_slices_do_not_tell_of_their_activity_is_told_of_the_card(
    page: RunningPage, worker: Workers
) -> None:
    devices = [
        msgspec.structs.replace(device, sm_percent=None, tensor_percent=None, dram_percent=None)
        for device in mig(0).mig_devices
    ]
    double = worker("w", [reading(0, mig_devices=devices), idle(1, sm_percent=0.0, tensor_percent=None)])

    got = scraped(page, has(double))

    assert got.values(double, "DCGM_FI_PROF_SM_ACTIVE") == [0.761, 0]
    assert got.values(double, "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE") == [0.412]
    assert all("GPU_I_ID" not in labels for labels, _ in got.of(double, "DCGM_FI_PROF_SM_ACTIVE"))


def test_a_sleeping_card_is_up_and_has_no_readings(page: RunningPage, worker: Workers) -> None:
    double = worker("w", [GpuReading(uuid="GPU-asleep", index=0, name="NVIDIA H200", state="asleep")])

    got = scraped(page, has(double))

    assert got.values(double, "gpumon_gpu_up") == [1]
    assert {name for name in got.series if got.of(double, name) and "DCGM" in name} == set()


def test_hostile_names_are_quoted_and_break_nothing(page: RunningPage, worker: Workers) -> None:
    name = 'a "quoted" \\ back\nline\x00\r\x1b} 9 über 显卡'
    double = worker("w", [reading(0, name=name)], labels={"rack-a.b": 'x"} 1\n', "rack_a_b": "second"}, os=name)

    got = scraped(page, has(double))

    shown = 'a "quoted" \\ back\nline\ufffd\ufffd\ufffd} 9 über 显卡'
    assert got.of(double, "DCGM_FI_DEV_GPU_TEMP")[0][0]["modelName"] == shown
    assert got.of(double, "gpumon_worker_info")[0][0]["os"] == shown
    labels = got.of(double, "gpumon_worker_labels")[0][0]
    assert {key: value for key, value in labels.items() if key.startswith("label_")} == {
        "label_rack_a_b": 'x"} 1\n'
    } or labels["label_rack_a_b"] == "second"


def test_numbers_beyond_all_bounds_cost_no_more_than_themselves(page: RunningPage, worker: Workers) -> None:
    huge = 10**400
    slices = [MigDevice(uuid="MIG-1", gpu_instance=huge, memory_used_bytes=huge)]
    double = worker("w", [reading(0)])
    scraped(page, has(double))
    card = msgspec.structs.replace(
        reading(0),
        index=huge,
        temperature_c=-huge,
        energy_j=1e308,
        power_w=1e308,
        sm_clock_mhz=huge,
        last_xid=huge,
        memory_used_bytes=huge,
        mig_devices=slices,
    )
    double.sample([card, reading(1)], time=1e308)

    got = scraped(page, lambda got: len(got.of(double, "gpumon_gpu_up")) == 2)

    for name in ("GPU_TEMP", "POWER_USAGE", "TOTAL_ENERGY_CONSUMPTION", "SM_CLOCK", "XID_ERRORS", "FB_USED"):
        assert len(got.of(double, f"DCGM_FI_DEV_{name}")) == 1
    assert not got.of(double, "gpumon_worker_sample_delay_seconds")


def test_a_card_that_is_listed_twice_is_served_once(page: RunningPage, worker: Workers) -> None:
    double = worker("w", [reading(0), reading(0, temperature_c=99)])

    got = scraped(page, has(double))

    assert got.values(double, "DCGM_FI_DEV_GPU_TEMP") == [41]


def test_no_family_is_told_twice_and_no_series_either(page: RunningPage, worker: Workers) -> None:
    double = worker("w", [reading(0), mig(1), lost(2)], labels={"rack": "3"})

    got = scraped(page, has(double))

    lines = got.text.splitlines()
    heads = [line for line in lines if line.startswith("# TYPE")]
    series = [line.rpartition(" ")[0] for line in lines if not line.startswith("#")]
    assert len(heads) == len(set(heads))
    assert len(series) == len(set(series))


def test_the_master_tells_of_itself_with_true_zeros(page: RunningPage, worker: Workers) -> None:
    double = worker("w", [reading(0), lost(1)])
    double.publish_text(Channel.METRICS, "{")

    got = scraped(page, lambda got: got.values(double, "gpumon_worker_rejected_payloads_total") == [1])

    assert got.value("gpumon_build_info") == 1
    assert got.value("gpumon_broker_connected") == 1
    assert got.value("gpumon_history_problem") == 0
    assert got.value("gpumon_database_problem") == 0
    assert got.value("gpumon_database_rows_dropped_total") == 0
    assert got.value("gpumon_database_rows_waiting") is not None
    assert got.value("gpumon_workers", state="degraded") == 0
    assert (got.value("gpumon_workers", state="online") or 0) >= 1
    assert (got.value("gpumon_gpus", state="lost") or 0) >= 1
    assert got.value("gpumon_gpus", state="error") == 0
    assert got.value("gpumon_alerts_firing", severity="note") is not None
    assert (got.value("gpumon_ingest_rejected_total", kind="metrics") or 0) >= 1
    assert got.value("gpumon_ingest_rejected_total", kind="audit") == 0
    assert got.kinds["gpumon_ingest_messages_total"] == "counter"
    assert got.value("process_resident_memory_bytes")


def test_commands_are_counted_as_they_run_and_end(page: RunningPage, worker: Workers) -> None:
    double = worker("w", [idle(0)])
    session = page.session("olaf")
    scraped(page, has(double))
    before = scrape(page).value("gpumon_commands_ended_total", state="finished") or 0

    csrf = session.get(f"{page.address}/api/v1/session", timeout=10).json()["csrf"]
    wanted = {"command": "true", "workers": [double.id]}
    headers = {"X-CSRFToken": csrf}
    assert session.post(f"{page.address}/api/v1/commands", json=wanted, headers=headers, timeout=10).status_code == 201
    command = double.next_command()
    scraped(page, lambda got: (got.value("gpumon_commands_running", state="sent") or 0) >= 1)
    double.end(command)

    scraped(page, lambda got: got.value("gpumon_commands_ended_total", state="finished") == before + 1)


@pytest.mark.parametrize(("accepted", "encoding"), [("gzip", "gzip"), ("identity", None), ("gzip;q=0", None)])
def test_the_answer_is_compressed_for_who_asks_for_that(
    page: RunningPage, worker: Workers, accepted: str, encoding: str | None
) -> None:
    double = worker("w", [reading(0)])
    scraped(page, has(double))

    answer = page.session("vera").get(f"{page.address}/metrics", headers={"Accept-Encoding": accepted}, timeout=10)

    assert answer.headers.get("Content-Encoding") == encoding
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert Scrape(answer.text).of(double, "DCGM_FI_DEV_GPU_TEMP")


def test_who_asks_for_openmetrics_gets_the_text_format_which_keeps_dcgms_names(page: RunningPage) -> None:
    wanted = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"}

    answer = page.session("vera").get(f"{page.address}/metrics", headers=wanted, timeout=10)

    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "# EOF" not in answer.text


def test_a_worker_tells_what_it_is_and_its_machine(page: RunningPage, worker: Workers) -> None:
    double = worker("w", [idle(0)], labels={"rack": "3"})

    got = scraped(page, has(double))

    info = got.of(double, "gpumon_worker_info")[0][0]
    assert (info["source"], info["driver_version"], info["cuda_version"]) == ("nvml", "580.159", "13.0")
    assert got.of(double, "gpumon_worker_labels")[0][0]["label_rack"] == "3"
    assert got.values(double, "gpumon_host_cpu_percent") == [12.5]
    assert got.values(double, "gpumon_host_swap_used_bytes") == [0]
    assert -5 < got.values(double, "gpumon_worker_sample_delay_seconds")[0] < 5


def test_before_its_inventory_is_known_a_card_is_served_with_what_is(page: RunningPage) -> None:
    double = WorkerDouble(page.mqtt_port, "no-info")
    double.connect()
    try:
        double.sample([reading(0)])
        got = scraped(page, has(double))
        labels = got.of(double, "DCGM_FI_DEV_GPU_TEMP")[0][0]
        assert set(labels) == {"gpu", "UUID", "device", "modelName", "instance"}
    finally:
        double.stop()


def test_a_request_without_a_log_in_is_answered_401_with_one_clear_line(page: RunningPage) -> None:
    answer = requests.get(f"{page.address}/metrics", allow_redirects=False, timeout=10)

    assert answer.status_code == 401
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="gpumon"'
    assert answer.text == ("show an API token, as Authorization: Bearer TOKEN; gpumon user token NAME makes one\n")
