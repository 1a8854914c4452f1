"""Initial values of parameters, in place and without derivatives. See `torch.nn.init`.

They are computed at once rather than recorded, so that the first training step records the same
program as every later one.
"""

from __future__ import annotations

import functools
import math
import warnings
from typing import Any

import tenon as _tn
from tenon import _C
from tenon._C import Tensor


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The recommended gain of a nonlinearity, by its functional's name.

    param: the slope of leaky_relu below 0.
    Errors: ValueError for an unknown name.

    Example::

        >>> nn.init.calculate_gain("relu") == 2**0.5
        True
    """
    return _C._init_gain(nonlinearity, 0.01 if param is None else param)


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    return _C._init_fans(tensor)


def _fill(name: str, tensor: Tensor, *arguments: Any) -> Tensor:
    _C._init_fill(name, tensor, *arguments)
    return tensor


def zeros_(tensor: Tensor) -> Tensor:
    """Zeros.

    Example::

        >>> nn.init.zeros_(tn.ones(2))
        tensor([0., 0.])
    """
    return _fill("zeros", tensor)


def ones_(tensor: Tensor) -> Tensor:
    """Ones.

    Example::

        >>> nn.init.ones_(tn.zeros(2))
        tensor([1., 1.])
    """
    return _fill("ones", tensor)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """One number everywhere.

    Example::

        >>> nn.init.constant_(tn.zeros(2), 0.5)
        tensor([0.5000, 0.5000])
    """
    return _fill("constant", tensor, val)


def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix, ones on the diagonal also of other matrices.

    Errors: ValueError unless the tensor has two dimensions.

    Example::

        >>> nn.init.eye_(tn.zeros(2, 3))
        tensor([[1., 0., 0.],
                [0., 1., 0.]])
    """
    return _fill("eye", tensor)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform in [a, b).

    Example::

        >>> nn.init.uniform_(tn.zeros(1000), 2.0, 3.0).floor().unique()
        tensor([2.])
    """
    if generator is not None:
        with _tn.no_grad():
            return tensor.uniform_(a, b, generator=generator)
    return _fill("uniform", tensor, a, b)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Normal of the given mean and standard deviation.

    Example::

        >>> nn.init.normal_(tn.zeros(2), mean=3.0, std=0.0)
        tensor([3., 3.])
    """
    if generator is not None:
        with _tn.no_grad():
            return tensor.normal_(mean, std, generator=generator)
    return _fill("normal", tensor, mean, std)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Any = None,
) -> Tensor:
    """Normal, restricted to [a, b]. Warns where the mean is more than 2 std outside.

    Example::

        >>> bool(nn.init.trunc_normal_(tn.zeros(1000), a=-1.0, b=1.0).abs().max() <= 1)
        True
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. "
            "The distribution of values may be incorrect.",
            stacklevel=2,
        )
    return _fill("trunc_normal", tensor, mean, std, a, b)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform in +-gain * sqrt(6 / (fan_in + fan_out)), which keeps the variance through layers,
    forward and backward.

    Errors: ValueError for fewer than two dimensions.
    Source: Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", AISTATS 2010.

    Example::

        >>> bool(nn.init.xavier_uniform_(tn.zeros(2, 4)).abs().max() <= 1)
        True
    """
    return _fill("xavier_uniform", tensor, gain)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Normal of mean 0 and standard deviation gain * sqrt(2 / (fan_in + fan_out)).

    Errors: ValueError for fewer than two dimensions.
    Source: Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", AISTATS 2010.

    Example::

        >>> nn.init.xavier_normal_(tn.ones(2, 2), gain=0.0)
        tensor([[0., 0.],
                [0., 0.]])
    """
    return _fill("xavier_normal", tensor, gain)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Uniform in +-gain * sqrt(3 / fan), which keeps the variance through rectifiers.

    fan is the one that mode names, the gain that of the nonlinearity, whose slope is a below 0.
    Warns of a tensor without elements.
    Errors: ValueError for fewer than two dimensions, another mode or an unknown nonlinearity.
    Source: He, Zhang, Ren, Sun, "Delving deep into rectifiers", ICCV 2015.

    Example::

        >>> w = nn.init.kaiming_uniform_(tn.zeros(3, 6), nonlinearity="relu")
        >>> bool(w.abs().max() <= 1)
        True
    """
    if tensor.numel() == 0:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=2)
        return tensor
    return _fill("kaiming_uniform", tensor, a, mode, nonlinearity)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """Normal of mean 0 and standard deviation gain / sqrt(fan); otherwise as kaiming_uniform_.

    Source: He, Zhang, Ren, Sun, "Delving deep into rectifiers", ICCV 2015.

    Example::

        >>> w = nn.init.kaiming_normal_(tn.zeros(1000, 200), mode="fan_in", nonlinearity="relu")
        >>> round(w.std().item(), 2)
        0.1
    """
    if tensor.numel() == 0:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=2)
        return tensor
    return _fill("kaiming_normal", tensor, a, mode, nonlinearity)


def fan_in_uniform_(tensor: Tensor, weight: Tensor) -> Tensor:
    """Uniform in +-1/sqrt(fan_in of weight): PyTorch's initial bias.

    Example::

        >>> bool(nn.init.fan_in_uniform_(tn.zeros(100), tn.zeros(100, 4)).abs().max() <= 0.5)
        True
    """
    return _fill("fan_in_uniform", tensor, weight)


