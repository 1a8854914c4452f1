"""Functions that are no operations of the trace, or whose arguments only Python can take apart."""

from __future__ import annotations

import builtins
import time
from typing import Any

from . import _C
from ._C import Generator, Size, Tensor, dtype

_ops = _C._all


def is_tensor(obj: Any) -> builtins.bool:
    """Whether the object is a Tensor.

    Example::

        >>> tn.is_tensor(tn.ones(2)), tn.is_tensor([1, 1])
        (True, False)
    """
    return isinstance(obj, Tensor)


def is_floating_point(input: Tensor) -> builtins.bool:
    """Whether the tensor's dtype is floating: float16, bfloat16, float32 or float64.

    Example::

        >>> tn.is_floating_point(tn.ones(2)), tn.is_floating_point(tn.tensor([1]))
        (True, False)
    """
    return input.is_floating_point()


def is_complex(input: Tensor) -> builtins.bool:
    """Whether the tensor's dtype is complex.

    Example::

        >>> tn.is_complex(tn.tensor([1 + 2j]))
        True
    """
    return input.is_complex()


def is_conj(input: Tensor) -> builtins.bool:
    """False: a conjugate is a value like any other.

    Example::

        >>> tn.is_conj(tn.tensor([1j]).conj())
        False
    """
    return input.is_conj()


def resolve_conj(input: Tensor) -> Tensor:
    """The input itself: conjugates are computed like anything else.

    Example::

        >>> tn.resolve_conj(tn.tensor([1j]))
        tensor([0.+1.j])
    """
    return input


def resolve_neg(input: Tensor) -> Tensor:
    """The input itself: negatives are computed like anything else.

    Example::

        >>> tn.resolve_neg(-tn.ones(1))
        tensor([-1.])
    """
    return input


def numel(input: Tensor) -> builtins.int:
    """Number of elements.

    Example::

        >>> tn.numel(tn.ones(2, 3))
        6
    """
    return input.numel()


def scalar_tensor(s: Any, *, dtype: dtype | None = None, **options: Any) -> Tensor:
    """A 0-d tensor in the default dtype, unless given.

    Example::

        >>> tn.scalar_tensor(3)
        tensor(3.)
    """
    return _ops["full"]((), s, dtype=dtype or _C.get_default_dtype(), **options)


def equal(input: Tensor, other: Tensor) -> builtins.bool:
    """Whether both have the same size and equal elements, NaN being equal to nothing. Reads both.

    Example::

        >>> tn.equal(tn.tensor([1, 2]), tn.tensor([1, 2]))
        True
        >>> tn.equal(tn.ones(2), tn.ones(1, 2))
        False
    """
    return input.shape == other.shape and builtins.bool((input == other).all())


def allclose(
    input: Tensor,
    other: Tensor,
    rtol: builtins.float = 1e-05,
    atol: builtins.float = 1e-08,
    equal_nan: builtins.bool = False,
) -> builtins.bool:
    """Whether all |input - other| <= atol + rtol * |other|. Reads both.

    Errors: RuntimeError for sizes that don't broadcast.

    Example::

        >>> tn.allclose(tn.tensor([1.0, nan]), tn.tensor([1.000001, nan]), equal_nan=True)
        True
    """
    return builtins.bool(_ops["isclose"](input, other, rtol, atol, equal_nan).all())


def broadcast_shapes(*shapes: Any) -> Size:
    """The size to which sizes broadcast.

    Errors: RuntimeError where two extents differ and neither is 1.

    Example::

        >>> tn.broadcast_shapes((2, 1), (3,), (5, 1, 1))
        tenon.Size([5, 2, 3])
    """
    result: builtins.list[builtins.int] = []
    for shape in shapes:
        extents = [shape] if isinstance(shape, builtins.int) else builtins.list(shape)
        length = max(len(result), len(extents))
        a = [1] * (length - len(result)) + result
        b = [1] * (length - len(extents)) + extents
        if any(x != y and 1 not in (x, y) for x, y in zip(a, b, strict=True)):
            raise RuntimeError(
                "Shape mismatch: objects cannot be broadcast to a single shape: "
                + ", ".join(str(s) for s in shapes)
            )
        result = [y if x == 1 else x for x, y in zip(a, b, strict=True)]
    return Size(result)


def result_type(tensor1: Any, tensor2: Any) -> dtype:
    """The dtype in which two tensors or numbers meet.

    A number, or a 0-d tensor, only counts where it is of a higher kind (bool, integer, floating).

    Example::

        >>> tn.result_type(tn.tensor([1]), 1.5)
        tenon.float32
        >>> tn.result_type(tn.ones(2).half(), 1.5)
        tenon.float16
    """

    # An empty vector has the dtype and whether there are dimensions, which is all that counts.
    def small(x: Any) -> Any:
        return x.reshape(-1)[:0] if isinstance(x, Tensor) and x.ndim else x

    a, b = (small(x) if isinstance(x, Tensor) else _C.tensor(x) for x in (tensor1, tensor2))
    if not isinstance(tensor1, Tensor) and isinstance(tensor2, Tensor):
        return _ops["mul"](b, tensor1).dtype
    if not isinstance(tensor2, Tensor):
        return _ops["mul"](a, tensor2).dtype
    return _ops["mul"](a, b).dtype


# ---- random numbers ------------------------------------------------------------------------------


