"""What a JSON Schema says, in words for a table: used by the scripts that write pages from the code."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
WORDS = {"string": "text", "number": "number", "integer": "number", "boolean": "true or false", "object": "table"}


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a table in Markdown."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def words(schema: Json) -> str:
    """Return what values fit."""
    if "$ref" in schema:
        return linked(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(words(option) for option in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {words(schema.get('items', {}))}"
    if kind == "object" and "additionalProperties" in schema:
        return f"table of {words(schema['additionalProperties'])}"
    return f"{WORDS.get(kind, kind)}{_bounds(schema)}"


def _bounds(schema: Json) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f" {least} to {most}"
    if schema.get("exclusiveMinimum") is not None:
        return f" above {schema['exclusiveMinimum']}"
    if least is not None:
        return f" from {least}"
    return f" up to {most}" if most is not None else ""


def linked(name: str) -> str:
    """Return a type's name as a link to its section."""
    return f"[{name}](#{name.lower()})"


def first_lines(text: str) -> str:
    """Return a text in one line."""
    return " ".join(text.split())
