"""Turns the spec into source. Called by the build:

generate.py primitives PRIMITIVES.toml HEADER.h PARTIALS.cpp STRUCTURAL.inc
generate.py operations PRIMITIVES.toml OUT_FOLDER OPERATIONS.toml...
generate.py layers PRIMITIVES.toml LAYERS.toml HEADER.h SOURCE.cpp MODULE.py OPERATIONS.toml...
"""

from __future__ import annotations

import sys
from pathlib import Path

from generator.cases import write_cases
from generator.cpp import (
    write_functions_header,
    write_functions_source,
    write_methods,
    write_values_header,
    write_values_source,
)
from generator.docs import write_reference
from generator.layers import read_layers
from generator.layers_cpp import write_layers_header, write_layers_source
from generator.layers_python import write_layers_python
from generator.operations import check_bodies, read_operations
from generator.primitives import read_primitives, write_header, write_partials, write_structural
from generator.python_bindings import write_bindings, write_bindings_header
from generator.source import SpecError
from generator.stubs import write_extension_stub, write_function_stubs


def _write(path: Path, text: str) -> None:
    """Leaves a file that would not change alone, so that nothing is compiled anew."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def generate_primitives(arguments: list[Path]) -> None:
    source, header, partials, structural = arguments
    primitives = read_primitives(source)
    _write(header, write_header(primitives))
    _write(partials, write_partials(primitives))
    _write(structural, write_structural(primitives))


def generate_operations(arguments: list[Path]) -> None:
    primitives_file, out, *paths = arguments
    primitives = read_primitives(primitives_file)
    by_name = {p.name: p for p in primitives}
    operations = read_operations(paths, primitives)
    check_bodies(operations)
    _write(out / "values.h", write_values_header(operations))
    _write(out / "functions.h", write_functions_header(operations))
    _write(out / "tensor_methods.inc", write_methods(operations))
    _write(out / "bindings.h", write_bindings_header([path.stem for path in paths]))
    for path in paths:
        topic = path.stem
        _write(out / f"values_{topic}.cpp", write_values_source(topic, operations, by_name))
        _write(out / f"functions_{topic}.cpp", write_functions_source(topic, operations))
        _write(out / f"bindings_{topic}.cpp", write_bindings(topic, operations))
    by_hand = Path(__file__).with_name("extension.pyi").read_text(encoding="utf-8")
    _write(out / "_C.pyi", write_extension_stub(by_hand, operations))
    for name, text in write_function_stubs(operations).items():
        _write(out / name, text)
    _write(out / "cases.json", write_cases(operations))
    _write(out / "_reference.json", write_reference(operations, by_name))


def generate_layers(arguments: list[Path]) -> None:
    primitives_file, layers_file, header, source, module, *paths = arguments
    operations = read_operations(paths, read_primitives(primitives_file))
    layers, by_name = read_layers(layers_file, operations)
    _write(header, write_layers_header(layers))
    _write(source, write_layers_source(layers, by_name))
    _write(module, write_layers_python(layers, by_name))


COMMANDS = {
    "primitives": generate_primitives,
    "operations": generate_operations,
    "layers": generate_layers,
}


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
