"""Memory that other libraries hold."""

from __future__ import annotations

import builtins
from typing import Any

from . import _C
from ._C import Tensor, dtype


def frombuffer(
    buffer: Any,
    *,
    dtype: dtype,
    count: builtins.int = -1,
    offset: builtins.int = 0,
    requires_grad: builtins.bool = False,
) -> Tensor:
    """A vector that shares the memory of an object with the buffer protocol.

    It has count elements (all, if negative) from a byte offset.

    Errors: ValueError for a buffer that is too small or no multiple of the element's size;
    TypeError for bfloat16, which NumPy does not have.

    Example::

        >>> tn.frombuffer(bytearray([1, 0, 2, 0]), dtype=tn.int16)
        tensor([1, 2], dtype=tenon.int16)
    """
    import numpy

    if dtype == _C.bfloat16:
        raise TypeError("frombuffer: bfloat16 memory can't be shared: NumPy has no such dtype")
    if count == 0 or memoryview(buffer).nbytes == 0:
        raise ValueError("both buffer length and count must not be 0")
    array = numpy.frombuffer(buffer, dtype.name, count, offset)
    return _C.from_numpy(array).requires_grad_(requires_grad)
