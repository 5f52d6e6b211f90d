"""For setuptools before 61, as Ubuntu 22.04 has it, which does not read pyproject.toml: tells it what stands there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import setuptools

HERE = Path(__file__).resolve().parent
FIRST_THAT_READS_PYPROJECT = 61


def told() -> dict[str, Any]:
    """Return what pyproject.toml says, as arguments of setup()."""
    try:
        from tomllib import loads  # noqa: PLC0415 - the standard library's, from Python 3.11 on
    except ImportError:
        from pip._vendor.tomli import loads  # noqa: PLC0415 - the one that is always there while pip installs

    pyproject = loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))
    project, options = pyproject["project"], pyproject["tool"]["setuptools"]
    version: dict[str, str] = {}
    exec((HERE / "gpumon" / "version.py").read_text(encoding="utf-8"), version)  # noqa: S102 - our own, two lines
    return {
        "name": project["name"],
        "version": version["__version__"],
        "description": project["description"],
        "long_description": (HERE / project["readme"]).read_text(encoding="utf-8"),
        "long_description_content_type": "text/markdown",
        "python_requires": project["requires-python"],
        "keywords": project["keywords"],
        "classifiers": project["classifiers"],
        "install_requires": project["dependencies"],
        "extras_require": project["optional-dependencies"],
        "entry_points": {"console_scripts": [f"{name}={to}" for name, to in project["scripts"].items()]},
        "packages": setuptools.find_packages(**options["packages"]["find"]),
        "package_data": {name: files(name, patterns) for name, patterns in options["package-data"].items()},
        "zip_safe": False,
    }


def files(package: str, patterns: list[str]) -> list[str]:
    """Return what the patterns of a package's data mean, since that setuptools does not know `**`."""
    folder = HERE / package
    found = (path for pattern in patterns for path in folder.glob(pattern.replace("**", "**/*")))
    return [str(path.relative_to(folder)) for path in found if path.is_file()]


setuptools.setup(**(told() if int(setuptools.__version__.split(".")[0]) < FIRST_THAT_READS_PYPROJECT else {}))
