"""What a function reads, found by walking it once: the guards under which a recorded call may stand
for a later one.

`prove` walks the bytecode with the call's own arguments (see `_walk.py`), doing only what is known
to have no effect but to record. Each thing that comes from outside becomes a guard; the first that
can't be guarded, or isn't known to be harmless, ends the walk with `Unprovable`.
"""

from __future__ import annotations

import math
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tenon import _C
from tenon._C import Tensor
from tenon.grad_mode import enable_grad, no_grad
from tenon.nn.module import Module
from tenon.nn.parameter import Parameter

from ._numbers import Numbers, plain

CONSTANTS = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))
NUMBERS = (bool, int, float, complex)
# Values that can't change, and whose methods and attributes only read them.
PLAIN = (*CONSTANTS, tuple, range, slice, _C.dtype, _C.device, _C.Size)

TENSOR_ATTRIBUTES = frozenset(
    ("shape", "dtype", "device", "ndim", "T", "mT", "requires_grad", "data", "is_cuda")
    + ("itemsize", "nbytes")
)
TENSOR_METHODS = frozenset(
    ("numel", "nelement", "dim", "ndimension", "size", "stride", "element_size", "detach")
    + ("is_contiguous", "is_floating_point", "is_complex", "_to_dtype")
)
MODES = (no_grad, enable_grad)
# Both are the same function of C.
_GENERIC_LOOKUPS = (object.__getattribute__, types.SimpleNamespace.__getattribute__)
_FIELDS = frozenset(("values", "indices"))


class Unprovable(Exception):
    """Why Python can't be skipped, and the line that says so."""

    def __init__(self, why: str, line: str = "") -> None:
        super().__init__(f"{why} ({line})" if line else why)
        self.why, self.line = why, line


class Pending(Unprovable):
    """A boolean depends on what was recorded before the call: a walk can't tell it."""


@dataclass
class Proof:
    """What must be the same for a recorded call to stand for another."""

    given: list[Tensor]  # those of the arguments, then captured ones
    arguments: list[Any]
    keywords: list[tuple[str, Any]]
    guards: list[tuple[Any, ...]]
    captured: list[Tensor]
    effects: list[tuple[Any, ...]]  # what it does besides recording, in order
    numbers: Numbers
    walked: Any  # what the walk recorded


