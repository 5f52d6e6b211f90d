"""Reading settings: flags win, then the environment, then the file.

The file is the one given with `--config`, else `DATA/gpumon.toml`, else `/etc/gpumon/gpumon.toml`.
"""

from __future__ import annotations

import difflib
import stat
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec

from gpumon.database_address import may_hold_password
from gpumon.datafolder import DataFolder
from gpumon.errors import SettingError
from gpumon.settings import Section, Settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SYSTEM_SETTINGS_FILE = Path("/etc/gpumon/gpumon.toml")


@dataclass(frozen=True, slots=True)
class Declaration:
    """One setting as declared: its key, type, default, flag, environment variables and help.

    `is_secret`: its value is not to be shown.
    """

    key: str
    type: Any
    default: Any
    flag: str
    variables: tuple[str, ...]
    help: str
    is_secret: bool = False

    @property
    def in_file_alone(self) -> bool:
        """Whether it has neither flag (which is empty) nor variable."""
        return not self.flag

    @property
    def is_switch(self) -> bool:
        """Whether the setting is on or off, so that its flag takes no value."""
        return isinstance(self.default, bool)

    @property
    def repeats(self) -> bool:
        """Whether the flag may be given several times."""
        return isinstance(self.default, (list, dict))


def declarations() -> dict[str, Declaration]:
    """Return every setting by its key, in the order in which they are declared."""
    return {declaration.key: declaration for declaration in _walk(Settings, "")}


def load_settings(flags: Mapping[str, Any], environment: Mapping[str, str], config: Path | None = None) -> Settings:
    """Put the sources together into settings.

    `flags` holds values by setting key (absent or None where the flag was not given). Raises SettingError: naming the
    source, the setting and what was expected.
    """
    known = declarations()
    values: dict[str, Any] = {}
    given = {key: (value, known[key].flag) for key, value in flags.items() if value is not None}
    for key, declaration in known.items():
        for variable in declaration.variables:
            # An empty one is how Compose passes on one that is unset.
            if environment.get(variable) and key not in given:
                given[key] = (environment[variable], variable)
    values = {key: _converted(known[key], raw, source) for key, (raw, source) in given.items()}
    for key, (raw, source) in _from_file(settings_file(values.get("data", Settings().data), config), known).items():
        if key not in values:
            values[key] = _converted(known[key], raw, source, text=False)
    return _assemble(values)


def _walk(section: type[Section], prefix: str) -> Iterator[Declaration]:
    hints = get_type_hints(section, include_extras=True)
    for field in msgspec.structs.fields(section):
        key = f"{prefix}{field.name}"
        annotation = hints[field.name]
        if isinstance(annotation, type) and issubclass(annotation, Section):
            yield from _walk(annotation, f"{key}.")
            continue
        meta: msgspec.Meta = annotation.__metadata__[0]
        extra = meta.extra or {}
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        variables = ("GPUMON_" + key.replace(".", "_").upper(), *([extra["env"]] if extra["env"] else []))
        flag = extra["flag"] or "--" + key.replace(".", "-").replace("_", "-")
        if extra["in_file_alone"]:
            flag, variables = "", ()
        yield Declaration(key, annotation, default, flag, variables, meta.description or "", extra["is_secret"])


def settings_file(data: str, config: Path | None = None) -> Path | None:
    """Return the settings file in use with the data folder `data`, None where there is none. Raises SettingError."""
    if config is not None:
        if not _is_file(config):
            raise SettingError(f"settings file {config} is not there: check --config")
        return config
    beside_data = DataFolder(Path(data)).settings_file
    return next((path for path in (beside_data, SYSTEM_SETTINGS_FILE) if _is_file(path)), None)


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except PermissionError as error:
        raise SettingError(
            f"{path.parent} is closed to this user: run this as its owner (for a service: sudo -u gpumon gpumon ...)"
        ) from error
    except OSError:
        return False


def _from_file(path: Path | None, known: Mapping[str, Declaration]) -> dict[str, tuple[Any, str]]:
    if path is None:
        return {}
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingError(f"settings file {path} cannot be read: {error}") from error
    found = {}
    for key, value in _flatten(document, known, ""):
        if key not in known:
            raise SettingError(f"{path} has an unknown setting {key}{_near(key, known)}")
        found[key] = (value, f"{key} in {path}")
    return found


def _flatten(table: Mapping[str, Any], known: Mapping[str, Declaration], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and key not in known:
            yield from _flatten(value, known, f"{key}.")
        else:
            yield key, value


def _converted(declaration: Declaration, raw: Any, source: str, text: bool = True) -> Any:  # noqa: FBT001
    if text and declaration.key == "database.url" and may_hold_password(raw):
        raise SettingError(
            f"{source} holds a password, where other programs see it: put it in a file of mode 0600 and name that in "
            "database.password_file"
        )
    if text and declaration.repeats:
        raw = _split(declaration, raw, source)
    section = _section_of_each(declaration.type)
    if section is not None:
        return _tables(declaration, section, raw, source)
    try:
        return msgspec.convert(raw, declaration.type, strict=not text)
    except msgspec.ValidationError as error:
        shown = "what it holds" if declaration.is_secret else repr(raw)
        raise SettingError(f"{source}: {shown} cannot be used: {error}") from error


def _section_of_each(annotation: Any) -> type[Section] | None:
    """Return the group of settings of which a setting holds any number by name, None for every other setting."""
    parts = get_args(get_args(annotation)[0])
    is_section = len(parts) == 2 and isinstance(parts[1], type) and issubclass(parts[1], Section)
    return parts[1] if is_section else None


def _tables(declaration: Declaration, section: type[Section], raw: Any, source: str) -> dict[str, Section]:
    """Return a table for each name, field by field, so that an error names the field and shows no secret beside it."""
    if not isinstance(raw, dict):
        raise SettingError(f"{source} must hold tables by name: write [{declaration.key}.NAME]")
    place = source.removeprefix(declaration.key)
    fields = {item.key: item for item in _walk(section, "")}
    found: dict[str, Section] = {}
    for name, table in raw.items():
        if not isinstance(table, dict):
            raise SettingError(f"{declaration.key}.{name}{place} must be a table: write [{declaration.key}.{name}]")
        for key in table:
            if key not in fields:
                raise SettingError(f"{declaration.key}.{name}{place} has no field {key}{_near(key, fields)}")
        found[name] = section(
            **{
                key: _converted(fields[key], value, f"{declaration.key}.{name}.{key}{place}", text=False)
                for key, value in table.items()
            }
        )
    return found


def _near(key: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    if near:
        return f": did you mean {near[0]}?"
    return f": there are {', '.join(known)}" if len(known) < 20 else ""


def _split(declaration: Declaration, raw: str | list[str], source: str) -> list[str] | dict[str, str]:
    items = [item for item in raw.split(",") if item] if isinstance(raw, str) else raw
    if isinstance(declaration.default, list):
        return items
    pairs = [item.partition("=") for item in items]
    for key, sign, _ in pairs:
        if not sign or not key:
            raise SettingError(f"{source}: {key!r} cannot be used: expected KEY=VALUE")
    return {key: value for key, _, value in pairs}


def _assemble(values: Mapping[str, Any]) -> Settings:
    top: dict[str, Any] = {}
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        if section:
            top.setdefault(section, {})[name] = value
        else:
            top[key] = value
    hints = get_type_hints(Settings)
    return Settings(**{name: hints[name](**value) if isinstance(value, dict) else value for name, value in top.items()})
