"""Every route and event of the page stands in docs/page.md with who may ask for it, and nothing else does.

Those of the API that declare what they take and answer are in docs/api-routes.md, which is written from that.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.webui.conftest import unstarted_app
from webui.access import need_of
from webui.live import LiveNamespace
from webui.typed import signature_of

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "page.md").read_text()


def documented(heading: str) -> dict[str, list[str]]:
    """Return the rows of the table under a heading by their first column, without the code marks."""
    section = DOCUMENT.partition(f"## {heading}")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\| `.*\|$", section, re.M)]
    return {row[0].strip("`"): row[1:] for row in rows}


def said_of(view: Callable[..., Any]) -> str:
    """Return what the document calls who may ask for this."""
    need = need_of(view)
    if need.role is None:
        return "anybody"
    return need.role.value + ("" if need.by_token else ", in person")


def test_every_route_but_the_apis_is_documented_with_its_methods_and_who_may_ask(tmp_path: Path) -> None:
    app = unstarted_app(tmp_path)
    declared: dict[str, list[str]] = {}
    for rule in app.url_map.iter_rules():
        if signature_of(app.view_functions[rule.endpoint]) is not None:
            continue
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            line = f"{method} {said_of(app.view_functions[rule.endpoint])}"
            declared.setdefault(rule.rule, []).append(line)
    told = {route: [line.strip() for line in cells[0].split(";")] for route, cells in documented("HTTP").items()}
    assert {route: sorted(lines) for route, lines in told.items()} == {
        route: sorted(lines) for route, lines in declared.items()
    }


def test_every_event_is_documented() -> None:
    code = "".join(path.read_text() for path in (ROOT / "webui").glob("*.py"))
    sent = set(re.findall(r'emit(?:_to_all)?\("(\w+)"', code))
    taken = {handler.__name__.removeprefix("on_") for handler in LiveNamespace.handlers()}
    assert sent | taken - {"connect", "disconnect"} == set(documented("Socket.IO"))
