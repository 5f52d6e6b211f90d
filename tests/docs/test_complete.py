"""Nothing that people can meet is left out of the documents."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType

import msgspec

from gpumon import commands, joining, messages
from gpumon.settings_sources import declarations
from gpumon.topics import Channel, Topics

ROOT = Path(__file__).resolve().parents[2]
TOPICS = (ROOT / "docs" / "topics.md").read_text()
CODE = ("gpumon", "agent", "broker", "master", "webui")


def built_topics() -> Iterator[str]:
    """Give every topic that the code builds, with `<>` for what is put in."""
    topics = Topics()
    for name, member in vars(Topics).items():
        if isinstance(member, property):
            yield getattr(topics, name)
        elif isinstance(member, FunctionType) and not name.startswith(("read", "is_", "_")):
            parameters = [each for each in inspect.signature(member).parameters if each != "self"]
            for channel in Channel if "channel" in parameters else (None,):
                yield getattr(topics, name)(*[channel if each == "channel" else "<>" for each in parameters])


def test_every_topic_stands_in_the_page_of_topics() -> None:
    told = {re.sub(r"<[a-z]+>", "<>", topic) for topic in re.findall(r"^\| `([^`]+)`", TOPICS, re.M)}
    built = {topic for topic in built_topics() if not re.search(r"[+#]", topic)}
    without_discovery = {topic for topic in built if not topic.startswith("homeassistant/")}
    assert len(without_discovery) > 10
    assert without_discovery <= told
    assert "homeassistant/device/<>/config" in told


def test_every_message_stands_in_the_page_of_topics_with_its_fields() -> None:
    untold = []
    for module in (messages, commands, joining):
        for name, kind in vars(module).items():
            is_message = isinstance(kind, type) and issubclass(kind, messages.Message) and kind is not messages.Message
            if is_message and not name.startswith("_"):
                section = TOPICS.partition(f"### {name}\n")[2].partition("\n### ")[0]
                fields = [field.encode_name for field in msgspec.structs.fields(kind)]
                untold += [f"{name}.{field}" for field in fields if f"| `{field}` |" not in section]
    assert not untold


def test_every_environment_variable_is_a_settings_or_stands_in_a_page() -> None:
    code = "".join(path.read_text() for folder in CODE for path in (ROOT / folder).rglob("*.py"))
    of_settings = {variable for declaration in declarations().values() for variable in declaration.variables}
    pages = "".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
    others = set(re.findall(r"\bGPUMON_[A-Z_]*[A-Z]\b", code)) - of_settings
    assert {name for name in others if not re.search(rf"\b{name}\b", pages)} == set()
