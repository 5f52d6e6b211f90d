"""docs/home-assistant.md gives settings that are read, and entities as Home Assistant names them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gpumon.messages import GpuInventory
from gpumon.settings_sources import load_settings
from tests.agent.home_assistant.support import announced

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "home-assistant.md").read_text()


def slug(*names: str) -> str:
    return re.sub("[^a-z0-9]+", "_", " ".join(names).lower())


@pytest.mark.parametrize("block", re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL))
def test_settings_are_read_as_they_stand_there(block: str, tmp_path: Path) -> None:
    file = tmp_path / "gpumon.toml"
    file.write_text(block)
    settings = load_settings({}, {}, file).home_assistant
    assert settings.enabled
    assert ("Restart Ollama" in settings.buttons) == ("buttons" in block)


def test_entities_have_the_names_that_home_assistant_makes_of_device_and_entity() -> None:
    card = GpuInventory(uuid="GPU-8f6a0c2e-1b2c-3d4e-5f60-718293a4b5c6", name="NVIDIA GeForce RTX 4090")
    config = list(announced(card).values())[1]
    device = config["dev"]["name"].removeprefix("w1 ")
    made = {f"{component['p']}.gpu1_{slug(device, component['name'])}" for component in config["cmps"].values()}
    used = set(re.findall(r"\b(?:sensor|binary_sensor)\.gpu1_\w+", TEXT))
    assert used
    assert used <= made
