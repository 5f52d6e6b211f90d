"""Labels of any text are written so that a parser reads them back, and numbers as they are."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from agent.samplers.nvml_card import THROTTLE_REASONS
from webui.metrics_cards import EVENT_REASONS
from webui.metrics_text import Family, labels_text

NUMBER: Family[float] = Family("a_metric", "gauge", "What it is.", lambda value: value)


@given(st.text())
@example("\\n")
@example('\\"')
@example("a\nb\\")
@example("\ud800\x00\r\x85\u2028,} 1")
def test_a_label_of_any_text_is_read_back_with_control_characters_replaced(value: str) -> None:
    text = NUMBER.text([(labels_text({"label": value, "other": "x", "none": None}), 1.5)])

    (family,) = text_string_to_metric_families(text.encode().decode())

    shown = "".join(
        "\ufffd" if (c < " " and c != "\n") or c == "\x7f" or "\ud800" <= c <= "\udfff" else c for c in value
    )
    assert [(sample.labels, sample.value) for sample in family.samples] == [({"label": shown, "other": "x"}, 1.5)]


@given(st.one_of(st.integers(-(2**53), 2**53), st.floats(-1e299, 1e299)))
def test_a_number_is_read_back_as_it_is(value: float) -> None:
    (family,) = text_string_to_metric_families(NUMBER.text([('a="b"', value)]))

    assert [sample.value for sample in family.samples] == [float(value)]


def test_a_family_without_a_value_is_not_there_at_all() -> None:
    nothing: Family[int] = Family("a_metric", "gauge", "What it is.", lambda _: None)
    assert nothing.text([('a="b"', 1)]) == ""


def test_a_number_that_no_scraper_can_take_is_left_out() -> None:
    values = (10**400, 10**5000, -(10**400), 1e308, float("inf"), float("-inf"), float("nan"))
    assert NUMBER.text([('a="b"', value) for value in values]) == ""


def test_the_bits_of_event_reasons_are_nvmls_by_the_agents_names() -> None:
    assert {name: bit for bit, name in THROTTLE_REASONS.items()} == EVENT_REASONS
