"""Output of many workers: gathered where it is alike, and never able to rewrite the terminal."""

from __future__ import annotations

import io

from gpumon.cli.fleet_run import WorkerRun
from gpumon.cli.gather import gathered, summary
from gpumon.cli.prefixed import LinePrinter, printable
from gpumon.commands import CommandOutput, CommandResult, Stream


def wrote(worker_id: str, *texts: str, exit_code: int = 0) -> WorkerRun:
    """Return a worker that has written `texts` and ended."""
    chunks = {seq: CommandOutput(id="c-1", seq=seq, stream="stdout", data=text) for seq, text in enumerate(texts)}
    result = CommandResult(id="c-1", command="x", state="finished", exit_code=exit_code)
    return WorkerRun(worker_id, result, chunks)


def runs(*each: WorkerRun) -> dict[str, WorkerRun]:
    """Return runs by worker."""
    return {run.worker_id: run for run in each}


def test_workers_that_wrote_the_same_are_shown_once_however_it_was_cut() -> None:
    text = gathered(runs(wrote("b", "one\n"), wrote("a", "on", "e\n"), wrote("c", "two")))
    assert text == "--- a, b (2)\none\n--- c (1)\ntwo\n"


def test_chunks_that_came_out_of_order_are_put_in_order() -> None:
    run = wrote("a", "1", "2", "3")
    run.chunks = dict(reversed(list(run.chunks.items())))
    assert run.output == "123"


def test_the_summary_counts_who_differs_and_who_failed() -> None:
    line = summary(runs(wrote("a", "x"), wrote("b", "x"), wrote("c", "y", exit_code=1)))
    assert line == "2 workers: same output; 1 differ: c - 2 succeeded, 1 failed: c"


def test_a_worker_without_a_result_counts_as_failed() -> None:
    assert "1 failed: a" in summary(runs(WorkerRun("a"), wrote("b", "x")))


def test_terminal_control_is_taken_out_and_text_stays() -> None:
    hostile = "\x1b[2J\x1b]0;title\x07ok\x1b[31m red\x1b[0m\x08\ttab ä\r\n"
    assert printable(hostile) == "ok red\ttab ä\n"


def printed(worker_ids: list[str], *pieces: tuple[str, Stream, str]) -> tuple[str, str]:
    """Print pieces of output and return what stands on standard output and standard error."""
    stdout, stderr = io.StringIO(), io.StringIO()
    printer = LinePrinter(worker_ids, stdout, stderr)
    for seq, (worker_id, stream, data) in enumerate(pieces):
        printer.wrote(worker_id, CommandOutput(id="c-1", seq=seq, stream=stream, data=data))
    for worker_id in worker_ids:
        printer.ended(worker_id)
    return stdout.getvalue(), stderr.getvalue()


def test_lines_of_several_workers_are_whole_and_carry_their_names() -> None:
    out, err = printed(
        ["w1", "w22"],
        ("w1", "stdout", "hel"),
        ("w22", "stdout", "other\n"),
        ("w1", "stdout", "lo\nlast"),
        ("w22", "stderr", "bad\n"),
    )
    assert out == "w22  other\nw1   hello\nw1   last\n"
    assert err == "w22  bad\n"


def test_a_single_workers_output_is_printed_as_it_came() -> None:
    assert printed(["w1"], ("w1", "stdout", "no newline"))[0] == "no newline"
