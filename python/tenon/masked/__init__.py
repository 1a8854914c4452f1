"""Reductions and normalizations of the elements that a mask keeps, generated from spec/ops/."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from .. import _C as _C

globals().update({n: f for n, f in vars(_C.masked).items() if not n.startswith("_")})
if _TYPE_CHECKING:  # a stub: what the line above does
    from .._masked import *  # noqa: F403