class Reader:
    """Reads from outside, and notes what it read."""

    def __init__(self) -> None:
        self.guards: list[tuple[Any, ...]] = []
        self._seen: set[tuple[Any, ...]] = set()
        self.captured: list[Tensor] = []
        self.argument_tensors: list[Tensor] = []
        self._known: set[int] = set()  # tensors, guarded or made inside
        self._roots: set[int] = set()  # of tensors from outside
        self.effects: list[tuple[Any, ...]] = []
        self.numbers = Numbers()
        self._lent: list[Tensor] = []  # kept, so that ids stay theirs
        self._fresh: dict[int, Any] = {}  # what the function made itself
        self._checked: dict[int, Any] = {}  # containers whose contents are guarded
        for cls in (Tensor, Parameter):
            self.note("type", cls)

    def note(self, kind: str, subject: Any, *parts: Any) -> None:
        key = (kind, id(subject), *(id(part) for part in parts))
        if key not in self._seen:
            self._seen.add(key)
            self.guards.append((kind, subject, *parts))

    # ---- what the function makes -----------------------------------------------------------------

    def make(self, value: Any) -> Any:
        self._fresh[id(value)] = value
        return value

    def is_fresh(self, value: Any) -> bool:
        return id(value) in self._fresh

    def result(self, value: Any) -> Any:
        """Of an operation: what is new belongs to the function."""
        if isinstance(value, Tensor):
            if type(value) not in (Tensor, Parameter):
                raise Unprovable(f"makes a {type(value).__name__}")
            if id(value) not in self._known:
                self.make(value)
        elif isinstance(value, (list, tuple)):
            for part in value:
                self.result(part)
            if not isinstance(value, _C.Size):
                self.make(value)
        return value

    def lend(self, tensor: Tensor) -> None:
        """One that a transform made for the function: to be used, not to be written to."""
        if id(tensor) not in self._known and not self.is_fresh(tensor):
            self._known.add(id(tensor))
            self._lent.append(tensor)
            self._roots.add(_C._root_id(tensor))

    def may_write(self, tensor: Tensor) -> bool:
        return self.is_fresh(tensor) and _C._root_id(tensor) not in self._roots

    # ---- what it is given ------------------------------------------------------------------------

    def argument(self, value: Any) -> tuple[Any, ...]:
        if isinstance(value, Tensor):
            self._check_tensor(value)
            self.argument_tensors.append(value)
            self._known.add(id(value))
            self._roots.add(_C._root_id(value))
            return ("tensor", value)
        if type(value) in (int, float, str):
            return ("value", value)
        if type(value) in (list, tuple):
            self._checked[id(value)] = value
            return (type(value).__name__, [self.argument(part) for part in value])
        if type(value) is dict:
            if any(type(key) not in (str, int) for key in value):
                raise Unprovable("is given a dict whose keys are no texts or numbers")
            self._checked[id(value)] = value
            return ("dict", [self.argument(part) for part in value.values()], list(value))
        return ("same", value)

    def _check_tensor(self, tensor: Tensor) -> None:
        if type(tensor) not in (Tensor, Parameter):
            raise Unprovable(f"uses a {type(tensor).__name__}, which may do anything")
        if _C._has_attributes(tensor):
            raise Unprovable("uses a tensor with attributes of its own")

    def load(self, value: Any) -> Any:
        """A value that came from outside through something that is guarded."""
        if isinstance(value, Tensor) and not self.is_fresh(value):
            if any(value is known for known in self.captured):
                return value
            self._check_tensor(value)
            self.captured.append(value)  # also an argument: it must be the same one again
            self._known.add(id(value))
            self._roots.add(_C._root_id(value))
        elif type(value) is tuple:
            for part in value:
                self.load(part)
        return value

    def contents(self, value: Any) -> Any:
        """A container whose parts are about to be looked at."""
        if self.is_fresh(value) or id(value) in self._checked:
            return value
        if type(value) is list:
            self._checked[id(value)] = value
            self.note("list", value, list(value))
            for part in value:
                self.load(part)
        elif type(value) is dict:
            self._checked[id(value)] = value
            flat = [part for pair in value.items() for part in pair]
            self.note("dict", value, flat)
            for part in value.values():
                self.load(part)
        return value

    def checked_operand(self, value: Any) -> Any:
        """An argument of a call that is known to be harmless for values of these kinds."""
        if isinstance(value, Tensor):
            if id(value) not in self._known and not self.is_fresh(value):
                raise Unprovable("uses a tensor of unknown origin")
        elif type(value) in (list, dict):
            self.contents(value)
            for part in value.values() if type(value) is dict else value:
                self.checked_operand(part)
        elif type(value) is tuple:
            for part in value:
                self.checked_operand(part)
        elif type(value) is slice:
            for part in (value.start, value.stop, value.step):
                self.checked_operand(part)
        elif type(value) not in PLAIN and not any(value is t for t in NUMBERS):
            raise Unprovable(f"passes a {type(value).__name__} to an operation")
        return value

    def check_result(self, value: Any, seen: set[int]) -> None:
        """What is returned can be made anew only where the function made it."""
        if type(value) in (list, dict, tuple):
            is_constant = type(value) is tuple and all(type(p) in CONSTANTS for p in value)
            if not is_constant and (not self.is_fresh(value) or id(value) in seen):
                raise Unprovable(
                    f"returns a {type(value).__name__} that it was given, or one twice"
                )
            seen.add(id(value))
            for part in value.values() if type(value) is dict else value:
                self.check_result(part, seen)

    # ---- globals, cells, attributes --------------------------------------------------------------

    def global_(self, names: dict[str, Any], builtins: dict[str, Any], name: str) -> Any:
        if name in names:
            return self.item(names, name)
        self.note("item", names, name)
        if name not in builtins:
            raise Unprovable(f"name '{name}' is not defined")
        self.note("item", builtins, name, builtins[name])
        return builtins[name]

    def item(self, items: dict[str, Any], name: str) -> Any:
        """Of a dictionary that has it."""
        value = items[name]
        number = self.numbers.read("item", items, value, name)
        if number is not value:
            return number
        self.note("item", items, name, value)
        return self.load(value)

    def number_in(self, items: dict[Any, Any], name: str) -> Any:
        """Of a dictionary from outside, such as a configuration's; None: no number, or not to be
        told apart from the others (an argument's, one that all was read of, or an effect's)."""
        if self.is_fresh(items) or id(items) in self._checked or self.effects:
            return None
        value = items.get(name)
        number = self.numbers.read("item", items, value, name)
        return number if number is not value else None

    def cell(self, cell: types.CellType) -> Any:
        if self.is_fresh(cell):
            return cell.cell_contents
        try:
            value = cell.cell_contents
        except ValueError:
            raise Unprovable("reads an empty closure cell") from None
        number = self.numbers.read("cell", cell, value)
        if number is not value:
            return number
        self.note("cell", cell, value)
        return self.load(value)

    def of_class(self, cls: type, name: str) -> tuple[bool, Any]:
        """What the classes hold under a name, as they hold it."""
        self.note("type", cls)
        for base in cls.__mro__:
            if name in vars(base):
                return True, vars(base)[name]
        return False, None

    def attribute(self, value: Any, name: str, call: Callable[..., Any]) -> Any:
        if isinstance(value, Tensor):
            return self._tensor_attribute(value, name, call)
        if isinstance(value, types.ModuleType):
            if name not in vars(value):
                getattr(value, name)  # packages load parts when they are first asked for
            if name not in vars(value):
                raise Unprovable(f"reads {value.__name__}.{name}, which is made when it is read")
            return self.item(vars(value), name)
        if type(value) in PLAIN or type(value) in (list, dict):
            self.contents(value)
            found = getattr(value, name)
            return Bound(getattr(type(value), name), value) if callable(found) else found
        if isinstance(value, type):
            return self._class_attribute(value, name)
        if isinstance(value, tuple) and self.is_fresh(value) and name in _FIELDS:
            return getattr(value, name)  # of what an operation with several results returns
        if isinstance(value, (types.FunctionType, types.BuiltinFunctionType, types.MethodType)):
            raise Unprovable(f"reads the attribute '{name}' of a function")
        return self._instance_attribute(value, name, call)

    def _tensor_attribute(self, value: Tensor, name: str, call: Callable[..., Any]) -> Any:
        self.checked_operand(value)
        if name in TENSOR_ATTRIBUTES:
            return self.result(getattr(value, name))
        found, held = self.of_class(type(value), name)
        if not found:
            raise Unprovable(f"reads a tensor's attribute '{name}', which there isn't")
        if isinstance(held, property):
            return call(held.fget, (value,), {})
        if isinstance(held, types.FunctionType):
            return Bound(held, value)
        if name in TENSOR_METHODS or name in _C._all or name == "backward":
            return Bound(held, value)
        raise Unprovable(f"reads the tensor's attribute '{name}', which may change it or read it")

    def _class_attribute(self, value: type, name: str) -> Any:
        if type(value) is not type:
            raise Unprovable(f"reads an attribute of the class {value.__name__}, of a metaclass")
        found, held = self.of_class(value, name)
        if not found or hasattr(vars(type).get(name), "__set__"):
            raise Unprovable(f"reads the attribute '{name}' of the class {value.__name__}")
        if isinstance(held, staticmethod):
            return held.__func__
        if isinstance(held, classmethod):
            return Bound(held.__func__, value)
        if hasattr(type(held), "__get__") and not isinstance(held, types.FunctionType):
            raise Unprovable(f"reads the descriptor '{name}' of the class {value.__name__}")
        return self.load(held)

    def _instance_attribute(self, value: Any, name: str, call: Callable[..., Any]) -> Any:
        cls = type(value)
        _, reads = self.of_class(cls, "__getattribute__")
        has_own, own = self.of_class(cls, "__getattr__")
        is_module = isinstance(value, Module)
        if not any(reads is own for own in _GENERIC_LOOKUPS) or (
            has_own and not (is_module and own is vars(Module.__mro__[1])["__getattr__"])
        ):
            raise Unprovable(f"reads an attribute of a {cls.__name__}, which looks them up itself")
        self.note("class", value, cls)
        found, held = self.of_class(cls, name)
        if found and isinstance(held, property):
            if not isinstance(held.fget, types.FunctionType):
                raise Unprovable(f"reads the property '{name}' of a {cls.__name__}")
            return call(held.fget, (value,), {})
        if found and hasattr(type(held), "__set__"):
            raise Unprovable(f"reads the descriptor '{name}' of a {cls.__name__}")
        fields = getattr(value, "__dict__", None)
        if type(fields) is not dict:
            raise Unprovable(f"reads an attribute of a {cls.__name__}, which has no dictionary")
        self.note("fields", value, fields)
        if name in fields:
            return self.item(fields, name)
        self.note("item", fields, name)
        if found:
            if isinstance(held, staticmethod):
                return held.__func__
            if isinstance(held, classmethod):
                return Bound(held.__func__, cls)
            if isinstance(held, types.FunctionType):
                return Bound(held, value)
            if hasattr(type(held), "__get__"):
                raise Unprovable(f"reads the descriptor '{name}' of a {cls.__name__}")
            return self.load(held)
        if is_module:
            for kind in ("_parameters", "_modules", "_buffers"):
                members = fields.get(kind)
                if type(members) is not dict:
                    raise Unprovable(f"reads a module whose {kind} are no dictionary")
                self.note("item", fields, kind, members)
                if name in members:
                    return self.item(members, name)
                self.note("item", members, name)
        raise Unprovable(f"reads the attribute '{name}' of a {cls.__name__}, which there isn't")


