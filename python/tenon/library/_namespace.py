"""tn.ops.space.name: operations by attribute."""

from __future__ import annotations

from typing import Any


class Namespace:
    """The operations whose names begin with `space::`."""

    def __init__(self, operations: dict[str, Any], space: str) -> None:
        self._operations, self._space = operations, space

    def __getattr__(self, name: str) -> Any:
        key = f"{self._space}::{name}"
        if key not in self._operations:
            raise AttributeError(f"'tenon.ops.{self._space}' object has no attribute '{name}'")
        return self._operations[key]

    def __dir__(self) -> list[str]:
        start = f"{self._space}::"
        return [name.removeprefix(start) for name in self._operations if name.startswith(start)]


class Namespaces:
    """All declared operations, by space."""

    def __init__(self, operations: dict[str, Any]) -> None:
        self._operations = operations

    def __getattr__(self, space: str) -> Namespace:
        if space.startswith("__") or space not in dir(self):
            raise AttributeError(f"no operation '{space}::...' was declared")
        return Namespace(self._operations, space)

    def __dir__(self) -> list[str]:
        return sorted({name.split("::")[0] for name in self._operations})
