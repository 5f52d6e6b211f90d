"""Every error leads to a section of the documents that exists."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpumon.cli import MISSING, main
from gpumon.errors import DOCS, GpumonError
from webui.answers import PROBLEMS

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("gpumon", "broker", "agent", "master", "webui")


def classes(base: type[GpumonError] = GpumonError) -> Iterator[type[GpumonError]]:
    """Return every class below, of every module there is."""
    for part in PARTS:
        package = importlib.import_module(part)
        for module in pkgutil.walk_packages(package.__path__, f"{part}."):
            if not module.name.endswith(("__main__", ".migrations.env")):
                importlib.import_module(module.name)
    waiting = base.__subclasses__()
    while waiting:
        found = waiting.pop()
        waiting += found.__subclasses__()
        if found.__module__.partition(".")[0] in PARTS:
            yield found


def sections(page: Path) -> set[str]:
    """Return the anchors of a page's sections, as the repository's page and the site name them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def is_there(section: str) -> bool:
    """Tell whether `page.md#section` is a section of the documents."""
    page, _, anchor = section.partition("#")
    return (ROOT / DOCS / page).is_file() and (not anchor or anchor in sections(ROOT / DOCS / page))


def test_every_error_names_a_section_of_the_documents_that_is_there() -> None:
    found = list(classes())
    assert len(found) > 30
    general = sorted(each.__name__ for each in found if each.see == GpumonError.see)
    assert not general, f"say in these classes with see = ... which section says more: {general}"
    lost = {each.__name__: each.see for each in found if not is_there(each.see)}
    assert not lost


@pytest.mark.parametrize("named", [PROBLEMS, MISSING])
def test_what_is_named_without_an_error_is_there_too(named: str) -> None:
    assert is_there(named.removeprefix(DOCS))


def test_every_section_that_doctor_names_is_there() -> None:
    text = (ROOT / "gpumon" / "cli" / "doctor" / "__init__.py").read_text()
    named = {*re.findall(r'HERE}#([a-z-]+)"', text), *re.findall(r'"(a-[a-z-]+)"', text)}
    assert len(named) >= 5
    assert named <= sections(ROOT / DOCS / "troubleshooting.md")
    assert is_there("foreign-broker.md#other-brokers")


def said_by_the_program() -> list[str]:
    """Return every text in the code, with NUL where it puts something in."""
    found = [path.read_text() for path in (ROOT / "webui" / "static" / "components").glob("*.js")]
    for part in PARTS:
        for path in (ROOT / part).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    pieces = [str(each.value) if isinstance(each, ast.Constant) else "\0" for each in node.values]
                    found.append("".join(pieces))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return found


def test_what_troubleshooting_quotes_is_what_the_program_says() -> None:
    said = said_by_the_program()
    quoted = re.findall(
        r"^- (\*.+?\*(?:, \*.+?\*)*):? ", (ROOT / DOCS / "troubleshooting.md").read_text(), re.MULTILINE
    )
    phrases = [phrase for line in quoted for phrase in re.findall(r"\*(.+?)\*", line)]
    assert len(phrases) > 40
    pieces = [piece.strip() for phrase in phrases for piece in re.split(r"\.\.\.|: |; ", phrase)]
    assert not [piece for piece in pieces if piece and not any(piece in text for text in said)]


def test_the_command_line_names_it_below_the_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agent", "--data", str(tmp_path), "--master", "https://gpu-master.lab:5000"]) == 2
    assert main(["agnet"]) == 2
    assert capsys.readouterr().err.splitlines()[1::2] == [
        "More: docs/troubleshooting.md#a-setting-cannot-be-used",
        "More: docs/command-line.md",
    ]
