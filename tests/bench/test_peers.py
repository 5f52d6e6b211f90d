"""What is put beside gpumon has to be read rightly, and the pretended exporters have to say what real ones would."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bench.peers import places
from bench.peers.beside import Beside
from bench.peers.dashboard import newly_shown
from bench.peers.exposition import GPUS, METRICS, Exporter
from bench.peers.hub_viewer import HubViewer
from bench.peers.nodes import message
from bench.peers.prometheus import configuration
from bench.peers.watching import parse_sent
from tests.support import program_or_skip, stopping


def _series(text: bytes) -> dict[tuple[str, str], float]:
    """Return what Prometheus' own parser for Python reads: the value of each metric and card."""
    return {
        (family.name, sample.labels["gpu"]): sample.value  # the parser gives a counter its `_total`
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_a_pretended_exporter_says_every_metric_of_every_card() -> None:
    families = list(text_string_to_metric_families(Exporter(7).text().decode()))
    assert [family.name for family in families] == [name for name, *_ in METRICS]
    assert [family.type for family in families] == [kind for _, kind, *_ in METRICS]
    labels = [sample.labels for family in families for sample in family.samples]
    assert len(labels) == len(METRICS) * GPUS
    assert {each["Hostname"] for each in labels} == {"load-00007"}
    assert len({each["UUID"] for each in labels}) == GPUS


def test_its_values_move_from_scrape_to_scrape_and_differ_from_those_of_another() -> None:
    exporter = Exporter(0)
    first, second = _series(exporter.text()), _series(exporter.text())
    assert first.keys() == second.keys()
    moving = {name for name, _, low, high in METRICS if low != high}
    assert {name for name, gpu in first if first[name, gpu] != second[name, gpu]} == moving
    assert _series(Exporter(1).text()) != first
    for name, _, low, high in METRICS:
        assert all(low <= first[name, str(gpu)] <= high for gpu in range(GPUS))


@pytest.fixture
def exporters() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run three pretended exporters and give their port."""
    command = [sys.executable, "-m", "bench.peers.exporters", "--exporters", "3"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with stopping(process):
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())["port"]


def test_pretended_exporters_answer_at_their_paths_and_count(
    exporters: tuple[subprocess.Popen[bytes], int],
) -> None:
    process, port = exporters
    for number in (0, 2, 2):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{number}/metrics", timeout=10) as answer:
            assert _series(answer.read())["DCGM_FI_DEV_GPU_TEMP", "0"] > 0
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/3/metrics", timeout=10)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"count\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline()) == {"event": "count", "scrapes": 3}
    process.stdin.close()
    assert process.wait(10) == 0


def test_prometheus_takes_the_configuration_for_as_many_targets(tmp_path: Path) -> None:
    file = tmp_path / "prometheus.yml"
    file.write_text(json.dumps(configuration(9400, 20, 5.0)))
    promtool = program_or_skip("promtool", "prometheus")
    finished = subprocess.run([promtool, "check", "config", str(file)], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    groups = configuration(9400, 20, 5.0)["scrape_configs"][0]["static_configs"]
    assert len({group["labels"]["__metrics_path__"] for group in groups}) == 20


def test_a_dashboard_notes_a_sample_once_and_how_old_it_is_when_it_is_shown() -> None:
    def answer(**moments: float) -> dict[str, Any]:
        result = [
            {"metric": {"instance": worker, "gpu": gpu}, "value": [106.0, str(moment)]}
            for worker, moment in moments.items()
            for gpu in ("0", "1")
        ]
        return {"data": {"result": result}}

    last: dict[str, float] = {}
    assert newly_shown(answer(a=100.0, b=101.5), last, shown=102.0) == [(100.0, 2.0), (101.5, 0.5)]
    assert newly_shown(answer(a=100.0, b=106.5), last, shown=107.0) == [(106.5, 0.5)]
    assert last == {"a": 100.0, "b": 106.5}


def test_who_looks_at_a_hub_notes_what_a_node_said_once() -> None:
    said = {"node_name": "real", "gpus": {"0": {"temperature": 1, "fan_speed": 40}}, "processes": [], "system": {}}
    told = json.loads(message(said, 4, random.Random(1)))
    assert told["node_name"] == "load-00004"
    assert told["gpus"]["0"]["fan_speed"] == 40
    assert told["gpus"]["0"]["temperature"] > 1
    sent = told["system"]["sent"]
    nodes = {"load-00004": told, "other": {"status": "offline", "system": {}}}
    text = json.dumps({"nodes": nodes, "cluster_stats": {"online_nodes": 1}})
    viewer = HubViewer()
    viewer.add(text, sent + 0.25)
    viewer.add(text, sent + 0.75)
    assert [moment for moment, _ in viewer.samples] == [sent]
    assert viewer.samples[0][1] == pytest.approx(0.25)
    assert (viewer.messages, viewer.nodes, viewer.text_bytes) == (2, 1, 2 * len(text))


def test_sent_bytes_are_told_by_the_other_end() -> None:
    text = (
        "0 0 127.0.0.1:5000 127.0.0.1:40112 cubic wscale:7,7 rto:201 bytes_sent:81234 bytes_acked:81234 segs_out:9\n"
        "0 0 127.0.0.1:5000 127.0.0.1:40114 cubic wscale:7,7 rto:201 bytes_sent:17 bytes_received:9\n"
        "0 0 127.0.0.1:5000 127.0.0.1:40116 cubic wscale:7,7 rto:201\n"
    )
    assert parse_sent(text) == {"127.0.0.1:40112": 81234, "127.0.0.1:40114": 17}


def test_a_comparison_says_who_is_ahead_and_why_gpumon_is_not() -> None:
    ahead = Beside("memory", "MB", 100.0, 250.0, "A reason.")
    assert ahead.remarks("peer") == ["memory: gpumon 100 MB, peer 250 MB: **ahead**, by a factor of 2.5."]
    behind = Beside("memory", "MB", 100.0, 80.0, "A reason.")
    assert behind.remarks("peer") == ["memory: gpumon 100 MB, peer 80 MB: **not ahead**, by 20 %. A reason."]
    assert [figure.is_met for figure in ahead.figures("gpumon", "peer")] == [True, True]
    assert [figure.is_met for figure in behind.figures("gpumon", "peer")] == [False, True]


def test_nothing_is_said_of_a_peer_that_was_not_measured() -> None:
    alone = Beside("memory", "MB", 100.0, None)
    assert alone.remarks("peer") == []
    (figure,) = alone.figures("gpumon", "peer")
    assert figure.target is None


def test_a_peer_that_cannot_be_had_is_told_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(places.NotHereError, match="apt-get install something"):
        places.program("there-is-no-such-program", "something")
    monkeypatch.setattr(places, "FOLDER", tmp_path)
    monkeypatch.setattr(places, "GPU_HOT", str(tmp_path / "not-there"))
    with pytest.raises(places.NotHereError, match="gpu-hot cannot be installed"):
        places.gpu_hot_source()


def test_a_program_on_a_terminal_of_its_own_is_answered() -> None:
    asks = r"""import os, sys, termios, tty
assert os.isatty(0) and os.isatty(1)
tty.setraw(0)
os.write(1, b"\x1b[6n")
print("answered" if os.read(0, 6) == b"\x1b[1;1R" else "not")"""
    command = [sys.executable, "-m", "bench.peers.terminal", sys.executable, "-c", asks]
    finished = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False)
    assert b"answered" in finished.stdout, finished.stderr
