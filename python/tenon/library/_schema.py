"""What an operation takes and gives: `space::name(Tensor x, float scale=1, *, int[] n) -> Tensor`.

The language is PyTorch's, of its types these: Tensor, int, float, bool, str and Scalar (any
number); `T[]` for a list and `T?` for one that may be None.
"""

from __future__ import annotations

import ast
import inspect
import re
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .._C import Tensor

# As in tenon_operation.h.
NONE, INTEGER, NUMBER, FLAG, TEXT, INTEGERS, NUMBERS = range(7)

_SCALARS = ("int", "float", "bool", "str", "Scalar")
_LISTS = ("int[]", "float[]", "bool[]")
_MISSING = object()


@dataclass(frozen=True)
class Argument:
    """One argument: its name and type, and what it is where it isn't given."""

    name: str
    type: str  # "Tensor", "Tensor?", "Tensor[]", "int", "float[]?", ...
    default: Any = _MISSING
    keyword_only: bool = False

    @property
    def base(self) -> str:
        return self.type.removesuffix("?")

    @property
    def is_optional(self) -> bool:
        return self.type.endswith("?")

    @property
    def holds_tensors(self) -> bool:
        return self.base.startswith("Tensor")

    @property
    def has_default(self) -> bool:
        return self.default is not _MISSING

    def __str__(self) -> str:
        text = f"{self.type} {self.name}"
        if not self.has_default:
            return text
        default = f'"{self.default}"' if isinstance(self.default, str) else str(self.default)
        return f"{text}={default.replace('(', '[').replace(',)', ']').replace(')', ']')}"