class Leave:
    """The end of a `with` block."""

    __slots__ = ("mode",)

    def __init__(self, mode: Any) -> None:
        self.mode = mode


class Bound:
    """A method with its first argument."""

    __slots__ = ("function", "subject")

    def __init__(self, function: Any, subject: Any) -> None:
        self.function, self.subject = function, subject


HARMLESS_BUILTINS = {
    id(function): function
    for function in (len, range, zip, enumerate, isinstance, issubclass, tuple, list, dict, min)
    + (max, abs, sum, int, float, bool, str, round, divmod, pow, reversed, sorted, any, all, iter)
    + (next, slice, complex, set, frozenset, ord, chr, repr)
    + tuple(f for f in vars(math).values() if isinstance(f, types.BuiltinFunctionType))
}
NUMBERS_ONLY = {
    id(function)
    for function in (int, float, bool, str, round, divmod, complex, ord, chr, repr, sorted)
    + tuple(f for f in vars(math).values() if isinstance(f, types.BuiltinFunctionType))
}
CONSTRUCTORS = {
    id(function)
    for function in (range, zip, enumerate, tuple, list, dict, reversed, sorted, iter, set)
    + (frozenset, slice)
}
NEW_FROM_METHODS = frozenset(("copy", "items", "keys", "values", "split"))
OPERATIONS = {id(function): name for name, function in _C._all.items()}
LIST_WRITES = frozenset(("append", "extend", "insert", "pop", "remove", "clear", "reverse"))
DICT_WRITES = frozenset(("update", "setdefault", "pop", "clear", "popitem"))
# Of plain values, besides those that write.
METHODS: dict[type, frozenset[str]] = {
    list: frozenset(("index", "count", "copy")) | LIST_WRITES,
    dict: frozenset(("get", "items", "keys", "values", "copy")) | DICT_WRITES,
    tuple: frozenset(("index", "count")),
    _C.Size: frozenset(("index", "count", "numel")),
    str: frozenset(("startswith", "endswith", "lower", "upper", "strip", "split", "join"))
    | frozenset(("format", "replace", "find", "count", "removeprefix", "removesuffix")),
}


