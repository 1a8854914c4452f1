"""Special functions, generated from spec/ops/."""

from .. import _C as _C

globals().update({n: f for n, f in vars(_C.special).items() if not n.startswith("_")})