def manual_seed(seed: builtins.int) -> Generator:
    """Seeds the default generator; the same seed gives the same numbers on any device.

    Example::

        >>> first = tn.manual_seed(0) and tn.rand(3)
        >>> second = tn.manual_seed(0) and tn.rand(3)
        >>> tn.equal(first, second)
        True
    """
    _C._manual_seed(seed)
    return _C.default_generator


def seed() -> builtins.int:
    """Seeds the default generator with the time; returns the seed.

    Example::

        >>> tn.seed() == tn.initial_seed()
        True
    """
    number = time.time_ns() & 0x7FFF_FFFF_FFFF_FFFF
    manual_seed(number)
    return number


def initial_seed() -> builtins.int:
    """The seed of the default generator.

    Example::

        >>> _ = tn.manual_seed(5)
        >>> tn.initial_seed()
        5
    """
    return _C.default_generator.initial_seed()


def get_rng_state() -> Any:
    """The state of the default generator: its seed and how many calls it has served.

    Example::

        >>> state = tn.get_rng_state()
        >>> first = tn.rand(3)
        >>> tn.set_rng_state(state)
        >>> tn.equal(first, tn.rand(3))
        True
    """
    return _C.default_generator.get_state()


def set_rng_state(new_state: Any) -> None:
    """Restores what get_rng_state gave.

    Example::

        >>> state = tn.get_rng_state()
        >>> first = tn.randn(2)
        >>> tn.set_rng_state(state)
        >>> tn.equal(first, tn.randn(2))
        True
    """
    _C.default_generator.set_state(new_state)


def _shape_as_tensor(input: Tensor) -> Tensor:
    """The tensor's extents as an int64 vector.

    Example::

        >>> tn._shape_as_tensor(tn.ones(2, 3))
        tensor([2, 3])
    """
    return _C.tensor(list(input.shape), dtype=_C.int64)


# ---- limits of dtypes ----------------------------------------------------------------------------

_FLOATS: dict[str, tuple[builtins.int, builtins.float, builtins.float, builtins.float]] = {
    # bits, epsilon, smallest normal, smallest subnormal
    "float16": (16, 2.0**-10, 2.0**-14, 2.0**-24),
    "bfloat16": (16, 2.0**-7, 2.0**-126, 2.0**-133),
    "float32": (32, 2.0**-23, 2.0**-126, 2.0**-149),
    "float64": (64, 2.0**-52, 2.0**-1022, 2.0**-1074),
    "float8_e4m3fn": (8, 2.0**-3, 2.0**-6, 2.0**-9),
    "float8_e5m2": (8, 2.0**-2, 2.0**-14, 2.0**-16),
    "float8_e4m3fnuz": (8, 2.0**-3, 2.0**-7, 2.0**-10),
    "float8_e5m2fnuz": (8, 2.0**-3, 2.0**-15, 2.0**-17),  # PyTorch's epsilon; the step at 1 is 1/4
    "float8_e8m0fnu": (8, 1.0, 2.0**-127, 2.0**-127),
}
_DIGITS = {"float16": 1e-3, "bfloat16": 1e-2, "float32": 1e-6, "float64": 1e-15}


class finfo:
    """Limits of a floating dtype (IEEE 754-2019), by default the default one.

    Errors: TypeError for a dtype that is not floating.

    Example::

        >>> tn.finfo(tn.float16).max, tn.finfo(tn.float32).eps == 2**-23
        (65504.0, True)
    """

    def __init__(self, type: dtype | None = None) -> None:
        self._dtype = type or _C.get_default_dtype()
        name = self._dtype.name.replace("complex64", "float32").replace("complex128", "float64")
        if name not in _FLOATS:
            raise TypeError(f"finfo() requires a floating point input type, not {self._dtype}")
        self.dtype = name
        self.bits, self.eps, self.tiny, self.smallest_subnormal = _FLOATS[name]
        self.smallest_normal = self.tiny
        self.max = getattr(_C, name)._max
        self.min = self.tiny if name == "float8_e8m0fnu" else -self.max
        self.resolution = _DIGITS.get(name, 1.0)

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, "
            f"eps={self.eps:g}, smallest_normal={self.tiny:g}, tiny={self.tiny:g}, "
            f"dtype={self.dtype})"
        )


class iinfo:
    """Limits of an integer dtype.

    Errors: TypeError for a dtype that is not one.

    Example::

        >>> tn.iinfo(tn.int8)
        iinfo(min=-128, max=127, dtype=int8)
    """

    def __init__(self, type: dtype) -> None:
        name = type.name
        if not name.startswith(("int", "uint")):
            raise TypeError(f"iinfo() requires an integer input type, not {type}")
        self.dtype = name
        self.bits = type.itemsize * 8
        signed = type.is_signed
        self.min = -(1 << (self.bits - 1)) if signed else 0
        self.max = (1 << (self.bits - signed)) - 1

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"


def eval(*tensors: Tensor) -> None:
    """Runs what this thread has recorded, the given tensors included.

    Reading a value does the same; this is for placing the cut by hand.
    Errors: TypeError for what is no tensor; what the program raises where only the data tells, such
    as IndexError.

    Example::

        >>> x = tn.ones(3) * 2
        >>> tn.eval(x)
        >>> "mul" in tn.pending_trace()
        False
    """
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"eval: expected tensors, got {type(tensor).__name__}")
    _C.flush()
