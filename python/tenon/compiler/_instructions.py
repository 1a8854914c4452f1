"""What the walk does for each instruction of CPython 3.11: (walk, frame, instruction) -> the offset
to go on at, or None for the next."""

from __future__ import annotations

import dis
import operator
import sys
import types
from collections.abc import Callable
from typing import Any

from tenon._C import Size, Tensor

from ._numbers import Number, plain
from ._prove import CONSTANTS, MODES, PLAIN, Leave, Unprovable

_Run = Callable[[Any, Any, dis.Instruction], "int | None"]
INSTRUCTIONS: dict[str, _Run] = {}
_NULL = object()
# What arguments are compared by is their value, or that of their parts.
_BY_VALUE = (*CONSTANTS, list, tuple, dict, range, slice, Size)


def _for(*names: str) -> Callable[[_Run], _Run]:
    def note(run: _Run) -> _Run:
        for name in names:
            INSTRUCTIONS[name] = run
        return run

    return note


class Stack(list[Any]):
    """A frame's values. Those that are taken are plain; `take` and `top` leave numbers symbolic."""

    def pop(self, at: Any = -1) -> Any:
        return plain(super().pop(at))

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return [plain(value) for value in found] if isinstance(at, slice) else plain(found)

    def take(self) -> Any:
        return super().pop()

    def top(self, depth: int = 1) -> Any:
        return super().__getitem__(-depth)


def _take(frame: Any, count: int) -> list[Any]:
    return [frame.stack.take() for _ in range(count)][::-1]


def _pop(frame: Any, count: int) -> list[Any]:
    return [plain(value) for value in _take(frame, count)]


@_for("NOP", "RESUME", "PRECALL", "CACHE")
def _nothing(walk: Any, frame: Any, i: dis.Instruction) -> None:
    pass


@_for("PUSH_NULL")
def _push_null(walk: Any, frame: Any, i: dis.Instruction) -> None:
    frame.stack.append(_NULL)


@_for("POP_TOP")
def _pop_top(walk: Any, frame: Any, i: dis.Instruction) -> None:
    frame.stack.take()


@_for("SWAP")
def _swap(walk: Any, frame: Any, i: dis.Instruction) -> None:
    stack, depth = frame.stack, i.arg
    stack[-1], stack[-depth] = stack.top(depth), stack.top()  # type: ignore[operator]


@_for("COPY")
def _copy(walk: Any, frame: Any, i: dis.Instruction) -> None:
    frame.stack.append(frame.stack.top(i.arg))


@_for("LOAD_CONST")
def _load_const(walk: Any, frame: Any, i: dis.Instruction) -> None:
    frame.stack.append(i.argval)


@_for("LOAD_FAST")
def _load_fast(walk: Any, frame: Any, i: dis.Instruction) -> None:
    if i.argval not in frame.variables:
        raise Unprovable(f"reads '{i.argval}' before it is set")
    frame.stack.append(frame.variables[i.argval])


@_for("STORE_FAST")
def _store_fast(walk: Any, frame: Any, i: dis.Instruction) -> None:
    frame.variables[i.argval] = frame.stack.take()


@_for("DELETE_FAST")
def _delete_fast(walk: Any, frame: Any, i: dis.Instruction) -> None:
    del frame.variables[i.argval]


@_for("LOAD_GLOBAL")
def _load_global(walk: Any, frame: Any, i: dis.Instruction) -> None:
    if i.arg & 1:  # type: ignore[operator]
        frame.stack.append(_NULL)
    frame.stack.append(walk.reader.global_(frame.globals, frame.builtins, i.argval))


@_for("MAKE_CELL")
def _make_cell(walk: Any, frame: Any, i: dis.Instruction) -> None:
    name = i.argval
    cell = types.CellType(frame.variables[name]) if name in frame.variables else types.CellType()
    frame.cells[name] = walk.reader.make(cell)


@_for("COPY_FREE_VARS")
def _copy_free_vars(walk: Any, frame: Any, i: dis.Instruction) -> None:
    for name, cell in zip(frame.code.co_freevars, frame.function.__closure__ or (), strict=True):
        frame.cells[name] = cell


@_for("LOAD_CLOSURE")
def _load_closure(walk: Any, frame: Any, i: dis.Instruction) -> None:
    frame.stack.append(frame.cells[i.argval])


@_for("LOAD_DEREF")
def _load_deref(walk: Any, frame: Any, i: dis.Instruction) -> None:
    frame.stack.append(walk.reader.cell(frame.cells[i.argval]))


