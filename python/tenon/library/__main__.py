"""python -m tenon.library OUT.pyi MODULE...: stubs of the operations that the modules declare."""

from __future__ import annotations

import importlib
import sys

from . import _operations, write_stubs


def main(arguments: list[str]) -> int:
    """Imports the modules, and writes the stub."""
    if len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    out, *modules = arguments
    for name in modules:
        importlib.import_module(name)
    write_stubs(out)
    print(f"{len(_operations)} operations -> {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
