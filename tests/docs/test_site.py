"""The documentation builds as a site, strictly, and asks no other host for anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
# What a browser fetches by itself.
FETCHED = {("script", "src"), ("img", "src"), ("link", "href"), ("source", "src"), ("iframe", "src")}
COUNTED = ("h1", "h2", "h3", "li", "tr", "pre")


class Tags(HTMLParser):
    """All tags of the main part of a page, or of all of it where it has none, with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str]]] = []
        self.article: list[tuple[str, dict[str, str]]] = []
        self._is_within = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = (tag, {name: value or "" for name, value in attrs})
        self.all.append(found)
        self._is_within = self._is_within or tag == "article"
        if self._is_within:
            self.article.append(found)

    def handle_endtag(self, tag: str) -> None:
        self._is_within = self._is_within and tag != "article"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly: a link, an anchor or a page that is not there fails."""
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert built.returncode == 0, built.stderr + built.stdout
    return folder


def pages(site: Path) -> Iterator[tuple[str, Tags]]:
    """Give every page by its name."""
    for path in sorted(site.glob("*.html")):
        yield path.stem, Tags(path.read_text())


def kept_at(name: str) -> Path:
    """Return where a page of the site is kept in the repository."""
    elsewhere = {
        "index": "README.md",
        "benchmarks": "bench/README.md",
        "changelog": "CHANGELOG.md",
        "contributing": "CONTRIBUTING.md",
    }
    return ROOT / elsewhere.get(name, f"docs/{name}.md")


def test_no_page_fetches_anything_from_another_host(site: Path) -> None:
    found = {
        attributes[name]
        for _, tags in pages(site)
        for tag, attributes in tags.all
        for kind, name in FETCHED
        if tag == kind and name in attributes and attributes.get("rel") != "canonical"
    }
    assert len(found) > 5
    assert not [address for address in found if re.match(r"(https?:)?//", address)]


def test_no_style_fetches_anything_from_another_host(site: Path) -> None:
    styles = list(site.rglob("*.css"))
    assert styles
    assert not [path for path in styles if re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", path.read_text())]


def test_a_link_to_a_file_of_the_repository_leads_to_a_copy_of_it(site: Path) -> None:
    linked = {
        attributes["href"]
        for _, tags in pages(site)
        for tag, attributes in tags.article
        if "files/" in attributes.get("href", "")
    }
    assert "files/config/mosquitto/mosquitto.conf" in linked
    assert not [target for target in linked if (site / target).read_bytes() != (ROOT / target[6:]).read_bytes()]


def test_a_page_is_made_of_the_same_parts_in_the_site_and_in_the_repository(site: Path) -> None:
    read_there = MarkdownIt("commonmark").enable("table")
    differ = {}
    for name, tags in pages(site):
        if name != "404":
            here = [tag for tag, _ in tags.article]
            there = [tag for tag, _ in Tags(read_there.render(kept_at(name).read_text())).all]
            counts = [
                (tag, here.count(tag), there.count(tag)) for tag in COUNTED if here.count(tag) != there.count(tag)
            ]
            if counts:
                differ[name] = counts
    assert not differ
