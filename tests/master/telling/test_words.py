"""What messages say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from master.alerts.records import Alert, Kind, Severity
from master.telling.advice import advice_for
from master.telling.message import Item, Told, in_order
from master.telling.secrecy import without_secrets
from master.telling.words import LONGEST_BODY, LONGEST_TITLE, body_of, title_of
from tests.master.telling.support import alert, over


@pytest.fixture(autouse=True)
def berlin() -> Iterator[None]:
    """The master's clock on the wall shows Berlin's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


def items(*alerts: Alert, told: Told = "firing") -> tuple[Item, ...]:
    """What is told of alerts."""
    return in_order({each.id: Item(each, told) for each in alerts})


def test_one_alert_says_what_where_since_when_and_what_to_do() -> None:
    assert title_of(items(alert())) == "[warning] gpu1: GPU 3 (NVIDIA H200) is at 91 °C (at or above 85 °C)"
    assert body_of(items(alert()), "https://gpumon.lab:5000") == (
        "gpu1: GPU 3 (NVIDIA H200) is at 91 °C (at or above 85 °C)\n\n"
        "Worker: gpu1 (rack=3)\n"
        "Card: GPU-5d1e6a2c\n"
        "Since: 2026-11-24 13:00:00 CET\n"
        "Value: 91 °C (threshold 85 °C)\n"
        "Rule: hot, severity warning\n"
        "Page: https://gpumon.lab:5000/alerts/a-1\n\n"
        "What to do: Look at fans, filters and the air or water that comes in, and at its neighbours."
    )


def test_one_that_is_over_says_how_long_it_lasted() -> None:
    ended = items(over(alert()), told="resolved")
    assert title_of(ended).startswith("[over] gpu1: ")
    text = body_of(ended, None)
    assert "It is over; it lasted 12 min." in text
    assert "Until: 2026-11-24 13:12:00 CET" in text
    assert "Page:" not in text


def test_many_are_counted_and_listed_the_gravest_first_in_bounded_length() -> None:
    many = [alert(number, worker_id=f"gpu{number % 20}") for number in range(98)]
    grave = alert(
        99, rule="gpu-lost", kind=Kind.GPU_LOST, severity=Severity.PAGE, text="GPU 1 does not answer any more"
    )
    ended = {"x": Item(over(alert(100)), "resolved")}
    told = in_order({**{each.id: Item(each, "firing") for each in (*many, grave)}, **ended})
    assert title_of(told) == "[page] 99 alerts fire, 1 is over: hot 99, gpu-lost 1"
    lines = body_of(told, "https://gpumon.lab:5000").split("\n")
    assert lines[1] == "By rule: hot (warning) 99, gpu-lost (page) 1"
    assert lines[2].endswith(" and 14 more")
    assert lines[4].startswith("[page] gpu99: GPU 1 does not answer")
    assert lines[-3].startswith("... and ")
    assert lines[-1] == "Page: https://gpumon.lab:5000/alerts"
    assert sum(len(line) + 1 for line in lines) <= LONGEST_BODY


def test_what_is_perhaps_told_twice_says_so() -> None:
    assert title_of(items(alert()), is_repeated=True).endswith("(perhaps told before)")
    assert "may have been told before" in body_of(items(alert()), None, is_repeated=True)


def test_what_a_worker_tells_makes_no_lines_of_its_own_and_nothing_without_end() -> None:
    hostile = alert(text="hot\r\nBcc: everybody@example.org\n" + "x" * 5000, labels={"a\nb": "c\u2028d"})
    assert len(title_of(items(hostile))) <= LONGEST_TITLE
    assert "\n" not in title_of(items(hostile))
    body = body_of(items(hostile), None)
    assert "\r" not in body
    assert "\nBcc" not in body
    assert len(body) <= LONGEST_BODY


def test_every_kind_of_alert_has_its_advice() -> None:
    assert all(advice_for(kind).endswith(".") for kind in Kind)


def test_an_event_says_how_often_it_has_happened() -> None:
    assert "So often: 7 times" in body_of(items(replace(alert(), count=7, value=None, threshold=None)), None)


@pytest.mark.parametrize(
    ("url", "secrets", "machine"),
    [
        ("tgram://123456789:AAFsecret/987654321", ["123456789", "AAFsecret", "987654321"], None),
        ("slack://Tsecret1/Bsecret2/secret3/#room", ["Tsecret1", "Bsecret2", "secret3", "room"], None),
        (
            "mailtos://anna:p%40ss%2Fword@smtp.example.org:587?to=oncall@example.net",
            ["anna", "p%40ss%2Fword", "p@ss/word", "oncall"],
            None,
        ),
        (
            "ntfys://anna:secretpw@ntfy.example.org/topic1?token=tk_1",
            ["secretpw", "topic1", "tk_1"],
            "ntfy.example.org",
        ),
        ("discord://1234567890/secret-token_value", ["1234567890", "secret-token_value"], None),
        ("https://hooks.example.org/services/secret/x1y2?key=k3y", ["secret", "x1y2", "k3y"], "hooks.example.org"),
    ],
)
def test_no_part_of_an_address_but_its_machine_is_shown(url: str, secrets: list[str], machine: str | None) -> None:
    for secret in (url, *secrets):
        shown = without_secrets(f"{machine} does not answer\nto {secret}, really", url)
        assert not any(each in shown for each in secrets)
        assert "\n" not in shown
        assert f"{machine} does not answer to ..." in shown