@_for("STORE_DEREF")
def _store_deref(walk: Any, frame: Any, i: dis.Instruction) -> None:
    cell = frame.cells[i.argval]
    if not walk.reader.is_fresh(cell):
        raise Unprovable(f"sets '{i.argval}' of an outer function")
    cell.cell_contents = frame.stack.take()


@_for("MAKE_FUNCTION")
def _make_function(walk: Any, frame: Any, i: dis.Instruction) -> None:
    flags = i.arg or 0
    code = frame.stack.pop()
    closure = frame.stack.pop() if flags & 8 else None
    if flags & 4:
        frame.stack.pop()
    named = frame.stack.pop() if flags & 2 else None
    defaults = frame.stack.pop() if flags & 1 else None
    function = types.FunctionType(code, frame.globals, code.co_name, defaults, closure)
    function.__kwdefaults__ = named
    frame.stack.append(walk.reader.make(function))


@_for("LOAD_ATTR")
def _load_attr(walk: Any, frame: Any, i: dis.Instruction) -> None:
    frame.stack.append(walk.reader.attribute(frame.stack.pop(), i.argval, walk.call))


@_for("LOAD_METHOD")
def _load_method(walk: Any, frame: Any, i: dis.Instruction) -> None:
    subject = frame.stack.pop()
    frame.stack += [_NULL, walk.reader.attribute(subject, i.argval, walk.call)]


@_for("KW_NAMES")
def _kw_names(walk: Any, frame: Any, i: dis.Instruction) -> None:
    frame.names = frame.code.co_consts[i.arg]


@_for("CALL")
def _call(walk: Any, frame: Any, i: dis.Instruction) -> None:
    values = _take(frame, i.arg)  # type: ignore[arg-type]
    subject = frame.stack.pop()
    method = frame.stack.pop()
    if method is not _NULL:
        subject, values = method, [subject, *values]
    names, frame.names = frame.names, ()
    split = len(values) - len(names)
    frame.stack.append(
        walk.call(subject, tuple(values[:split]), dict(zip(names, values[split:], strict=True)))
    )


@_for("CALL_FUNCTION_EX")
def _call_function_ex(walk: Any, frame: Any, i: dis.Instruction) -> None:
    kwargs = frame.stack.pop() if i.arg & 1 else {}  # type: ignore[operator]
    args = frame.stack.pop()
    function = frame.stack.pop()
    frame.stack.pop()
    if type(kwargs) is not dict or type(args) not in (tuple, list):
        raise Unprovable("calls a function with * or ** of something else than a list or dict")
    walk.reader.contents(args)
    walk.reader.contents(kwargs)
    frame.stack.append(walk.call(function, tuple(args), dict(kwargs)))


@_for("BINARY_OP")
def _binary_op(walk: Any, frame: Any, i: dis.Instruction) -> None:
    left, right = _take(frame, 2)
    symbol = i.argrepr
    in_place = symbol.endswith("=")
    frame.stack.append(walk._binary(symbol.rstrip("="), left, right, in_place))


@_for("COMPARE_OP")
def _compare_op(walk: Any, frame: Any, i: dis.Instruction) -> None:
    left, right = _take(frame, 2)
    frame.stack.append(walk._compare(i.argval, left, right))


@_for("IS_OP")
def _is_op(walk: Any, frame: Any, i: dis.Instruction) -> None:
    left, right = _take(frame, 2)
    if left is not None and right is not None:  # which a number isn't, by its type
        left, right = plain(left), plain(right)
    are_singletons = any(type(v) in (bool, type(None), type(Ellipsis)) for v in (left, right))
    is_one_new = walk.reader.is_fresh(left) or walk.reader.is_fresh(right)
    if type(left) is type(right) and type(left) in _BY_VALUE:
        if not are_singletons and not is_one_new:
            raise Unprovable(f"compares a {type(left).__name__} by identity")
    frame.stack.append((left is right) != bool(i.arg))


@_for("CONTAINS_OP")
def _contains_op(walk: Any, frame: Any, i: dis.Instruction) -> None:
    value, container = _pop(frame, 2)
    if type(container) not in (list, tuple, dict, str, set):
        raise Unprovable(f"asks whether a {type(container).__name__} contains something")
    if type(container) is not str:
        walk.reader.contents(container)
    for part in (value, *(() if type(container) is str else container)):
        if type(part) not in PLAIN and type(part) is not type:
            raise Unprovable(f"compares a {type(part).__name__}")
    frame.stack.append((value in container) != bool(i.arg))


