"""The transforms of tn.func in a walk.

Their own Python does nothing but record, so it runs as it is; the functions that it is given are
walked when it calls them. What it makes of arguments (an example of a batch, a primal) belongs to
the transform: the function may use it and not write to it.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tenon._C import Tensor
from tenon.func import _batching, _derivatives
from tenon.nn.module import Module
from tenon.utils import _pytree

from ._numbers import plain
from ._prove import PLAIN, Reader, Unprovable

if TYPE_CHECKING:
    from ._walk import Walk

_FACTORIES = (
    _batching.vmap,
    _derivatives.grad,
    _derivatives.grad_and_value,
    _derivatives.value_and_grad,
    _derivatives.jacrev,
    _derivatives.jacfwd,
    _derivatives.hessian,
)
_BUILT_IN_TREES = frozenset(_pytree._registered)


def _inner(function: Any, name: str) -> types.CodeType:
    """The code of a function that `function` defines."""
    return next(c for c in function.__code__.co_consts if getattr(c, "co_name", "") == name)


_FACTORY, _WRAPPER, _DIRECT, _PULLBACK = range(4)
# By the identity of code: equal code elsewhere has other globals.
_KINDS: dict[int, int] = {id(function.__code__): _FACTORY for function in _FACTORIES}
_KINDS |= {id(_inner(f, "wrapper")): _WRAPPER for f in _FACTORIES if f is not _derivatives.hessian}
_KINDS |= {id(f.__code__): _DIRECT for f in (_derivatives.vjp, _derivatives.jvp)}
_KINDS[id(_inner(_derivatives.vjp, "pullback"))] = _PULLBACK


def is_transform(function: types.FunctionType) -> bool:
    return id(function.__code__) in _KINDS


def call_transform(
    walk: Walk, function: types.FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """The result of a transform's own function, or of one that it made."""
    kind = _KINDS[id(function.__code__)]
    reader = walk.reader
    is_own = reader.is_fresh(function)
    if not is_own:
        reader.note("function", function)
    if kind == _FACTORY:
        return reader.make(function(*args, **kwargs))
    outside: dict[int, Any] = {}
    if kind == _PULLBACK and not is_own:
        raise Unprovable("calls a pullback that it didn't make")
    if kind == _WRAPPER:
        function = _with_walked(walk, function, is_own, outside)
    elif kind == _DIRECT:
        args = (_Walked(walk, args[0], outside), *args[1:]) if args else args
    for value in (*args, *kwargs.values()):
        _enter(reader, value, outside)
    result = function(*args, **kwargs)
    return _adopt(reader, result, outside, reader.result)


class _Walked:
    """A function that is walked when it is called."""

    def __init__(self, walk: Walk, function: Any, outside: dict[int, Any]) -> None:
        self.walk, self.function, self.outside = walk, function, outside

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        reader = self.walk.reader
        for value in (*args, *kwargs.values()):
            _adopt(reader, value, self.outside, reader.lend)
        before = self.walk.line
        result = plain(self.walk.call(self.function, args, kwargs))
        self.walk.line = before
        _enter(reader, result, self.outside)
        return result


def _with_walked(
    walk: Walk, function: types.FunctionType, is_own: bool, outside: dict[int, Any]
) -> types.FunctionType:
    """The function, with what it closes over walked where that is a function."""
    reader = walk.reader
    cells = []
    for cell in function.__closure__ or ():
        value = cell.cell_contents if is_own else plain(reader.cell(cell))
        if is_own and isinstance(value, types.FunctionType) and is_transform(value):
            reader.make(value)  # hessian's jacrev, grad's grad_and_value
        if isinstance(value, (list, tuple, dict, *PLAIN)):
            _enter(reader, value, outside)
        else:
            value = _Walked(walk, value, outside)
        cells.append(types.CellType(value))
    return types.FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        tuple(cells),
    )


def _enter(reader: Reader, value: Any, outside: dict[int, Any]) -> None:
    """Looks through a value that a transform is given, as it will."""
    if isinstance(value, _Walked):
        return
    if isinstance(value, Tensor):
        reader.checked_operand(value)
    elif type(value) in (list, dict, tuple):
        reader.contents(value)
        outside[id(value)] = value
        for part in value.values() if type(value) is dict else value:
            _enter(reader, part, outside)
    elif type(value) in _pytree._registered and type(value) not in _BUILT_IN_TREES:
        raise Unprovable(f"gives a transform a {type(value).__name__}, whose parts its class gives")
    elif not isinstance(value, (types.FunctionType, Module)) and type(value) not in PLAIN:
        raise Unprovable(f"gives a transform a {type(value).__name__}")


def _adopt(
    reader: Reader, value: Any, outside: dict[int, Any], of_tensor: Callable[[Tensor], Any]
) -> Any:
    """Of what a transform made: containers that are new belong to the function."""
    if isinstance(value, Tensor):
        of_tensor(value)
    elif type(value) in (list, tuple, dict) and id(value) not in outside:
        for part in value.values() if type(value) is dict else value:
            _adopt(reader, part, outside, of_tensor)
        reader.make(value)
    elif isinstance(value, types.FunctionType) and id(value.__code__) in _KINDS:
        reader.make(value)
    return value