def is_known_version() -> bool:
    """Whether this interpreter's bytecode is one that the walk knows."""
    return sys.version_info[:2] == (3, 11) and sys.implementation.name == "cpython"


def prove(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], may_read: bool
) -> Proof:
    """Walks the function with these arguments; `Unprovable` where it may do more than record, and,
    unless it may do that, read booleans."""
    try:
        return _prove(function, args, kwargs, may_read)
    except Pending:  # Python, too, runs what is pending when it reads
        _C.flush()
        return _prove(function, args, kwargs, may_read)


def _prove(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], may_read: bool
) -> Proof:
    from ._walk import Walk

    if not is_known_version():
        version = ".".join(map(str, sys.version_info[:2]))
        raise Unprovable(f"the bytecode of Python {version} isn't one that the walk knows")
    reader = Reader()
    numbers = reader.numbers
    values = [numbers.read("argument", place, value) for place, value in enumerate(args)]
    named = {name: numbers.read("argument", name, value) for name, value in kwargs.items()}
    arguments = [
        ("number",) if symbol is not value else reader.argument(value)
        for symbol, value in zip(values, args, strict=True)
    ]
    keywords = [
        (name, ("number",) if named[name] is not value else reader.argument(value))
        for name, value in kwargs.items()
    ]
    mode = _C.is_grad_enabled()
    generator = _C._generator_state()
    unit = _C._Unit([], proving=True, keeps=may_read, following=True)
    walk = Walk(reader, unit if may_read else None)
    try:
        reader.check_result(plain(walk.call(function, tuple(values), named)), set())
        # A value that was read decides what comes next, and isn't guarded.
        capture = unit.finish([])
        if capture.obstacle:
            raise Unprovable(capture.obstacle, capture.obstacle_line or walk.line)
    except Unprovable as why:
        raise type(why)(why.why, why.line or walk.line) from None
    except RecursionError:
        raise Unprovable("calls itself too deeply", walk.line) from None
    except Exception as error:
        text = str(error)
        if not text.startswith(("writes to", "reads a value")):  # what the trace refuses
            text = f"raises {type(error).__name__}: {text}"
        raise Unprovable(text, walk.line) from None
    finally:
        unit.close()
        _C._set_grad_enabled(mode)
        _C._set_generator_state(*generator)
    return Proof(
        reader.argument_tensors + reader.captured,
        arguments,
        keywords,
        reader.guards,
        reader.captured,
        reader.effects,
        numbers,
        capture,
    )
