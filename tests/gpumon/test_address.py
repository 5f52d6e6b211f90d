"""Where a broker is."""

from __future__ import annotations

import pytest

from gpumon.address import parse_broker_address
from gpumon.errors import SettingError


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
