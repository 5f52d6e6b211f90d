"""The contract's table "Who may do what" as examples, for every broker that is to keep to it.

Each account of `ACCOUNTS` is tried with each topic and each filter. Worker `w1` has the label `rack=3` and the GPU
`GPU`, worker `w2` the label `rack=4`; the stranger is logged in with the client id `STRANGER_CLIENT_ID`.
"""

from __future__ import annotations

from gpumon.roles import STRANGER_NAME, Principal, Role

GPU = "GPU-8f6a0c2e-1b2c-3d4e-5f60-718293a4b5c6"
KEY_ID = "k1"
STRANGER_CLIENT_ID = f"gpumon-join-{KEY_ID}"
LABELS = {"w1": {"rack": "3"}, "w2": {"rack": "4"}}

ACCOUNTS = {
    "w1": Principal("w1", Role.WORKER),
    "w2": Principal("w2", Role.WORKER),
    "eye": Principal("eye", Role.VIEWER),
    "research": Principal("research", Role.OPERATOR),
    "rack3": Principal("rack3", Role.OPERATOR, (("rack", "3"),)),
    "home": Principal("home", Role.INTEGRATION),
    "flow": Principal("flow", Role.INTEGRATION, ()),
    "flow3": Principal("flow3", Role.INTEGRATION, (("rack", "3"),)),
    "root": Principal("root", Role.ADMIN),
    "stranger": Principal(STRANGER_NAME, Role.STRANGER, credential=KEY_ID),
}

# What is published, as a message or as a will, and who may; the master and admins may everything.
PUBLISHERS = {
    "gpumon/w1/status": "w1 root",
    "gpumon/w1/info": "w1 root",
    "gpumon/w1/metrics": "w1 root",
    "gpumon/w1/event": "w1 root",
    "gpumon/w1/cmd/output": "w1 root",
    "gpumon/w1/cmd/result": "w1 root",
    "gpumon/w2/status": "w2 root",
    "gpumon/w2/cmd/result": "w2 root",
    "gpumon/w1/cmd": "research rack3 flow flow3 root",
    "gpumon/w2/cmd": "research flow root",
    "gpumon/all/cmd": "research flow root",
    "gpumon/all/status": "root",
    "gpumon/w1/cmd/": "root",
    "gpumon/w1//cmd": "root",
    "gpumon//cmd": "root",
    "gpumon/-/cmd": "root",
    "gpumon/master/cmd": "root",
    "gpumon/audit/cmd": "root",
    "gpumon/join/cmd": "root",
    "gpumon/w1/alert/temperature": "root",
    "gpumon/w1/anything": "root",
    "gpumon/w1": "root",
    "gpumon/master/i1/status": "root",
    "gpumon/audit": "root",
    f"gpumon/join/{STRANGER_CLIENT_ID}": "stranger root",
    f"gpumon/join/{STRANGER_CLIENT_ID}/reply": "root",
    "gpumon/join/other": "root",
    "gpumon/join/other/reply": "root",
    "homeassistant/status": "home flow flow3 root",
    "homeassistant/device/gpumon_w1/config": "w1 root",
    "homeassistant/device/gpumon_w2/config": "w2 root",
    f"homeassistant/device/gpumon_w1_{GPU}/config": "w1 root",
    f"homeassistant/device/gpumon_w1_{GPU.lower().replace('-', '_')}/config": "w1 root",
    "homeassistant/device/gpumon_w1_b/config": "root",
    "homeassistant/device/other/config": "root",
    "other/w1/cmd": "root",
    "somewhere/else": "root",
}

# What is subscribed to, and who may.
READERS = "eye research rack3 home flow flow3 root"
SUBSCRIBERS = {
    "gpumon/w1/cmd": f"w1 {READERS}",
    "gpumon/w2/cmd": f"w2 {READERS}",
    "gpumon/all/cmd": f"w1 w2 {READERS}",
    "gpumon/w1/status": f"w1 {READERS}",
    "homeassistant/status": f"w1 w2 {READERS}",
    "gpumon/w1/metrics": READERS,
    "gpumon/w1/cmd/output": READERS,
    "gpumon/w1/cmd/#": READERS,
    "gpumon/w1/#": READERS,
    "gpumon/+/cmd": READERS,
    "gpumon/+/status": READERS,
    "gpumon/#": READERS,
    "gpumon/+": READERS,
    "gpumon/master/+/status": READERS,
    "homeassistant/#": READERS,
    f"gpumon/join/{STRANGER_CLIENT_ID}/reply": "stranger root",
    f"gpumon/join/{STRANGER_CLIENT_ID}": "root",
    f"gpumon/join/{STRANGER_CLIENT_ID}/#": "root",
    "gpumon/join/other/reply": "root",
    "gpumon/join/+/reply": "root",
    "gpumon/join/+": "root",
    "gpumon/join/#": "root",
    "gpumon/audit": "root",
    "gpumon/audit/#": "root",
    "#": "root",
    "+": "root",
    "+/#": "root",
    "+/w1/cmd": "root",
    "+/+/cmd": "root",
    "$SYS/#": "root",
    "somewhere/else": "root",
}

# What does not reach those who have subscribed to as much as they are granted (`gpumon/#`, `gpumon/+/+/reply`).
HIDDEN = (
    f"gpumon/join/{STRANGER_CLIENT_ID}",
    f"gpumon/join/{STRANGER_CLIENT_ID}/reply",
    "gpumon/join/other/reply",
    "gpumon/audit",
)

# Where mosquitto's dynamic-security plugin must let more through, and why that does no harm: (account, topic).
WIDER_AT_MOSQUITTO = {
    (name, topic): "a pattern cannot ask for a worker's name; no agent listens there, as this is no name"
    for name in ("research", "flow")
    for topic in ("gpumon//cmd", "gpumon/-/cmd")
}


def may(table: dict[str, str], name: str, topic: str) -> bool:
    """Tell whether the table lets this account do it."""
    return name in table[topic].split()