def zero_row_(tensor: Tensor, row: int) -> Tensor:
    """Zeros in one row, the others as they are.

    Example::

        >>> nn.init.zero_row_(tn.ones(2, 2), 0)
        tensor([[0., 0.],
                [1., 1.]])
    """
    return _fill("zero_row", tensor, row)


# ---- written in Python: matrices and patterns ----------------------------------------------------


def _store(tensor: Tensor, value: Tensor) -> Tensor:
    """The value in the tensor, computed at once."""
    with _tn.no_grad():
        tensor.copy_(value)
    _tn.eval(tensor)
    return tensor


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """A random matrix with orthogonal rows or columns, whichever are fewer, times gain.

    Further dimensions count as columns. The distribution is Haar's: Q of normal numbers by
    Householder reflections, with the signs of R's diagonal.
    Errors: ValueError for fewer than two dimensions.
    Source: Saxe, McClelland, Ganguli, "Exact solutions to the nonlinear dynamics of learning in
    deep linear neural networks", ICLR 2014; Mezzadri, "How to generate random matrices from the
    classical compact groups", 2007.

    Example::

        >>> w = nn.init.orthogonal_(tn.empty(2, 3))
        >>> tn.allclose(w @ w.T, tn.eye(2), atol=1e-6)
        True
    """
    if tensor.ndim < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if tensor.numel() == 0:
        return tensor
    rows, columns = tensor.shape[0], tensor.numel() // tensor.shape[0]
    tall, thin = max(rows, columns), min(rows, columns)
    from ..func._regions import scan

    with _tn.no_grad():
        matrix = _tn.randn(tall, thin, dtype=_tn.float64, generator=generator)
        places, across = _tn.arange(tall), _tn.arange(thin)

        def reflect(r: Tensor, k: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            column = _tn.where(places >= k, (r * (across == k)).sum(1), 0.0)
            head = (column * (places == k)).sum()
            sign = _tn.where(head < 0, -1.0, 1.0).to(r.dtype)
            v = column + sign * column.norm() * (places == k)
            v = v / v.norm()
            return r - 2 * v.unsqueeze(1) * (v @ r), (v, -sign)

        def apply(q: Tensor, v: Tensor) -> tuple[Tensor, None]:
            return q - 2 * v.unsqueeze(1) * (v @ q), None

        _, (reflections, signs) = scan(reflect, matrix, across)
        begin = _tn.eye(tall, thin, dtype=_tn.float64)
        q, _ = scan(apply, begin, reflections, reverse=True)
        q = q * signs * gain
        return _store(tensor, (q.T if rows < columns else q).reshape(tensor.shape))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """The weight of a convolution that passes its channels on, in each of its groups.

    Errors: ValueError unless the tensor has 3, 4 or 5 dimensions, the first divisible by groups.

    Example::

        >>> nn.init.dirac_(tn.empty(2, 2, 3))
        tensor([[[0., 1., 0.],
                 [0., 0., 0.]],
        <BLANKLINE>
                [[0., 0., 0.],
                 [0., 1., 0.]]])
    """
    if tensor.ndim not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    if tensor.shape[0] % groups != 0:
        raise ValueError("dim 0 must be divisible by groups")
    per_group = tensor.shape[0] // groups
    rest = [1] * (tensor.ndim - 2)
    output = _tn.arange(tensor.shape[0]).reshape(-1, 1, *rest) % per_group
    passes = output == _tn.arange(tensor.shape[1]).reshape(1, -1, *rest)
    for dim, extent in enumerate(tensor.shape[2:]):
        shape = [1] * tensor.ndim
        shape[2 + dim] = extent
        passes = passes & (_tn.arange(extent) == extent // 2).reshape(shape)
    return _store(tensor, passes.to(tensor.dtype).expand(tensor.shape))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """A matrix whose columns have that fraction of zeros, rounded up; the others are normal.

    Errors: ValueError unless the tensor has two dimensions.
    Source: Martens, "Deep learning via Hessian-free optimization", ICML 2010.

    Example::

        >>> (nn.init.sparse_(tn.empty(10, 3), sparsity=0.2) == 0).sum(0)
        tensor([2, 2, 2])
    """
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    zeros = math.ceil(sparsity * tensor.shape[0])
    with _tn.no_grad():
        order = _tn.rand(tensor.shape, generator=generator).argsort(0).argsort(0)
        normal = _tn.randn(tensor.shape, dtype=tensor.dtype, generator=generator) * std
        return _store(tensor, normal * (order >= zeros))


def _deprecated(name: str) -> Any:
    """The name before those with an underscore: warns."""
    function = globals()[f"{name}_"]

    @functools.wraps(function)
    def old(*args: Any, **kwargs: Any) -> Any:
        warnings.warn(
            f"`nn.init.{name}` is now deprecated in favor of `nn.init.{name}_`.",
            FutureWarning,
            stacklevel=2,
        )
        return function(*args, **kwargs)

    old.__name__ = old.__qualname__ = name
    return old


uniform, normal, constant, eye = map(_deprecated, ("uniform", "normal", "constant", "eye"))
dirac, orthogonal, sparse = map(_deprecated, ("dirac", "orthogonal", "sparse"))
xavier_uniform, xavier_normal = map(_deprecated, ("xavier_uniform", "xavier_normal"))
kaiming_uniform, kaiming_normal = map(_deprecated, ("kaiming_uniform", "kaiming_normal"))
