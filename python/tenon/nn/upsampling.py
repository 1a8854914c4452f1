"""Upsample: interpolate as a layer."""

from __future__ import annotations

from typing import Any

from tenon._C import Tensor

from . import functional as F
from .module import Module


class Upsample(Module):
    """The input at another resolution: see `tenon.nn.functional.interpolate`.

    Shape: (N, C, *) -> (N, C, size), * being 1 to 3 dimensions.
    Errors: as interpolate, when called.

    See `torch.nn.Upsample`.

    Example::

        >>> nn.Upsample(scale_factor=2)(tn.tensor([[[1.0, 2.0]]]))
        tensor([[[1., 1., 2., 2.]]])
    """

    __constants__ = (
        "align_corners",
        "mode",
        "name",
        "recompute_scale_factor",
        "scale_factor",
        "size",
    )

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.name = type(self).__name__
        self.size = size
        if isinstance(scale_factor, tuple):
            self.scale_factor: Any = tuple(float(factor) for factor in scale_factor)
        else:
            self.scale_factor = float(scale_factor) if scale_factor else None
        self.mode, self.align_corners = mode, align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.interpolate(
            input,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            recompute_scale_factor=self.recompute_scale_factor,
        )

    def extra_repr(self) -> str:
        if self.scale_factor is not None:
            return f"scale_factor={self.scale_factor!r}, mode={self.mode!r}"
        return f"size={self.size!r}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Upsample of images by the nearest element.

    Shape: (N, C, H, W) -> (N, C, size).

    See `torch.nn.UpsamplingNearest2d`.

    Example::

        >>> nn.UpsamplingNearest2d(scale_factor=2)(tn.tensor([[[[1.0, 2.0]]]])).shape
        tenon.Size([1, 1, 2, 4])
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """Upsample of images by linear interpolation, corners being aligned.

    Shape: (N, C, H, W) -> (N, C, size).

    See `torch.nn.UpsamplingBilinear2d`.

    Example::

        >>> nn.UpsamplingBilinear2d(size=(1, 3))(tn.tensor([[[[1.0, 2.0]]]]))
        tensor([[[[1.0000, 1.5000, 2.0000]]]])
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)
