"""What to do about an alert, in a line or two, for whoever is woken by it."""

from __future__ import annotations

from master.alerts.records import Kind

_ADVICE = {
    Kind.WORKER_OFFLINE: "See whether the machine answers (ping, its console) and, if it does, whether its agent runs: "
    "systemctl status gpumon-agent.",
    Kind.TELEMETRY_BROKEN: "On the machine, run nvidia-smi and gpumon doctor: a driver that was upgraded without a "
    "restart is the usual reason.",
    Kind.GPU_LOST: "On the machine, look for Xid in dmesg. A card that has fallen off the bus takes a reset "
    "(nvidia-smi --gpu-reset) or a restart; one that does so again is to be replaced.",
    Kind.XID: "Look the number up in NVIDIA's list of XIDs, and at dmesg on the machine; let no new work on the card "
    "until it is reset.",
    Kind.ECC_UNCORRECTED: "What ran on the card has probably failed. Let it drain and reset it; see nvidia-smi -q -d "
    "ECC,ROW_REMAPPER for whether it is to be replaced.",
    Kind.TEMPERATURE: "Look at fans, filters and the air or water that comes in, and at its neighbours.",
    Kind.MEMORY_TEMPERATURE: "Look at fans, filters and the air or water that comes in; if it goes on, lower the "
    "card's power limit.",
    Kind.THROTTLING: "It goes on working, but slower. Look at its cooling for thermal reasons, at power supplies and "
    "cables for hw_power_brake_slowdown.",
    Kind.MEMORY_FULL: "What runs there may fail for want of memory: see on the page whose processes hold it.",
    Kind.POWER: "See on the page what runs there and whether the power limit is as it should be.",
    Kind.IDLE_HELD: "Ask its users whether they still need the card; the page offers to tell them, or to end the idle "
    "processes.",
}


def advice_for(kind: Kind) -> str:
    """Return what to do about an alert of this kind."""
    return _ADVICE[kind]
