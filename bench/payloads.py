"""What a pretended agent publishes: samples of 8 busy GPUs that are encoded once and then patched in place.

Encoding 9 KB anew for each of 1,000 workers would make the load generator the thing that is measured. So one sample
goes through `gpumon.messages`, with marks of fixed width where values change, and each publish writes new digits over
those. JSON allows spaces after a number, which pads a sequence number that is shorter than its mark.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from gpumon.messages import GpuInventory, GpuReading, HostReading, Info, Metrics, Process, encode

MODEL = "NVIDIA H100 80GB HBM3"
MEMORY_BYTES = 80 * 1024**3
_TIME = 1000000000.25
_SEQ = 1000000000
_WALK = 997  # prime, so that workers and cards which start at different places do not march in step


def _walk(low: int, high: int, step: int, seed: int) -> list[int]:
    """Return a series that wanders between `low` and `high` by at most `step`, as a load does."""
    source = random.Random(seed)
    value, series = (low + high) // 2, []
    for _ in range(_WALK):
        value = min(max(value + source.randint(-step, step), low), high)
        series.append(value)
    return series


# Every entry of a series has the width of the value it replaces.
_SERIES = {
    b'"temperature_c":': [b"%2d" % value for value in _walk(31, 88, 2, 1)],
    b'"utilization_percent":': [b"%2d" % value for value in _walk(12, 99, 9, 2)],
    b'"memory_used_bytes":': [b"%11d" % value for value in _walk(20_000_000_000, 84_000_000_000, 900_000_000, 3)],
    b'"power_w":': [b"%3d.%d" % divmod(value, 10) for value in _walk(1200, 6990, 300, 4)],
}


def gpu_uuid(worker: int, index: int) -> str:
    """Return the uuid of a pretended card."""
    return f"GPU-{worker:08x}-0000-4000-8000-{index:012x}"


def _reading(worker: int, index: int) -> GpuReading:
    processes = [
        Process(
            pid=41_000 + 10 * index + number,
            user=("research", "vision", "speech")[number],
            name="python3",
            command="python3 /home/research/train.py",
            memory_bytes=18_000_000_000 + number,
            sm_percent=30 + number,
        )
        for number in range(3)
    ]
    return GpuReading(
        uuid=gpu_uuid(worker, index),
        index=index,
        name=MODEL,
        temperature_c=55,
        memory_temperature_c=61,
        utilization_percent=80,
        memory_utilization_percent=41,
        memory_used_bytes=54_000_000_000,
        memory_total_bytes=MEMORY_BYTES,
        power_w=512.5,
        power_limit_w=700.0,
        energy_j=81_234_567.125,
        sm_clock_mhz=1980,
        memory_clock_mhz=2619,
        performance_state=0,
        throttle_reasons=["sw_power_cap"],
        encoder_percent=0,
        decoder_percent=0,
        pcie_generation=5,
        pcie_width=16,
        pcie_rx_bytes_per_s=812_000_000,
        pcie_tx_bytes_per_s=411_000_000,
        nvlink_rx_bytes_per_s=21_000_000_000,
        nvlink_tx_bytes_per_s=21_500_000_000,
        ecc_corrected=0,
        ecc_uncorrected=0,
        processes=processes,
    )


_HOST = HostReading(
    cpu_percent=37.5,
    load_1m=24.25,
    memory_used_bytes=412_000_000_000,
    memory_total_bytes=2_160_000_000_000,
    swap_used_bytes=0,
    disk_used_bytes=1_100_000_000_000,
    disk_total_bytes=3_840_000_000_000,
    network_rx_bytes_per_s=1_250_000,
    network_tx_bytes_per_s=940_000,
    uptime_s=1_234_567.5,
)


def info(worker: int, hostname: str, gpus: int, interval_s: float) -> bytes:
    """Return the inventory of a pretended worker."""
    cards = [
        GpuInventory(
            uuid=gpu_uuid(worker, index),
            index=index,
            name=MODEL,
            memory_total_bytes=MEMORY_BYTES,
            power_limit_w=700.0,
            pci_bus_id=f"0000:{0x1B + index:02X}:00.0",
            vbios="96.00.74.00.01",
            mig=False,
        )
        for index in range(gpus)
    ]
    return encode(
        Info(
            hostname=hostname,
            agent_version="0.1.0",
            source="nvml",
            interval_s=interval_s,
            gpus=cards,
            os="Ubuntu 22.04.5 LTS",
            kernel="5.15.0-125-generic",
            cpu="Intel(R) Xeon(R) Platinum 8480+",
            cpu_count=224,
            memory_total_bytes=2_160_000_000_000,
            driver_version="580.95.05",
            cuda_version="13.0",
            labels={"rack": str(worker // 8)},
        )
    )


class Sample:
    """One worker's sample, with a header before it, as bytes that are patched for each publish.

    `head` comes before the payload (an MQTT PUBLISH whose length never changes, since no patch changes a width).
    """

    def __init__(self, worker: int, gpus: int, interval_s: float) -> None:
        readings = [_reading(worker, index) for index in range(gpus)]
        metrics = Metrics(
            time=_TIME, seq=_SEQ, interval_s=interval_s, source="nvml", gpus=readings, host=_HOST, health="ok"
        )
        # Wider than any float prints by itself: microseconds, always 17 characters.
        payload = encode(metrics).replace(b"%r" % _TIME, b"1000000000.000000", 1)
        self.payload = payload
        self._worker = worker
        self._buffer = bytearray(payload)
        self._time_at = payload.index(b"1000000000.000000")
        self._seq_at = payload.index(b'"seq":') + len(b'"seq":')
        self._places = _places(payload, gpus)

    def with_head(self, head: bytes) -> None:
        """Put `head` before the payload."""
        self._buffer = bytearray(head + self.payload)
        self._time_at += len(head)
        self._seq_at += len(head)
        self._places = [(at + len(head), width, first, series) for at, width, first, series in self._places]

    def at(self, time_s: float, seq: int) -> bytes:
        """Return the sample of this moment (seconds since 1970), with everything that changes changed."""
        buffer = self._buffer
        buffer[self._time_at : self._time_at + 17] = b"%017.6f" % time_s
        buffer[self._seq_at : self._seq_at + 10] = b"%-10d" % seq
        step = seq + 31 * self._worker
        for at, width, first, series in self._places:
            buffer[at : at + width] = series[(step + first) % _WALK]
        return bytes(buffer)


def _places(payload: bytes, gpus: int) -> list[tuple[int, int, int, Sequence[bytes]]]:
    places: list[tuple[int, int, int, Sequence[bytes]]] = []
    for number, (name, series) in enumerate(_SERIES.items()):
        at = 0
        for gpu in range(gpus):
            at = payload.index(name, at) + len(name)
            places.append((at, len(series[0]), 211 * gpu + 53 * number, series))
    return places
