"""Reading spec files: TOML with the line of every entry, and errors that name both."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:  # a build requirement
    import tomli as tomllib


class SpecError(Exception):
    """A malformed spec: names the file, the entry and the line."""

    def __init__(self, message: str, file: Path | str, line: int, entry: str = "") -> None:
        place = f"{file}:{line}: "
        super().__init__(place + (f"[{entry}] " if entry else "") + message)


@dataclass
class Entry:
    """One table of a spec file."""

    name: str
    values: dict[str, Any]
    file: Path
    line: int
    lines: dict[str, int]

    def error(self, message: str, key: str = "") -> SpecError:
        line = self.lines.get(key, self.line)
        return SpecError(f"{key}: {message}" if key else message, self.file, line, self.name)

    def get(self, key: str, kind: type | tuple[type, ...], default: Any) -> Any:
        """The value of a key, checked; `default` where it is absent."""
        if key not in self.values:
            return default
        value = self.values[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
            kinds = kind if isinstance(kind, tuple) else (kind,)
            wanted = " or ".join(k.__name__ for k in kinds)
            raise self.error(f"expected {wanted}, found {type(value).__name__}", key)
        return value

    def require(self, key: str, kind: type | tuple[type, ...]) -> Any:
        if key not in self.values:
            raise self.error(f"the key '{key}' is missing")
        return self.get(key, kind, None)

    def allow(self, keys: set[str]) -> None:
        """Fails on a key that no reader knows: a misspelt key must not be ignored."""
        for key in self.values:
            if key not in keys:
                raise self.error(f"unknown key (known: {', '.join(sorted(keys))})", key)

    def choose(self, key: str, choices: tuple[str, ...], default: str | None = None) -> str:
        value = self.require(key, str) if default is None else self.get(key, str, default)
        if value not in choices:
            raise self.error(f"'{value}' is none of {', '.join(choices)}", key)
        return str(value)


_HEADER = re.compile(r'^\[\s*"?([^\]"]+?)"?\s*\]')
_KEY = re.compile(r"^([A-Za-z_][\w-]*)\s*=")


def _find_lines(text: str) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    entries: dict[str, int] = {}
    keys: dict[str, dict[str, int]] = {}
    current = ""
    in_block = False
    for number, line in enumerate(text.splitlines(), 1):
        quotes = line.count('"""') + line.count("'''")
        if in_block:
            in_block = quotes % 2 == 0
            continue
        if header := _HEADER.match(line):
            current = header.group(1)
            entries.setdefault(current, number)
            keys.setdefault(current, {})
        elif key := _KEY.match(line):
            keys.setdefault(current, {}).setdefault(key.group(1), number)
        in_block = quotes % 2 == 1
    return entries, keys


def read_entries(path: Path) -> Iterator[Entry]:
    """The tables of a TOML file in order."""
    text = path.read_text(encoding="utf-8")
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found.group(1)) if found else len(text.splitlines())
        headers, _ = _find_lines(text)
        before = [(at, name) for name, at in headers.items() if at <= line]
        entry = max(before)[1] if before else ""
        raise SpecError(f"not valid TOML: {error}", path, line, entry) from None
    headers, keys = _find_lines(text)
    for name, values in tables.items():
        line = headers.get(name, keys.get("", {}).get(name, 1))
        if not isinstance(values, dict):
            raise SpecError(f"'{name}' stands outside any entry", path, line)
        yield Entry(name, values, path, line, keys.get(name, {}))