@_for("UNARY_NOT")
def _unary_not(walk: Any, frame: Any, i: dis.Instruction) -> None:
    frame.stack.append(not walk._truth(frame.stack.take()))


_UNARY: dict[str, Callable[[Any], Any]] = {
    "UNARY_NEGATIVE": operator.neg,
    "UNARY_POSITIVE": operator.pos,
    "UNARY_INVERT": operator.invert,
}


@_for(*_UNARY)
def _unary(walk: Any, frame: Any, i: dis.Instruction) -> None:
    value, function = frame.stack.take(), _UNARY[i.opname]
    if type(value) is Number:
        frame.stack.append(walk.reader.numbers.apply(function, value))
    else:
        frame.stack.append(walk.reader.result(function(walk.reader.checked_operand(value))))


@_for("BINARY_SUBSCR")
def _binary_subscr(walk: Any, frame: Any, i: dis.Instruction) -> None:
    value, key = _pop(frame, 2)
    frame.stack.append(walk._subscript(value, key))


@_for("STORE_SUBSCR")
def _store_subscr(walk: Any, frame: Any, i: dis.Instruction) -> None:
    value, container, key = _pop(frame, 3)
    if isinstance(container, Tensor):
        walk._check_write(container)
        walk.reader.checked_operand(key)
        walk.reader.checked_operand(value)
    elif type(container) not in (list, dict) or not walk.reader.is_fresh(container):
        raise Unprovable(f"changes a {type(container).__name__} that it didn't make")
    elif not isinstance(key, (int, str, slice)):
        raise Unprovable("sets an item by a key that is no number or text")
    container[key] = value


@_for("BUILD_TUPLE", "BUILD_LIST", "BUILD_SET")
def _build(walk: Any, frame: Any, i: dis.Instruction) -> None:
    kind = {"BUILD_TUPLE": tuple, "BUILD_LIST": list, "BUILD_SET": set}[i.opname]
    values = _pop(frame, i.arg)  # type: ignore[arg-type]
    if kind is set:
        walk._check_plain(values)
    frame.stack.append(walk.reader.make(kind(values)))


@_for("BUILD_MAP")
def _build_map(walk: Any, frame: Any, i: dis.Instruction) -> None:
    values = _pop(frame, 2 * i.arg)  # type: ignore[operator]
    walk._check_plain(values[::2])
    frame.stack.append(walk.reader.make(dict(zip(values[::2], values[1::2], strict=True))))


@_for("BUILD_CONST_KEY_MAP")
def _build_const_key_map(walk: Any, frame: Any, i: dis.Instruction) -> None:
    keys = frame.stack.pop()
    values = _pop(frame, i.arg)  # type: ignore[arg-type]
    frame.stack.append(walk.reader.make(dict(zip(keys, values, strict=True))))


@_for("BUILD_SLICE")
def _build_slice(walk: Any, frame: Any, i: dis.Instruction) -> None:
    frame.stack.append(slice(*_pop(frame, i.arg)))  # type: ignore[arg-type]


@_for("BUILD_STRING")
def _build_string(walk: Any, frame: Any, i: dis.Instruction) -> None:
    frame.stack.append("".join(_pop(frame, i.arg)))  # type: ignore[arg-type]


@_for("FORMAT_VALUE")
def _format_value(walk: Any, frame: Any, i: dis.Instruction) -> None:
    flags = i.arg or 0
    spec = frame.stack.pop() if flags & 4 else ""
    value = frame.stack.pop()
    if not isinstance(value, CONSTANTS):
        raise Unprovable(f"makes text of a {type(value).__name__}")
    value = {0: value, 1: str(value), 2: repr(value), 3: ascii(value)}[flags & 3]
    frame.stack.append(format(value, spec))


@_for("LIST_APPEND", "SET_ADD")
def _append(walk: Any, frame: Any, i: dis.Instruction) -> None:
    value = frame.stack.pop()
    container = frame.stack[-i.arg]  # type: ignore[operator]
    container.append(value) if i.opname == "LIST_APPEND" else container.add(value)


@_for("MAP_ADD")
def _map_add(walk: Any, frame: Any, i: dis.Instruction) -> None:
    key, value = _pop(frame, 2)
    walk._check_plain((key,))
    frame.stack[-i.arg][key] = value  # type: ignore[operator]


