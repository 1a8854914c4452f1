"""What type checkers are told agrees with what the package has."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tenon as tn
import tenon.nn.functional as F

SPEC = Path(__file__).resolve().parents[2] / "spec"
SOURCE = Path(__file__).resolve().parents[2] / "python" / "tenon"
MODULES = ("fft", "linalg", "masked", "signal_windows", "special")


@pytest.fixture(scope="module")
def stubs(tmp_path_factory):
    """The generated stubs, parsed, by file name."""
    folder = tmp_path_factory.mktemp("stubs")
    topics = sorted((SPEC / "ops").glob("*.toml"))
    subprocess.run(
        [sys.executable, SPEC / "generate.py", "operations", SPEC / "primitives.toml", folder]
        + topics,
        check=True,
    )
    return {path.name: ast.parse(path.read_text()) for path in folder.glob("*.pyi")}


def names_in(body):
    names = set()
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign):
            names.add(node.target.id)
    return names


def public(names):
    return {name for name in names if not name.startswith("_")}


def test_functions(stubs):
    assert public(names_in(stubs["_operations.pyi"].body)) == public(tn._C._functions)
    assert public(names_in(stubs["_functional.pyi"].body)) == public(vars(tn._C._functional))
    assert public(names_in(stubs["_functional.pyi"].body)) <= set(dir(F))
    for module in MODULES:
        declared = public(names_in(stubs[f"_{module}.pyi"].body))
        assert declared == public(vars(getattr(tn._C, module)))


def test_members_of_tensor(stubs):
    tensor = next(
        node
        for node in stubs["_C.pyi"].body
        if isinstance(node, ast.ClassDef) and node.name == "Tensor"
    )
    declared = names_in(tensor.body)
    assert public(declared) == public(dir(tn.Tensor))
    operators = {
        name
        for name, value in vars(tn.Tensor).items()
        if name.startswith("__") and type(value).__name__ == "wrapper_descriptor"
    }
    assert operators - declared <= {"__delitem__", "__repr__", "__str__", "__setattr__"}


def test_the_rest_of_the_extension(stubs):
    assert public(names_in(stubs["_C.pyi"].body)) == public(dir(tn._C)) - set(MODULES)


def test_the_package_names_what_it_loads_late():
    tree = ast.parse((SOURCE / "__init__.py").read_text())
    declared = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for name in public(dir(tn)) - set(tn._C._functions):
        assert name in declared or name in vars(tn), name
