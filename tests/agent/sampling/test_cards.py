"""Cards that this machine has had stay listed."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.cards import KnownCards
from agent.samplers.base import Inventory, Readings
from gpumon.messages import Event, GpuInventory, GpuReading, GpuState


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


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file of this process become longer than it is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


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
    assert {gpu.uuid: gpu.index for gpu in cards.inventory()} == {"GPU-a": 1, "GPU-b": 0}
    look(cards, "GPU-a")
    assert {gpu.uuid: gpu.index for gpu in cards.inventory()} == {"GPU-a": 0, "GPU-b": None}


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


def test_a_full_disk_leaves_the_file_as_it_was_is_told_once_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "cards.json"
    cards = KnownCards(file)
    look(cards, "GPU-a", "GPU-b")
    before = file.read_bytes()
    with full_disk():
        look(cards, "GPU-b")
        look(cards, "GPU-b")
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["cards.json"]
    assert caplog.text.count("cannot be written") == 1
    look(cards, "GPU-b")
    assert [gpu.index for gpu in loaded(file).inventory()] == [None, 0]
    assert look(loaded(file), "GPU-b")[1] == []


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[]", b'{"v":2,"cards":[]}', b'{"v":1,"cards":[{"lost":true}]}']
)
def test_whatever_the_file_holds_the_cards_are_read(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "cards.json"
    file.write_bytes(content)
    assert states(look(loaded(file), "GPU-a")[0]) == {"GPU-a": "ok"}
    assert (tmp_path / "cards.json.bad").read_bytes() == content
    assert [gpu.uuid for gpu in loaded(file).inventory()] == ["GPU-a"]


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "cards.json").mkdir()
    assert states(look(loaded(tmp_path / "cards.json"), "GPU-a")[0]) == {"GPU-a": "ok"}
    assert "cannot be read" in caplog.text


def test_a_card_that_says_itself_that_it_is_lost_has_no_readings(tmp_path: Path) -> None:
    cards = KnownCards(tmp_path / "cards.json")
    look(cards, "GPU-a")
    lost = GpuReading(uuid="GPU-a", index=0, name="NVIDIA H200", state="lost", temperature_c=40, last_xid=79)
    gpus, events = cards.complete(Inventory(()), Readings((lost,)))
    assert gpus == [GpuReading(uuid="GPU-a", name="NVIDIA H200", state="lost", last_xid=79)]
    assert [event.kind for event in events] == ["gpu_lost"]


@pytest.mark.parametrize("state", ["asleep", "error"])
def test_a_card_that_sleeps_or_has_a_fault_is_not_lost(tmp_path: Path, state: GpuState) -> None:
    cards = KnownCards(tmp_path / "cards.json")
    look(cards, "GPU-a")
    gpus, events = cards.complete(Inventory(()), Readings((GpuReading(uuid="GPU-a", state=state),)))
    assert (states(gpus), events) == ({"GPU-a": state}, [])


def test_a_card_that_was_put_in_is_told(tmp_path: Path) -> None:
    look(KnownCards(tmp_path / "cards.json"), "GPU-a")
    events = look(loaded(tmp_path / "cards.json"), "GPU-a", "GPU-b")[1]
    assert [(event.kind, event.gpu) for event in events] == [("gpu_found", "GPU-b")]
    assert events[0].text == "NVIDIA H200 at an unknown place is new"


def test_the_file_is_written_only_when_something_changes(tmp_path: Path) -> None:
    file = tmp_path / "cards.json"
    cards = KnownCards(file)
    look(cards, "GPU-a")
    written = file.stat().st_ino
    look(cards, "GPU-a")
    assert file.stat().st_ino == written