@dataclass(frozen=True)
class Schema:
    """A name with its arguments and the types of the results."""

    name: str  # "space::name"
    arguments: tuple[Argument, ...]
    returns: tuple[str, ...]  # "Tensor" each, or one "Tensor[]"

    def __str__(self) -> str:
        parts: list[str] = []
        for argument in self.arguments:
            if argument.keyword_only and "*" not in parts:
                parts.append("*")
            parts.append(str(argument))
        results = self.returns[0] if len(self.returns) == 1 else f"({', '.join(self.returns)})"
        return f"{self.name}({', '.join(parts)}) -> {results}"

    @property
    def gives_list(self) -> bool:
        return self.returns == ("Tensor[]",)

    # ---- calls

    def bind(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
        """One checked value an argument. Errors: TypeError, naming operation and argument."""
        positional = [a for a in self.arguments if not a.keyword_only]
        if len(args) > len(positional):
            raise TypeError(
                f"{self.name}() expected at most {len(positional)} positional argument(s) but "
                f"received {len(args)}. Declaration: {self}"
            )
        given = {a.name: value for a, value in zip(positional, args)}
        for name, value in kwargs.items():
            if name in given:
                raise TypeError(f"{self.name}() got multiple values for argument '{name}'")
            if all(name != a.name for a in self.arguments):
                raise TypeError(
                    f"{self.name}() got an unexpected keyword argument '{name}'. "
                    f"Declaration: {self}"
                )
            given[name] = value
        values = []
        for argument in self.arguments:
            if argument.name in given:
                values.append(self._checked(argument, given[argument.name]))
            elif argument.has_default:
                values.append(argument.default)
            else:
                raise TypeError(
                    f"{self.name}() is missing value for argument '{argument.name}'. "
                    f"Declaration: {self}"
                )
        return values

    def _checked(self, argument: Argument, value: Any) -> Any:
        if value is None and argument.is_optional:
            return None
        base = argument.base
        if base.endswith("[]"):
            if isinstance(value, (list, tuple)):
                kind = base.removesuffix("[]")
                if all(_fits(kind, item) for item in value):
                    return [float(v) if kind == "float" else v for v in value]
        elif _fits(base, value):
            return float(value) if base == "float" else value
        raise TypeError(
            f"{self.name}() Expected a value of type '{argument.type}' for argument "
            f"'{argument.name}' but instead found type '{type(value).__name__}'. "
            f"Declaration: {self}"
        )

    def flatten(self, values: Sequence[Any]) -> tuple[list[Tensor | None], list[tuple[int, Any]]]:
        """The tensors in order, and the rest with its kinds: a list's length among it."""
        tensors: list[Tensor | None] = []
        attributes: list[tuple[int, Any]] = []
        for argument, value in zip(self.arguments, values):
            if argument.base == "Tensor":
                tensors.append(value)
            elif argument.base == "Tensor[]":
                attributes.append((NONE, None) if value is None else (INTEGER, len(value)))
                tensors += value or []
            else:
                attributes.append((_kind(argument.base, value), value))
        return tensors, attributes

    def unflatten(self, tensors: Sequence[Any], attributes: Sequence[Any]) -> list[Any]:
        """The values from what :meth:`flatten` gave, the attributes without their kinds."""
        left, rest = iter(tensors), iter(attributes)
        values: list[Any] = []
        for argument in self.arguments:
            if argument.base == "Tensor":
                values.append(next(left))
            elif argument.base == "Tensor[]":
                count = next(rest)
                values.append(None if count is None else [next(left) for _ in range(count)])
            else:
                values.append(next(rest))
        return values


def _fits(base: str, value: Any) -> bool:
    if base == "Tensor":
        return isinstance(value, Tensor)
    if base == "bool":
        return isinstance(value, bool)
    if base == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    if base in ("float", "Scalar"):
        return isinstance(value, (int, float)) and not (base == "float" and isinstance(value, bool))
    return isinstance(value, str)


def _kind(base: str, value: Any) -> int:
    if value is None:
        return NONE
    if base == "Scalar":
        base = type(value).__name__
    return {
        "int": INTEGER,
        "float": NUMBER,
        "bool": FLAG,
        "str": TEXT,
        "int[]": INTEGERS,
        "bool[]": INTEGERS,
        "float[]": NUMBERS,
    }[base]


def check_name(name: str) -> None:
    """Errors: ValueError for what isn't "space::name"."""
    if not re.fullmatch(r"[A-Za-z_]\w*::[A-Za-z_]\w*", name):
        raise ValueError(
            f"an operation's name must be of the form 'space::name', got {name!r}: the part before "
            "the colons keeps it apart from other libraries'"
        )


def parse(text: str) -> Schema:
    """A schema from its text. Errors: ValueError, quoting what isn't understood."""
    match = re.fullmatch(r"\s*([\w:]+)\s*\((.*)\)\s*->\s*(.+?)\s*", text, re.DOTALL)
    if match is None:
        raise ValueError(f"expected 'space::name(Tensor x) -> Tensor', got {text!r}")
    name, inside, results = match.groups()
    check_name(name)
    arguments: list[Argument] = []
    keyword_only = False
    for part in _split(inside):
        if part == "*":
            keyword_only = True
            continue
        found = re.fullmatch(r"(\w+(?:\[\])?\??)\s+(\w+)\s*(?:=\s*(.+))?", part)
        if found is None:
            raise ValueError(
                f"{name}: expected 'type name' or 'type name=default', got {part!r} (tensors that "
                "are written to, as in Tensor(a!), can't be declared: give a new tensor)"
            )
        type_text, argument, default = found.groups()
        _check_type(name, type_text)
        value = _MISSING if default is None else _default(name, type_text, default)
        arguments.append(Argument(argument, type_text, value, keyword_only))
    inner = results[1:-1] if results.startswith("(") else results
    returns = tuple(part.split()[0] for part in _split(inner))
    _check_returns(name, returns)
    return Schema(name, tuple(arguments), returns)


def _split(text: str) -> list[str]:
    parts = re.split(r",(?![^\[]*\])", text)
    return [part.strip() for part in parts if part.strip()]


def _check_type(name: str, text: str) -> None:
    base = text.removesuffix("?")
    if base not in (*_SCALARS, *_LISTS, "Tensor", "Tensor[]"):
        raise ValueError(
            f"{name}: '{text}' is no type of an argument; there are Tensor, Tensor[], "
            f"{', '.join((*_SCALARS, *_LISTS))}, and each with a ? behind"
        )


def _check_returns(name: str, returns: tuple[str, ...]) -> None:
    if returns != ("Tensor[]",) and (not returns or any(r != "Tensor" for r in returns)):
        raise ValueError(
            f"{name}: an operation gives a Tensor, several (Tensor, Tensor) or a Tensor[], not "
            f"{returns or 'nothing'}"
        )


def _default(name: str, type_text: str, text: str) -> Any:
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        raise ValueError(f"{name}: {text!r} is no default of an argument") from None
    return float(value) if type_text.removesuffix("?") == "float" and value is not None else value


def infer(
    function: Callable[..., Any], mutates_args: str | Sequence[str] = (), name: str = "space::name"
) -> Schema:
    """A schema from a Python function's annotations. Errors: ValueError, naming the parameter."""
    check_mutates(name, mutates_args)
    try:
        hints = typing.get_type_hints(function)
    except NameError as error:
        raise ValueError(f"{name}: its annotations don't resolve: {error}") from None
    arguments = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ValueError(
                f"{name}: an operation has a fixed number of arguments, not "
                f"'{parameter.kind.description} {parameter.name}'"
            )
        if parameter.name not in hints:
            raise ValueError(f"{name}: parameter {parameter.name} must have a type annotation")
        arguments.append(
            Argument(
                parameter.name,
                _annotated(name, parameter.name, hints[parameter.name]),
                _MISSING if parameter.default is parameter.empty else parameter.default,
                parameter.kind is parameter.KEYWORD_ONLY,
            )
        )
    if "return" not in hints:
        raise ValueError(f"{name}: no return type annotation was provided. Please add one")
    returns = _annotated_returns(hints["return"])
    _check_returns(name, returns)
    return Schema(name, tuple(arguments), returns)


def check_mutates(name: str, mutates_args: str | Sequence[str]) -> None:
    """Errors: ValueError for an operation that says it writes to its arguments."""
    if isinstance(mutates_args, str) or tuple(mutates_args):
        raise ValueError(
            f"{name}: operations that write to their arguments (mutates_args={mutates_args!r}) "
            "can't be declared: derivatives, vmap and fusion work on values that don't change. "
            "Give the new value as a result, and write it where it is called: x.copy_(op(x))"
        )


_PLAIN = {Tensor: "Tensor", int: "int", float: "float", bool: "bool", str: "str"}


def _annotated(name: str, parameter: str, hint: Any) -> str:
    inner = [each for each in typing.get_args(hint) if each is not type(None)]
    if type(None) in typing.get_args(hint):
        if len(inner) == 1:
            return _annotated(name, parameter, inner[0]) + "?"
        return _union(name, parameter, hint, inner) + "?"
    origin = typing.get_origin(hint)
    if origin is not None and len(inner) >= 1 and isinstance(origin, type):
        items = [each for each in inner if each is not Ellipsis]
        if issubclass(origin, Sequence) and len(items) == 1 and items[0] in _PLAIN:
            if f"{_PLAIN[items[0]]}[]" in (*_LISTS, "Tensor[]"):
                return f"{_PLAIN[items[0]]}[]"
    if inner:
        return _union(name, parameter, hint, inner)
    if hint in _PLAIN:
        return _PLAIN[hint]
    raise _unsupported(name, parameter, hint)


def _union(name: str, parameter: str, hint: Any, inner: list[Any]) -> str:
    if set(inner) <= {int, float, bool} and float in inner:
        return "Scalar"
    raise _unsupported(name, parameter, hint)


def _unsupported(name: str, parameter: str, hint: Any) -> ValueError:
    return ValueError(
        f"{name}: parameter {parameter} has unsupported type {hint}. The valid types are Tensor, "
        "int, float, bool, str, sequences of them (but str), and each or None"
    )


def _annotated_returns(hint: Any) -> tuple[str, ...]:
    if hint is Tensor:
        return ("Tensor",)
    arguments = typing.get_args(hint)
    origin = typing.get_origin(hint)
    if origin is tuple and Ellipsis not in arguments:
        return tuple("Tensor" if each is Tensor else str(each) for each in arguments)
    if isinstance(origin, type) and issubclass(origin, Sequence) and arguments[0] is Tensor:
        return ("Tensor[]",)
    return (getattr(hint, "__name__", str(hint)),)
