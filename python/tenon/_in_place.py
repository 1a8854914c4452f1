"""Methods that change which memory a tensor shows, or how: the object names another view."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

from . import _C
from ._C import Size, Tensor

# With the arguments of an example, on tn.ones(2, 1), and the size that it gives.
_VIEWS = {
    "unsqueeze": ("0", (1, 2, 1)),
    "squeeze": ("", (2,)),
    "transpose": ("0, 1", (1, 2)),
    "swapaxes": ("0, 1", (1, 2)),
    "swapdims": ("0, 1", (1, 2)),
    "t": ("", (1, 2)),
    "as_strided": ("(2, 2), (1, 0)", (2, 2)),
}


def _in_place(name: str) -> Callable[..., Tensor]:
    view = getattr(Tensor, name)

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return _C._become(self, view(self, *args, **kwargs))

    method.__name__ = f"{name}_"
    arguments, size = _VIEWS[name]
    method.__doc__ = (
        f"In-place form of {name}: the tensor shows its memory in that way from now on.\n\n"
        "Errors: as there, and RuntimeError for a leaf that requires grad.\n\n"
        f"Example::\n\n    >>> tn.ones(2, 1).{name}_({arguments}).shape\n"
        f"    tenon.Size({list(size)})\n"
    )
    return method


def _contiguous_strides(size: tuple[builtins.int, ...]) -> list[builtins.int]:
    strides = [1] * len(size)
    for i in range(len(size) - 2, -1, -1):
        strides[i] = strides[i + 1] * max(size[i + 1], 1)
    return strides


def _sizes(given: tuple[Any, ...]) -> tuple[builtins.int, ...]:
    if len(given) == 1 and not isinstance(given[0], builtins.int):
        given = tuple(given[0])
    return tuple(builtins.int(n) for n in given)


def _resize_(self: Tensor, *size: Any, memory_format: Any = None) -> Tensor:
    """Gives the tensor another size: of the elements in its memory as many as fit, in their order.

    What fits shows the same memory; a larger size is new memory, whose further elements are zeros.
    Errors: RuntimeError for a negative size, and for a tensor that requires grad.

    Example::

        >>> tn.tensor([1, 2, 3, 4]).resize_(2, 1)
        tensor([[1],
                [2]])
    """
    extents = _sizes(size)
    if any(n < 0 for n in extents):
        raise RuntimeError(f"resize_: negative dimension in {list(extents)}")
    if self.requires_grad:
        raise RuntimeError("cannot resize variables that require grad")
    if tuple(self.shape) == extents:
        return self
    memory = self if self._base is None else self._base
    numel, start = 1, self.storage_offset()
    for n in extents:
        numel *= n
    have = memory.numel()
    if start + numel > have:
        held = memory.detach().as_strided((have - start,), (1,), start)
        memory = _C._all["cat"]([held, held.new_zeros(start + numel - have)])
        start = 0
    view = memory.detach().as_strided(extents, _contiguous_strides(extents), start)
    return _C._become(self, view)


def _resize_as_(self: Tensor, the_template: Tensor, memory_format: Any = None) -> Tensor:
    """resize_ to the size of another tensor.

    Example::

        >>> tn.arange(4).resize_as_(tn.ones(2, 2))
        tensor([[0, 1],
                [2, 3]])
    """
    return _resize_(self, tuple(the_template.shape))


def _resize(self: Tensor, *size: Any) -> Tensor:
    """The elements with another size, as a view where strides allow it.

    Errors: RuntimeError for another number of elements.

    Example::

        >>> tn.arange(4).resize(2, 2)
        tensor([[0, 1],
                [2, 3]])
    """
    return self.reshape(_sizes(size))


def _resize_as(self: Tensor, tensor: Tensor) -> Tensor:
    """resize to the size of another tensor.

    Example::

        >>> tn.arange(4).resize_as(tn.ones(2, 2)).shape
        tenon.Size([2, 2])
    """
    return self.reshape(tuple(tensor.shape))


def _set_(
    self: Tensor,
    source: Tensor | None = None,
    storage_offset: builtins.int | None = None,
    size: Any = None,
    stride: Any = None,
) -> Tensor:
    """The tensor shows the source's memory from now on; of no source an empty one.

    Errors: RuntimeError for another dtype.

    Example::

        >>> x, y = tn.zeros(2), tn.ones(3)
        >>> x.set_(y)
        tensor([1., 1., 1.])
        >>> _ = y.add_(1)
        >>> x
        tensor([2., 2., 2.])
    """
    if source is None:
        return _C._become(self, self.new_zeros(0))
    if source.dtype != self.dtype:
        raise RuntimeError(
            f"Could not set tensor of type {source.dtype} to a tensor of type {self.dtype}"
        )
    shown = source.detach()
    if size is not None:
        extents = tuple(size)
        strides = _contiguous_strides(extents) if stride is None else stride
        shown = shown.as_strided(extents, strides, storage_offset or 0)
    return _C._become(self, shown)


def _index_put_(
    self: Tensor, indices: Any, values: Tensor, accumulate: builtins.bool = False
) -> Tensor:
    """Stores values, or adds them if accumulate, at the places that index tensors name together;
    None stands for a whole dimension.

    Errors: IndexError for an index out of range; RuntimeError for values that don't broadcast.

    Example::

        >>> x = tn.zeros(3)
        >>> x.index_put_((tn.tensor([0, 2, 0]),), tn.tensor([1.0, 2.0, 3.0]), accumulate=True)
        tensor([4., 0., 2.])
    """
    items = tuple(slice(None) if index is None else index for index in indices)
    _C._index_put(self, items, values, accumulate)
    return self


def _index_put(
    self: Tensor, indices: Any, values: Tensor, accumulate: builtins.bool = False
) -> Tensor:
    """A copy with values stored, or added if accumulate, at the places that index tensors name.

    Errors: IndexError for an index out of range; RuntimeError for values that don't broadcast.

    Example::

        >>> tn.zeros(3).index_put((tn.tensor([0, 2]),), tn.tensor(5.0))
        tensor([5., 0., 5.])
    """
    return _index_put_(self.clone(), indices, values, accumulate)


def _apply_(self: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Each element replaced by what a Python function makes of it. Reads the tensor; slow.

    Example::

        >>> tn.tensor([1, 2]).apply_(lambda x: x * 10)
        tensor([10, 20])
    """
    return _map_all(self, callable)


