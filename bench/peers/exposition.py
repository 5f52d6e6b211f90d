"""What dcgm-exporter says of eight GPUs, in Prometheus' text format, for pretended exporters.

The metrics are its default ones (etc/default-counters.csv of dcgm-exporter), with the labels that it gives a card. The
text is put together once; each scrape writes other digits of the same width into it, so that making it costs little.
"""

from __future__ import annotations

import random

GPUS = 8
_VARIANTS = 997  # prime, so that exporters which start at different places do not march in step

# name, type, lowest and highest value; a counter goes up from scrape to scrape
METRICS: tuple[tuple[str, str, int, int], ...] = (
    ("DCGM_FI_DEV_SM_CLOCK", "gauge", 1000, 1980),
    ("DCGM_FI_DEV_MEM_CLOCK", "gauge", 2619, 2619),
    ("DCGM_FI_DEV_MEMORY_TEMP", "gauge", 40, 92),
    ("DCGM_FI_DEV_GPU_TEMP", "gauge", 31, 88),
    ("DCGM_FI_DEV_POWER_USAGE", "gauge", 120, 699),
    ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "counter", 100_000_000, 999_999_999),
    ("DCGM_FI_DEV_PCIE_TX_THROUGHPUT", "counter", 1_000_000, 9_999_999),
    ("DCGM_FI_DEV_PCIE_RX_THROUGHPUT", "counter", 1_000_000, 9_999_999),
    ("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", "counter", 0, 0),
    ("DCGM_FI_DEV_GPU_UTIL", "gauge", 12, 99),
    ("DCGM_FI_DEV_MEM_COPY_UTIL", "gauge", 10, 80),
    ("DCGM_FI_DEV_ENC_UTIL", "gauge", 0, 0),
    ("DCGM_FI_DEV_DEC_UTIL", "gauge", 0, 0),
    ("DCGM_FI_DEV_XID_ERRORS", "gauge", 0, 0),
    ("DCGM_FI_DEV_FB_FREE", "gauge", 10_000, 20_000),
    ("DCGM_FI_DEV_FB_USED", "gauge", 60_000, 70_000),
    ("DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL", "counter", 1_000_000, 9_999_999),
    ("DCGM_FI_DEV_VGPU_LICENSE_STATUS", "gauge", 0, 0),
    ("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", "counter", 0, 0),
    ("DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS", "counter", 0, 0),
    ("DCGM_FI_DEV_ROW_REMAP_FAILURE", "gauge", 0, 0),
)


def _values() -> list[list[bytes]]:
    """Return, for each metric, the values that its series takes one after the other."""
    source = random.Random(7)
    series = []
    for _name, kind, low, high in METRICS:
        drawn = [source.randint(low, high) for _ in range(_VARIANTS)]
        series.append([b"%d" % value for value in (sorted(drawn) if kind == "counter" else drawn)])
    return series


_VALUES = _values()


class Exporter:
    """One pretended exporter; each `text()` is the answer to a scrape."""

    def __init__(self, number: int) -> None:
        self.scrapes = 0
        self._number = number
        self._parts = self._template(number)

    def text(self) -> bytes:
        """Return what it says now: each value is another than at the scrape before, where the metric moves."""
        at = self._number * 31 + self.scrapes
        self.scrapes += 1
        parts = self._parts
        place = 1
        for series in _VALUES:
            for gpu in range(GPUS):
                parts[place] = series[(at + 101 * gpu) % _VARIANTS]
                place += 2
        return b"".join(parts)

    @staticmethod
    def _template(number: int) -> list[bytes]:
        """Return the fixed pieces at even places, with room for the values at odd ones."""
        parts: list[bytes] = []
        before = ""
        for name, kind, _low, _high in METRICS:
            before += f"# HELP {name} A reading of the card, as the driver gives it.\n# TYPE {name} {kind}\n"
            for gpu in range(GPUS):
                labels = (
                    f'gpu="{gpu}",UUID="GPU-{number:08x}-0000-4000-8000-{gpu:012x}",'
                    f'pci_bus_id="00000000:{16 + gpu:02X}:00.0",device="nvidia{gpu}",'
                    f'modelName="NVIDIA H100 80GB HBM3",Hostname="load-{number:05d}",'
                    'DCGM_FI_DRIVER_VERSION="580.159.03"'
                )
                parts += [f"{before}{name}{{{labels}}} ".encode(), b""]
                before = "\n"
        return [*parts, b"\n"]
