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
    place = 6 if name.startswith("max") else 2  # of return_indices

    @_functools.wraps(values)
    def pool(*args: Any, return_indices: bool = False, **kwargs: Any) -> Any:
        if len(args) > place:
            return_indices = args[place]
            args = args[:place]
        return (both if return_indices else values)(*args, **kwargs)

    return pool


for _kind in ("max_pool", "adaptive_max_pool"):
    for _name in (f"{_kind}1d", f"{_kind}2d", f"{_kind}3d"):
        globals()[_name] = _with_indices(_name)


def __getattr__(name: str) -> Any:
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