def _map_(self: Tensor, tensor: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
    """Each element replaced by what a Python function makes of it and another tensor's. Slow.

    Example::

        >>> tn.tensor([1, 2]).map_(tn.tensor([10, 20]), lambda a, b: a + b)
        tensor([11, 22])
    """
    return _map_all(self, callable, tensor)


def _map_all(self: Tensor, function: Callable[..., Any], *others: Tensor) -> Tensor:
    if self.requires_grad:
        raise RuntimeError("apply_ and map_ are not for tensors that require grad")
    lists = [x.expand(self.shape).reshape(-1).tolist() for x in (self, *others)]
    made = [function(*given) for given in zip(*lists, strict=True)]
    return self.copy_(_C.tensor(made, dtype=self.dtype).reshape(self.shape))


def _new(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """A tensor of this one's dtype: of data, or of a size (elements are zeros).

    Example::

        >>> tn.tensor([1]).new([2, 3]), tn.tensor([1]).new(2)
        (tensor([2, 3]), tensor([0, 0]))
    """
    if not args:
        return self.new_zeros(0)
    if isinstance(args[0], Size) or all(isinstance(n, builtins.int) for n in args):
        return self.new_zeros(_sizes(args))
    return self.new_tensor(args[0], **kwargs)


def _conj_physical_(self: Tensor) -> Tensor:
    """In-place form of conj.

    Example::

        >>> tn.tensor([1 + 2j]).conj_physical_()
        tensor([1.-2.j])
    """
    return self.copy_(self.conj()) if self.is_complex() else self


def _float_power_(self: Tensor, exponent: Any) -> Tensor:
    """In-place form of float_power.

    Errors: RuntimeError unless the tensor is float64, or complex128 where the result is complex.

    Example::

        >>> tn.tensor([2.0, 4.0], dtype=tn.float64).float_power_(-1)
        tensor([0.5000, 0.2500], dtype=tenon.float64)
    """
    result = self.float_power(exponent)
    if result.dtype != self.dtype:
        raise RuntimeError(
            f"the base given to float_power_ has dtype {self.dtype} but the operation's result "
            f"requires dtype {result.dtype}"
        )
    return self.copy_(result)


def _polygamma(self: Tensor, n: builtins.int) -> Tensor:
    """Derivative number n of digamma.

    Errors: RuntimeError for negative n.

    Example::

        >>> tn.tensor([1.0, 2.0]).polygamma(1)
        tensor([1.6449, 0.6449])
    """
    return _C._all["polygamma"](n, self)


def _polygamma_(self: Tensor, n: builtins.int) -> Tensor:
    """In-place form of polygamma.

    Example::

        >>> tn.tensor([1.0, 2.0]).polygamma_(1)
        tensor([1.6449, 0.6449])
    """
    return self.copy_(_C._all["polygamma"](n, self))


METHODS: dict[str, Any] = {
    **{f"{name}_": _in_place(name) for name in _VIEWS},
    "resize_": _resize_,
    "resize_as_": _resize_as_,
    "resize": _resize,
    "resize_as": _resize_as,
    "set_": _set_,
    "index_put_": _index_put_,
    "index_put": _index_put,
    "apply_": _apply_,
    "conj_physical_": _conj_physical_,
    "float_power_": _float_power_,
    "polygamma": _polygamma,
    "polygamma_": _polygamma_,
    "map_": _map_,
    "new": _new,
}

# The methods that PyTorch has as functions, too.
_AS_FUNCTIONS = (
    *("abs", "acos", "acosh", "addmv", "arccos", "arccosh", "arcsin", "arcsinh", "arctan"),
    *("arctanh", "asin", "asinh", "atan", "atanh", "ceil", "clamp", "clamp_max", "clamp_min"),
    *("clip", "cos", "cosh", "deg2rad", "erf", "erfc", "exp", "exp2", "expm1", "fill", "fix"),
    *("floor", "frac", "gcd", "lcm", "ldexp", "log", "log10", "log1p", "log2", "logit"),
    *("nan_to_num", "neg", "negative", "rad2deg", "reciprocal", "relu", "round", "rsqrt"),
    *("sigmoid", "sin", "sinc", "sinh", "sqrt", "square", "tan", "tanh", "trunc", "xlogy", "zero"),
)
FUNCTIONS: dict[str, Any] = {
    **{f"{name}_": getattr(Tensor, f"{name}_") for name in _AS_FUNCTIONS},
    **{name: METHODS[name] for name in ("as_strided_", "index_put", "index_put_", "resize_as_")},
}
