"""Commands on their way to a worker: which are run, and what their output becomes. Nothing is run here."""

from __future__ import annotations

import fnmatch
import shlex

from hypothesis import strategies as st

from agent.command_rules import CommandRefusedError, CommandRules
from agent.output import OutputPublisher
from gpumon.commands import Cancel, Command, CommandOutput, Stream, parse_command
from gpumon.errors import InvalidPayloadError, SettingError
from tests.fuzz.fuzzing import ODD_TEXT, fuzzed, mutated, nearly

WORDS = ["ls", "-l", "nvidia-smi", "/bin/ls", "./ls", "..", "../x", "/var/log/x", "/var/log/../x", "a=../b", "a b", ";"]
PATTERNS = [
    "ls",
    "ls *",
    "ls **",
    "*",
    "* **",
    "/bin/*",
    "/bin/* *",
    "cat /var/log/*",
    "nvidia-smi -[Ll]",
    "*ls",
    "a=*",
]

words = st.one_of(st.sampled_from(WORDS), ODD_TEXT)
command_texts = st.one_of(
    ODD_TEXT,
    st.lists(words, max_size=4).map(" ".join),
    st.lists(words, max_size=4).map(shlex.join),
)
patterns = st.one_of(st.sampled_from(PATTERNS), ODD_TEXT, st.lists(words, max_size=3).map(" ".join))
COMMAND = {"id": "c-1", "command": "ls", "timeout_s": 60, "expires_at": 1766500060, "by": "lena", "cancel": False}


@fuzzed("command lists", weight=5, pattern=patterns, command=command_texts)
def test_what_is_run_is_the_words_of_the_command_and_within_the_pattern(pattern: str, command: str) -> None:
    try:
        rules = CommandRules("listed", [pattern])
    except SettingError:
        return
    try:
        arguments = rules.arguments(command)
    except CommandRefusedError:
        return
    wanted = shlex.split(pattern)
    assert arguments == shlex.split(command)
    assert "\0" not in command
    assert arguments[0].startswith("/") or "/" not in arguments[0]
    assert arguments[0].count("/") == wanted[0].count("/")
    if wanted[-1] != "**":
        assert len(arguments) == len(wanted)
    for word, part in zip(arguments, wanted, strict=False):
        assert part in (word, "**") or fnmatch.fnmatchcase(word, part)
        if word != part:
            assert ".." not in word.split("/")


@fuzzed("command lists", weight=2, command=command_texts)
def test_a_pattern_without_wildcards_allows_itself_alone(command: str) -> None:
    try:
        arguments = CommandRules("listed", ["/bin/ls -l"]).arguments(command)
    except CommandRefusedError:
        return
    assert arguments == ["/bin/ls", "-l"]


@fuzzed(
    "command payloads",
    weight=10,
    payload=st.one_of(nearly(COMMAND), command_texts.map(lambda text: text.encode(errors="surrogatepass"))),
)
def test_a_payload_is_a_command_a_cancellation_nothing_or_refused(payload: bytes) -> None:
    try:
        parsed = parse_command(payload)
    except InvalidPayloadError:
        return
    if parsed is None:
        assert not payload.strip()
    elif isinstance(parsed, Command):
        assert parsed.command
        assert 0 < parsed.timeout_s <= 7 * 86_400
        assert payload.lstrip()[:1] == b"{" or parsed.command.encode() == payload
    else:
        assert isinstance(parsed, Cancel)


writes = st.lists(
    st.tuples(st.sampled_from(["stdout", "stderr"]), mutated(st.text(max_size=40).map(str.encode))), max_size=20
)


@fuzzed("output", weight=2, written=writes, max_bytes=st.integers(1, 200))
def test_output_is_whole_in_order_and_bounded(written: list[tuple[Stream, bytes]], max_bytes: int) -> None:
    pieces: list[CommandOutput] = []
    output = OutputPublisher("c", pieces.append, max_bytes=max_bytes)
    for stream, data in written:
        output.write(stream, data)
    output.finish()
    assert [piece.seq for piece in pieces] == list(range(len(pieces)))
    assert sum(len(piece.data.encode()) for piece in pieces) <= max_bytes
    assert len(output.tail.encode()) <= max_bytes
    for stream in ("stdout", "stderr"):
        whole = b"".join(data for name, data in written if name == stream)
        published = "".join(piece.data for piece in pieces if piece.stream == stream)
        assert output.byte_counts[stream] == len(whole)
        assert whole.decode(errors="replace").startswith(published)
        if not output.truncated:
            assert published == whole.decode(errors="replace")