@_for("LIST_EXTEND")
def _list_extend(walk: Any, frame: Any, i: dis.Instruction) -> None:
    values = frame.stack.pop()
    if type(values) not in (list, tuple, dict, range) and not walk.reader.is_fresh(values):
        raise Unprovable(f"goes through a {type(values).__name__}")
    frame.stack[-i.arg].extend(walk.reader.contents(values))  # type: ignore[operator]


@_for("DICT_MERGE", "DICT_UPDATE")
def _dict_merge(walk: Any, frame: Any, i: dis.Instruction) -> None:
    values = frame.stack.pop()
    if type(values) is not dict:
        raise Unprovable(f"merges a {type(values).__name__}")
    frame.stack[-i.arg].update(walk.reader.contents(values))  # type: ignore[operator]


@_for("LIST_TO_TUPLE")
def _list_to_tuple(walk: Any, frame: Any, i: dis.Instruction) -> None:
    frame.stack.append(walk.reader.make(tuple(frame.stack.pop())))


@_for("UNPACK_SEQUENCE")
def _unpack_sequence(walk: Any, frame: Any, i: dis.Instruction) -> None:
    parts = list(walk._iterator(frame.stack.pop()))
    if len(parts) != i.arg:
        raise Unprovable("unpacks another number of values")
    frame.stack += reversed(parts)


@_for("UNPACK_EX")
def _unpack_ex(walk: Any, frame: Any, i: dis.Instruction) -> None:
    before, after = i.arg & 0xFF, i.arg >> 8  # type: ignore[operator]
    parts = list(walk._iterator(frame.stack.pop()))
    if len(parts) < before + after:
        raise Unprovable("unpacks another number of values")
    end = len(parts) - after
    middle = walk.reader.make(parts[before:end])
    frame.stack += reversed([*parts[:before], middle, *parts[end:]])


@_for("GET_ITER")
def _get_iter(walk: Any, frame: Any, i: dis.Instruction) -> None:
    frame.stack.append(walk._iterator(frame.stack.pop()))


@_for("FOR_ITER")
def _for_iter(walk: Any, frame: Any, i: dis.Instruction) -> int | None:
    done = object()
    value = next(frame.stack[-1], done)
    if value is done:
        frame.stack.pop()
        return int(i.argval)
    if type(value) is tuple:
        walk.reader.make(value)
    frame.stack.append(value)
    return None


@_for("JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT")
def _jump(walk: Any, frame: Any, i: dis.Instruction) -> int:
    return int(i.argval)


@_for(
    *(
        f"POP_JUMP_{direction}_IF_{what}"
        for direction in ("FORWARD", "BACKWARD")
        for what in ("TRUE", "FALSE", "NONE", "NOT_NONE")
    )
)
def _pop_jump(walk: Any, frame: Any, i: dis.Instruction) -> int | None:
    value = frame.stack.take()
    what = i.opname.partition("_IF_")[2]
    if what in ("NONE", "NOT_NONE"):
        jumps = (value is None) == (what == "NONE")
    else:
        jumps = walk._truth(value) == (what == "TRUE")
    return int(i.argval) if jumps else None


@_for("JUMP_IF_TRUE_OR_POP", "JUMP_IF_FALSE_OR_POP")
def _jump_or_pop(walk: Any, frame: Any, i: dis.Instruction) -> int | None:
    if walk._truth(frame.stack.top()) == ("TRUE" in i.opname):
        return int(i.argval)
    frame.stack.pop()
    return None


@_for("BEFORE_WITH")
def _before_with(walk: Any, frame: Any, i: dis.Instruction) -> None:
    mode = frame.stack.pop()
    if type(mode) not in MODES or not walk.reader.is_fresh(mode):
        raise Unprovable(f"enters a {type(mode).__name__}")
    frame.stack += [Leave(mode), mode.__enter__()]


@_for("IMPORT_NAME")
def _import_name(walk: Any, frame: Any, i: dis.Instruction) -> None:
    level, names = _pop(frame, 2)
    if level != 0 or ("." in i.argval and not names) or i.argval not in sys.modules:
        raise Unprovable(f"imports {i.argval}")
    walk.reader.note("item", sys.modules, i.argval, sys.modules[i.argval])
    frame.stack.append(sys.modules[i.argval])


@_for("IMPORT_FROM")
def _import_from(walk: Any, frame: Any, i: dis.Instruction) -> None:
    frame.stack.append(walk.reader.attribute(frame.stack[-1], i.argval, walk.call))
