"""Functions of neural networks: what layers call. See `torch.nn.functional`.

All of them are declared in spec/ops/ and generated; `help()` on one shows its declaration.
"""

from __future__ import annotations

from tenon import _C as _C

globals().update({name: f for name, f in vars(_C._functional).items() if not name.startswith("_")})
tanh = _C._all["tanh"]
sigmoid = _C._all["sigmoid"]
