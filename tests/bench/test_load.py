"""The load generator has to be right before its figures mean anything."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from bench import packets, payloads
from gpumon.messages import Decoder, Info, Metrics
from tests.support import accepts_connections, eventually, free_port, mosquitto, program_or_skip, stopping

WORKERS = 5


def test_a_patched_sample_is_a_valid_one_with_the_time_and_number_it_was_given() -> None:
    sample = payloads.Sample(worker=7, gpus=8, interval_s=5.0)
    first, later = (Decoder(Metrics).decode(sample.at(1766500000.123456 + seq, seq)) for seq in (0, 123_456))
    assert (first.time, first.seq) == (1766500000.123456, 0)
    assert (later.time, later.seq) == (1766623456.123456, 123_456)
    assert len(first.gpus) == 8
    assert {gpu.uuid for gpu in first.gpus} == {gpu.uuid for gpu in later.gpus}
    assert all(len(gpu.processes) == 3 for gpu in first.gpus)


def test_samples_change_and_those_of_two_workers_differ() -> None:
    def values(worker: int, seq: int) -> list[Any]:
        metrics = Decoder(Metrics).decode(payloads.Sample(worker, gpus=8, interval_s=5.0).at(1766500000.0, seq))
        return [
            (gpu.temperature_c, gpu.utilization_percent, gpu.power_w, gpu.memory_used_bytes) for gpu in metrics.gpus
        ]

    assert values(0, 0) != values(0, 1)
    assert values(0, 0) != values(1, 0)


def test_the_inventory_names_the_cards_of_the_samples() -> None:
    inventory = Decoder(Info).decode(payloads.info(7, "load-0007", 8, 5.0))
    sample = Decoder(Metrics).decode(payloads.Sample(7, 8, 5.0).payload)
    assert [gpu.uuid for gpu in inventory.gpus] == [gpu.uuid for gpu in sample.gpus]


@pytest.mark.parametrize("length", [0, 1, 127, 128, 16_383, 16_384, 200_000])
@pytest.mark.parametrize("piece", [1, 7, 300_000])
def test_packets_are_found_however_they_were_cut(length: int, piece: int) -> None:
    stream = packets.publish("a/b", b"x" * length, retain=True) + packets.puback(7) + packets.PINGREQ
    splitter = packets.Splitter()
    found = [
        packet for start in range(0, len(stream), piece) for packet in splitter.feed(stream[start : start + piece])
    ]
    assert found == [(3, 1, b"\x00\x03a/b" + b"x" * length), (4, 0, b"\x00\x07"), (12, 0, b"")]


def test_a_length_that_no_broker_sends_is_refused() -> None:
    with pytest.raises(ValueError, match="length"):
        list(packets.Splitter().feed(b"\x30\xff\xff\xff\xff"))


@pytest.mark.mosquitto
def test_what_the_generator_counts_is_what_a_real_broker_passes_on(tmp_path: Path) -> None:
    accounts = tmp_path / "accounts.json"
    accounts.write_text(json.dumps({f"load-{number:04d}": "token" for number in range(WORKERS)}))
    arrived: list[mqtt.MQTTMessage] = []
    ready = threading.Event()
    reader = mqtt.Client(CallbackAPIVersion.VERSION2)
    reader.on_connect = lambda client, *_: client.subscribe("gpumon/#", qos=1)
    reader.on_subscribe = lambda *_: ready.set()
    reader.on_message = lambda _client, _userdata, message: arrived.append(message)
    with mosquitto(tmp_path) as port:
        reader.connect("127.0.0.1", port)
        reader.loop_start()
        try:
            assert ready.wait(10)
            command = [sys.executable, "-m", "bench.load", "--port", str(port), "--accounts", str(accounts)]
            process = subprocess.Popen([*command, "--interval", "0.1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            with stopping(process):
                assert process.stdin is not None
                assert process.stdout is not None
                assert json.loads(process.stdout.readline())["event"] == "connected"
                process.stdin.write(b"publish\n")
                process.stdin.flush()
                assert json.loads(process.stdout.readline())["event"] == "publishing"
                eventually(lambda: len(_samples(arrived)) >= 3 * WORKERS)
                process.stdin.write(b"stop\n")
                process.stdin.flush()
                told = json.loads(process.stdout.readline())
                eventually(lambda: len(_samples(arrived)) == told["published"])
                process.stdin.close()
                assert process.wait(10) == 0
            eventually(lambda: [m.payload for m in arrived if m.topic.endswith("/status")].count(b"offline") == WORKERS)
        finally:
            reader.loop_stop()
            reader.disconnect()
    samples = _samples(arrived)
    last = {topic.split("/")[1]: sample.time for topic, sample in samples}
    assert told["last_times"] == last
    assert told["lost_connections"] == told["skipped"] == told["commands"] == 0
    assert {sample.seq for topic, sample in samples if "/load-0000/" in topic} == set(
        range(len([topic for topic, _ in samples if "/load-0000/" in topic]))
    )
    assert abs(time.time() - max(sample.time for _, sample in samples)) < 30
    topics = {message.topic for message in arrived}
    assert {f"gpumon/load-000{number}/info" for number in range(WORKERS)} <= topics


def _samples(arrived: list[mqtt.MQTTMessage]) -> list[tuple[str, Metrics]]:
    decoder = Decoder(Metrics)
    return [
        (each.topic, decoder.decode(bytes(each.payload))) for each in list(arrived) if each.topic.endswith("/metrics")
    ]


@pytest.mark.mosquitto
def test_a_broker_that_refuses_the_log_in_is_told_in_words(tmp_path: Path) -> None:
    accounts = tmp_path / "accounts.json"
    accounts.write_text(json.dumps({"load-0000": "wrong"}))
    port, configuration = free_port(), tmp_path / "mosquitto.conf"
    configuration.write_text(f"listener {port} 127.0.0.1\nallow_anonymous false\npersistence false\n")
    broker = [program_or_skip("mosquitto", "mosquitto"), "-c", str(configuration)]
    with stopping(subprocess.Popen(broker, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)):
        eventually(lambda: accepts_connections(port))
        command = [sys.executable, "-m", "bench.load", "--port", str(port), "--accounts", str(accounts)]
        finished = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    assert finished.returncode == 1
    said = json.loads(finished.stdout)
    assert said["event"] == "failed"
    assert "CONNACK 5" in said["problem"]
