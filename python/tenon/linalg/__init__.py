"""Linear algebra."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from .. import _C as _C

LinAlgError = _C.LinAlgError
globals().update({n: f for n, f in vars(_C.linalg).items() if not n.startswith("_")})
if _TYPE_CHECKING:  # a stub: what the line above does
    from .._linalg import *  # noqa: F403
