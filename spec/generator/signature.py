"""Signatures of operations: PyTorch's syntax, read with Python's own parser.

    name(input: Tensor, dim: int[]? = None, *, dtype: dtype? = None) -> Tensor

`T?` is optional, `T[]` a list, `Operand` a tensor or a number that takes part in promotion,
`*size: int` a list that may also come as separate arguments. `ignored` parameters are accepted
from Python, for PyTorch's sake, and mean nothing.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Any

# base type: C++ type of a parameter for tensors, for values, Python annotation.
BASES: dict[str, tuple[str, str, str]] = {
    "Tensor": ("const Tensor&", "Value", "Tensor"),
    "Operand": ("const Operand&", "Value", "Tensor | Number"),
    "Scalar": ("const Scalar&", "const Scalar&", "Number"),
    "float": ("double", "double", "float"),
    "int": ("int64_t", "int64_t", "int"),
    "bool": ("bool", "bool", "bool"),
    "str": ("std::string_view", "std::string_view", "str"),
    "dtype": ("DType", "DType", "dtype"),
    "device": ("Device", "Device", "device | str"),
    "Generator": ("Generator*", "Generator*", "Generator"),
    "ignored": ("", "", "object"),
}
LISTS: dict[str, tuple[str, str, str]] = {
    "int": ("const IntList&", "const IntList&", "int | Sequence[int]"),
    "extent": ("const IntList&", "const IntList&", "int | Sequence[int | None]"),  # None: unchanged
    "float": ("const FloatList&", "const FloatList&", "float | Sequence[float]"),
    "Tensor": ("const TensorList&", "std::span<const Value>", "Sequence[Tensor]"),
}
RETURNS = {"Tensor", "Tensor[]", "bool", "int", "None", "Scalar"}
UNSET = object()


class SignatureError(Exception):
    """What is wrong with a signature; the caller adds where it stands."""


@dataclass(frozen=True)
class Type:
    base: str
    is_list: bool = False
    optional: bool = False

    def __str__(self) -> str:
        return self.base + ("[]" if self.is_list else "") + ("?" if self.optional else "")

    @property
    def is_value(self) -> bool:
        return self.base in ("Tensor", "Operand") and not self.is_list

    def cpp(self, for_values: bool) -> str:
        """The type of a C++ parameter."""
        plain = (LISTS if self.is_list else BASES)[self.base][1 if for_values else 0]
        if not self.optional or self.base == "Generator":
            return plain
        if self.base == "Tensor" and not self.is_list:
            return plain  # an undefined tensor or no value
        if self.is_value:
            return plain  # an operand that holds nothing
        bare = plain.removeprefix("const ").removesuffix("&")
        by_reference = plain.endswith("&")
        wrapped = f"std::optional<{bare}>"
        return f"const {wrapped}&" if by_reference else wrapped

    def python(self) -> str:
        plain = (LISTS if self.is_list else BASES)[self.base][2]
        return plain + " | None" if self.optional else plain


@dataclass(frozen=True)
class Parameter:
    name: str
    type: Type
    default: Any = UNSET
    keyword_only: bool = False
    variadic: bool = False

    @property
    def required(self) -> bool:
        return self.default is UNSET and not self.variadic

    @property
    def cpp_name(self) -> str:
        return self.name + "_" if self.name in ("default", "self", "operator") else self.name

    def cpp_default(self, for_values: bool) -> str:
        """The default as C++; an empty string where there is none."""
        if self.default is UNSET:
            return ""
        if self.default is None:
            if self.type.base == "Generator":
                return "nullptr"
            if self.type.is_value:
                return "{}"
            return "std::nullopt"
        return cpp_literal(self.default, self.type)


@dataclass(frozen=True)
class Signature:
    text: str
    name: str
    parameters: tuple[Parameter, ...]
    returns: tuple[str, ...]  # one, or the members of a tuple
    return_names: tuple[str, ...]

    def parameter(self, name: str) -> Parameter | None:
        return next((p for p in self.parameters if p.name == name), None)


def cpp_literal(value: Any, kind: Type) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, (list, tuple)):
        return "{" + ", ".join(cpp_literal(item, Type(kind.base)) for item in value) + "}"
    if isinstance(value, int) and kind.base == "float":
        return f"{value}.0"
    if isinstance(value, int) and kind.base == "Scalar":
        return f"int64_t{{{value}}}"
    return repr(value)


_NAME = re.compile(r"^[a-z_]\w*$")


def _type(node: ast.expr | None, of: str) -> Type:
    if node is None:
        raise SignatureError(f"parameter '{of}' has no type")
    text = ast.unparse(node)
    found = re.fullmatch(r"(\w+?)(__list)?(__optional)?", text)
    if found is None:
        raise SignatureError(f"'{text}' is no type (parameter '{of}')")
    base, is_list, optional = found.group(1), bool(found.group(2)), bool(found.group(3))
    if base not in (LISTS if is_list else BASES):
        known = ", ".join(list(BASES) + [f"{name}[]" for name in LISTS])
        shown = base + ("[]" if is_list else "")
        raise SignatureError(f"unknown type '{shown}' of '{of}' (known: {known})")
    return Type(base, is_list, optional)


def _default(node: ast.expr, parameter: str) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        if ast.unparse(node) in ("inf", "-inf"):
            return float(ast.unparse(node))
        raise SignatureError(f"the default of '{parameter}' is no literal") from None


def _returns(node: ast.expr | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if node is None:
        raise SignatureError("'-> type' is missing")
    text = ast.unparse(node).replace("__list", "[]")
    if isinstance(node, ast.Tuple):
        members = [ast.unparse(item) for item in node.elts]
        types, names = [], []
        for member in members:
            found = re.fullmatch(r"Tensor\[(\w+)\]", member)
            if found is None:
                raise SignatureError(f"'{member}': a tuple's members are written Tensor[name]")
            types.append("Tensor")
            names.append(found.group(1))
        return tuple(types), tuple(names)
    if text not in RETURNS:
        raise SignatureError(f"unknown result type '{text}' (known: {', '.join(sorted(RETURNS))})")
    return (text,), ()


def parse_signature(text: str) -> Signature:
    plain = text.replace("[]", "__list").replace("?", "__optional")
    try:
        tree = ast.parse(f"def {plain}: ...").body[0]
    except SyntaxError as error:
        raise SignatureError(f"'{text}' is no signature: {error.msg}") from None
    if not isinstance(tree, ast.FunctionDef):
        raise SignatureError(f"'{text}' is no signature")
    if not _NAME.match(tree.name):
        raise SignatureError(f"'{tree.name}' is no name of an operation")
    arguments = tree.args
    positional = arguments.posonlyargs + arguments.args
    missing = len(positional) - len(arguments.defaults)
    parameters: list[Parameter] = []
    for i, argument in enumerate(positional):
        default = UNSET if i < missing else _default(arguments.defaults[i - missing], argument.arg)
        parameters.append(
            Parameter(argument.arg, _type(argument.annotation, argument.arg), default)
        )
    if arguments.vararg is not None:
        name = arguments.vararg.arg
        element = _type(arguments.vararg.annotation, name)
        if element.base != "int" or element.is_list:
            raise SignatureError(f"'*{name}' must be of type int")
        parameters.append(Parameter(name, Type("int", is_list=True), variadic=True))
    for argument, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        default = UNSET if value is None else _default(value, argument.arg)
        kind = _type(argument.annotation, argument.arg)
        parameters.append(Parameter(argument.arg, kind, default, keyword_only=True))
    for parameter in parameters:
        if parameter.default is None and not parameter.type.optional:
            if parameter.type.base != "ignored":
                raise SignatureError(f"'{parameter.name}' defaults to None but is not optional")
    returns, names = _returns(tree.returns)
    return Signature(text, tree.name, tuple(parameters), returns, names)
