"""Which source is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.samplers.base import Inventory, Readings, SamplerError
from agent.samplers.choose import FirstThatWorks, choose_sampler, nvml_finds_a_gpu
from gpumon.messages import Event, Source
from gpumon.settings import AgentSettings
from tests.agent.sampling.conftest import Shown
from tests.standin import DRIVER_NOT_LOADED, Standin


class Fake:
    """A source that can be opened, or says why not."""

    def __init__(self, source: Source, refusal: str | None = None) -> None:
        self.source: Source = source
        self.refusal = refusal
        self.opened = 0

    def start(self) -> None:
        if self.refusal is not None:
            raise SamplerError(self.refusal)
        self.opened += 1

    def stop(self) -> None:
        self.opened -= 1

    def inventory(self) -> Inventory:
        return Inventory(())

    def read(self) -> Readings:
        return Readings(())

    def waits_for(self) -> str | None:
        return None

    def events(self) -> list[Event]:
        return []


def test_the_first_source_that_can_be_opened_is_read() -> None:
    first, second = Fake("nvml"), Fake("nvidia-smi")
    sampler = FirstThatWorks([lambda: first, lambda: second])
    sampler.start()
    assert (sampler.source, first.opened, second.opened) == ("nvml", 1, 0)
    sampler.stop()
    assert first.opened == 0


def test_the_next_one_is_read_where_the_first_cannot_be(caplog: pytest.LogCaptureFixture) -> None:
    sampler = FirstThatWorks([lambda: Fake("nvml", "no library"), lambda: Fake("nvidia-smi")])
    sampler.start()
    assert sampler.source == "nvidia-smi"
    assert "no library" in caplog.text


def test_a_source_that_has_come_back_is_read_after_the_next_opening() -> None:
    first, second = Fake("nvml", "driver is being updated"), Fake("nvidia-smi")
    sampler = FirstThatWorks([lambda: first, lambda: second])
    sampler.start()
    sampler.stop()
    first.refusal = None
    sampler.start()
    assert sampler.source == "nvml"


def test_where_none_can_be_opened_one_line_says_why_each_could_not() -> None:
    sampler = FirstThatWorks([lambda: Fake("nvml", "no library"), lambda: Fake("nvidia-smi", "no program")])
    with pytest.raises(SamplerError, match="no library; no program") as raised:
        sampler.start()
    assert "\n" not in str(raised.value)


def test_nvidia_smi_is_read_where_nvml_cannot_be_until_nvml_is_back(
    show: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n/bin/cat '{Path(__file__).with_name('fixtures') / 'healthy.xml'}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    show(Standin(init_error=DRIVER_NOT_LOADED))
    sampler = choose_sampler(AgentSettings(), "w1")
    sampler.start()
    sources = [sampler.source]
    assert sampler.inventory().gpus[0].name == "NVIDIA RTX Example"
    sampler.stop()
    show(Standin())
    sampler.start()
    sources.append(sampler.source)
    assert sources == ["nvidia-smi", "nvml"]
    assert len(sampler.read().gpus) == 4
    sampler.stop()


def test_where_neither_can_be_read_one_line_says_why_and_what_to_do(
    show: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    show(Standin(init_error=DRIVER_NOT_LOADED))
    with pytest.raises(SamplerError) as raised:
        choose_sampler(AgentSettings(), "w1").start()
    message = str(raised.value)
    assert "driver is not loaded" in message
    assert "nvidia-smi was not found" in message
    assert "--source simulated" in message
    assert "\n" not in message


def test_nothing_is_read_from_a_source_that_is_not_open() -> None:
    sampler = FirstThatWorks([lambda: Fake("nvml")])
    sampler.stop()
    with pytest.raises(SamplerError, match="no source is open"):
        sampler.read()


@pytest.mark.parametrize("source", ["nvml", "nvidia-smi", "simulated"])
def test_a_source_that_is_named_is_the_one_that_is_read(source: Source) -> None:
    assert choose_sampler(AgentSettings(source=source), "w1").source == source


def test_nvml_is_asked_whether_it_has_a_gpu(show: Shown) -> None:
    show(Standin())
    assert nvml_finds_a_gpu()
    show(Standin(gpus=[]))
    assert not nvml_finds_a_gpu()
    show(Standin(init_error=DRIVER_NOT_LOADED))
    assert not nvml_finds_a_gpu()
