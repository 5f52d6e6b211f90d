"""Readings through the program nvidia-smi: real outputs where they lie, and the project's own for what they lack."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.processes import ProcessTable
from agent.samplers.base import Readings, SamplerError
from agent.samplers.nvidia_smi import NvidiaSmiSampler
from agent.samplers.nvml_card import THROTTLE_REASONS
from gpumon.messages import Decoder, GpuReading, Metrics, encode
from tests.support import eventually

SAMPLES = Path(__file__).resolve().parents[4] / "shared" / "samples" / "nvidia-smi"
FIXTURES = Path(__file__).with_name("fixtures")

Program = Callable[[str], NvidiaSmiSampler]


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Put a program called nvidia-smi on PATH and return a sampler that runs it."""

    def install(script: str) -> NvidiaSmiSampler:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        return NvidiaSmiSampler(ProcessTable(), timeout_s=1.0)

    return install


def printing(path: Path) -> str:
    """Return a script that prints a file, and for `-L` nothing."""
    return f'case "$1" in -L) ;; *) cat "{path}" ;; esac'


def real_sample(name: str) -> Path:
    """Return a real output, or skip the test where those do not lie beside the checkout."""
    path = SAMPLES / name
    if not path.exists():
        pytest.skip(f"the real outputs are not at {SAMPLES}")
    return path


def first(sampler: NvidiaSmiSampler) -> GpuReading:
    """Return the first card's reading."""
    sampler.start()
    return sampler.read().gpus[0]


def published(readings: Readings) -> list[GpuReading]:
    """Return the readings as somebody gets them who validates what arrives."""
    sample = Metrics(time=1.0, seq=0, interval_s=5.0, source="nvidia-smi", gpus=list(readings.gpus))
    return Decoder(Metrics).decode(encode(sample)).gpus


def one_card(tmp_path: Path, values: str) -> str:
    """Return a script that prints one card with these values."""
    file = tmp_path / "one-card.xml"
    file.write_text(f'<nvidia_smi_log><gpu id="00000000:0A:00.0"><uuid>GPU-a</uuid>{values}</gpu></nvidia_smi_log>')
    return printing(file)


def raises(sampler: NvidiaSmiSampler) -> bool:
    """Tell whether a look fails."""
    try:
        sampler.read()
    except SamplerError:
        return True
    return False


