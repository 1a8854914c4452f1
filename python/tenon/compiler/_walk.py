"""The walk over bytecode: CPython 3.11.

A small interpreter of the instructions that functions of tensors are made of, on the values of a
real call. It runs nothing but operations that only record, and reads nothing but through a
`Reader`. An instruction, a call or a value that it doesn't know ends it.
"""

from __future__ import annotations

import dis
import types
from typing import Any

from tenon import _C
from tenon._C import Tensor
from tenon.nn.module import Module
from tenon.nn.parameter import Parameter

from ._effects import is_effect, note_effect
from ._numbers import NUMBER_FUNCTIONS, Number, plain, plain_all
from ._operators import BINARY, COMPARE, IN_PLACE
from ._prove import (
    CONSTANTS,
    CONSTRUCTORS,
    DICT_WRITES,
    HARMLESS_BUILTINS,
    LIST_WRITES,
    METHODS,
    MODES,
    NEW_FROM_METHODS,
    NUMBERS_ONLY,
    OPERATIONS,
    PLAIN,
    TENSOR_METHODS,
    Bound,
    Leave,
    Pending,
    Reader,
    Unprovable,
)
from ._transforms import call_transform, is_transform

_DEEPEST = 60
_MOST_READS = 64
_READS = ("read false", "read true")  # as captures name them
_LONGEST = 200_000  # instructions

_FUNCTION_FLAGS = 0x20 | 0x80 | 0x200  # generators and coroutines

_decoded: dict[types.CodeType, tuple[list[dis.Instruction], dict[int, int]]] = {}


def _decode(code: types.CodeType) -> tuple[list[dis.Instruction], dict[int, int]]:
    if code not in _decoded:
        instructions = [i for i in dis.get_instructions(code) if i.opname != "EXTENDED_ARG"]
        places = {}
        at = 0
        for i in dis.get_instructions(code):  # a jump may lead to the prefix of an instruction
            places[i.offset] = at
            at += i.opname != "EXTENDED_ARG"
        _decoded[code] = (instructions, places)
    return _decoded[code]


class _Frame:
    def __init__(self, function: types.FunctionType, variables: dict[str, Any]) -> None:
        self.function = function
        self.code = function.__code__
        self.globals = function.__globals__
        builtins = self.globals.get("__builtins__", __builtins__)
        self.builtins = builtins if isinstance(builtins, dict) else vars(builtins)
        self.variables = variables
        self.cells: dict[str, types.CellType] = {}
        self.stack = _Stack()
        self.names: tuple[str, ...] = ()  # of keyword arguments of the call to come


