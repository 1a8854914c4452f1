"""The numbers of a walk that later calls may give others of.

A number that is given to the function, or that it reads from a global, an attribute or a closure,
is symbolic in a walk: a `Number`, which is neither an int nor a float, so that nothing can look at
its value by accident. What Python computes of such numbers is symbolic, too, and computed again for
each call by the same functions. An operation gets it as a number whose value is watched (`Symbols`
in `trace/capture.h`). Whatever else needs the value asks for `plain`, and it is guarded by value.
"""

from __future__ import annotations

import math
import operator
import types
from collections.abc import Callable
from typing import Any

from tenon import _C

# Functions of numbers alone, whose results depend on nothing else.
NUMBER_FUNCTIONS = {
    id(function): function
    for function in (abs, min, max, round, pow, int, float)
    + tuple(f for f in vars(math).values() if isinstance(f, types.BuiltinFunctionType))
}
_KINDS = (int, float, bool)


class Number:
    """A number at one place of a walk's list; `value` is this call's."""

    __slots__ = ("numbers", "place", "value")

    def __init__(self, numbers: Numbers, place: int, value: Any) -> None:
        self.numbers, self.place, self.value = numbers, place, value


def plain(value: Any) -> Any:
    """This call's value, guarded if it is a number; another object itself."""
    if type(value) is Number:
        value.numbers.fixed.add(value.place)
        return value.value
    return value


def plain_all(values: Any) -> Any:
    """Of a tuple or list of arguments, or a dictionary of keywords."""
    if isinstance(values, dict):
        return {key: plain(value) for key, value in values.items()}
    return type(values)(plain(value) for value in values)


class Numbers:
    """All numbers of one walk, each after those that it is computed of."""

    def __init__(self) -> None:
        self.sources: list[tuple[Any, ...]] = []
        self.values: list[Any] = []
        self.fixed: set[int] = set()  # whose value decided something
        self._places: dict[tuple[Any, ...], int] = {}

    def _add(self, key: tuple[Any, ...], source: tuple[Any, ...], value: Any) -> Number:
        place = self._places.setdefault(key, len(self.sources))
        if place == len(self.sources):
            self.sources.append(source)
            self.values.append(value)
        return Number(self, place, self.values[place])

    def read(self, kind: str, subject: Any, value: Any, *parts: Any) -> Any:
        """What is read from outside: symbolic, if it is an int or a float."""
        if type(value) not in (int, float):
            return value
        key = (kind, id(subject) if kind != "argument" else subject, *parts)
        return self._add(key, (kind, subject, *parts), value)

    def apply(self, function: Callable[..., Any], *operands: Any) -> Any:
        """The result of a function of numbers, some of which are symbolic."""
        result = function(*(o.value if type(o) is Number else o for o in operands))
        if type(result) not in _KINDS:
            return function(*plain_all(operands))
        parts = tuple((o.place,) if type(o) is Number else (None, o) for o in operands)
        key = ("result", function, *((type(p[-1]), repr(p[-1]), len(p)) for p in parts))
        return self._add(key, ("result", function, parts), result)

    def truth(self, number: Number) -> bool:
        if type(number.value) is not bool:
            number = self.apply(operator.truth, number)
        return bool(plain(number))

    def is_arithmetic(self, *operands: Any) -> bool:
        """Whether all are numbers, and one is symbolic."""
        has_symbol = any(type(o) is Number for o in operands)
        return has_symbol and all(type(o) is Number or type(o) in _KINDS for o in operands)

    def for_operation(self, value: Any) -> Any:
        """As an operation gets it."""
        if type(value) is not Number or type(value.value) is bool:
            return plain(value)
        return _C._SymbolicNumber(value.value, value.place + 1)

    def arguments_fixed(self) -> list[Any]:
        """Which arguments' values decided something."""
        return [self.sources[p][1] for p in self.fixed if self.sources[p][0] == "argument"]

    def fix_all(self) -> None:
        """None may change: what came of them isn't known."""
        self.fixed.update(p for p, source in enumerate(self.sources) if source[0] != "result")

    def guards(self, symbols: Any) -> Any:
        """As `read_numbers` of python/compile_entry.cpp wants them. `symbols` is what a proof noted
        of the numbers that operations got."""
        read, compared, recorded = symbols
        self.fixed.update(symbol - 1 for symbol in read)
        scalars = {symbol - 1 for symbol in (*recorded, *(c[0] for c in compared))}
        places: list[Any] = []
        for (
            source
        ) in self.sources:  # an argument is named by its place among those that are numbers
            if source[0] == "argument":
                places.append(source[1])
        numbers = []
        for place, (source, value) in enumerate(zip(self.sources, self.values, strict=True)):
            parts = source[1:] if source[0] != "argument" else (places.index(source[1]),)
            fixed = value if place in self.fixed else None
            numbers.append((type(value), fixed, place in scalars, source[0], *parts))
        return numbers, [(symbol - 1, *rest) for symbol, *rest in compared]
