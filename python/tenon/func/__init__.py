"""Transforms of functions: derivatives, batching, and their nests. See `torch.func` and JAX."""

from ._batching import vmap
from ._derivatives import (
    grad,
    grad_and_value,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    value_and_grad,
    vjp,
)
from ._modules import functional_call, stack_module_state
from ._regions import cond, scan, while_loop

__all__ = [
    "cond",
    "functional_call",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "scan",
    "stack_module_state",
    "value_and_grad",
    "vjp",
    "vmap",
    "while_loop",
]
