"""What the namespace can do: `__array_namespace_info__`."""

from __future__ import annotations

from typing import Any

import tenon as tn

from ._dtypes import KINDS, _named


class Info:
    """Devices, dtypes and capabilities, by the names of the standard."""

    def capabilities(self) -> dict[str, bool | int | None]:
        """What depends on data is there: boolean indexing, and results of unknown shape."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> tn.device:
        """The CPU."""
        return tn.device("cpu")

    def devices(self) -> list[tn.device]:
        """Those that arrays can lie on."""
        return [tn.device("cpu")]

    def default_dtypes(self, *, device: Any = None) -> dict[str, tn.dtype]:
        """What numbers become."""
        floating = tn.get_default_dtype()
        return {
            "real floating": floating,
            "complex floating": tn.promote_types(floating, tn.complex64),
            "integral": tn.int64,
            "indexing": tn.int64,
        }

    def dtypes(
        self, *, device: Any = None, kind: str | tuple[str, ...] | None = None
    ) -> dict[str, tn.dtype]:
        """The dtypes of a kind, of several, or all, by name."""
        if isinstance(kind, tuple):
            return {name: d for each in kind for name, d in self.dtypes(kind=each).items()}
        if kind is None:
            return {**_named(KINDS["bool"]), **_named(KINDS["numeric"])}
        if kind not in KINDS:
            raise ValueError(f"dtypes(): no kind {kind!r}; there are {', '.join(KINDS)}")
        return _named(KINDS[kind])


def __array_namespace_info__() -> Info:
    """What this namespace can do."""
    return Info()
