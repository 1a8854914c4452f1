"""Bilinear and Softmax2d: a bound and a check that the layers' spec can't say."""

from __future__ import annotations

import math
from typing import Any

import tenon as _tn
from tenon._C import Tensor

from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter


class Bilinear(Module):
    """input1 @ weight[k] @ input2 + bias[k] for each output feature k.

    Shape: (*, in1_features), (*, in2_features) -> (*, out_features).
    Errors: ValueError for an in1_features below 1; RuntimeError, when called, for inputs that don't
    fit.

    See `torch.nn.Bilinear`.

    Example::

        >>> nn.Bilinear(20, 30, 40)(tn.randn(128, 20), tn.randn(128, 30)).shape
        tenon.Size([128, 40])
    """

    __constants__ = (
        "in1_features",
        "in2_features",
        "out_features",
    )

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if in1_features <= 0:
            raise ValueError(f"in1_features must be > 0, but got {in1_features}")
        self.in1_features, self.in2_features = in1_features, in2_features
        self.out_features = out_features
        shape = (out_features, in1_features, in2_features)
        self.weight = Parameter(_tn.empty(shape, dtype=dtype, device=device))
        empty = _tn.empty(out_features, dtype=dtype, device=device) if bias else None
        self.register_parameter("bias", None if empty is None else Parameter(empty))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.in1_features)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )


class Softmax2d(Module):
    """softmax over the channels at each place of an image.

    Shape: (N, C, H, W) or (C, H, W) -> the same.
    Errors: ValueError for another number of dimensions.

    See `torch.nn.Softmax2d`.

    Example::

        >>> nn.Softmax2d()(tn.zeros(1, 2, 1, 1)).reshape(-1)
        tensor([0.5000, 0.5000])
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (3, 4):
            raise ValueError(f"Softmax2d: expected input to be 3D or 4D, got {input.ndim}D instead")
        return F.softmax(input, -3)
