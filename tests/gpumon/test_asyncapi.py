"""docs/asyncapi.yaml can be read by programs, and says what agents take and refuse."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]

from gpumon.commands import Cancel, Command, parse_command

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "docs" / "asyncapi.yaml").read_text())


def validator(name: str) -> Any:
    """Return what checks a payload against one of the document's schemas."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    return jsonschema.Draft7Validator(schema)


def references(part: Any) -> Iterator[str]:
    """Give every `$ref` in a part of the document."""
    if isinstance(part, dict):
        yield from (value for key, value in part.items() if key == "$ref")
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_every_reference_leads_somewhere() -> None:
    assert set(references(DOCUMENT))
    for reference in set(references(DOCUMENT)):
        part = DOCUMENT
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]


def test_every_schema_is_one_and_every_part_is_used() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft7Validator.check_schema(schema)
    used = {reference.rpartition("/")[2] for reference in references(DOCUMENT)}
    for kind in ("schemas", "messages"):
        assert set(DOCUMENT["components"][kind]) <= used
    assert {operation["channel"]["$ref"] for operation in DOCUMENT["operations"].values()} == {
        f"#/channels/{name}" for name in DOCUMENT["channels"]
    }


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        ({"command": "ls"}, "Command"),
        ({"id": "c-1", "command": "ls", "timeout_s": 5, "expires_at": 1.5, "by": "ann"}, "Command"),
        ({"id": "c-1", "cancel": True}, "Cancel"),
    ],
)
def test_what_agents_take_is_valid(payload: dict[str, Any], name: str) -> None:
    validator(name).validate(payload)
    assert isinstance(parse_command(json.dumps(payload).encode()), Command | Cancel)


@pytest.mark.parametrize(
    "payload", [{}, {"command": ""}, {"command": "ls", "id": "a b"}, {"command": "ls", "timeout_s": 0}]
)
def test_what_agents_refuse_is_not_valid(payload: dict[str, Any]) -> None:
    assert not validator("Command").is_valid(payload)
