"""Tools around tensors."""

from . import _pytree as _pytree
