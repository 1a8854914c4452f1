"""The extents of a tensor."""

from __future__ import annotations

from typing import Any


class Size(tuple[int, ...]):
    """A tuple of extents.

    Example::

        >>> tn.Size([2, 3]).numel(), tn.Size([2, 3]) == (2, 3)
        (6, True)
    """

    __slots__ = ()

    def numel(self) -> int:
        """Product of the extents."""
        product = 1
        for extent in self:
            product *= extent
        return product

    def __repr__(self) -> str:
        return f"tenon.Size([{', '.join(map(str, self))}])"

    def __getitem__(self, index: Any) -> Any:
        item = super().__getitem__(index)
        return Size(item) if isinstance(index, slice) else item

    def __add__(self, other: Any) -> Size:
        return Size(super().__add__(tuple(other)))
