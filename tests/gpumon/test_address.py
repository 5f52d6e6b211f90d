"""Where a broker is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gpumon.address import address_for_agents, page_address, parse_broker_address
from gpumon.errors import SettingError
from gpumon.settings import Settings


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("gpu-master", "mqtts://gpu-master:8883"),
        ("gpu-master:9999", "mqtts://gpu-master:9999"),
        ("10.0.0.5", "mqtts://10.0.0.5:8883"),
        ("localhost", "mqtt://localhost:1883"),
        ("127.0.0.1", "mqtt://127.0.0.1:1883"),
        ("[::1]", "mqtt://[::1]:1883"),
        ("mqtt://broker.lab", "mqtt://broker.lab:1883"),
        ("mqtts://broker.lab:443", "mqtts://broker.lab:443"),
        (" mqtt://broker.lab/ ", "mqtt://broker.lab:1883"),
    ],
)
def test_an_address_means_tls_except_on_this_machine(text: str, address: str) -> None:
    assert str(parse_broker_address(text)) == address


def test_the_pages_address_is_answered_with_the_line_to_use_instead() -> None:
    with pytest.raises(SettingError, match="--master mqtts://gpu-master:8883"):
        parse_broker_address("https://gpu-master:5000")
    with pytest.raises(SettingError, match=r"--master mqtt://127\.0\.0\.1:1883"):
        parse_broker_address("http://127.0.0.1:5000")


@pytest.mark.parametrize("text", ["", "mqtt://", "ftp://x", "x:port", "x:70000", "mqtt://x/topic", "[::1"])
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(SettingError, match="no broker address"):
        parse_broker_address(text)


def test_a_password_in_an_address_is_refused_since_process_lists_show_it() -> None:
    with pytest.raises(SettingError, match="--password-file"):
        parse_broker_address("mqtt://u:p@broker.lab")


@pytest.mark.parametrize(
    "text", ["mqtt://u:s3cret@broker.lab:port", "u:s3cret@[", "http://u:s3cret@broker.lab", "s3cret@"]
)
def test_a_password_in_an_address_that_is_wrong_otherwise_is_not_shown(text: str) -> None:
    with pytest.raises(SettingError, match="--password-file") as raised:
        parse_broker_address(text)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "is_protected"),
    [("mqtts://gpu-master", True), ("mqtt://localhost", True), ("mqtt://[::1]", True), ("mqtt://gpu-master", False)],
)
def test_an_address_tells_whether_the_network_can_listen_in(text: str, is_protected: bool) -> None:
    assert parse_broker_address(text).is_protected is is_protected


def settings(**given: Any) -> Settings:
    """Return settings with these values."""
    return msgspec.convert(given, Settings)


@pytest.mark.parametrize(
    ("given", "agents", "page"),
    [
        ({}, "mqtt://127.0.0.1:1883", "http://127.0.0.1:5000"),
        ({"host": "192.0.2.7"}, "mqtts://192.0.2.7:8883", "https://192.0.2.7:5000"),
        ({"host": "fd00::7"}, "mqtts://[fd00::7]:8883", "https://[fd00::7]:5000"),
        ({"host": "0.0.0.0"}, "mqtts://this.lab:8883", "https://this.lab:5000"),
        ({"host": "::"}, "mqtts://this.lab:8883", "https://this.lab:5000"),
        ({"host": "::", "tls": {"names": ["gpus.lab", "b"]}}, "mqtts://gpus.lab:8883", "https://gpus.lab:5000"),
        ({"host": "192.0.2.7", "page": {"insecure_http": True}}, "mqtts://192.0.2.7:8883", "http://192.0.2.7:5000"),
        (
            {"host": "::", "page": {"insecure_http": True, "origins": ["https://gpus.example"]}},
            "mqtts://this.lab:8883",
            "https://gpus.example",
        ),
        ({"broker": {"url": "mqtts://broker.lab"}}, "mqtts://broker.lab", "http://127.0.0.1:5000"),
    ],
)
def test_other_machines_are_told_names_that_they_can_use(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], agents: str, page: str
) -> None:
    monkeypatch.setattr("gpumon.address.name_for_others", lambda: "this.lab")
    assert address_for_agents(settings(**given)) == agents
    assert page_address(settings(**given)) == page
