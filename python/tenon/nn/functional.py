"""Functions of neural networks: what layers call. See `torch.nn.functional`.

All of them are declared in spec/ops/ and generated; `help()` on one shows its declaration.
"""

from __future__ import annotations

from typing import Any

from tenon import _C

globals().update({name: f for name, f in vars(_C._functional).items() if not name.startswith("_")})


def __getattr__(name: str) -> Any:
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
