"""What one entity of Home Assistant is, and how it is written in a discovery message.

Keys are Home Assistant's own abbreviations, as its MQTT integration's documentation lists them: a card has some thirty
entities, and the broker keeps every message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Entity:
    """A sensor: `value` is a Jinja expression over what the statements of its device define.

    An expression that gives none says that there is no reading, and the state is then unknown. `key` is part of the
    unique id and never changes; `name` is shown after the device's. `unit`, `device_class` and `state_class` have to go
    together as Home Assistant's sensor documentation lists them. `attributes` is an expression for a dictionary. Both
    come after the `statements` of the device and the entity. One that is not `is_enabled` is there to be switched on.
    """

    key: str
    name: str
    value: str
    platform: Literal["sensor", "binary_sensor"] = "sensor"
    unit: str | None = None
    device_class: str | None = None
    state_class: str | None = None
    precision: int | None = None
    options: Sequence[str] = ()
    icon: str | None = None
    statements: str = ""
    attributes: str | None = None
    is_diagnostic: bool = False
    is_enabled: bool = True

    def config(self, unique_id: str, topic: str, statements: str) -> dict[str, Any]:
        """Return the entity's part of a discovery message; attributes come on `topic`."""
        statements += self.statements
        config: dict[str, Any] = {
            "p": self.platform,
            "name": self.name,
            "uniq_id": unique_id,
            "val_tpl": f"{statements}{{{{ {self.value} }}}}",
        }
        further: dict[str, Any] = {
            "unit_of_meas": self.unit,
            "dev_cla": self.device_class,
            "stat_cla": self.state_class,
            "sug_dsp_prc": self.precision,
            "ops": list(self.options) or None,
            "ic": self.icon,
            "ent_cat": "diagnostic" if self.is_diagnostic else None,
            "en": None if self.is_enabled else False,
        }
        if self.attributes is not None:
            further["json_attr_t"] = topic
            further["json_attr_tpl"] = f"{statements}{{{{ ({self.attributes})|to_json }}}}"
        return config | {key: value for key, value in further.items() if value is not None}


def measured(key: str, name: str, reading: str, unit: str, device_class: str | None = None, **more: Any) -> Entity:
    """Return a sensor of what goes up and down, with Home Assistant's long-term statistics."""
    more = {"state_class": "measurement", **more}
    return Entity(key, name, reading, unit=unit, device_class=device_class, **more)


def divided(reading: str, by: float, digits: int) -> str:
    """Return the expression for a reading in a larger unit; one that is null stays so."""
    return f"({reading}/{by:.0f})|round({digits}) if {reading} is not none else none"


def size(key: str, name: str, reading: str, **more: Any) -> Entity:
    """Return a sensor for a number of bytes, in GiB."""
    return measured(key, name, divided(reading, GIB, 3), "GiB", "data_size", precision=1, **more)


def rate(key: str, name: str, reading: str, **more: Any) -> Entity:
    """Return a sensor for bytes a second, in MB/s."""
    return measured(key, name, divided(reading, 1e6, 3), "MB/s", "data_rate", precision=1, **more)
