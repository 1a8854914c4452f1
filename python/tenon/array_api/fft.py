"""The extension `fft` of the array API standard: Fourier transforms along axes."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Any

import tenon as tn
from tenon import Tensor

__all__ = ["fft", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifftn", "ifftshift"]
__all__ += ["ihfft", "irfft", "irfftn", "rfft", "rfftfreq", "rfftn"]


def _along_one(name: str) -> Callable[..., Tensor]:
    def transform(
        x: Tensor,
        /,
        *,
        n: builtins.int | None = None,
        axis: builtins.int = -1,
        norm: str = "backward",
    ) -> Tensor:
        return getattr(tn.fft, name)(x, n, axis, norm)  # type: ignore[no-any-return]

    transform.__name__ = transform.__qualname__ = name
    transform.__doc__ = f"tn.fft.{name} along an axis, of its first n elements, padded by zeros."
    return transform


def _along_several(name: str) -> Callable[..., Tensor]:
    def transform(
        x: Tensor,
        /,
        *,
        s: Sequence[builtins.int] | None = None,
        axes: Sequence[builtins.int] | None = None,
        norm: str = "backward",
    ) -> Tensor:
        return getattr(tn.fft, name)(x, s, axes, norm)  # type: ignore[no-any-return]

    transform.__name__ = transform.__qualname__ = name
    transform.__doc__ = f"tn.fft.{name} along axes (all), of sizes s, padded by zeros."
    return transform


fft, ifft = _along_one("fft"), _along_one("ifft")
rfft, irfft = _along_one("rfft"), _along_one("irfft")
hfft, ihfft = _along_one("hfft"), _along_one("ihfft")
fftn, ifftn = _along_several("fftn"), _along_several("ifftn")
rfftn, irfftn = _along_several("rfftn"), _along_several("irfftn")


def fftfreq(
    n: builtins.int,
    /,
    *,
    d: builtins.float = 1.0,
    dtype: tn.dtype | None = None,
    device: Any = None,
) -> Tensor:
    """The frequencies of fft's results, for samples d apart."""
    return tn.fft.fftfreq(n, d, dtype=dtype, device=device)


def rfftfreq(
    n: builtins.int,
    /,
    *,
    d: builtins.float = 1.0,
    dtype: tn.dtype | None = None,
    device: Any = None,
) -> Tensor:
    """The frequencies of rfft's results, for samples d apart."""
    return tn.fft.rfftfreq(n, d, dtype=dtype, device=device)


def fftshift(x: Tensor, /, *, axes: builtins.int | Sequence[builtins.int] | None = None) -> Tensor:
    """The frequency 0 in the middle."""
    return tn.fft.fftshift(x, axes)


def ifftshift(x: Tensor, /, *, axes: builtins.int | Sequence[builtins.int] | None = None) -> Tensor:
    """What fftshift did, undone."""
    return tn.fft.ifftshift(x, axes)
