"""What the fleet view answers: who is on which card, which are free, and what a search, a group, the map find."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from gpumon.messages import GpuReading, Process
from tests.support import eventually
from tests.webui.browsing import row_of, shown_names
from tests.webui.running import RunningPage
from tests.webui.worker_double import GIB, WorkerDouble, idle, lost, reading

pytestmark = pytest.mark.browser

EN_DASH = "\N{EN DASH}"

Workers = Callable[..., WorkerDouble]


def of_user(index: int, user: str, **changes: Any) -> GpuReading:
    """Return a card that this user computes on."""
    return reading(index, processes=[Process(pid=index + 1, user=user, memory_bytes=GIB)], **changes)


def asleep(index: int) -> GpuReading:
    """Return a card that the driver has powered down."""
    return GpuReading(uuid=f"GPU-{index:08d}-0000-4000-8000-000000000000", index=index, state="asleep")


def search(tab: Page, text: str) -> None:
    """Type a search."""
    tab.get_by_label("Search workers").fill(text)


def test_a_row_tells_who_is_on_which_card_and_which_are_free(tab: Page, page: RunningPage, worker: Workers) -> None:
    cards = [
        *(of_user(index, "amira") for index in range(3)),
        of_user(4, "chen"),
        idle(3),
        idle(5),
        of_user(6, "amira"),
    ]
    double = worker("who", cards)
    tab.goto(f"{page.address}/?q={double.id}")
    row = row_of(tab, double)

    expect(row.locator(".cell-users")).to_have_text(re.compile(f"amira 0{EN_DASH}2,6.*chen 4"))
    expect(row.locator(".cell-free")).to_have_text(re.compile(r"2\s*3,5"))


@pytest.mark.parametrize(
    ("cards", "word"),
    [([reading(0), lost(1)], "GPU lost"), ([asleep(0), asleep(1)], "asleep"), ([reading(0), asleep(1)], "online")],
)
def test_a_worker_s_state_says_what_its_cards_make_of_it(
    tab: Page, page: RunningPage, worker: Workers, cards: list[GpuReading], word: str
) -> None:
    double = worker("state", cards)
    tab.goto(f"{page.address}/?q={double.id}")

    expect(row_of(tab, double).locator(".cell-state")).to_contain_text(word)


SEARCHES = [
    ("user:amira", "ab"),
    ("user:amira temp>80", "a"),
    ("temp>80 free", "b"),
    ("free label:hall=north", "a"),
    ("label:hall", "abc"),
    ("-user:amira", "c"),
    ("free -lost", "a"),
    ("-label:hall=north", "bc"),
    ("util<5 user:chen", "c"),
    ("held", "c"),
    ("mem>=40g", "ab"),
    ("gpus>=2", "ab"),
    ("lost", "b"),
    ("worker:find-a", "a"),
    ('"h100 pcie"', "c"),
    ("gpu:h200 power>600", "ab"),
    ("temp>", ""),
]


@pytest.fixture(scope="module")
def found(page: RunningPage) -> Iterator[dict[str, str]]:
    """Three workers to search among; gives their letters by id."""
    halls = {"a": "north", "b": "south", "c": "south"}
    cards = {
        "a": [of_user(0, "amira", temperature_c=84), idle(1)],
        "b": [of_user(0, "amira", temperature_c=50), idle(1, temperature_c=85), lost(2)],
        "c": [of_user(0, "chen", utilization_percent=0, memory_used_bytes=GIB, name="NVIDIA H100 PCIe", power_w=90.0)],
    }
    doubles = {
        letter: WorkerDouble(page.mqtt_port, f"find-{letter}-x", labels={"set": "search", "hall": halls[letter]})
        for letter in cards
    }
    for letter, double in doubles.items():
        double.start(cards[letter])
    yield {double.id: letter for letter, double in doubles.items()}
    for double in doubles.values():
        double.stop()


def test_a_search_finds_workers_by_words_users_readings_and_labels(
    tab: Page, page: RunningPage, found: dict[str, str]
) -> None:
    def letters() -> str:
        return "".join(found[name] for name in shown_names(tab))

    tab.goto(page.address)
    for text, wanted in SEARCHES:
        search(tab, "label:set=search nothing-has-this")
        eventually(lambda: letters() == "")
        search(tab, f"label:set=search {text}")
        if wanted:
            eventually(letters)
        assert letters() == wanted, text


def test_what_is_searched_and_shown_is_in_the_address(tab: Page, page: RunningPage, found: dict[str, str]) -> None:
    tab.goto(page.address)
    search(tab, "label:set=search free")
    tab.get_by_label("Group by").select_option("hall")
    tab.get_by_role("group", name="List").get_by_role("button", name="GPUs").click()
    tab.wait_for_url(re.compile("q=label.*group=hall.*list=cards"))

    tab.goto(tab.url)

    expect(tab.get_by_label("Search workers")).to_have_value("label:set=search free")
    expect(tab.locator(".row-group").nth(0)).to_contain_text("hall=north")
    expect(tab.locator(".row-group").nth(1)).to_contain_text("hall=south")
    expect(tab.locator(".row-card")).to_have_count(2)
    expect(tab.locator(".row-card").first).to_contain_text("free")


def test_a_group_is_folded_and_selected_as_a_whole(tab: Page, page: RunningPage, found: dict[str, str]) -> None:
    tab.goto(f"{page.address}/?q=label:set=search&group=hall")
    south = tab.locator(".row-group").nth(1)
    expect(south).to_contain_text("2\u00a0workers")
    tab.get_by_label("Select all of hall=south").check()
    expect(tab.locator(".selection")).to_contain_text("2\u00a0workers selected")

    south.get_by_role("button", name="hall=south").click()

    expect(tab.locator(".table-body .worker-name")).to_have_count(1)
    expect(south.get_by_role("button")).to_have_attribute("aria-expanded", "false")


def test_rows_are_filtered_by_state(tab: Page, page: RunningPage, found: dict[str, str]) -> None:
    tab.goto(f"{page.address}/?q=label:set=search")
    tab.get_by_role("group", name="Filter by state").get_by_role("button", name="GPU lost").click()

    eventually(lambda: [found[name] for name in shown_names(tab)] == ["b"])


def test_columns_are_chosen_and_stay_chosen(tab: Page, page: RunningPage, found: dict[str, str]) -> None:
    tab.goto(f"{page.address}/?q=label:set=search")
    expect(tab.get_by_role("columnheader", name="Power")).to_be_visible()
    tab.get_by_text("Columns", exact=True).click()
    tab.get_by_role("checkbox", name="Power").uncheck()
    expect(tab.get_by_role("columnheader", name="Power")).to_have_count(0)

    tab.reload()

    expect(tab.get_by_role("columnheader", name="Memory")).to_be_visible()
    expect(tab.get_by_role("columnheader", name="Power")).to_have_count(0)


def test_the_map_tells_of_the_card_under_the_pointer_and_opens_its_worker(
    tab: Page, page: RunningPage, found: dict[str, str]
) -> None:
    tab.goto(f"{page.address}/?q=worker:find-a-x")
    expect(tab.locator(".table-body .row")).to_have_count(1)
    heat = tab.get_by_role("application")
    expect(heat).to_have_attribute("aria-label", re.compile("2\u00a0GPUs by utilization: 1 busy, 1 free"))
    heat.hover(position={"x": 6, "y": 6})
    expect(tab.locator(".card-tip")).to_contain_text("amira")
    heat.press("ArrowRight")
    expect(tab.locator(".card-tip")).to_contain_text("free")

    heat.press("Enter")

    tab.wait_for_url("**/workers/find-a-x")


def test_keys_search_step_select_and_explain_themselves(tab: Page, page: RunningPage, found: dict[str, str]) -> None:
    tab.goto(f"{page.address}/?q=label:set=search")
    expect(tab.locator(".table-body .row")).to_have_count(3)
    tab.keyboard.press("/")
    expect(tab.get_by_label("Search workers")).to_be_focused()
    tab.keyboard.press("Escape")
    tab.keyboard.press("j")
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("x")
    expect(tab.locator(".selection")).to_contain_text("find-b-x")

    tab.keyboard.press("?")

    expect(tab.get_by_role("dialog")).to_contain_text("next, previous row")


def test_light_and_dark_are_chosen_by_hand_and_stay(tab: Page, page: RunningPage) -> None:
    tab.goto(page.address)
    ground = "getComputedStyle(document.body).backgroundColor"
    tab.emulate_media(color_scheme="light")
    light = tab.evaluate(ground)
    tab.get_by_role("button", name="Keys and looks").click()
    tab.get_by_label("dark", exact=True).check()
    assert tab.evaluate(ground) != light

    tab.reload()

    expect(tab.locator("html")).to_have_attribute("data-theme", "dark")
    assert tab.evaluate(ground) != light
