"""What mkdocs.yml adds to MkDocs: pages that are kept outside docs/, and links that work in both places.

A link in a document is written as it works in the repository. In the site, one to a page leads to the page, and one to
any other file of the repository to a copy of it under `files/`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
# What is kept elsewhere than in docs/, by its name in the site.
ELSEWHERE = {
    "index.md": "README.md",
    "benchmarks.md": "bench/README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "images/icon.svg": "webui/static/icon.svg",
}
COPIES = "files/"

_LINK = re.compile(r"(\]\()([^)\s#]+)")
_FENCED = re.compile(r"(^```.*?^```$)", re.M | re.S)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add what is kept elsewhere, and every file of the repository that a page links to."""

    def add(name: str, kept: str) -> None:
        if files.get_file_from_path(name) is None and (ROOT / kept).exists():
            files.append(File.generated(config, name, abs_src_path=str(ROOT / kept)))

    for name, kept in ELSEWHERE.items():
        add(name, kept)
    for page in list(files.documentation_pages()):
        for target in links(page.src_uri, page.content_string):
            if target.startswith(COPIES):
                add(target, target.removeprefix(COPIES))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the repository's links into the site's."""
    del config, files
    name = page.file.src_uri
    folder = posixpath.dirname(name) or "."
    return _each_link(markdown, lambda target: posixpath.relpath(in_site(name, target), folder))


def links(name: str, markdown: str) -> list[str]:
    """Return where a page's links lead within the site."""
    found: list[str] = []
    _each_link(markdown, lambda target: found.append(in_site(name, target)) or target)
    return found


def in_site(name: str, target: str) -> str:
    """Return where in the site a link of the page of this name leads, which is written as it works in the repository.

    One that leads nowhere comes back as it is, for the strict build to tell of.
    """
    kept_at = ELSEWHERE.get(name, f"docs/{name}")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(kept_at), target))
    for there, kept in ELSEWHERE.items():
        if path == kept:
            return there
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"{COPIES}{path}" if (ROOT / path).is_file() else target


def _each_link(markdown: str, change: Callable[[str], str]) -> str:
    def changed(found: re.Match[str]) -> str:
        return found[1] + (found[2] if ":" in found[2] else change(found[2]))

    parts = _FENCED.split(markdown)
    return "".join(part if part.startswith("```") else _LINK.sub(changed, part) for part in parts)
