"""By which names other machines reach this one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from gpumon import machine
from gpumon.machine import is_address, is_dns_name, machine_addresses, machine_names, name_for_others


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    machine._full_name.cache_clear()
    machine._addresses_of.cache_clear()
    yield
    machine._full_name.cache_clear()
    machine._addresses_of.cache_clear()


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name mean these addresses."""
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_arguments, **_flags: answers)


def test_this_machines_own_addresses_are_among_its_names() -> None:
    names = machine_names()
    assert {"localhost", "127.0.0.1", "::1"} <= set(names)
    assert set(machine_addresses()) <= set(names)
    assert len(names) == len(set(names))


def test_every_address_found_is_one_that_can_be_listened_on() -> None:
    for address in machine_addresses():
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family) as listener:
            listener.bind((address, 0))


def test_a_full_name_that_others_can_resolve_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.getfqdn", lambda: "GPU1.lab.")
    resolve_to(monkeypatch, "192.0.2.7")
    assert name_for_others() == machine_names()[0] == "gpu1.lab"


@pytest.mark.parametrize(("name", "address"), [("gpu1", "192.0.2.7"), ("gpu1.lab", "127.0.1.1")])
def test_a_name_that_means_this_machine_to_itself_alone_gives_way_to_its_address(
    monkeypatch: pytest.MonkeyPatch, name: str, address: str
) -> None:
    monkeypatch.setattr("socket.getfqdn", lambda: name)
    resolve_to(monkeypatch, address)
    monkeypatch.setattr(machine, "_sending_address", lambda: "192.0.2.9")
    assert name_for_others() == "192.0.2.9"
    monkeypatch.setattr(machine, "_sending_address", lambda: None)
    monkeypatch.setattr("socket.gethostname", lambda: "GPU1")
    assert name_for_others() == "gpu1"


def test_a_resolver_that_does_not_answer_holds_up_nothing_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()

    def ask() -> str:
        answer.wait(10)
        return "late.lab"

    monkeypatch.setattr(machine, "LOOKUP_TIMEOUT_S", 0.05)
    monkeypatch.setattr("socket.getfqdn", ask)
    assert "late.lab" not in machine_names()
    answer.set()


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("gpu1.lab", True),
        ("GPU_1", True),
        ("a" * 63, True),
        ("a" * 64, False),
        ("-a", False),
        ("a..b", False),
        ("", False),
        ("1.2.3", False),
        ("a b", False),
        ("a\n", False),
        (".".join(["a" * 60] * 5), False),
    ],
)
def test_names_that_a_certificate_can_carry(name: str, is_one: bool) -> None:
    assert is_dns_name(name) is is_one


@pytest.mark.parametrize(
    ("text", "is_one"), [("192.0.2.7", True), ("::1", True), ("fe80::1%eth0", False), ("gpu1", False), ("1.2.3", False)]
)
def test_addresses_that_a_certificate_can_carry(text: str, is_one: bool) -> None:
    assert is_address(text) is is_one
