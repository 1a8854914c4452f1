"""Linear algebra."""

from .. import _C as _C

LinAlgError = _C.LinAlgError
globals().update({n: f for n, f in vars(_C.linalg).items() if not n.startswith("_")})
