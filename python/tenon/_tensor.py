"""Methods of Tensor that need Python: conversions, printing, copying, NumPy."""

from __future__ import annotations

import builtins
import weakref
from typing import Any

from . import (
    _C,
    _checks,
    _dlpack,
    _functions,
    _histograms,
    _in_place,
    _low_rank,
    _numeric,
    _sets,
    _shared_memory,
    _storage,
)
from ._C import Tensor
from .utils.hooks import add_hook

_ops = _C._all


def _is_dtype(value: Any) -> builtins.bool:
    return isinstance(value, _C.dtype) or value in (builtins.float, builtins.int, builtins.bool)


def _to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """The tensor in another dtype or on another device; itself where nothing changes.

    to(dtype), to(device, dtype=None), to(other); `copy=True` forces a copy.
    Errors: RuntimeError for a device that this machine lacks, with the reason.

    Example::

        >>> tn.tensor([1.5, -1.5]).to(tn.int64)
        tensor([ 1, -1])
    """
    dtype = kwargs.pop("dtype", None)
    device = kwargs.pop("device", None)
    copy = kwargs.pop("copy", False)
    other = kwargs.pop("other", None)
    kwargs.pop("non_blocking", None)
    kwargs.pop("memory_format", None)
    if kwargs:
        raise TypeError(f"to() got an unexpected keyword argument '{next(iter(kwargs))}'")
    for i, value in enumerate(args):
        if isinstance(value, Tensor):
            other = value
        elif isinstance(value, builtins.bool):
            copy = value if i >= 2 else copy  # to(..., non_blocking, copy)
        elif _is_dtype(value):
            dtype = value
        elif value is not None:
            device = value
    if other is not None:
        dtype, device = other.dtype, other.device
    result = self if dtype is None else self._to_dtype(dtype)
    if device is not None:
        result = result._to_device(device)
    return result.clone() if copy and result is self else result


def _type(self: Tensor, dtype: Any = None, non_blocking: builtins.bool = False) -> Any:
    """The name of the tensor's type, or the tensor in a dtype.

    Errors: ValueError for an unknown name.

    Example::

        >>> tn.ones(2).type()
        'tenon.FloatTensor'
        >>> tn.tensor([1.5]).type(tn.int32)
        tensor([1], dtype=tenon.int32)
    """
    if dtype is None:
        return "tenon." + TYPE_NAMES[self.dtype.name]
    if isinstance(dtype, str):
        short = {name: key for key, name in TYPE_NAMES.items()}
        name = dtype.rsplit(".", 1)[-1]
        if name not in short:
            raise ValueError(f"invalid type: '{dtype}'")
        dtype = getattr(_C, short[name])
    return self._to_dtype(dtype)


TYPE_NAMES = {
    "bool": "BoolTensor",
    "uint8": "ByteTensor",
    "int8": "CharTensor",
    "int16": "ShortTensor",
    "int32": "IntTensor",
    "int64": "LongTensor",
    "uint16": "UInt16Tensor",
    "uint32": "UInt32Tensor",
    "uint64": "UInt64Tensor",
    "float16": "HalfTensor",
    "bfloat16": "BFloat16Tensor",
    "float32": "FloatTensor",
    "float64": "DoubleTensor",
    "complex64": "ComplexFloatTensor",
    "complex128": "ComplexDoubleTensor",
    "float8_e4m3fn": "Float8_e4m3fnTensor",
    "float8_e5m2": "Float8_e5m2Tensor",
    "float8_e4m3fnuz": "Float8_e4m3fnuzTensor",
    "float8_e5m2fnuz": "Float8_e5m2fnuzTensor",
    "float8_e8m0fnu": "Float8_e8m0fnuTensor",
}


def _numpy(self: Tensor, *, force: builtins.bool = False) -> Any:
    """A NumPy array that shares the tensor's memory; with force, of a detached tensor.

    Errors: RuntimeError for a tensor that requires grad, unless forced.

    Example::

        >>> tn.tensor([1.0, 2.0]).numpy().tolist()
        [1.0, 2.0]
    """
    import numpy

    if self.requires_grad:
        if not force:
            raise RuntimeError(
                "Can't call numpy() on Tensor that requires grad. "
                "Use tensor.detach().numpy() instead."
            )
        self = self.detach()
    buffer, name, shape, strides, offset = _C._expose(self)
    if 0 in shape:  # nothing is shared, and NumPy refuses an offset past the buffer
        return numpy.empty(shape, name)
    return numpy.ndarray(shape, name, buffer, offset, strides)


