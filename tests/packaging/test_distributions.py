"""What goes into a release, and what is said of it."""

from __future__ import annotations

import email.message
import email.parser
import re
import subprocess
import sys
import tarfile
import zipfile

import pytest

from gpumon.version import __version__
from tests.packaging.conftest import ROOT, Distributions, tracked_files

PACKAGES = ("agent", "broker", "gpumon", "master", "webui")


def names_in_wheel(distributions: Distributions) -> list[str]:
    with zipfile.ZipFile(distributions.wheel) as wheel:
        return [name for name in wheel.namelist() if not name.endswith("/")]


@pytest.fixture(scope="module")
def metadata(distributions: Distributions) -> email.message.Message:
    with zipfile.ZipFile(distributions.wheel) as wheel:
        text = wheel.read(f"gpumon-{__version__}.dist-info/METADATA").decode()
    return email.parser.Parser().parsestr(text)


def test_the_wheel_holds_all_of_the_packages_and_nothing_else(distributions: Distributions) -> None:
    expected = {name for name in tracked_files() if name.split("/")[0] in PACKAGES}
    found = {name for name in names_in_wheel(distributions) if ".dist-info/" not in name}
    assert found == expected
    assert {"webui/static/main.js", "webui/templates/shell.html", "gpumon/cli/service/gpumon-master.service"} <= found
    assert any(name.startswith("master/store/migrations/versions/") for name in found)


def test_the_source_distribution_holds_what_the_wheel_is_built_from(distributions: Distributions) -> None:
    with tarfile.open(distributions.source) as archive:
        found = {name.partition("/")[2] for name in archive.getnames()}
    assert {name for name in names_in_wheel(distributions) if ".dist-info/" not in name} <= found
    assert {"README.md", "CHANGELOG.md", "setup.py", "pyproject.toml", "config/gpumon.toml"} <= found
    assert not [name for name in found if name.startswith(("tests", "bench"))]


def test_a_package_index_would_take_both(distributions: Distributions) -> None:
    command = [sys.executable, "-m", "twine", "--no-color", "check", "--strict"]
    files = [str(distributions.wheel), str(distributions.source)]
    ended = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("PASSED") == 2


def test_the_package_says_what_it_is_and_what_it_needs(metadata: email.message.Message) -> None:
    assert metadata["Version"] == __version__
    assert metadata["Requires-Python"] == ">=3.10"
    assert {"agent", "master", "notify", "postgres", "top"} <= set(metadata.get_all("Provides-Extra", []))
    versions = {line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier", []) if ":: 3." in line}
    assert versions == {"3.10", "3.11", "3.12", "3.13", "3.14"}
    assert "# gpumon" in str(metadata.get_payload())


def test_the_changelog_begins_with_this_version() -> None:
    found = re.search(r"(?m)^## (\S+) \((unreleased|\d{4}-\d\d-\d\d)\)$", (ROOT / "CHANGELOG.md").read_text())
    assert found is not None
    assert found[1] == __version__, "gpumon/version.py and the newest part of CHANGELOG.md name the same version"


def commit_of(name: str) -> str:
    command = ["git", "rev-parse", "--quiet", "--verify", name]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout


def test_a_released_version_is_not_used_again() -> None:
    tag = f"v{__version__}"
    tagged, head = commit_of(f"{tag}^{{}}"), commit_of("HEAD")
    assert tagged in ("", head), f"{tag} is released: begin the next version in gpumon/version.py and CHANGELOG.md"
