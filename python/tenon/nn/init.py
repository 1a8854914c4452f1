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
    """The recommended gain of a nonlinearity, by its functional's name."""
    return _C._init_gain(nonlinearity, 0.01 if param is None else param)


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    return _C._init_fans(tensor)


def _fill(name: str, tensor: Tensor, *arguments: Any) -> Tensor:
    _C._init_fill(name, tensor, *arguments)
    return tensor


def zeros_(tensor: Tensor) -> Tensor:
    return _fill("zeros", tensor)


def ones_(tensor: Tensor) -> Tensor:
    return _fill("ones", tensor)


def constant_(tensor: Tensor, val: float) -> Tensor:
    return _fill("constant", tensor, val)


def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix."""
    return _fill("eye", tensor)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform in [a, b)."""
    if generator is not None:
        with _tn.no_grad():
            return tensor.uniform_(a, b, generator=generator)
    return _fill("uniform", tensor, a, b)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
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
    """Normal, restricted to [a, b]."""
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. "
            "The distribution of values may be incorrect.",
            stacklevel=2,
        )
    return _fill("trunc_normal", tensor, mean, std, a, b)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Glorot and Bengio 2010: keeps the variance through layers, forward and backward."""
    return _fill("xavier_uniform", tensor, gain)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    return _fill("xavier_normal", tensor, gain)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Any = None,
) -> Tensor:
    """He et al. 2015: keeps the variance through rectifiers."""
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
    if tensor.numel() == 0:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=2)
        return tensor
    return _fill("kaiming_normal", tensor, a, mode, nonlinearity)


def fan_in_uniform_(tensor: Tensor, weight: Tensor) -> Tensor:
    """Uniform in +-1/sqrt(fan_in of weight): PyTorch's initial bias."""
    return _fill("fan_in_uniform", tensor, weight)


def zero_row_(tensor: Tensor, row: int) -> Tensor:
    """Zeros in one row, the others as they are."""
    return _fill("zero_row", tensor, row)