def _array_interface(self: Tensor) -> dict[str, Any]:
    """NumPy's array interface, version 3: the memory, for as long as `data` is held.

    An AttributeError, so that nobody takes it to be there, for what NumPy has no dtype for, and for
    a tensor that requires grad.
    """
    import sys

    dtype, mark = self.dtype, "<" if sys.byteorder == "little" else ">"
    unknown = dtype == _C.bfloat16 or dtype.name.startswith("float8")
    if unknown or self.requires_grad:
        raise AttributeError(
            "__array_interface__: "
            + (f"NumPy has no {dtype.name}" if unknown else "the tensor requires grad")
        )
    kind = "c" if dtype.is_complex else "f" if dtype.is_floating_point else "i"
    kind = "b" if dtype == _C.bool else kind if dtype.is_signed else "u"
    buffer, _, shape, strides, offset = _C._expose(self)
    return {
        "version": 3,
        "shape": tuple(shape),
        "typestr": f"{'|' if dtype.itemsize == 1 else mark}{kind}{dtype.itemsize}",
        "strides": tuple(strides),
        "data": buffer,
        "offset": offset,
    }


def _array(self: Tensor, dtype: Any = None, copy: Any = None) -> Any:
    array = self.numpy()
    if dtype is not None and array.dtype != dtype:
        return array.astype(dtype)
    return array.copy() if copy else array


def _repr(self: Tensor, *, tensor_contents: str | None = None) -> str:
    from ._printing import format_tensor

    return format_tensor(self)


def _format(self: Tensor, spec: str) -> str:
    if self.ndim == 0:
        return self.item().__format__(spec)
    return object.__format__(self, spec)


def _deepcopy(self: Tensor, memo: dict[builtins.int, Any]) -> Tensor:
    if id(self) in memo:
        return memo[id(self)]  # type: ignore[no-any-return]
    if not self.is_leaf:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
            "protocol "
            "at the moment. If you were attempting to deepcopy a module, this may be because of a "
            "tensor in it that an operation made; detach it first."
        )
    copied = self.detach().clone()
    copied.requires_grad_(self.requires_grad)
    if self.grad is not None:
        copied.grad = _deepcopy(self.grad, memo)
    memo[id(self)] = copied
    return copied


def _rebuild(
    name: str,
    shape: tuple[builtins.int, ...],
    data: bytes,
    grad: builtins.bool,
    device: str = "cpu",
) -> Tensor:
    plain = _C._from_bytes(getattr(_C, name), shape, data)
    return plain._to_device(device).requires_grad_(grad)


def _reduce(self: Tensor, protocol: Any) -> tuple[Any, ...]:
    data = _C._to_bytes(self.detach())
    state = (self.dtype.name, tuple(self.shape), data, self.requires_grad)
    return _rebuild, state if self.device.type == "cpu" else (*state, str(self.device))


def _complex(self: Tensor) -> builtins.complex:
    """The one element as Python's complex number.

    Example::

        >>> complex(tn.tensor([1j]))
        1j
    """
    return builtins.complex(self.item())


def _self(self: Tensor, *_: Any, **__: Any) -> Tensor:
    """The tensor itself: it is where, and as, the name asks for.

    Example::

        >>> x = tn.ones(2)
        >>> x.cpu() is x
        True
    """
    return self


def _detach_(self: Tensor) -> Tensor:
    """Makes the tensor a leaf without derivatives, in place.

    Example::

        >>> x = tn.ones(2, requires_grad=True) * 2
        >>> x.detach_()
        tensor([2., 2.])
    """
    self.data = self.detach()
    return self.requires_grad_(False)


def _where(self: Tensor, condition: Tensor, other: Any) -> Tensor:
    """The tensor where condition is true, else other.

    Example::

        >>> tn.tensor([1, 2]).where(tn.tensor([True, False]), 0)
        tensor([1, 0])
    """
    return _ops["where"](condition, self, other)


def _new_tensor(self: Tensor, data: Any, **options: Any) -> Tensor:
    """A tensor with a copy of the data, by default in this tensor's dtype and on its device.

    Example::

        >>> tn.ones(1).new_tensor([1, 2])
        tensor([1., 2.])
    """
    options.setdefault("dtype", self.dtype)
    if options["dtype"] is None:
        options["dtype"] = self.dtype
    options.setdefault("device", self.device)
    return _C.tensor(data, **options)