def is_running(pid: int) -> bool:
    """Tell whether a process runs; one that has ended may still wait to be taken note of."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    "name", ["a100-sxm4-v12.xml", "a10g.xml", "quadro-p400.xml", "rtx-3080-v13.xml", "tesla-t4.xml"]
)
def test_every_real_output_is_read_and_can_be_published(smi: Program, name: str) -> None:
    sampler = smi(printing(real_sample(name)))
    reading = first(sampler)
    assert reading.uuid
    assert reading.state == "ok"
    assert reading.temperature_c is not None
    assert reading.memory_total_bytes
    assert reading.memory_used_bytes is not None
    inventory = sampler.inventory()
    assert inventory.driver_version
    assert inventory.gpus[0].pci_bus_id is not None
    assert len(inventory.gpus[0].pci_bus_id) == len("0000:0C:00.0")
    assert published(sampler.read()) == list(sampler.read().gpus)


def test_the_values_of_a_real_output_of_the_newest_form(smi: Program) -> None:
    reading = first(smi(printing(real_sample("rtx-3080-v13.xml"))))
    assert reading.name == "NVIDIA GeForce RTX 3080"
    assert reading.fan_percent == 0
    assert reading.performance_state == 2
    assert reading.throttle_reasons == []
    assert (reading.pcie_generation, reading.pcie_width) == (4, 16)
    assert reading.pcie_rx_bytes_per_s == 14_742_333_000
    assert reading.ecc_corrected is None
    assert reading.energy_j is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("utilization_percent", 87),
        ("memory_utilization_percent", 12),
        ("temperature_c", 66),
        ("memory_temperature_c", None),
        ("power_w", 201.5),
        ("power_limit_w", 300.0),
        ("memory_used_bytes", 10240 << 20),
        ("memory_total_bytes", 24564 << 20),
        ("fan_percent", 0),
        ("sm_clock_mhz", 1980),
        ("memory_clock_mhz", 9501),
        ("performance_state", 2),
        ("throttle_reasons", ["sw_power_cap"]),
        ("encoder_percent", 0),
        ("pcie_generation", 4),
        ("pcie_width", 8),
        ("pcie_tx_bytes_per_s", 1_000_000),
        ("ecc_uncorrected", None),
        ("state", "ok"),
    ],
)
def test_each_reading_is_in_the_contracts_unit(smi: Program, field: str, value: object) -> None:
    assert getattr(first(smi(printing(FIXTURES / "healthy.xml"))), field) == value


def test_processes_carry_their_memory_and_kind(smi: Program) -> None:
    processes = {process.pid: process for process in first(smi(printing(FIXTURES / "healthy.xml"))).processes}
    assert processes[1].memory_bytes == 9000 << 20
    assert processes[1].type == "compute"
    assert processes[4194300].type == "graphics"
    assert processes[4194300].memory_bytes is None


def test_a_value_that_cannot_be_read_is_none_and_the_rest_is_kept(smi: Program) -> None:
    sampler = smi(printing(FIXTURES / "broken.xml"))
    sampler.start()
    readings = {gpu.uuid: gpu for gpu in sampler.read().gpus}
    half = readings["GPU-00000000-0000-0000-0000-00000000000a"]
    assert half.utilization_percent is None
    assert half.power_w is None
    assert half.temperature_c == 50


def test_an_older_drivers_output_is_read_alike(smi: Program) -> None:
    sampler = smi(printing(FIXTURES / "two-cards.xml"))
    sampler.start()
    idle, busy = published(sampler.read())
    assert (idle.index, idle.power_w, idle.power_limit_w, idle.utilization_percent) == (0, 10.25, 70.0, 0)
    assert (busy.index, busy.power_w, busy.power_limit_w, busy.utilization_percent) == (1, 390.0, 400.0, 100)
    assert busy.memory_temperature_c == 80
    assert [gpu.pci_bus_id for gpu in sampler.inventory().gpus] == ["0000:1B:00.0", "0000:1C:00.0"]
    assert [gpu.mig for gpu in sampler.inventory().gpus] == [None, False]


def test_throttle_reasons_have_the_names_that_nvml_gives_them(smi: Program) -> None:
    sampler = smi(printing(FIXTURES / "two-cards.xml"))
    sampler.start()
    throttled, silent = sampler.read().gpus
    assert set(throttled.throttle_reasons or []) == set(THROTTLE_REASONS.values())
    assert silent.throttle_reasons is None


def test_ecc_errors_are_those_since_the_driver_was_loaded_in_either_layout(smi: Program) -> None:
    sampler = smi(printing(FIXTURES / "two-cards.xml"))
    sampler.start()
    by_bits, by_memory = sampler.read().gpus
    assert (by_bits.ecc_corrected, by_bits.ecc_uncorrected) == (5, 0)
    assert (by_memory.ecc_corrected, by_memory.ecc_uncorrected) == (11, 22)


def test_a_process_that_computes_and_draws_is_listed_once(smi: Program) -> None:
    sampler = smi(printing(FIXTURES / "two-cards.xml"))
    sampler.start()
    both, nameless = sampler.read().gpus[1].processes
    assert (both.pid, both.name, both.type, both.memory_bytes) == (4194301, "viewer", "compute", 1990 << 20)
    assert (nameless.pid, nameless.name, nameless.type, nameless.memory_bytes) == (4194302, None, "compute", None)


def test_a_lost_card_is_lost_and_a_faulty_one_an_error_while_the_others_go_on(smi: Program) -> None:
    sampler = smi(printing(FIXTURES / "lost.xml"))
    sampler.start()
    readings = sampler.read()
    good, lost, faulty = published(readings)
    assert (good.state, good.temperature_c, good.memory_used_bytes, good.utilization_percent) == ("ok", 0, 0, 0)
    assert lost == GpuReading(uuid=lost.uuid, name="NVIDIA Example", state="lost")
    assert (faulty.state, faulty.index, faulty.temperature_c, faulty.memory_total_bytes) == ("error", 3, None, None)
    assert [gpu.index for gpu in sampler.inventory().gpus] == [0, 3]
    assert readings.problem is not None
    assert [problem.split(": ") for problem in readings.problem.split("; ")] == [
        ["0000:3B:00.0", "GPU is lost"],
        ["0000:3C:00.0", "GPU is lost"],
        ["0000:3D:00.0", "Unknown Error"],
    ]


@pytest.mark.parametrize(
    "values",
    [
        "<utilization><gpu_util>101 %</gpu_util><memory_util>-1 %</memory_util></utilization>",
        "<utilization><gpu_util>many %</gpu_util></utilization>",
        "<fan_speed>-5 %</fan_speed>",
        f"<fb_memory_usage><total>{'9' * 400} MiB</total><used>-1 MiB</used></fb_memory_usage>",
        "<performance_state>P-1</performance_state><clocks><sm_clock>nan MHz</sm_clock></clocks>",
        "<pci><pci_bus_id>somewhere</pci_bus_id><tx_util>-1 KB/s</tx_util></pci>",
        "<processes><process_info><pid>-4</pid></process_info><process_info/></processes>",
        "<mig_devices><mig_device/></mig_devices>",
    ],
)
def test_a_value_that_makes_no_sense_costs_nothing_but_itself(smi: Program, tmp_path: Path, values: str) -> None:
    sampler = smi(one_card(tmp_path, f"{values}<temperature><gpu_temp>40 C</gpu_temp></temperature>"))
    sampler.start()
    (reading,) = published(sampler.read())
    expected = GpuReading(uuid="GPU-a", index=0, temperature_c=40, mig_devices=reading.mig_devices)
    assert reading == expected


@pytest.mark.parametrize(
    "name",
    [
        "a&b",
        "a<b",
        "a&amp;b",
        "</process_name></process_info></processes></gpu><gpu><uuid>GPU-false</uuid><process_name>",
        "]]>",
        "\x01\x1b[31m",
    ],
)
def test_a_process_may_call_itself_whatever_it_likes(smi: Program, tmp_path: Path, name: str) -> None:
    process = f"<process_info><pid>4194303</pid><type>C</type><process_name>{name}</process_name></process_info>"
    sampler = smi(one_card(tmp_path, f"\n<processes>\n{process}\n</processes>\n"))
    sampler.start()
    (reading,) = published(sampler.read())
    assert reading.uuid == "GPU-a"
    assert [process.pid for process in reading.processes] == [4194303]


def test_of_too_many_processes_those_with_the_most_memory_are_kept(smi: Program, tmp_path: Path) -> None:
    processes = "".join(
        f"<process_info><pid>{5_000_000 + n}</pid><used_memory>{n} MiB</used_memory></process_info>"
        for n in range(5000)
    )
    sampler = smi(one_card(tmp_path, f"<processes>{processes}</processes>"))
    sampler.start()
    (reading,) = published(sampler.read())
    assert [process.pid for process in reading.processes] == list(range(5_000_904, 5_005_000))


def test_lines_about_a_lost_card_among_the_output_do_not_hide_the_others(smi: Program) -> None:
    lost = "Unable to determine the device handle for GPU 0000:3B:00.0: GPU is lost"
    sampler = smi(f'echo "{lost}" >&2; sed "6i {lost}" "{FIXTURES / "healthy.xml"}"; echo "{lost}"; exit 15')
    assert first(sampler).temperature_c == 66


def test_mig_devices_are_listed(smi: Program) -> None:
    sampler = smi(f'case "$1" in -L) cat "{FIXTURES / "mig.list"}" ;; *) cat "{FIXTURES / "mig.xml"}" ;; esac')
    reading = first(sampler)
    assert sampler.inventory().gpus[0].mig is True
    assert [device.gpu_instance for device in reading.mig_devices] == [1, 2]
    assert reading.mig_devices[0].memory_used_bytes == 512 << 20
    assert reading.mig_devices[0].uuid.startswith("MIG-")
    assert reading.mig_devices[0].profile == "3g.40gb"
    process = reading.processes[0]
    assert (process.pid, process.mig_uuid) == (4194300, reading.mig_devices[1].uuid)


def test_mig_devices_are_told_apart_also_where_their_uuids_are_not_known(smi: Program) -> None:
    reading = first(smi(printing(FIXTURES / "mig.xml")))
    assert len({device.uuid for device in reading.mig_devices}) == 2
    assert reading.processes[0].mig_uuid == reading.mig_devices[1].uuid


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("sleep 30", "did not answer in 1 s and was killed"),
        ("exit 9", "finds no loaded NVIDIA driver: reboot"),
        ("echo Failed to initialize NVML: Driver/library version mismatch; exit 18", "reboot this machine"),
        ("echo; exit 7", "exit code 7 and no output"),
        ("echo NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.", "communicate"),
        ("echo '<nvidia_smi_log><gpu'", "nvidia-smi"),
        ("printf '<nvidia_smi_log></nvidia_smi_log>'", "no GPU"),
    ],
)
def test_a_program_that_cannot_be_read_is_said_in_one_line(smi: Program, script: str, said: str) -> None:
    with pytest.raises(SamplerError, match=said) as raised:
        smi(script).start()
    assert "\n" not in str(raised.value)


def test_a_program_that_hangs_is_killed_with_its_children(smi: Program, tmp_path: Path) -> None:
    child = tmp_path / "child"
    with pytest.raises(SamplerError, match="was killed"):
        smi(f'sleep 60 & echo $! > "{child}"; wait').start()
    pid = int(child.read_text())
    eventually(lambda: not is_running(pid))


def test_a_program_that_fails_later_is_said_and_its_last_answer_is_not_told_again(smi: Program, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    sampler = smi(f'[ -e "{broken}" ] && exit 9; cat "{FIXTURES / "healthy.xml"}"')
    sampler.start()
    assert sampler.read().gpus
    broken.touch()
    eventually(lambda: raises(sampler))
    for ask in (sampler.read, sampler.inventory):
        with pytest.raises(SamplerError):
            ask()
    broken.unlink()
    assert sampler.read().gpus


def test_a_program_that_may_not_be_run_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/no/such/shell\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SamplerError, match="cannot be run"):
        NvidiaSmiSampler(ProcessTable()).start()


def test_a_missing_program_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SamplerError, match="not found"):
        NvidiaSmiSampler(ProcessTable()).start()


def test_the_program_is_not_run_more_often_than_it_can_answer(smi: Program, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    sampler = smi(f'echo run >> "{runs}"; sleep 0.3; cat "{FIXTURES / "healthy.xml"}"')
    sampler.start()
    for _ in range(20):
        sampler.read()
    assert runs.read_text().count("run") <= 2
