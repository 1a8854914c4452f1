"""The generator: what it makes of small specs; file, entry and line of malformed ones."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

SPEC = Path(__file__).resolve().parents[2] / "spec"
sys.path.insert(0, str(SPEC))

from generator.cpp import write_functions_source, write_values_source  # noqa: E402
from generator.docs import docstring, inplace_docstring, write_reference  # noqa: E402
from generator.operations import check_bodies, read_operations  # noqa: E402
from generator.primitives import read_primitives, write_header, write_partials  # noqa: E402
from generator.python_bindings import write_bindings  # noqa: E402
from generator.source import SpecError  # noqa: E402
from generator.stubs import (  # noqa: E402
    GENERATED_METHODS,
    write_extension_stub,
    write_function_stubs,
)

PRIMITIVES = read_primitives(SPEC / "primitives.toml")
BY_NAME = {p.name: p for p in PRIMITIVES}


def read(tmp_path: Path, text: str):
    file = tmp_path / "small.toml"
    file.write_text(text)
    operations = read_operations([file], PRIMITIVES)
    check_bodies(operations)
    return operations


def values_of(tmp_path: Path, text: str) -> str:
    source = write_values_source("small", read(tmp_path, text), BY_NAME)
    return " ".join(source[source.index("namespace") :].split())


SOFTPLUS = """
[softplus]
signature = "softplus(input: Tensor, beta: float = 1) -> Tensor"
body = "primitive(log1p, primitive(exp, input * beta)) / beta"
doc = "Smooth relu."
"""


def test_numbers_of_the_user_are_arguments_and_literals_are_not(tmp_path):
    text = values_of(tmp_path, SOFTPLUS.replace("/ beta", "* 2.5"))
    assert "ops::binary(Op::Mul, input, scalar_like(input, beta))" in text
    assert "ops::literal_like(t3_, 2.5)" in text


def test_extents_are_arguments(tmp_path):
    text = values_of(
        tmp_path,
        '[m]\nsignature = "m(input: Tensor) -> Tensor"\nbody = "input / numel(input)"\ndoc = "."\n',
    )
    assert "scalar_like(input, type_of(input).numel)" in text


def test_each_value_is_recorded_once(tmp_path):
    text = values_of(
        tmp_path,
        '[m]\nsignature = "m(input: Tensor) -> Tensor"\ndoc = "."\n'
        'body = "primitive(sin, input) + 1"\n',
    )
    assert text.count("Op::Sin") == 1


def test_only_the_chosen_branch_records(tmp_path):
    text = values_of(
        tmp_path,
        '[m]\nsignature = "m(input: Tensor, flag: bool = False) -> Tensor"\ndoc = "."\n'
        'body = "primitive(sin, input) if flag else input"\n',
    )
    assert re.search(r"if \(flag\) \{ const Value t1_ = ops::unary\(Op::Sin, input\);", text)


def test_promotion_and_in_place_forms(tmp_path):
    operations = read(
        tmp_path,
        '[mul]\nsignature = "mul(input: Operand, other: Operand) -> Tensor"\nkind = "elementwise"\n'
        'promote = "common"\nmethod = true\ninplace = true\nalias = ["multiply"]\n'
        'doc = "Product."\n',
    )
    functions = write_functions_source("small", operations)
    assert "const Tensor& mul_(const Tensor& input, const Operand& other)" in functions
    assert "type(Promotion::Common, {input, other}, OperandType::NeedsTensor);" in functions
    bindings = write_bindings("small", operations)
    for name in ('"mul"', '"multiply"', '"mul_"', '"multiply_"'):
        assert name in bindings
    extension = write_extension_stub("class Tensor:\n" + GENERATED_METHODS, operations)
    assert "    def multiply_(self, other: Tensor | _Number) -> Tensor: ...\n" in extension
    functions = write_function_stubs(operations)["_operations.pyi"]
    assert "def mul(input: Tensor | _Number, other: Tensor | _Number) -> Tensor: ..." in functions


def test_docstrings_show_what_fits_what_fails_and_a_result(tmp_path):
    operations = read(
        tmp_path,
        '[mul]\nsignature = "mul(input: Operand, other: Operand) -> Tensor"\nkind = "elementwise"\n'
        'promote = "common"\nmethod = true\ninplace = true\ndoc = "Product."\n'
        'shape = "(n)"\nsource = "Euclid"\nexample = "tn.mul(2, 3)"\ngives = "tensor(6)"\n'
        'errors = [{ call = "mul(1)", raises = "TypeError", when = "for one", run = true }]\n',
    )
    text = docstring(operations)
    assert text == (
        "mul(input: Operand, other: Operand) -> Tensor\n\nProduct.\n\nShape: (n).\n"
        "Dtypes: any; the operands meet in their common one.\n"
        "Errors: TypeError for one, when it is computed.\nSource: Euclid.\n\n"
        "Example::\n\n    >>> tn.mul(2, 3)\n    tensor(6)"
    )
    assert inplace_docstring("mul", operations).endswith(text)
    (entry,) = json.loads(write_reference(operations, {p.name: p for p in PRIMITIVES}))
    assert entry["names"] == ["mul", "Tensor.mul", "Tensor.mul_"]
    assert entry["formula"] == "The primitive `mul`: a * b; and of bools."
    assert (entry["example"], entry["gives"]) == ("tn.mul(2, 3)", "tensor(6)")
    assert entry["errors"] == ["TypeError for one, when it is computed"]
    assert "tn.mul(2, 3)\\n    tensor(6)" in write_bindings("small", operations)


def test_partials_say_what_they_save():
    header = write_header(PRIMITIVES)
    rows = {m[1]: m[2] for m in re.finditer(r'\{"(\w+)", .*?\{(0x\d+, [^}]*)\}', header)}
    assert rows["tanh"].startswith("0x80,")  # the result
    assert rows["mul"].startswith("0x02, 0x01")  # each the other operand
    assert rows["add"].startswith("0x00, 0x00")  # nothing
    partials = write_partials(PRIMITIVES)
    assert "partial_add" not in partials
    assert "partial_tanh_0" in partials


def test_no_partial_reads_a_value_that_it_does_not_save():
    """The dtype of a lone number must come from a value that is there."""
    for p in PRIMITIVES:
        for partial in p.partials:
            used = set(re.findall(r"\b(a|b|c|out)\b", " ".join(partial.statements)))
            bits = {"a": 1, "b": 2, "c": 4, "out": 0x80}
            assert all(partial.reads & bits[name] for name in used), p.name


GOOD = {
    "signature": 'signature = "f(input: Tensor) -> Tensor"',
    "body": 'body = "input"',
    "doc": 'doc = "."',
}


def entry(**changes: str | None) -> str:
    lines = {**GOOD, **changes}
    return "\n[f]\n" + "\n".join(line for line in lines.values() if line is not None) + "\n"


BAD = {
    "not TOML": (entry(doc='doc = "'), 5, "not valid TOML"),
    "unknown key": (entry(doc='doc = "."\nmetod = true'), 6, "metod"),
    "missing doc": (entry(doc=None), 2, "'doc' is missing"),
    "wrong type of a key": (entry(doc='doc = "."\nmethod = 1'), 6, "expected bool, found int"),
    "unknown kind": (entry(doc='doc = "."\nkind = "magic"'), 6, "'magic' is none of"),
    "signature without types": (entry(signature='signature = "f(input) -> Tensor"'), 3, "no type"),
    "unknown type": (
        entry(signature='signature = "f(input: Tensr) -> Tensor"'),
        3,
        "unknown type 'Tensr' of 'input'",
    ),
    "no result": (entry(signature='signature = "f(input: Tensor)"'), 3, "'-> type' is missing"),
    "unbalanced signature": (
        entry(signature='signature = "f(input: Tensor -> Tensor"'),
        3,
        "no signature",
    ),
    "another name": (
        entry(signature='signature = "g(input: Tensor) -> Tensor"'),
        3,
        "signature 'g'",
    ),
    "None for what is not optional": (
        entry(signature='signature = "f(input: Tensor, dim: int = None) -> Tensor"'),
        3,
        "not optional",
    ),
    "body that is no expression": (entry(body='body = "input +"'), 4, "not an expression"),
    "unknown name in a body": (entry(body='body = "inptu"'), 4, "unknown name 'inptu'"),
    "unknown function in a body": (entry(body='body = "frobnicate(input)"'), 4, "'frobnicate'"),
    "unknown primitive": (entry(body='body = "primitive(sine, input)"'), 4, "'sine'"),
    "number where a value is wanted": (entry(body='body = "3"'), 4, "needs a value"),
    "statement that is not allowed": (
        entry(body='body = """\nx = input\nwhile x:\n    x = input\nreturn x\n"""'),
        6,
        "not allowed",
    ),
    "elementwise without a primitive": (
        entry(body='kind = "elementwise"'),
        2,
        "'f' is no elementwise",
    ),
    "method without a tensor": (
        entry(signature='signature = "f(n: int) -> Tensor"', doc='doc = "."\nmethod = true'),
        6,
        "first parameter of a method",
    ),
    "promotion of what is no tensor": (
        entry(doc='doc = "."\npromoted = ["dim"]'),
        6,
        "'dim' is no tensor parameter",
    ),
    "example without its result": (entry(doc='doc = "."\nexample = "f(1)"'), 6, "what it gives"),
    "result without its example": (entry(doc='doc = "."\ngives = "1"'), 6, "what it gives"),
    "error that doesn't say when": (
        entry(doc='doc = "."\nerrors = [{ call = "f(1)", raises = "RuntimeError" }]'),
        6,
        "'call', 'raises' and 'when'",
    ),
    "twice": (entry() + entry().replace("[f]", '["f"]'), 7, "not valid TOML"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_entry_is_named_with_file_entry_and_line(tmp_path, name):
    text, line, message = BAD[name]
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(SpecError) as caught:
        operations = read_operations([file], PRIMITIVES)
        write_values_source("bad", operations, BY_NAME)
    shown = str(caught.value)
    assert shown.startswith(f"{file}:{line}: [f] "), shown
    assert message in shown


BAD_PRIMITIVES = {
    "partial of an unknown operand": ('partials = ["c"]', "unknown name 'c'"),
    "partial that calls nothing known": ('partials = ["sine(a)"]', "unknown function 'sine'"),
    "too many partials": ('partials = ["1", "1"]', "2 expressions for 1 operands"),
    "saves worked out twice": ('partials = ["out"]\nsaves = ["a"]', "leave it out"),
    "no partials": ("", "'partials' is missing"),
}


@pytest.mark.parametrize("name", BAD_PRIMITIVES)
def test_bad_primitive_is_named(tmp_path, name):
    lines, message = BAD_PRIMITIVES[name]
    file = tmp_path / "primitives.toml"
    file.write_text(
        f'[f]\nkind = "elementwise"\nclass = "unary"\noperands = 1\ndoc = "."\n{lines}\n'
    )
    with pytest.raises(SpecError, match=re.escape(message)) as caught:
        read_primitives(file)
    assert "[f]" in str(caught.value)
    assert str(file) in str(caught.value)


def test_command_reports_and_fails(tmp_path):
    file = tmp_path / "bad.toml"
    file.write_text(entry(body='body = "inptu"'))
    command = [
        sys.executable,
        SPEC / "generate.py",
        "operations",
        SPEC / "primitives.toml",
        tmp_path,
        file,
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr.startswith(f"spec: {file}:4: [f] ")


def test_the_spec_itself_is_read():
    operations = read_operations(sorted((SPEC / "ops").glob("*.toml")), PRIMITIVES)
    check_bodies(operations)
    names = {o.name for o in operations}
    assert len(names) > 150
    for o in operations:
        assert o.doc.endswith("."), f"{o.key}: {o.doc}"
        assert o.example, f"{o.key} has no example"


TAKES = """
[f]
signature = "f(input: Tensor, other: Tensor) -> Tensor"
promote = "common"
takes = "floating"
doc = "Sum."
body = "input + other"
"""


def test_refused_dtypes_are_checked_documented_and_provoked(tmp_path):
    text = values_of(tmp_path, TAKES)
    check = "check_floating({input, other}, ErrorKind::NotImplemented); promote("
    assert check in text
    (operation,) = read(tmp_path, TAKES)
    assert operation.refused_errors[0]["call"] == "f(I(3, 4), I(4))"
    assert "Errors: NotImplementedError for integers and bools." in docstring([operation])


def test_each_operand_is_checked(tmp_path):
    text = values_of(
        tmp_path, TAKES.replace("doc =", 'each = true\nrefusal = "RuntimeError"\ndoc =')
    )
    assert "check_floating({input}, ErrorKind::Runtime); check_floating({other}, " in text


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('taken = ["weight"]', "expected tensor parameters"),
        ('takes = "reals"', "none of any, numbers, floating"),
    ],
)
def test_what_is_taken_is_checked_itself(tmp_path, line, said):
    text = TAKES.replace(
        'takes = "floating"', line if "takes" in line else f'takes = "floating"\n{line}'
    )
    with pytest.raises(SpecError, match=said):
        read(tmp_path, text)
