"""Join lines, broker addresses and settings: what a person pastes, types, or gets in a mail."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from gpumon.address import BrokerAddress, parse_broker_address
from gpumon.errors import SettingError
from gpumon.joining import JoinLine, JoinLineError, certificate_from_pem, is_join_line, parse_join_line
from gpumon.settings import Settings
from gpumon.settings_sources import declarations, load_settings
from tests.fuzz.fuzzing import ODD_TEXT, ODD_VALUES, fuzzed, mutated

KEY = "gpj_0123456789abcdefABCDEF"
LINE = JoinLine(BrokerAddress("master.lab", 8883, tls=True), KEY)

hosts = st.one_of(st.sampled_from(["master.lab", "10.0.0.1", "fd00::1", "localhost", "a" * 63, "x..y", ""]), ODD_TEXT)
ports = st.one_of(st.integers(1, 65535), st.integers())
keys = st.one_of(st.just(KEY), ODD_TEXT)
lines = st.builds(
    lambda host, port, tls, key: JoinLine(BrokerAddress(host, port, tls), key),
    *(hosts, ports),
    *(
        st.booleans(),
        keys,
    ),
)
addresses = st.one_of(
    ODD_TEXT,
    st.builds(
        "{}{}{}:{}{}".format,
        st.sampled_from(["", "mqtt://", "mqtts://", "http://", "ftp://", "//", "mqtt:"]),
        st.sampled_from(["", "user:p4ssw0rd@", "p4ssw0rd@", "user:p4ssw0rd@@", ":p4ssw0rd@"]),
        hosts,
        st.one_of(ports, ODD_TEXT),
        st.sampled_from(["", "/", "/path", "?q", "#f"]),
    ),
)


@fuzzed("join lines", weight=3, line=lines)
def test_a_line_that_can_be_made_is_read_back_as_it_was(line: JoinLine) -> None:
    try:
        text = line.encode()
    except JoinLineError:
        return
    assert parse_join_line(text) == line
    assert is_join_line(text)


@fuzzed("join lines", weight=5, data=st.one_of(mutated(st.just(LINE.encode().encode())), st.binary(max_size=200)))
def test_a_line_that_is_damaged_is_refused_and_never_shown(data: bytes) -> None:
    text = data.decode(errors="replace")
    is_join_line(text)
    try:
        line = parse_join_line(text)
    except JoinLineError as error:
        shown = f"{error} {error.__cause__!r}"
        line = None
    if line is None:
        assert KEY not in shown
        return
    assert line == LINE


@fuzzed(
    "join lines",
    pem=st.one_of(
        ODD_TEXT,
        ODD_TEXT.map("-----BEGIN CERTIFICATE-----\n{}".format),
        st.builds("-----BEGIN CERTIFICATE-----{}-----END CERTIFICATE-----{}".format, ODD_TEXT, ODD_TEXT),
        st.binary(max_size=60).map(ssl.DER_cert_to_PEM_cert),
    ),
)
def test_a_certificate_that_is_none_is_refused(pem: str) -> None:
    with pytest.raises(JoinLineError):
        certificate_from_pem(pem, "ca.crt")


@fuzzed("addresses", weight=3, text=addresses)
def test_an_address_is_read_or_refused_without_showing_a_password(text: str) -> None:
    try:
        address = parse_broker_address(text)
    except SettingError as error:
        address, problem = None, str(error)
    if address is None:
        assert "p4ssw0rd" not in problem
        return
    assert parse_broker_address(str(address)) == address
    assert "p4ssw0rd" not in str(address)


KEYS = sorted(declarations())


@fuzzed("settings", weight=2, values=st.dictionaries(st.sampled_from(KEYS), ODD_TEXT, max_size=4))
def test_environment_variables_become_settings_or_an_error_that_names_one(values: dict[str, str]) -> None:
    known = declarations()
    variables = {known[key].variables[0]: value for key, value in values.items() if known[key].variables}
    try:
        assert isinstance(load_settings({}, variables), Settings)
    except SettingError as error:
        problem = str(error)
    else:
        return
    assert any(variable in problem for variable in variables)


toml_values = ODD_VALUES.filter(lambda value: not isinstance(value, (dict, list)) and value is not None)


@fuzzed(
    "settings",
    content=st.one_of(
        st.binary(max_size=60),
        st.builds(lambda key, value: f"{key} = {value!r}".encode(errors="replace"), st.sampled_from(KEYS), toml_values),
    ),
)
def test_a_settings_file_becomes_settings_or_an_error(content: bytes, tmp_path_factory: Any) -> None:
    path: Path = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    path.write_bytes(content)
    with contextlib.suppress(SettingError):
        assert isinstance(load_settings({}, {}, path), Settings)