def _is_never(self: Tensor) -> builtins.bool:
    """False: no tensor is pinned, or made by a stricter mode.

    Example::

        >>> tn.ones(2).is_pinned()
        False
    """
    return False


def _as_subclass(self: Tensor, cls: builtins.type[Any]) -> Any:
    """A view of the tensor as an object of a subclass of Tensor.

    Errors: TypeError for a class that is none.

    Example::

        >>> class Weight(tn.Tensor):
        ...     pass
        >>> type(tn.ones(2).as_subclass(Weight)).__name__
        'Weight'
    """
    _check_subclass("as_subclass", cls)
    return _C._as_subclass(cls, self)


def _check_subclass(name: str, cls: Any) -> None:
    if not (isinstance(cls, type) and issubclass(cls, Tensor)):
        raise TypeError(f"{name}: cls must be a type that is a subclass of Tensor, not {cls!r}")


def _make_subclass(
    cls: builtins.type[Any], data: Tensor, require_grad: builtins.bool = False
) -> Any:
    """The memory of data as a leaf of a subclass of Tensor.

    Errors: TypeError for a class that is none.

    Example::

        >>> class Weight(tn.Tensor):
        ...     pass
        >>> x = tn.Tensor._make_subclass(Weight, tn.ones(2), True)
        >>> type(x).__name__, x.requires_grad
        ('Weight', True)
    """
    _check_subclass("_make_subclass", cls)
    return _C._as_subclass(cls, data.detach()).requires_grad_(require_grad)


def _get_device(self: Tensor) -> builtins.int:
    """The number of the tensor's GPU; -1 on the cpu.

    Example::

        >>> tn.ones(2).get_device()
        -1
    """
    return -1 if self.device.index is None else self.device.index


def _cuda(self: Tensor, device: Any = None, *_: Any, **__: Any) -> Tensor:
    """The tensor on a CUDA device, the current one by default; itself if it is there.

    Errors: RuntimeError where there is no such device, saying why.

    Example::

        >>> x = tn.ones(1).cuda() if tn.cuda.is_available() else tn.ones(1)
    """
    if isinstance(device, builtins.int):
        device = _C.device("cuda", device)
    return self._to_device("cuda" if device is None else device)


def _cpu(self: Tensor, *_: Any, **__: Any) -> Tensor:
    """The tensor in the host's memory; itself if it is there.

    Example::

        >>> tn.ones(2).cpu().device
        device(type='cpu')
    """
    return self._to_device("cpu")


def _random_(
    self: Tensor, from_: builtins.int = 0, to: builtins.int | None = None, *, generator: Any = None
) -> Tensor:
    """Uniform random integers in [from, to), in place; up to 2**24 unless given.

    Example::

        >>> tn.zeros(1000).random_(3, 5).unique()
        tensor([3., 4.])
    """
    if to is None:
        to, from_ = (from_, 0) if from_ else (2**24, 0)
    drawn = _ops["randint"](from_, to, tuple(self.shape), generator=generator)
    with _no_grad():
        return self.copy_(drawn)


def _no_grad() -> Any:
    from .grad_mode import no_grad

    return no_grad()


def _register_hook(self: Tensor, hook: Any) -> Any:
    """Calls hook(gradient) in every backward pass that computes this tensor's gradient.

    What it returns, unless None, takes the gradient's place: in what the tensor was computed from,
    in `.grad` and in what `autograd.grad` gives. Hooks run in the order in which they were
    registered. They belong to the tensor's present value: a write in place makes another. Returns
    a handle whose remove() takes the hook away.

    Example::

        >>> import tenon as tn
        >>> x = tn.tensor([1.0, 2.0], requires_grad=True)
        >>> handle = x.register_hook(lambda gradient: gradient * 10)
        >>> (x * x).sum().backward()
        >>> x.grad
        tensor([20., 40.])

    Raises:
        RuntimeError: for a tensor that requires no grad.
        NotImplementedError: inside vmap.
    """
    return add_hook(_C._gradient_hooks(self), hook, False)


def _register_post_accumulate_grad_hook(self: Tensor, hook: Any) -> Any:
    """Calls hook(tensor) when `.backward()` has accumulated into `.grad` of this leaf.

    All gradients of the pass have been accumulated by then. Returns a handle whose remove() takes
    the hook away.

    Example::

        >>> x = tn.tensor([1.0, 2.0], requires_grad=True)
        >>> handle = x.register_post_accumulate_grad_hook(lambda leaf: print(leaf.grad))
        >>> (x * x).sum().backward()
        tensor([2., 4.])

    Raises:
        RuntimeError: for a tensor that is no leaf, or requires no grad.
    """
    this = weakref.ref(self)  # a strong one would keep the leaf alive through its own hook

    def call(leaf: Tensor) -> None:
        itself = this()
        if hook(leaf if itself is None else itself) is not None:
            raise RuntimeError("post accumulate grad hooks should return None")

    return add_hook(_C._accumulation_hooks(self), call, False)


