"""What the drawer knows of a tensor of the program."""

from __future__ import annotations

from dataclasses import dataclass

from tests.fuzz.programs import Shape

LARGE = 40.0  # a bound above it is squashed


@dataclass
class Storage:
    bound: float
    writable: bool  # by any view of it


@dataclass
class Value:
    shape: Shape
    dtype: str  # "float" is the program's
    storage: Storage
    overlaps: bool = False  # one element in several places: no target of a write
    varies: bool = True  # depends on the inputs

    @property
    def kind(self) -> str:
        return self.dtype if self.dtype in ("float", "bool") else "integer"

    @property
    def usable(self) -> bool:
        return self.dtype != "float" or self.storage.bound <= LARGE


def fresh(shape: Shape, dtype: str = "float", bound: float = 0.0, varies: bool = True) -> Value:
    return Value(shape, dtype, Storage(max(bound, 1.0), True), varies=varies)


def broadcast(*shapes: Shape) -> Shape | None:
    rank = max(len(s) for s in shapes)
    result = []
    for extents in zip(*[(1,) * (rank - len(s)) + s for s in shapes]):
        others = {n for n in extents if n != 1}
        if len(others) > 1:
            return None
        result.append(others.pop() if others else 1)
    return tuple(result)
