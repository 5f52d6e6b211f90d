"""Cards that this machine has had stay listed."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.cards import KnownCards
from agent.samplers.base import Inventory, Readings
from gpumon.messages import Event, GpuInventory, GpuReading


def look(cards: KnownCards, *uuids: str) -> tuple[list[GpuReading], list[Event]]:
    """Look once at a machine on which these cards answer, numbered as given."""
    inventory = Inventory(tuple(GpuInventory(uuid=uuid, index=n, name="NVIDIA H200") for n, uuid in enumerate(uuids)))
    return cards.complete(inventory, Readings(tuple(GpuReading(uuid=uuid, index=n) for n, uuid in enumerate(uuids))))


def loaded(file: Path) -> KnownCards:
    """Return what is known after a restart of the agent."""
    cards = KnownCards(file)
    cards.load()
    return cards


def states(gpus: list[GpuReading]) -> dict[str, str]:
    """Return each card's state."""
    return {gpu.uuid: gpu.state for gpu in gpus}


def test_a_card_that_no_longer_answers_stays_listed_as_lost_without_readings(tmp_path: Path) -> None:
    cards = KnownCards(tmp_path / "cards.json")
    assert look(cards, "GPU-a", "GPU-b")[1] == []
    gpus, events = look(cards, "GPU-b")
    assert gpus[1] == GpuReading(uuid="GPU-a", name="NVIDIA H200", state="lost")
    assert [(event.kind, event.gpu) for event in events] == [("gpu_lost", "GPU-a")]


def test_a_loss_is_told_once_and_so_is_the_return(tmp_path: Path) -> None:
    cards = KnownCards(tmp_path / "cards.json")
    look(cards, "GPU-a", "GPU-b")
    told = [look(cards, *uuids)[1] for uuids in (["GPU-b"], ["GPU-b"], ["GPU-a", "GPU-b"], ["GPU-a", "GPU-b"])]
    assert [[event.kind for event in events] for events in told] == [["gpu_lost"], [], ["gpu_found"], []]


def test_a_lost_card_is_still_listed_after_a_restart_and_not_told_again(tmp_path: Path) -> None:
    cards = KnownCards(tmp_path / "cards.json")
    look(cards, "GPU-a", "GPU-b")
    look(cards, "GPU-b")
    gpus, events = look(loaded(tmp_path / "cards.json"), "GPU-b")
    assert states(gpus) == {"GPU-b": "ok", "GPU-a": "lost"}
    assert events == []


def test_a_card_that_was_lost_while_the_agent_was_away_is_told(tmp_path: Path) -> None:
    look(KnownCards(tmp_path / "cards.json"), "GPU-a", "GPU-b")
    gpus, events = look(loaded(tmp_path / "cards.json"), "GPU-b")
    assert states(gpus)["GPU-a"] == "lost"
    assert [event.kind for event in events] == ["gpu_lost"]


def test_a_card_is_known_by_its_uuid_whatever_its_number(tmp_path: Path) -> None:
    cards = KnownCards(tmp_path / "cards.json")
    look(cards, "GPU-a", "GPU-b")
    gpus, events = look(cards, "GPU-b", "GPU-a")
    assert states(gpus) == {"GPU-a": "ok", "GPU-b": "ok"}
    assert events == []


def test_a_damaged_file_is_kept_aside_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "cards.json"
    file.write_text('{"v":1,"cards":[{"gpu')
    cards = loaded(file)
    assert "damaged" in caplog.text
    assert (tmp_path / "cards.json.bad").read_text().startswith('{"v":1')
    assert states(look(cards, "GPU-a")[0]) == {"GPU-a": "ok"}


def test_a_disk_that_cannot_be_written_is_told_and_readings_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cards = KnownCards(tmp_path / "missing" / "cards.json")
    assert states(look(cards, "GPU-a")[0]) == {"GPU-a": "ok"}
    assert states(look(cards)[0]) == {"GPU-a": "lost"}
    assert "cannot be written" in caplog.text


def test_the_file_is_written_only_when_something_changes(tmp_path: Path) -> None:
    file = tmp_path / "cards.json"
    cards = KnownCards(file)
    look(cards, "GPU-a")
    written = file.stat().st_ino
    look(cards, "GPU-a")
    assert file.stat().st_ino == written
