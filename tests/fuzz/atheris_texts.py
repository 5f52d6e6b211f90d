"""Commands, lists of them, join lines, addresses and topics, guided by coverage; atheris has to be installed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import atheris  # type: ignore[import-untyped]

with atheris.instrument_imports(include=["agent.command_rules", "broker.access", "broker.subscriptions", "gpumon"]):
    from agent.command_rules import CommandRefusedError, CommandRules
    from broker.access import may_publish, may_read
    from broker.subscriptions import check_filter, filter_matches
    from gpumon.address import parse_broker_address
    from gpumon.commands import CommandOutput, CommandResult, parse_command
    from gpumon.errors import InvalidPayloadError, InvalidTopicError, SettingError
    from gpumon.joining import JoinRequest, parse_join_line
    from gpumon.messages import Decoder, Event, Info, Metrics
    from gpumon.roles import Principal, Role
    from gpumon.topics import Topics

RULES = CommandRules("listed", ["nvidia-smi **", "cat /var/log/*", "df -[hk] *", "/opt/tools/*"])
DECODERS: list[Decoder[Any]] = [
    Decoder(kind) for kind in (Metrics, Info, Event, CommandOutput, CommandResult, JoinRequest)
]
TOPICS = Topics()
WORKERS = [Principal("w1", Role.WORKER), Principal("w1_gpu-01234567-0123-0123-0123-0123456789ab", Role.WORKER)]


def one_input(data: bytes) -> None:
    """Take the bytes for each kind of text that comes from outside."""
    text = data.decode(errors="replace")
    attempts: list[Callable[[], object]] = [
        lambda: parse_command(data),
        lambda: RULES.arguments(text),
        lambda: CommandRules("listed", [text]),
        lambda: parse_broker_address(text),
        lambda: parse_join_line(text),
        lambda: parse_join_line(f"gpumon1.{text}"),
        lambda: TOPICS.read(text),
        lambda: check_filter(text),
        *(partial(decoder.decode, data) for decoder in DECODERS),
    ]
    for attempt in attempts:
        with contextlib.suppress(InvalidPayloadError, InvalidTopicError, SettingError, CommandRefusedError):
            attempt()
    filter_matches(text, "gpumon/w1/status")
    may_read(WORKERS[0], text, TOPICS)
    if all(may_publish(worker, text, TOPICS) for worker in WORKERS):
        raise AssertionError(f"two workers may publish to {text!r}")


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
