"""Messages: what is taken, what is refused, and what None looks like on the wire."""

from __future__ import annotations

import json
import math

import msgspec
import pytest

from gpumon.errors import InvalidPayloadError
from gpumon.messages import Decoder, GpuReading, Info, Metrics, decode_status, encode

METRICS = Decoder(Metrics)


def metrics(**changes: object) -> bytes:
    """Return a valid metrics payload with some fields changed."""
    message = {
        "v": 1,
        "time": 1766500000.123,
        "seq": 182,
        "interval_s": 5.0,
        "source": "nvml",
        "health": "ok",
        "problem": None,
        "gpus": [{"uuid": "GPU-1", "index": 0, "utilization_percent": 0, "fan_percent": None}],
        "host": {"cpu_percent": 12.5},
    }
    return json.dumps(message | changes).encode()


def test_a_reading_that_is_not_supported_is_null_and_a_true_zero_stays_zero() -> None:
    encoded = json.loads(encode(GpuReading(uuid="GPU-1", utilization_percent=0)))
    assert encoded["utilization_percent"] == 0
    assert encoded["fan_percent"] is None
    assert "fan_percent" in encoded


def test_what_is_encoded_decodes_to_the_same_message() -> None:
    message = METRICS.decode(metrics())
    assert METRICS.decode(encode(message)) == message


def test_unknown_fields_are_ignored() -> None:
    assert METRICS.decode(metrics(invented=1, gpus=[{"uuid": "GPU-1", "new_reading": 3}])).gpus[0].uuid == "GPU-1"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"not json",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"time": NaN}',
        b"[" * 100_000,
        metrics(time="now"),
        metrics(seq=-1),
        metrics(interval_s=0),
        metrics(source="guess"),
        metrics(gpus=None),
        metrics(gpus=[{"index": 0}]),
        metrics(gpus=[{"uuid": "GPU-1", "utilization_percent": 101}]),
        metrics(gpus=[{"uuid": "GPU-1", "temperature_c": "hot"}]),
        metrics(gpus=[{"uuid": "x" * 300}]),
        metrics(time=math.nan),
    ],
)
def test_a_payload_that_is_no_sample_is_refused_and_says_where(payload: bytes) -> None:
    with pytest.raises(InvalidPayloadError, match="not a valid metrics"):
        METRICS.decode(payload)


def test_a_number_that_json_does_not_have_is_sent_as_null() -> None:
    assert json.loads(encode(GpuReading(uuid="GPU-1", power_w=math.nan)))["power_w"] is None


def test_messages_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        METRICS.decode(metrics()).seq = 3  # type: ignore[misc]


def test_inventory_needs_only_what_every_worker_knows() -> None:
    payload = b'{"hostname":"h","agent_version":"0.1.0","source":"nvml","interval_s":5,"gpus":[]}'
    assert Decoder(Info).decode(payload).labels == {}


@pytest.mark.parametrize("payload", [b"", b"ONLINE", b"online\n", b'"online"', b"\xff"])
def test_a_status_is_online_or_offline_and_nothing_else(payload: bytes) -> None:
    assert decode_status(b"online") == "online"
    with pytest.raises(InvalidPayloadError, match="expected online or offline"):
        decode_status(payload)


def test_every_field_of_a_reading_has_a_default_of_not_available() -> None:
    reading = GpuReading(uuid="GPU-1")
    known = {"uuid", "state", "mig_devices", "processes"}
    assert all(value is None for name, value in msgspec.structs.asdict(reading).items() if name not in known)
