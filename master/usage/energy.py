"""The energy that a card took between two samples: by its counter where that can be believed, else by its power."""

from __future__ import annotations

import math

from gpumon.messages import GpuReading

# Limits past this are none that a card has; the strongest at present take about 1.4 kW.
_STRONGEST_W = 5_000.0
_USUAL_W = 1_500.0
# A card exceeds its limit for moments, and counter and clock are not read at the same one.
_SLACK = 2.0
_SLACK_S = 1.0


def joules(before_j: float | None, gpu: GpuReading, seconds: float) -> float | None:
    """Return what the card took in the seconds before this sample, None where it tells nothing of it.

    `before_j` is its counter at their beginning (NVML: nvmlDeviceGetTotalEnergyConsumption, since the driver was
    loaded). A counter that has fallen, or risen by more than twice what the card may draw, was reset or is wrong: then
    power x time counts, which is bounded in the same way.
    """
    limit = gpu.power_limit_w
    most_w = _SLACK * (limit if limit is not None and 0 < limit <= _STRONGEST_W else _USUAL_W)
    after_j = gpu.energy_j
    if before_j is not None and after_j is not None and 0 <= after_j - before_j <= most_w * (seconds + _SLACK_S):
        return after_j - before_j
    power = gpu.power_w
    if power is None or not math.isfinite(power) or power < 0:
        return None
    return min(power, most_w) * seconds
