"""Which implementations of attention a program allows. See `torch.nn.attention`."""

from __future__ import annotations

import contextlib
import enum
import importlib as _importlib
from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["SDPBackend", "sdpa_kernel"]


class SDPBackend(enum.IntEnum):
    """PyTorch's implementations of scaled_dot_product_attention.

    Tenon has one, in tiles, for all shapes and dtypes, with derivatives of every order; the names
    are here so that programs that choose among PyTorch's run.

    Example::

        >>> tn.nn.attention.SDPBackend.MATH.name
        'MATH'
    """

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


_allowed: list[tuple[SDPBackend, ...]] = []


def _cur_sdpa_kernel_backends() -> list[SDPBackend]:
    """What the innermost sdpa_kernel allows; all but ERROR outside of one."""
    if _allowed:
        return list(_allowed[-1])
    return [backend for backend in SDPBackend if backend != SDPBackend.ERROR]


@contextlib.contextmanager
def sdpa_kernel(
    backends: SDPBackend | Sequence[SDPBackend], set_priority: bool = False
) -> Iterator[None]:
    """Takes the implementations that PyTorch would be allowed; results are the same with any.

    Errors: AssertionError for what is no SDPBackend or a list of them; RuntimeError for none.

    Example::

        >>> from tenon.nn.attention import SDPBackend, sdpa_kernel
        >>> q = tn.ones(1, 1, 2, 4)
        >>> with sdpa_kernel([SDPBackend.MATH, SDPBackend.FLASH_ATTENTION]):
        ...     F.scaled_dot_product_attention(q, q, q).shape
        tenon.Size([1, 1, 2, 4])
    """
    chosen = (backends,) if isinstance(backends, SDPBackend) else backends
    if not isinstance(chosen, (tuple, list)) or not all(
        isinstance(backend, SDPBackend) for backend in chosen
    ):
        raise AssertionError(
            "Backend must be an instance of SDPBackend or a list of SDPBackend instances"
        )
    if not chosen:
        raise RuntimeError("No available kernel. Aborting execution.")
    _allowed.append(tuple(dict.fromkeys(chosen)))
    try:
        yield
    finally:
        _allowed.pop()


def __getattr__(name: str) -> Any:
    if name == "flex_attention":  # imported when it is first asked for
        return _importlib.import_module(f"{__name__}.flex_attention")
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