def _bind(function: types.FunctionType, args: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The variables a call begins with. Its errors are the interpreter's to raise."""
    code = function.__code__
    positional = code.co_varnames[: code.co_argcount]
    named = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    variables = dict(zip(positional, args, strict=False))
    rest = plain_all(tuple(args[len(positional) :]))
    at = code.co_argcount + code.co_kwonlyargcount
    if code.co_flags & 0x04:
        variables[code.co_varnames[at]] = rest
        at += 1
    elif rest:
        raise Unprovable(f"calls {function.__name__} with too many arguments")
    others = {}
    for name, value in kwargs.items():
        if name in named or name in positional[code.co_posonlyargcount :]:
            if name in variables:
                raise Unprovable(f"calls {function.__name__} with '{name}' twice")
            variables[name] = value
        else:
            others[name] = plain(value)
    if code.co_flags & 0x08:
        variables[code.co_varnames[at]] = others
    elif others:
        raise Unprovable(f"calls {function.__name__} with an unexpected keyword")
    defaults = function.__defaults__ or ()
    for name, value in zip(positional[len(positional) - len(defaults) :], defaults, strict=True):
        variables.setdefault(name, value)
    for name, value in (function.__kwdefaults__ or {}).items():
        variables.setdefault(name, value)
    if any(name not in variables for name in (*positional, *named)):
        raise Unprovable(f"calls {function.__name__} with too few arguments")
    return variables


class Walk:
    """One walk; `line` is where it is, or where it ended."""

    def __init__(self, reader: Reader, unit: Any) -> None:
        self.reader = reader
        self.unit = unit  # that can tell booleans; none where they may not be read
        self.mode = _C.is_grad_enabled()
        self.line = ""
        self.depth = 0
        self.count = 0

    # ---- calls -----------------------------------------------------------------------------------

    def call(self, function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        reader = self.reader
        if isinstance(function, Bound):
            return self._call_method(function, args, kwargs)
        if isinstance(function, types.MethodType):
            return self.call(function.__func__, (function.__self__, *args), kwargs)
        if isinstance(function, types.FunctionType):
            return self._call_function(function, args, kwargs)
        if isinstance(function, types.MethodWrapperType) and isinstance(function.__self__, Module):
            if function.__name__ == "__call__":
                return self.call(function.__self__, args, kwargs)
        if isinstance(function, _C._CompiledBase):
            fields = vars(function)
            reader.note("item", fields, "_function", fields["_function"])
            return self.call(fields["_function"], args, kwargs)
        if isinstance(function, Module):
            return self._call_module(function, args, kwargs)
        if id(function) in OPERATIONS and isinstance(function, types.BuiltinFunctionType):
            return self._call_operation(OPERATIONS[id(function)], function, args, kwargs)
        if id(function) in HARMLESS_BUILTINS:
            return self._call_builtin(function, args, kwargs)
        if function is type and len(args) == 1 and not kwargs:
            return type(args[0].value if type(args[0]) is Number else args[0])
        args, kwargs = plain_all(args), plain_all(kwargs)
        if isinstance(function, Leave):
            return function.mode.__exit__(None, None, None)
        if any(function is mode for mode in MODES):
            if args or kwargs:
                raise Unprovable(f"calls {function.__name__} with arguments")
            reader.note("type", function)
            return reader.make(function())
        if function is getattr and len(args) == 2 and type(args[1]) is str:
            return reader.attribute(args[0], args[1], self.call)
        if function is hasattr and len(args) == 2 and isinstance(args[0], Tensor):
            raise Unprovable("asks whether a tensor has an attribute")
        name = getattr(function, "__qualname__", type(function).__name__)
        raise Unprovable(f"calls {name}, which isn't known to do nothing else")

    def _call_builtin(self, function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        numbers = self.reader.numbers
        if id(function) in NUMBER_FUNCTIONS and not kwargs and numbers.is_arithmetic(*args):
            return numbers.apply(function, *args)
        if function is bool and len(args) == 1 and isinstance(args[0], (Number, Tensor)):
            return self._truth(args[0])
        if function is isinstance and len(args) == 2 and type(args[0]) is Number:
            args = (args[0].value, plain(args[1]))  # its type tells
        if function is sum and args:
            return self._sum(plain(args[0]), *args[1:])
        args, kwargs = plain_all(args), plain_all(kwargs)
        if function in (isinstance, issubclass):
            self._check_classes(args[0], args[1])
            return function(*args)
        if function is len and len(args) == 1 and not self._is_ours(args[0]):
            return self._call_special("__len__", args[0], "asks for the length of")
        if function in _ITERATING:
            args = tuple(
                v if self._is_ours(v) and type(v) is not Tensor else self._iterator(v) for v in args
            )
        for value in (*args, *kwargs.values()):
            if id(function) in NUMBERS_ONLY:
                if type(value) not in CONSTANTS and type(value) not in (list, tuple):
                    raise Unprovable(f"calls {function.__name__} of a {type(value).__name__}")
            if type(value) in (list, tuple, dict):
                self.reader.contents(value)
                if function in (min, max, sorted, any, all, *_DEEP) or id(function) in NUMBERS_ONLY:
                    self._check_plain(value)
            elif function in (min, max, any, all, abs, pow) and not isinstance(value, CONSTANTS):
                if function not in (abs, pow) or not isinstance(value, Tensor):
                    raise Unprovable(f"calls {function.__name__} of a {type(value).__name__}")
            elif not self._is_ours(value):
                raise Unprovable(f"calls {function.__name__} of a {type(value).__name__}")
        result = function(*args, **kwargs)
        if isinstance(result, Tensor):
            return self.reader.result(result)
        # The others may give back something that was there before.
        is_new = id(function) in CONSTRUCTORS and not any(result is value for value in args)
        return self.reader.make(result) if is_new else result

    def _check_plain(self, values: Any) -> None:
        for value in values:
            if not isinstance(value, CONSTANTS):
                raise Unprovable(f"compares or reads a {type(value).__name__}")

    def _check_classes(self, value: Any, classes: Any) -> None:
        for cls in classes if isinstance(classes, tuple) else (classes,):
            if isinstance(cls, types.UnionType):
                continue
            is_known = type(cls) is type or cls is Parameter or any(cls is kind for kind in PLAIN)
            if not isinstance(cls, type) or not is_known:
                raise Unprovable("asks for an instance of a class with a metaclass")
        if not isinstance(value, (type, *PLAIN, list, dict, Tensor)):
            self.reader.note("class", value, type(value))

    def _is_ours(self, value: Any) -> bool:
        """Whether built-in functions read this kind of value without running other code."""
        kind = type(value)
        return kind in PLAIN or kind in (Tensor, list, dict, type) or self.reader.is_fresh(value)

    def _sum(self, values: Any, start: Any = 0) -> Any:
        if type(values) in (list, tuple):
            self.reader.contents(values)
        elif not self.reader.is_fresh(values):
            raise Unprovable(f"sums a {type(values).__name__}")
        total = start
        for value in values:
            total = self._binary("+", total, value, False)
        return total

    def _call_operation(self, name: str, function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        short = name.rsplit(".", 1)[-1]
        if short.endswith("_") and not short.endswith("__"):
            self._check_write(args[0] if args else None)
        if kwargs.get("out") is not None:
            raise Unprovable(f"calls {short} with out=")
        for value in (*args, *kwargs.values()):
            if type(value) is not Number:
                self.reader.checked_operand(value)
        return self.reader.result(self._with_numbers(function, args, kwargs))

    def _with_numbers(self, function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """What an operation makes of operands some of which may be symbolic numbers."""
        if not any(type(value) is Number for value in (*args, *kwargs.values())):
            return function(*args, **kwargs)
        watched = self.reader.numbers.for_operation
        try:
            return function(*map(watched, args), **{k: watched(v) for k, v in kwargs.items()})
        except TypeError:  # one that takes no symbolic numbers, or no numbers
            return function(*plain_all(args), **plain_all(kwargs))

    def _check_write(self, target: Any) -> None:
        if not isinstance(target, Tensor) or not self.reader.may_write(target):
            raise Unprovable("writes to a tensor that it was given")

    def _call_method(self, method: Bound, args: Any, kwargs: dict[str, Any]) -> Any:
        function, subject = method.function, method.subject
        if isinstance(function, types.FunctionType):
            return self._call_function(function, (subject, *args), kwargs)
        name = function.__name__
        if isinstance(subject, Tensor):
            if name == "backward":
                return self._note_backward(subject, args, kwargs)
            if name in _C._all or name in TENSOR_METHODS:
                return self._call_operation(name, function, (subject, *args), kwargs)
        elif name in METHODS.get(type(subject), frozenset()):
            args, kwargs = plain_all(args), plain_all(kwargs)
            if type(subject) in (list, dict):
                self.reader.contents(subject)
                writes = LIST_WRITES if type(subject) is list else DICT_WRITES
                if name in writes and not self.reader.is_fresh(subject):
                    raise Unprovable(f"changes a {type(subject).__name__} that it didn't make")
            if name not in LIST_WRITES and name not in DICT_WRITES:
                self._check_plain(args)
            result = function(subject, *args, **kwargs)
            return self.reader.make(result) if name in NEW_FROM_METHODS else result
        raise Unprovable(f"calls {type(subject).__name__}.{name}")

    def _note_backward(self, root: Tensor, args: Any, kwargs: dict[str, Any]) -> None:
        if args or kwargs or not self.reader.is_fresh(root):
            raise Unprovable("calls backward with arguments, or of a tensor that it was given")
        self.reader.effects.append(("backward",))

    def _call_module(self, module: Module, args: Any, kwargs: dict[str, Any]) -> Any:
        reader = self.reader
        _, held = reader.of_class(type(module), "__call__")
        if held is not vars(Module.__mro__[1])["__call__"]:
            raise Unprovable(f"calls a {type(module).__name__} with a __call__ of its own")
        for kind in ("_forward_pre_hooks", "_forward_hooks"):
            hooks = reader.attribute(module, kind, self.call)
            if hooks:
                raise Unprovable(f"calls a {type(module).__name__} with hooks")
            if not isinstance(hooks, dict):
                raise Unprovable(f"calls a {type(module).__name__} without a dictionary of hooks")
            reader.note("dict", hooks, [])
        return self.call(reader.attribute(module, "forward", self.call), args, kwargs)

    def _call_function(self, function: types.FunctionType, args: Any, kwargs: Any) -> Any:
        if is_effect(function):
            return note_effect(self, function, plain_all(args), plain_all(kwargs))
        if is_transform(function):
            return call_transform(self, function, plain_all(args), plain_all(kwargs))
        code = function.__code__
        if code.co_flags & _FUNCTION_FLAGS:
            raise Unprovable(f"calls {function.__name__}, a generator or coroutine")
        if not self.reader.is_fresh(function):
            self.reader.note("function", function)
            for value in function.__defaults__ or ():
                self.reader.load(value)
            if function.__kwdefaults__:
                self.reader.contents(function.__kwdefaults__)
        frame = _Frame(function, _bind(function, args, kwargs))
        at = code.co_argcount + code.co_kwonlyargcount
        for flag in (0x04, 0x08):
            if code.co_flags & flag:
                self.reader.make(frame.variables[code.co_varnames[at]])
                at += 1
        self.depth += 1
        if self.depth > _DEEPEST:
            raise Unprovable("calls functions too deeply")
        before = self.line
        result = self._run(frame)
        self.line = before
        self.depth -= 1
        return result

    # ---- instructions ----------------------------------------------------------------------------

    def _run(self, frame: _Frame) -> Any:
        instructions, places = _decode(frame.code)
        at = 0
        while True:
            instruction = instructions[at]
            if instruction.positions and instruction.positions.lineno:
                self.line = f"{frame.code.co_filename}:{instruction.positions.lineno}"
            self.count += 1
            if self.count > _LONGEST:
                raise Unprovable("runs too many instructions")
            name = instruction.opname
            if name == "RETURN_VALUE":
                return frame.stack.take()
            run = _INSTRUCTIONS.get(name)
            if run is None:
                raise Unprovable(f"has the instruction {name}, which isn't known")
            target = run(self, frame, instruction)
            at = at + 1 if target is None else places[target]

    def _truth(self, value: Any) -> bool:
        if type(value) is Number:
            return self.reader.numbers.truth(value)
        if isinstance(value, Tensor):
            return self._read_truth(value)
        if type(value) in (list, dict):
            self.reader.contents(value)
            return bool(value)
        if type(value) in PLAIN or self.reader.is_fresh(value):
            return bool(value)
        if isinstance(value, (types.FunctionType, types.ModuleType)):
            return True
        if any(self.reader.of_class(type(value), n)[0] for n in ("__bool__", "__len__")):
            raise Unprovable(f"asks for the truth of a {type(value).__name__}")
        self.reader.note("class", value, type(value))
        return True

    def _read_truth(self, value: Tensor) -> bool:
        """Of a boolean that the function computed: what follows holds for this answer alone.
        Nothing may have been done before, since another answer makes Python run from the start."""
        effects = self.reader.effects
        if not self.unit or not self.reader.is_fresh(value) or not _C._is_plain():
            raise Unprovable("reads a tensor's value, to decide what to do")
        if _C.is_grad_enabled() != self.mode:
            raise Unprovable("reads a tensor's value under another grad mode")
        if any(effect[0] not in _READS for effect in effects):
            raise Unprovable("reads a tensor's value after a step or backward pass")
        if len(effects) == _MOST_READS:
            raise Unprovable("reads too many values")
        if value.numel() != 1:
            raise Unprovable("reads the truth of a tensor that has not one element")
        answer = self.unit.truth_of(value)
        if answer is None:
            raise Pending("reads a tensor's value that is a view, or was pending")
        effects.append((_READS[answer], answer))
        return bool(answer)

    def _binary(self, symbol: str, left: Any, right: Any, in_place: bool) -> Any:
        if self.reader.numbers.is_arithmetic(left, right):
            return self.reader.numbers.apply(BINARY[symbol], left, right)
        if not isinstance(left, Tensor) and not isinstance(right, Tensor):
            left, right = plain(left), plain(right)
        for value in (left, right):
            if type(value) in (list, dict):
                self.reader.contents(value)
            elif type(value) is not Number:
                self.reader.checked_operand(value)
        if in_place:
            if isinstance(left, Tensor):
                self._check_write(left)
            elif type(left) in (list, dict) and not self.reader.is_fresh(left):
                raise Unprovable(f"changes a {type(left).__name__} that it didn't make")
        function = (IN_PLACE if in_place else BINARY)[symbol]
        result = self._with_numbers(function, (left, right), {})
        if isinstance(result, Tensor):
            return self.reader.result(result)
        return self.reader.make(result) if type(result) in (list, tuple, dict) else result

    def _compare(self, symbol: str, left: Any, right: Any) -> Any:
        if self.reader.numbers.is_arithmetic(left, right):
            return self.reader.numbers.apply(COMPARE[symbol], left, right)
        if not isinstance(left, Tensor) and not isinstance(right, Tensor):
            left, right = plain(left), plain(right)
        for value in (left, right):
            if isinstance(value, Tensor):
                self.reader.checked_operand(value)
            elif type(value) is Number:
                continue
            elif type(value) in (list, tuple, dict):
                self.reader.contents(value)
                self._check_plain(value.values() if type(value) is dict else value)
            elif type(value) not in PLAIN and type(value) is not type:
                raise Unprovable(f"compares a {type(value).__name__}")
        return self.reader.result(self._with_numbers(COMPARE[symbol], (left, right), {}))

    def _subscript(self, value: Any, key: Any) -> Any:
        if isinstance(value, Tensor):
            self.reader.checked_operand(value)
            self.reader.checked_operand(key)
            return self.reader.result(value[key])
        if type(value) in (list, tuple, dict, str, range, _C.Size) or self.reader.is_fresh(value):
            if type(value) is dict and type(key) is str:
                number = self.reader.number_in(value, key)
                if number is not None:
                    return number
            if type(value) in (list, dict):
                self.reader.contents(value)
            if isinstance(key, (int, str, slice, tuple)):
                found = value[key]
                is_new = isinstance(key, slice) and found is not value
                return self.reader.make(found) if is_new else found
        found, held = self.reader.of_class(type(value), "__getitem__")
        if found and isinstance(held, types.FunctionType):
            self.reader.note("class", value, type(value))
            return self._call_function(held, (value, key), {})
        raise Unprovable(f"reads an item of a {type(value).__name__}")

    def _iterator(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            self.reader.checked_operand(value)
            parts = self.reader.result(value.unbind(0) if value.ndim else list(value))
            return self.reader.make(iter(parts))
        if type(value) in (list, tuple, dict, str, range, _C.Size) or self.reader.is_fresh(value):
            if type(value) in (list, dict):
                self.reader.contents(value)
            return self.reader.make(iter(value))
        return self._call_special("__iter__", value, "goes through")

    def _call_special(self, name: str, value: Any, doing: str) -> Any:
        found, held = self.reader.of_class(type(value), name)
        if not found or not isinstance(held, types.FunctionType):
            raise Unprovable(f"{doing} a {type(value).__name__}")
        self.reader.note("class", value, type(value))
        return self._call_function(held, (value,), {})


_DEEP = (set, frozenset)
_ITERATING = (enumerate, zip, list, tuple, iter)


# Imported last: the table's functions take a Walk.
from ._instructions import INSTRUCTIONS as _INSTRUCTIONS  # noqa: E402
from ._instructions import Stack as _Stack  # noqa: E402
