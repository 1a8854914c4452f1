"""Windows of signals, generated from spec/ops/."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from .. import _C as _C

globals().update({n: f for n, f in vars(_C.signal_windows).items() if not n.startswith("_")})
if _TYPE_CHECKING:  # a stub: what the line above does
    from .._signal_windows import *  # noqa: F403
