"""The language of `body`: a small, statically typed part of Python, as C++ over Values.

Statements: assignment, if, return, expression. Expressions: + - * / // % ** on values and numbers,
comparisons, and/or/not on flags, conditional expressions, calls of operations of the spec and of
the helpers below, indexing of lists. A body of one expression needs no `return`.

A number written in a body is a literal: part of the program. A number that comes from a parameter
or an extent is an argument of the program (see DESIGN, section 4).
"""

from __future__ import annotations

import ast
from textwrap import dedent

from .body_helpers import (
    BOOL,
    DTYPE,
    ERROR_KINDS,
    FLOAT,
    FLOATS,
    GENERATOR,
    HELPERS,
    INT,
    INTS,
    NONE,
    NUMBER,
    PARAMETER_KINDS,
    SCALAR,
    STR,
    VALUE,
    VALUES,
    BodyError,
    Code,
    parameter_code,
)
from .operations import Operation
from .partials import _BINARY, _COMPARE
from .primitives import Primitive
from .signature import Parameter


class BodyCompiler:
    def __init__(
        self,
        operation: Operation,
        operations: dict[str, Operation],
        primitives: dict[str, Primitive],
    ) -> None:
        self.operation = operation
        self.operations = operations
        self.primitives = primitives
        self.names: dict[str, Code] = {}
        self.fresh = 0
        self.pending: list[str] = []  # statements that must run before the one being compiled
        for p in operation.parameters:
            self.names[p.name] = parameter_code(p)

    # ---- statements -----------------------------------------------------------------------------

    def compile(self) -> list[str]:
        source = dedent(self.operation.body).strip()
        try:
            tree = ast.parse(source)
        except SyntaxError as error:
            raise BodyError(
                f"not an expression or statements: {error.msg}", error.lineno or 1
            ) from None
        statements = tree.body
        if len(statements) == 1 and isinstance(statements[0], ast.Expr):
            statements = [ast.copy_location(ast.Return(value=statements[0].value), statements[0])]
        return self._block(statements)

    def _block(self, statements: list[ast.stmt]) -> list[str]:
        lines: list[str] = []
        for statement in statements:
            try:
                code = self._statement(statement)
                lines += [*self._take_pending(), *code]
            except BodyError as error:
                raise BodyError(str(error), max(error.line, statement.lineno)) from None
        return lines

    def _take_pending(self) -> list[str]:
        lines, self.pending = self.pending, []
        return lines

    def _node(self, text: str) -> Code:
        """A recorded value, under a name: its code must run once, wherever it is used."""
        self.fresh += 1
        name = f"t{self.fresh}_"
        self.pending.append(f"const Value {name} = {text};")
        return Code(name, VALUE)

    def _statement(self, node: ast.stmt) -> list[str]:
        if isinstance(node, ast.Return):
            if node.value is None:
                raise BodyError("'return' needs a value")
            if isinstance(node.value, ast.Tuple):
                parts = [self._value(self.expression(item)) for item in node.value.elts]
                return [f"return {{{', '.join(parts)}}};"]
            return [f"return {self._value(self.expression(node.value))};"]
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
            if not isinstance(target, ast.Name):
                raise BodyError("only names can be assigned")
            code = self.expression(node.value)
            known = self.names.get(target.id)
            if known is not None and known.kind == code.kind and not known.optional:
                return [f"{known.text} = {self._unwrap(code)};"]
            if known is not None:
                raise BodyError(f"'{target.id}' is a {known.kind} and can't become a {code.kind}")
            self.names[target.id] = Code(target.id, code.kind)
            kind = {VALUE: "Value", INT: "int64_t", FLOAT: "double", INTS: "Dims"}.get(
                code.kind, "auto"
            )
            return [f"{kind} {target.id} = {self._unwrap(code)};"]
        if isinstance(node, ast.If):
            test = self._flag(self.expression(node.test))
            lines = [*self._take_pending(), f"if ({test}) {{"]
            before = dict(self.names)
            lines += ["  " + line for line in self._block(node.body)]
            self.names = dict(before)
            if node.orelse:
                lines.append("} else {")
                lines += ["  " + line for line in self._block(node.orelse)]
                self.names = before
            return [*lines, "}"]
        if isinstance(node, ast.Raise):
            return [self._raise(node)]
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            return [f"{self.expression(node.value).text};"]
        raise BodyError(f"'{ast.unparse(node).splitlines()[0]}' is not allowed in a body")

    def _raise(self, node: ast.Raise) -> str:
        call = node.exc
        if not (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Name)
            and call.func.id in ERROR_KINDS
        ):
            raise BodyError(f"raise one of {', '.join(ERROR_KINDS)}")
        texts: list[str] = []
        values: list[str] = []
        argument = call.args[0]
        parts = argument.values if isinstance(argument, ast.JoinedStr) else [argument]
        for part in parts:
            if isinstance(part, ast.Constant):
                texts.append(str(part.value))
            elif isinstance(part, ast.FormattedValue):
                code = self.expression(part.value)
                shown = {
                    INTS: f"to_string(std::span<const int64_t>({self._unwrap(code)}))",
                    DTYPE: f"name_of({self._unwrap(code)})",
                    SCALAR: f"{self._unwrap(code)}.to_double()",
                }
                texts.append("{}")
                values.append(shown.get(code.kind, self._unwrap(code)))
        message = "".join(texts).replace('"', '\\"')
        arguments = "".join(f", {value}" for value in values)
        return f'fail(ErrorKind::{ERROR_KINDS[call.func.id]}, "{message}"{arguments});'

    # ---- expressions ----------------------------------------------------------------------------

    def expression(self, node: ast.expr) -> Code:
        if isinstance(node, ast.Constant):
            return self._constant(node)
        if isinstance(node, ast.Name):
            return self._name(node.id)
        if isinstance(node, ast.UnaryOp):
            return self._unary(node)
        if isinstance(node, ast.BinOp):
            return self._binary(node)
        if isinstance(node, ast.BoolOp):
            symbol = " && " if isinstance(node.op, ast.And) else " || "
            return Code(
                "(" + symbol.join(self._flag(self.expression(v)) for v in node.values) + ")", BOOL
            )
        if isinstance(node, ast.Compare):
            return self._compare(node)
        if isinstance(node, ast.IfExp):
            return self._conditional(node)
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.List):
            items = [self._int(self.expression(item)) for item in node.elts]
            return Code(f"IntList{{{', '.join(items)}}}", INTS)
        if isinstance(node, ast.Subscript):
            return self._subscript(node)
        raise BodyError(f"'{ast.unparse(node)}' is not allowed in a body")

    @staticmethod
    def _constant(node: ast.Constant) -> Code:
        value = node.value
        if isinstance(value, bool):
            return Code("true" if value else "false", BOOL)
        if isinstance(value, int):
            return Code(str(value), INT, literal=value)
        if isinstance(value, float):
            return Code(repr(value), FLOAT, literal=value)
        if isinstance(value, str):
            return Code(f'"{value}"', STR)
        if value is None:
            return Code("std::nullopt", NONE)
        raise BodyError(f"'{value!r}' is not allowed in a body")

    def _name(self, name: str) -> Code:
        if name in self.names:
            return self.names[name]
        if name == "inf":
            return Code("std::numeric_limits<double>::infinity()", FLOAT, literal=float("inf"))
        if name in (
            "float32",
            "float64",
            "int64",
            "int32",
            "bool",
            "float16",
            "bfloat16",
            "int8",
            "uint8",
        ):
            special = {"bfloat16": "BFloat16", "uint8": "UInt8"}
            return Code(f"DType::{special.get(name, name.capitalize())}", DTYPE)
        raise BodyError(f"unknown name '{name}'")

    def _unwrap(self, code: Code) -> str:
        return f"(*{code.text})" if code.optional else code.text

    def _flag(self, code: Code) -> str:
        if code.kind != BOOL:
            raise BodyError(f"'{code.text}' is a {code.kind}, not a flag")
        return self._unwrap(code)

    def _int(self, code: Code) -> str:
        if code.kind != INT:
            raise BodyError(f"'{code.text}' is a {code.kind}, not an int")
        return self._unwrap(code)

    def _value(self, code: Code, like: str = "") -> str:
        """The code as a Value; numbers take the dtype of `like`."""
        if code.kind in (VALUE, VALUES):
            return code.text
        if code.kind == NONE:
            return "Value{}"
        if not like:
            if code.kind in (INT, FLOAT, SCALAR):
                raise BodyError(f"the number '{code.text}' needs a value whose dtype it takes")
            if code.kind in (BOOL,) and self.operation.signature.returns == ("bool",):
                return code.text
            raise BodyError(f"'{code.text}' is a {code.kind}, not a value")
        if code.literal is not None:
            text = code.text if code.kind == FLOAT else f"{code.text}.0"
            return f"ops::literal_like({like}, {text})"
        if code.kind in (INT, FLOAT, SCALAR, BOOL):
            return f"scalar_like({like}, {self._unwrap(code)})"
        raise BodyError(f"'{code.text}' is a {code.kind}, not a value")

    def _unary(self, node: ast.UnaryOp) -> Code:
        code = self.expression(node.operand)
        if isinstance(node.op, ast.Not):
            return Code(f"!{self._flag(code)}", BOOL)
        if isinstance(node.op, ast.Invert):
            return self._node(f"ops::unary(Op::LogicalNot, {self._value(code)})")
        if isinstance(node.op, ast.USub):
            if code.kind == VALUE:
                return self._node(f"ops::unary(Op::Neg, {code.text})")
            literal = None if code.literal is None else -code.literal
            return Code(f"-{self._unwrap(code)}", code.kind, literal=literal)
        raise BodyError(f"'{ast.unparse(node)}' is not allowed in a body")

    def _operands(self, a: Code, b: Code) -> tuple[str, str]:
        like = a.text if a.kind == VALUE else b.text
        return self._value(a, like), self._value(b, like)

    def _binary(self, node: ast.BinOp) -> Code:
        a, b = self.expression(node.left), self.expression(node.right)
        if a.kind == VALUE or b.kind == VALUE:
            table = {
                **_BINARY,
                ast.BitAnd: "bitwise_and",
                ast.BitOr: "bitwise_or",
                ast.BitXor: "bitwise_xor",
                ast.FloorDiv: "floor_div",
                ast.Mod: "remainder",
            }
            name = table.get(type(node.op))
            if name is None:
                raise BodyError(
                    f"'{ast.unparse(node)}': no such operator on values; call pow or square"
                )
            op = "".join(part.capitalize() for part in name.split("_"))
            left, right = self._operands(a, b)
            return self._node(f"ops::binary(Op::{op}, {left}, {right})")
        symbols = {
            ast.Add: "+",
            ast.Sub: "-",
            ast.Mult: "*",
            ast.Div: "/",
            ast.Mod: "%",
            ast.FloorDiv: "/",
        }
        symbol = symbols.get(type(node.op))
        numbers = (INT, FLOAT, SCALAR)
        if symbol is None or a.kind not in numbers or b.kind not in numbers:
            raise BodyError(f"'{ast.unparse(node)}': no such operator on {a.kind} and {b.kind}")
        left, right = (
            f"{self._unwrap(c)}.to_double()" if c.kind == SCALAR else self._unwrap(c)
            for c in (a, b)
        )
        if a.literal is not None and b.literal is not None:
            fold = {
                "+": float.__add__,
                "-": float.__sub__,
                "*": float.__mul__,
                "/": float.__truediv__,
            }
            if symbol in fold and not (a.kind == INT and b.kind == INT and symbol != "/"):
                number = fold[symbol](float(a.literal), float(b.literal))
                return Code(repr(number), FLOAT, literal=number)
        whole = a.kind == INT and b.kind == INT and not isinstance(node.op, ast.Div)
        if isinstance(node.op, ast.Div) and a.kind == INT and b.kind == INT:
            left = f"static_cast<double>({left})"
        return Code(f"({left} {symbol} {right})", INT if whole else FLOAT)

    def _compare(self, node: ast.Compare) -> Code:
        if len(node.ops) != 1:
            raise BodyError("compare two things at a time")
        a, b, op = self.expression(node.left), self.expression(node.comparators[0]), node.ops[0]
        if isinstance(op, (ast.Is, ast.IsNot)):
            if b.kind != NONE:
                raise BodyError("'is' is for None")
            present = f"static_cast<bool>({a.text})" if a.kind == VALUE else f"{a.text}.has_value()"
            if a.kind == GENERATOR:
                present = f"({a.text} != nullptr)"
            return Code(present if isinstance(op, ast.IsNot) else f"!{present}", BOOL)
        name = _COMPARE.get(type(op))
        if name is None:
            raise BodyError(f"'{ast.unparse(node)}' is not allowed in a body")
        if VALUE in (a.kind, b.kind):
            left, right = self._operands(a, b)
            return self._node(f"ops::binary(Op::{name.capitalize()}, {left}, {right})")
        symbol = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}[name]
        whole = symbol in ("==", "!=")  # complex numbers have no order

        if whole and a.kind == SCALAR and b.literal is not None:
            text = f"{self._unwrap(a)}.equals({b.text})"
            return Code(text if symbol == "==" else f"!{text}", BOOL)

        def number(c: Code) -> str:
            text = self._unwrap(c)
            if c.kind == SCALAR:
                return f"{text}.to_complex()" if whole else f"{text}.to_double()"
            return f"static_cast<double>({text})" if whole and SCALAR in (a.kind, b.kind) else text

        return Code(f"({number(a)} {symbol} {number(b)})", BOOL)

    def _conditional(self, node: ast.IfExp) -> Code:
        flag = self._flag(self.expression(node.test))
        before = self._take_pending()
        a = self.expression(node.body)
        before_a = self._take_pending()
        b = self.expression(node.orelse)
        before_b = self._take_pending()
        self.pending = before
        if VALUE in (a.kind, b.kind):
            if a.kind != b.kind:
                raise BodyError(f"'{ast.unparse(node)}': a number on one side; use where")
            self.fresh += 1
            name = f"t{self.fresh}_"
            self.pending += [f"Value {name};", f"if ({flag}) {{"]
            self.pending += [f"  {line}" for line in [*before_a, f"{name} = {a.text};"]]
            self.pending += ["} else {"]
            self.pending += [f"  {line}" for line in [*before_b, f"{name} = {b.text};"]]
            self.pending += ["}"]
            return Code(name, VALUE)
        self.pending += before_a + before_b
        if a.kind == INTS:
            return Code(f"({flag} ? Dims({self._unwrap(a)}) : Dims({self._unwrap(b)}))", INTS)
        kind = FLOAT if FLOAT in (a.kind, b.kind) else a.kind
        left, right = self._unwrap(a), self._unwrap(b)
        if kind == INT:
            left, right = f"int64_t{{{left}}}", f"int64_t{{{right}}}"
        if kind == FLOAT:
            left, right = f"double({left})", f"double({right})"
        return Code(f"({flag} ? {left} : {right})", kind)

    def _subscript(self, node: ast.Subscript) -> Code:
        base, index = self.expression(node.value), self.expression(node.slice)
        if base.kind not in (INTS, VALUES, FLOATS):
            raise BodyError(f"a {base.kind} can't be indexed")
        at = self._int(index)
        if index.literal is not None and index.literal < 0:
            at = f"{base.text}.size() - {-int(index.literal)}"
        return Code(
            f"{self._unwrap(base)}[{at}]", {INTS: INT, VALUES: VALUE, FLOATS: FLOAT}[base.kind]
        )

    # ---- calls ----------------------------------------------------------------------------------

    def _call(self, node: ast.Call) -> Code:
        if not isinstance(node.func, ast.Name):
            raise BodyError(f"'{ast.unparse(node.func)}' can't be called")
        name = node.func.id
        if name == "primitive":
            return self._call_primitive(node)
        if name in ("float", "int"):
            code = self.expression(node.args[0])
            text = f"{code.text}.to_double()" if code.kind == SCALAR else self._unwrap(code)
            cpp = "double" if name == "float" else "int64_t"
            return Code(f"static_cast<{cpp}>({text})", FLOAT if name == "float" else INT)
        if name in HELPERS and not node.keywords:
            return self._call_helper(node, *HELPERS[name])
        operation = self.operations.get(name)
        if operation is None or not operation.has_value_level:
            raise BodyError(f"unknown function '{name}'")
        return self._call_operation(node, operation)

    def _call_primitive(self, node: ast.Call) -> Code:
        target = node.args[0]
        primitive = self.primitives.get(target.id) if isinstance(target, ast.Name) else None
        if primitive is None or primitive.kind != "elementwise":
            raise BodyError(f"'{ast.unparse(target)}' is no elementwise primitive")
        codes = [self.expression(argument) for argument in node.args[1:]]
        if len(codes) != primitive.operands:
            raise BodyError(f"'{primitive.name}' wants {primitive.operands} operands")
        like = next(
            (c.text for c in codes[(1 if primitive.name == "select" else 0) :] if c.kind == VALUE),
            "",
        )
        texts = [self._value(code, like) for code in codes]
        form = {
            1: f"ops::unary(Op::{primitive.enumerator}, ",
            2: f"ops::binary(Op::{primitive.enumerator}, ",
        }
        return self._node(f"{form.get(primitive.operands, 'ops::select(')}{', '.join(texts)})")

    def _call_helper(self, node: ast.Call, kinds: tuple[str, ...], result: str, form: str) -> Code:
        if len(node.args) != len(kinds):
            raise BodyError(f"'{ast.unparse(node)}': {len(kinds)} arguments wanted")
        texts = []
        keeps_optional = "normalize_dims" in form  # takes None for all dimensions
        for argument, kind in zip(node.args, kinds, strict=True):
            code = self.expression(argument)
            same = (
                code.kind == kind
                or (kind == NUMBER and code.kind in (INT, FLOAT, SCALAR))
                or (kind == GENERATOR and code.kind == NONE)
                or (kind == "dtype?" and code.kind == DTYPE)
                or (kind == FLOAT and code.kind == INT)
                or (kind == INTS and code.kind == INT and keeps_optional)
            )
            if not same:
                raise BodyError(f"'{ast.unparse(argument)}' is a {code.kind}, not a {kind}")
            if kind == GENERATOR and code.kind == NONE:
                texts.append("nullptr")
            elif keeps_optional or kind == "dtype?":
                texts.append(code.text)
            else:
                texts.append(self._unwrap(code))
        text = form.format(*texts)
        return self._node(text) if result == VALUE else Code(text, result)

    def _call_operation(self, node: ast.Call, operation: Operation) -> Code:
        parameters = [  # a call gives them in the order of the signature
            p for p in operation.signature.parameters if p in operation.value_parameters
        ]
        given: dict[str, ast.expr] = {}
        if len(node.args) > len(parameters):
            raise BodyError(f"too many arguments for '{operation.name}'")
        for parameter, argument in zip(parameters, node.args, strict=False):
            given[parameter.name] = argument
        for keyword in node.keywords:
            if keyword.arg is None or all(p.name != keyword.arg for p in parameters):
                raise BodyError(f"'{operation.name}' has no parameter '{keyword.arg}'")
            given[keyword.arg] = keyword.value
        codes = {name: self.expression(argument) for name, argument in given.items()}
        condition = parameters[0].name if operation.name == "where" else ""
        like = next((c.text for n, c in codes.items() if c.kind == VALUE and n != condition), "")
        texts = []
        for p in operation.value_parameters:
            if p.name not in codes:
                if p.required:
                    raise BodyError(f"'{operation.name}' needs '{p.name}'")
                texts.append(p.cpp_default(for_values=True) or "{}")
                continue
            texts.append(self._argument(codes[p.name], p, like))
        text = f"values::{operation.cpp_name}({', '.join(texts)})"
        if operation.signature.returns == ("Tensor",):
            return self._node(text)
        self.fresh += 1
        name = f"t{self.fresh}_"
        self.pending.append(f"const auto {name} = {text};")
        return Code(name, VALUES)

    def _argument(self, code: Code, p: Parameter, like: str) -> str:
        if p.type.is_value:
            return self._value(code, like)
        if code.kind == NONE:
            return "nullptr" if p.type.base == "Generator" else "std::nullopt"
        if p.type.is_list:
            return f"IntList({self._unwrap(code)})" if code.kind == INT else code.text
        if p.type.base == "Scalar":
            text = (
                f"int64_t{{{code.text}}}"
                if code.literal is not None and code.kind == INT
                else code.text
            )
            return text
        wanted = PARAMETER_KINDS[p.type.base]
        if code.kind != wanted and not (wanted == FLOAT and code.kind == INT):
            raise BodyError(f"'{code.text}' is a {code.kind}; '{p.name}' wants a {wanted}")
        return code.text if p.type.optional else self._unwrap(code)
