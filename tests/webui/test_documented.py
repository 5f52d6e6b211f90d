"""Every route and event of the page stands in docs/page.md, and nothing else does."""

from __future__ import annotations

import re
from pathlib import Path

import flask

from webui import api, auth, history_api, pages
from webui.live import LiveNamespace

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "page.md").read_text()


def documented(heading: str) -> set[str]:
    """Return the first column of the table under a heading."""
    section = DOCUMENT.partition(f"## {heading}")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE))


def test_every_route_is_documented() -> None:
    app = flask.Flask("routes", static_folder=None)
    for blueprint in (api.blueprint, auth.blueprint, history_api.blueprint, pages.blueprint):
        app.register_blueprint(blueprint)
    assert {rule.rule for rule in app.url_map.iter_rules()} == documented("HTTP")


def test_every_event_is_documented() -> None:
    code = "".join(path.read_text() for path in (ROOT / "webui").glob("*.py"))
    sent = set(re.findall(r'emit(?:_to_all)?\("(\w+)"', code))
    taken = {name.removeprefix("on_") for name in vars(LiveNamespace) if name.startswith("on_")}
    assert sent | taken - {"connect", "disconnect"} == documented("Socket.IO")
