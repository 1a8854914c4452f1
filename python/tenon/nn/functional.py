"""Functions of neural networks: what layers call. See `torch.nn.functional`.

All of them are declared in spec/ops/ and generated; `help()` on one shows its declaration.
"""

from __future__ import annotations

import functools as _functools
from typing import TYPE_CHECKING, Any

from tenon import _C

globals().update({name: f for name, f in vars(_C._functional).items() if not name.startswith("_")})
if TYPE_CHECKING:  # a stub: what the line above does
    from tenon._functional import *  # noqa: F403


def _with_indices(name: str) -> Any:
    """A maximum pool that gives the indices too where `return_indices` asks for them."""
    values, both = globals()[name], globals()[name + "_with_indices"]
    place = {"max": 6, "ada": 2, "fra": 4}[name[:3]]  # of return_indices

    @_functools.wraps(values)
    def pool(*args: Any, return_indices: bool = False, **kwargs: Any) -> Any:
        if len(args) > place:
            return_indices = args[place]
            args = (*args[:place], *args[place + 1 :])
        return (both if return_indices else values)(*args, **kwargs)

    return pool


for _kind in ("max_pool", "adaptive_max_pool", "fractional_max_pool"):
    for _name in (f"{_kind}1d", f"{_kind}2d", f"{_kind}3d"):
        if _name in globals():
            globals()[_name] = _with_indices(_name)


def _in_place(name: str) -> Any:
    """A functional that stores its result in its input."""
    function = globals()[name]

    def write(input: Any, *args: Any, **kwargs: Any) -> Any:
        return function(input, *args, **kwargs, inplace=True)

    write.__name__ = write.__qualname__ = f"{name}_"
    arguments = "x, 0.0, 1.0" if name == "threshold" else "x"
    write.__doc__ = f"""{name}, stored in the input. See `{name}`.

    Example::

        >>> x = tn.tensor([-1.0, 2.0])
        >>> F.{name}_({arguments}) is x
        True
    """
    return write


for _name in ("celu", "elu", "hardtanh", "leaky_relu", "relu", "rrelu", "selu", "threshold"):
    globals()[f"{_name}_"] = _in_place(_name)

unfold = globals()["im2col"]  # Tensor.unfold, which is another operation, has the name in the spec

from ._ctc import ctc_loss as ctc_loss  # noqa: E402
from ._functions import linear_cross_entropy as linear_cross_entropy  # noqa: E402
from ._functions import (  # noqa: E402
    triplet_margin_with_distance_loss as triplet_margin_with_distance_loss,
)
from ._functions import upsample as upsample  # noqa: E402
from ._functions import upsample_bilinear as upsample_bilinear  # noqa: E402
from ._functions import upsample_nearest as upsample_nearest  # noqa: E402
from ._multi_head import multi_head_attention_forward as multi_head_attention_forward  # noqa: E402


def __getattr__(name: str) -> Any:
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
