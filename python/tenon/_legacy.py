"""Constructors by element type, as programs older than `dtype=` have them, and default types."""

from __future__ import annotations

import builtins
from typing import Any

from . import _C
from ._C import Size, Tensor
from ._tensor import TYPE_NAMES

_ops = _C._all


class _TensorType(type):
    """A class whose calls make tensors of one dtype, and whose instances are all such tensors."""

    dtype: Any

    def __instancecheck__(cls, instance: Any) -> builtins.bool:
        return isinstance(instance, Tensor) and instance.dtype == cls.dtype

    def __call__(cls, *args: Any, device: Any = None) -> Tensor:
        if not args:
            return _ops["zeros"](0, dtype=cls.dtype)
        if isinstance(args[0], Tensor):
            if args[0].dtype != cls.dtype:
                raise TypeError(f"expected a tensor of {cls.dtype}, got one of {args[0].dtype}")
            return args[0].detach()
        if isinstance(args[0], Size) or all(isinstance(n, builtins.int) for n in args):
            return _ops["zeros"](*args, dtype=cls.dtype)
        return _C.tensor(args[0], dtype=cls.dtype)


def _make(name: str, dtype: Any) -> Any:
    doc = (
        f"Tensors of {dtype}: of data, or of a size (elements are zeros).\n\n"
        f"isinstance(x, {name}) tells whether a tensor has that dtype.\n\n"
        f"Example::\n\n    >>> tn.{name}(2, 3).shape\n    tenon.Size([2, 3])\n"
    )
    return _TensorType(name, (), {"dtype": dtype, "__doc__": doc, "__module__": "tenon"})


TYPES: dict[str, Any] = {
    name: _make(name, getattr(_C, dtype))
    for dtype, name in TYPE_NAMES.items()
    if not dtype.startswith(("uint16", "uint32", "uint64", "complex"))
}


def set_default_tensor_type(t: Any) -> None:
    """Makes the type's dtype the default one; a type or its name.

    Errors: TypeError for a type that is not floating.

    Example::

        >>> tn.set_default_tensor_type(tn.DoubleTensor)
        >>> tn.ones(1).dtype
        tenon.float64
        >>> tn.set_default_tensor_type("torch.FloatTensor")
    """
    if isinstance(t, str):
        name = t.rsplit(".", 1)[-1]
        if name not in TYPES:
            raise TypeError(f"invalid type object: {t}")
        t = TYPES[name]
    if not t.dtype.is_floating_point:
        raise TypeError(f"only floating-point types are supported as the default type, not {t}")
    _C.set_default_dtype(t.dtype)
