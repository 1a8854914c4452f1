"""Memory that other libraries hold."""

from __future__ import annotations

import builtins
from typing import Any

from . import _C
from ._C import Tensor, dtype
from ._dlpack import from_dlpack as _from_dlpack


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

    Errors: ValueError for a buffer that is too small or no multiple of the element's size.

    Example::

        >>> tn.frombuffer(bytearray([1, 0, 2, 0]), dtype=tn.int16)
        tensor([1, 2], dtype=tenon.int16)
    """
    import numpy

    if count == 0 or memoryview(buffer).nbytes == 0:
        raise ValueError("both buffer length and count must not be 0")
    # NumPy sees integers where it has no such dtype.
    is_foreign = dtype == _C.bfloat16 or dtype.name.startswith("float8")
    name = f"uint{8 * dtype.itemsize}" if is_foreign else dtype.name
    array = numpy.frombuffer(buffer, name, count, offset)
    return _C.from_numpy(array).view(dtype).requires_grad_(requires_grad)


def asarray(
    obj: Any,
    *,
    dtype: dtype | None = None,
    device: Any = None,
    copy: builtins.bool | None = None,
    requires_grad: builtins.bool | None = None,
) -> Tensor:
    """A tensor of numbers, nested sequences, or of what has memory: shared where it can be.

    A tensor is itself. A NumPy array, an object with `__dlpack__` or a buffer (read as dtype, or
    the default one) is shared unless it must be converted. copy=True always copies, copy=False
    never. requires_grad is by default the tensor's.
    Errors: ValueError where a copy is needed and forbidden; TypeError for what holds no numbers.

    Example::

        >>> import numpy
        >>> array = numpy.zeros(2)
        >>> x = tn.asarray(array)
        >>> array[0] = 1
        >>> x
        tensor([1., 0.], dtype=tenon.float64)
        >>> tn.asarray([1, 2], dtype=tn.float32)
        tensor([1., 2.])
    """
    x, is_shared = _as_tensor(obj, dtype)
    if copy is False and not is_shared:
        raise ValueError("can't alias arbitrary sequence into a tensor.")
    if dtype is not None and x.dtype != dtype:
        if copy is False:
            raise ValueError(f"can't alias tensor with dtype {x.dtype} into dtype {dtype}.")
        x, is_shared = x.to(dtype), False
    if device is not None and _C.device(device).type != x.device.type:
        if copy is False:
            raise ValueError(f"can't alias tensor from device '{x.device}' to '{device}'.")
        x, is_shared = x.to(device), False
    if copy and is_shared:
        x = x.clone()
    if requires_grad is None or requires_grad == x.requires_grad:
        return x
    return x.detach().requires_grad_(requires_grad)


def _as_tensor(obj: Any, dtype: dtype | None) -> tuple[Tensor, builtins.bool]:
    """The tensor, and whether it is the object's memory."""
    if isinstance(obj, Tensor):
        return obj, True
    if isinstance(obj, (builtins.bool, builtins.int, builtins.float, complex, list, tuple)):
        return _C.tensor(obj, dtype=dtype), False
    if type(obj).__module__ == "numpy":
        return (
            (_C.from_numpy(obj), True)
            if hasattr(obj, "flags") and obj.shape
            else (_C.tensor(obj), False)
        )
    if hasattr(obj, "__dlpack__"):
        return _from_dlpack(obj), True
    try:
        memoryview(obj)
    except TypeError:
        return _C.tensor(obj, dtype=dtype), False
    return frombuffer(obj, dtype=_C.get_default_dtype() if dtype is None else dtype), True
