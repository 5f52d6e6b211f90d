"""Reading a broker's address."""

from __future__ import annotations

import pytest

from gpumon.address import parse_broker_address
from gpumon.errors import SettingError


@pytest.mark.parametrize("host", ["a..b", "x" * 64, "mqtt://a..b:1883"])
def test_a_host_that_can_be_no_name_is_refused_before_anybody_resolves_it(host: str) -> None:
    with pytest.raises(SettingError, match="is no name of a machine"):
        parse_broker_address(host)


@pytest.mark.parametrize("host", ["gpu1", "gpu1.lab", "gpu1.lab.", "10.0.0.7", "gpü.lab"])
def test_a_bare_host_means_tls_on_8883(host: str) -> None:
    assert str(parse_broker_address(host)) == f"mqtts://{host}:8883"
