"""The expressions of partial derivatives, as C++ over Values.

An expression is made of the operands `a`, `b`, `c`, the result `out`, numbers, + - * /,
comparisons and calls of operations. Every step becomes a named temporary, so that a number can
take the dtype of the value it meets.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

NAMES = ("a", "b", "c", "out")
OUT_BIT = 7
_BINARY = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div"}
_COMPARE = {
    ast.Eq: "eq",
    ast.NotEq: "ne",
    ast.Lt: "lt",
    ast.LtE: "le",
    ast.Gt: "gt",
    ast.GtE: "ge",
}


class ExpressionError(Exception):
    """What is wrong with an expression; the caller adds where it stands."""


def bit_of(name: str) -> int:
    return OUT_BIT if name == "out" else NAMES.index(name)


@dataclass
class Partial:
    """One partial derivative: how to apply it, what it reads, and its C++."""

    kind: str  # zero, one, minus_one, mask, factor
    reads: int = 0
    statements: list[str] = field(default_factory=list)
    result: str = ""


class _Compiler:
    def __init__(self, operands: int, functions: dict[str, str]) -> None:
        self.names = set(NAMES[:operands]) | {"out"}
        self.functions = functions
        self.reads = 0
        self.statements: list[str] = []

    def _temporary(self, code: str) -> str:
        name = f"t{len(self.statements)}"
        self.statements.append(f"const Value {name} = {code};")
        return name

    def _number(self, node: ast.expr) -> float | None:
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            inner = self._number(node.operand)
            return None if inner is None else -inner
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
            return float(node.value)
        return None

    def _any_value(self) -> str:
        """A value that the expression reads anyway, for the dtype of numbers that stand alone."""
        for name in reversed(NAMES):
            if name in self.names and self.reads & 1 << bit_of(name):
                return name
        raise ExpressionError("a number alone needs a value whose dtype it takes")

    def _call(self, function: str, arguments: list[ast.expr]) -> str:
        if function not in self.functions:
            raise ExpressionError(f"unknown function '{function}'")
        numbers = [self._number(argument) for argument in arguments]
        codes = [
            "" if number is not None else self.compile(argument)
            for argument, number in zip(arguments, numbers, strict=True)
        ]
        values = codes[1:] if function == "select" else codes
        like = next((code for code in values if code), "") or self._any_value()
        codes = [
            code if number is None else f"ops::literal_like({like}, {number!r})"
            for code, number in zip(codes, numbers, strict=True)
        ]
        form = self.functions[function]
        return self._temporary(f"{form}{', '.join(codes)})")

    def compile(self, node: ast.expr) -> str:
        if isinstance(node, ast.Name):
            if node.id not in self.names:
                raise ExpressionError(f"unknown name '{node.id}'")
            self.reads |= 1 << bit_of(node.id)
            return node.id
        if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            return self._call(_BINARY[type(node.op)], [node.left, node.right])
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return self._call("neg", [node.operand])
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            return self._call(_COMPARE[type(node.ops[0])], [node.left, node.comparators[0]])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            return self._call(node.func.id, node.args)
        if isinstance(node, ast.Constant):
            raise ExpressionError("a number alone needs a value whose dtype it takes")
        raise ExpressionError(f"'{ast.unparse(node)}' is not allowed in a partial")


def parse_partial(text: str, operands: int, functions: dict[str, str]) -> Partial:
    """Reads one expression of a `partials` list; see primitives.toml for the language.

    `functions` gives the start of the C++ call of each function that may be called.
    """
    if text == "none":
        return Partial("zero")
    if text in ("1", "-1"):
        return Partial("one" if text == "1" else "minus_one")
    is_mask = text.startswith("where ")
    try:
        tree = ast.parse(text.removeprefix("where "), mode="eval")
    except SyntaxError as error:
        raise ExpressionError(f"'{text}' is no expression: {error.msg}") from None
    compiler = _Compiler(operands, functions)
    result = compiler.compile(tree.body)
    return Partial("mask" if is_mask else "factor", compiler.reads, compiler.statements, result)
