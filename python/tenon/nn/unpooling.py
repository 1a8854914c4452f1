"""The partial inverses of maximum pooling: their forward takes an optional output size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tenon._C import Tensor

from . import functional as F
from .module import Module


class _MaxUnpoolNd(Module):
    spatial: int

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()

        def numbers(value: Any) -> tuple[int, ...]:
            return (value,) * self.spatial if isinstance(value, int) else tuple(value)

        self.kernel_size = numbers(kernel_size)
        self.stride = numbers(kernel_size if stride is None else stride)
        self.padding = numbers(padding)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"

    def forward(
        self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None
    ) -> Tensor:
        unpool = getattr(F, f"max_unpool{self.spatial}d")
        size = None if output_size is None else list(output_size)
        return unpool(input, indices, self.kernel_size, self.stride, self.padding, size)


class MaxUnpool1d(_MaxUnpoolNd):
    """Elements put back where MaxPool1d took them from, zeros elsewhere.

    Shape: (N, C, L) or (C, L), indices the same -> the same, longer.

    See `torch.nn.MaxUnpool1d`.

    Example::

        >>> pool = nn.MaxPool1d(2, return_indices=True)
        >>> nn.MaxUnpool1d(2)(*pool(tn.tensor([[[1.0, 3.0, 4.0, 2.0]]])))
        tensor([[[0., 3., 4., 0.]]])
    """

    spatial = 1


class MaxUnpool2d(_MaxUnpoolNd):
    """Elements put back where MaxPool2d took them from, zeros elsewhere.

    Shape: (N, C, H, W) or (C, H, W), indices the same -> the same, larger.

    See `torch.nn.MaxUnpool2d`.

    Example::

        >>> pool = nn.MaxPool2d(2, return_indices=True)
        >>> nn.MaxUnpool2d(2)(*pool(tn.tensor([[[[1.0, 3.0], [4.0, 2.0]]]])))
        tensor([[[[0., 0.],
                  [4., 0.]]]])
    """

    spatial = 2


class MaxUnpool3d(_MaxUnpoolNd):
    """Elements put back where MaxPool3d took them from, zeros elsewhere.

    Shape: (N, C, D, H, W) or (C, D, H, W), indices the same -> the same, larger.

    See `torch.nn.MaxUnpool3d`.

    Example::

        >>> pool = nn.MaxPool3d(2, return_indices=True)
        >>> nn.MaxUnpool3d(2)(*pool(tn.ones(1, 1, 2, 2, 2))).sum()
        tensor(1.)
    """

    spatial = 3
