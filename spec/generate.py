"""Turns the spec into source. Called by the build:

generate.py primitives PRIMITIVES.toml HEADER.h PARTIALS.cpp STRUCTURAL.inc
"""

from __future__ import annotations

import sys
from pathlib import Path

from generator.primitives import read_primitives, write_header, write_partials, write_structural
from generator.source import SpecError


def generate_primitives(arguments: list[Path]) -> None:
    source, header, partials, structural = arguments
    primitives = read_primitives(source)
    header.write_text(write_header(primitives), encoding="utf-8")
    partials.write_text(write_partials(primitives), encoding="utf-8")
    structural.write_text(write_structural(primitives), encoding="utf-8")


COMMANDS = {"primitives": generate_primitives}


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in COMMANDS:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        COMMANDS[arguments[0]]([Path(argument) for argument in arguments[1:]])
    except SpecError as error:
        print(f"spec: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
