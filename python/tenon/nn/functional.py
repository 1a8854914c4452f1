"""Functions of neural networks: what layers call. See `torch.nn.functional`.

All of them are declared in spec/ops/ and generated; `help()` on one shows its declaration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenon import _C

globals().update({name: f for name, f in vars(_C._functional).items() if not name.startswith("_")})
if TYPE_CHECKING:  # a stub: what the line above does
    from tenon._functional import *  # noqa: F403


def __getattr__(name: str) -> Any:
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