def _grad_fn(self: Tensor) -> Any:
    """Something that is not None where an operation made the tensor from what requires grad."""
    return None if self.is_leaf else _GradientNode(self)


class _GradientNode:
    """What recorded the tensor, as far as programs look at it: that there is one, and its name."""

    def __init__(self, tensor: Tensor) -> None:
        self._shape = tuple(tensor.shape)

    def name(self) -> str:
        return "RecordedOperation"

    def __repr__(self) -> str:
        return "<RecordedOperation>"


def _array_namespace(self: Tensor, *, api_version: str | None = None) -> Any:
    """The array API standard's namespace: `tenon.array_api`.

    Errors: ValueError for a version of the standard other than 2021.12 to 2024.12.

    Example::

        >>> tn.ones(2).__array_namespace__().__array_api_version__
        '2024.12'
    """
    if api_version not in (None, "2021.12", "2022.12", "2023.12", "2024.12"):
        raise ValueError(f"__array_namespace__(): no version {api_version!r} of the array API")
    from . import array_api

    return array_api


def _to_device(self: Tensor, device: Any, /, *, stream: Any = None) -> Tensor:
    """The tensor on another device, under the array API standard's name.

    Example::

        >>> tn.ones(2).to_device("cpu")
        tensor([1., 1.])
    """
    return self.to(device)


_METHODS = {
    "to": _to,
    "type": _type,
    "numpy": _numpy,
    "__array__": _array,
    "__array_namespace__": _array_namespace,
    "to_device": _to_device,
    "__dlpack__": _dlpack.to_dlpack,
    "__dlpack_device__": _dlpack.dlpack_device,
    "__complex__": _complex,
    "__repr__": _repr,
    "__format__": _format,
    "__deepcopy__": _deepcopy,
    "__reduce_ex__": _reduce,
    "cpu": _cpu,
    "cuda": _cuda,
    "pin_memory": _self,
    "coalesce": _self,
    "to_dense": _self,
    "resolve_conj": _self,
    "resolve_neg": _self,
    "detach_": _detach_,
    "where": _where,
    "register_hook": _register_hook,
    "register_post_accumulate_grad_hook": _register_post_accumulate_grad_hook,
    "new_tensor": _new_tensor,
    "unique": _sets.unique,
    "unique_consecutive": _sets.unique_consecutive,
    "nonzero": _sets.nonzero,
    "argwhere": _sets.argwhere,
    "as_strided_scatter": _numeric.as_strided_scatter,
    "nonzero_static": _numeric.nonzero_static,
    "storage": _storage.storage,
    "untyped_storage": _storage.untyped_storage,
    "is_nonzero": _checks.is_nonzero,
    "is_same_size": _checks.is_same_size,
    "is_signed": _checks.is_signed,
    **_in_place.METHODS,
    "histogram": _histograms.histogram,
    "lu": _low_rank.lu,
    "__rdiv__": Tensor.__rtruediv__,
    "equal": _functions.equal,
    "allclose": _functions.allclose,
    "random_": _random_,
    "is_inference": _is_never,
    "is_pinned": _is_never,
    **_shared_memory.METHODS,
    "as_subclass": _as_subclass,
    "get_device": _get_device,
}

for _name, _method in _METHODS.items():
    setattr(Tensor, _name, _method)
setattr(Tensor, "_make_subclass", staticmethod(_make_subclass))  # noqa: B010
setattr(Tensor, "grad_fn", property(_grad_fn))  # noqa: B010
setattr(Tensor, "__array_interface__", property(_array_interface))  # noqa: B010
setattr(Tensor, "layout", "strided")  # noqa: B010
setattr(Tensor, "is_cpu", True)  # noqa: B010
for _name in ("is_mps", "is_xpu", "is_xla", "is_nested", "is_sparse_csr", "is_mkldnn"):
    setattr(Tensor, _name, False)
setattr(Tensor, "__array_priority__", 1000)  # noqa: B010  NumPy leaves mixed operators to us
setattr(Tensor, "__module__", "tenon")  # noqa: B010
