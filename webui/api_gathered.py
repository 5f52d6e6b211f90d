"""What a command's workers answered, gathered: each distinct answer once, and how it differs from the most common."""

from __future__ import annotations

import difflib
import hashlib
import time
from collections.abc import Iterable, Iterator
from typing import Any

import flask
import msgspec
from werkzeug.exceptions import NotFound, RequestEntityTooLarge

from gpumon.roles import Role
from master.commands import CommandDesk
from master.records import CommandRecord, TargetRecord
from webui.access import needs
from webui.context import context
from webui.typed import typed

blueprint = flask.Blueprint("gathered", __name__, url_prefix="/api/v1")

MOST_GROUPS = 100
SHOWN_CHARACTERS = 64 * 1024
DIFFERENT_LINES = 2_000
MOST_GATHERED_BYTES = 256 * 1024 * 1024


class Group(msgspec.Struct, frozen=True):
    """Workers that ended alike with the same output; `diff` is against the largest group's, None without one."""

    workers: list[str]
    state: str
    exit_code: int | None
    problem: str | None
    output: str
    is_cut: bool
    diff: str | None = None


class Gathered(msgspec.Struct, frozen=True):
    """The largest group first; `more_groups` are left out, `unfinished` workers have not ended yet."""

    time: float
    groups: list[Group]
    more_groups: int
    unfinished: int


@blueprint.get("/commands/<command_id>/gathered")
@needs(Role.VIEWER)
@typed()
def gathered(command_id: str) -> Gathered:
    """Return each distinct answer once."""
    desk = context().master.commands
    record = desk.get(command_id)
    if record is None:
        raise NotFound(f"no command {command_id!r} is known")
    if sum(target.stdout_bytes + target.stderr_bytes for target in record.targets) > MOST_GATHERED_BYTES:
        raise RequestEntityTooLarge("there is too much output to compare: download it instead")
    return gather(desk, record)


def gather(desk: CommandDesk, record: CommandRecord) -> Gathered:
    """Compare what the targets that have ended wrote. Raises StoreError."""
    found: dict[tuple[Any, ...], list[TargetRecord]] = {}
    ended = [target for target in record.targets if target.is_ended]
    for target in ended:
        key = (target.state, target.exit_code, target.problem, _digest(_pieces(desk, record.id, target)))
        found.setdefault(key, []).append(target)
    ordered = sorted(found.values(), key=lambda targets: (-len(targets), targets[0].worker_id))
    groups: list[Group] = []
    for targets in ordered[:MOST_GROUPS]:
        output, is_cut = _shown(_pieces(desk, record.id, targets[0]))
        first = targets[0]
        group = Group(
            workers=sorted(target.worker_id for target in targets),
            state=first.state,
            exit_code=first.exit_code,
            problem=first.problem,
            output=output,
            is_cut=is_cut,
            diff=_diff(groups[0], output, first.worker_id) if groups else None,
        )
        groups.append(group)
    return Gathered(time.time(), groups, max(len(ordered) - MOST_GROUPS, 0), len(record.targets) - len(ended))


def _pieces(desk: CommandDesk, command_id: str, target: TargetRecord) -> Iterator[tuple[str, str]]:
    for chunk in desk.output(command_id, target.worker_id):
        yield chunk.stream, chunk.data


def _digest(pieces: Iterable[tuple[str, str]]) -> str:
    """Return a digest of each stream as a whole: how the two were mixed is chance."""
    streams = {"stdout": hashlib.sha256(), "stderr": hashlib.sha256()}
    for stream, data in pieces:
        streams[stream].update(data.encode())
    return "".join(digest.hexdigest() for digest in streams.values())


def _shown(pieces: Iterable[tuple[str, str]]) -> tuple[str, bool]:
    """Return the end of the output, and whether something before it is left out."""
    text = "".join(data for _, data in pieces)
    return text[-SHOWN_CHARACTERS:], len(text) > SHOWN_CHARACTERS


def _diff(largest: Group, output: str, worker_id: str) -> str | None:
    one, other = largest.output.splitlines(), output.splitlines()
    if one == other or max(len(one), len(other)) > DIFFERENT_LINES:
        return None
    return "\n".join(difflib.unified_diff(one, other, largest.workers[0], worker_id, lineterm="", n=2))
