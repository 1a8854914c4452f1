"""Fractional maximum pooling: a size or a ratio, and perhaps given samples."""

from __future__ import annotations

from typing import Any

from tenon._C import Tensor

from . import functional as F
from .module import Module


class _FractionalMaxPoolNd(Module):
    spatial: int

    def __init__(
        self,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:
        super().__init__()

        def numbers(value: Any) -> Any:
            single = isinstance(value, (int, float))
            return (value,) * self.spatial if single else value and tuple(value)

        self.kernel_size, self.return_indices = numbers(kernel_size), return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size, self.output_ratio = numbers(output_size), numbers(output_ratio)
        name = type(self).__name__
        if output_size is None and output_ratio is None:
            raise ValueError(
                f"{name} requires specifying either an output size, or a pooling ratio"
            )
        if output_size is not None and output_ratio is not None:
            raise ValueError("only one of output_size and output_ratio may be specified")
        if self.output_ratio is not None and not all(0 < r < 1 for r in self.output_ratio):
            raise ValueError(f"output_ratio must be between 0 and 1 (got {output_ratio})")

    def forward(self, input: Tensor) -> Any:
        pool = getattr(F, f"fractional_max_pool{self.spatial}d")
        return pool(
            input,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            self.return_indices,
            self._random_samples,
        )


class FractionalMaxPool2d(_FractionalMaxPoolNd):
    """Largest elements of windows at pseudo-random places: see `F.fractional_max_pool2d`.

    Shape: (N, C, H, W) or (C, H, W) -> the same of output_size, or output_ratio times as large.
    Errors: ValueError unless one of output_size and output_ratio is given.

    Source: Graham, "Fractional max-pooling", 2014. See `torch.nn.FractionalMaxPool2d`.

    Example::

        >>> nn.FractionalMaxPool2d(3, output_size=(13, 12))(tn.ones(2, 3, 50, 32)).shape
        tenon.Size([2, 3, 13, 12])
    """

    spatial = 2


class FractionalMaxPool3d(_FractionalMaxPoolNd):
    """Largest elements of windows at pseudo-random places: see `F.fractional_max_pool3d`.

    Shape: (N, C, D, H, W) or (C, D, H, W) -> the same of output_size, or output_ratio times as
    large.
    Errors: ValueError unless one of output_size and output_ratio is given.

    Source: Graham, "Fractional max-pooling", 2014. See `torch.nn.FractionalMaxPool3d`.

    Example::

        >>> nn.FractionalMaxPool3d(3, output_ratio=0.5)(tn.ones(2, 3, 8, 8, 8)).shape
        tenon.Size([2, 3, 4, 4, 4])
    """

    spatial = 3
