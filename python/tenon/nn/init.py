"""Initial values of parameters, in place and without derivatives. See `torch.nn.init`.

They are computed at once rather than recorded, so that the first training step records the same
program as every later one.
"""

from __future__ import annotations

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
