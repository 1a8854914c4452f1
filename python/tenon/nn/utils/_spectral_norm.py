"""Spectral normalization by a hook before forward: the older form. See
`torch.nn.utils.spectral_norm`.
"""

from __future__ import annotations

from typing import Any

import tenon as _tn
from tenon._C import Tensor

from .. import functional as F
from .. import init
from ..module import Module
from ..parameter import Parameter
from .parametrizations import as_matrix


class SpectralNorm:
    """The hook: the weight over its largest singular value."""

    def __init__(self, name: str, n_power_iterations: int, dim: int, eps: float) -> None:
        if n_power_iterations <= 0:
            raise ValueError(
                "Expected n_power_iterations to be positive, but got "
                f"n_power_iterations={n_power_iterations}"
            )
        self.name, self.dim, self.eps = name, dim, eps
        self.n_power_iterations = n_power_iterations

    def compute_weight(self, module: Module, do_power_iteration: bool) -> Tensor:
        weight = getattr(module, f"{self.name}_orig")
        u, v = getattr(module, f"{self.name}_u"), getattr(module, f"{self.name}_v")
        matrix = as_matrix(weight, self.dim)
        if do_power_iteration:
            with _tn.no_grad():
                a, b = u, v
                for _ in range(self.n_power_iterations):
                    b = F.normalize(matrix.T @ a, dim=0, eps=self.eps)
                    a = F.normalize(matrix @ b, dim=0, eps=self.eps)
                u.copy_(a)
                v.copy_(b)
            u, v = u.clone(), v.clone()
        return weight / u.dot(matrix.mv(v))

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module, module.training))


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """A weight over its largest singular value, estimated by power iterations before each forward
    in training.

    dim: the outputs' dimension, by default 0, and 1 for transposed convolutions.
    Errors: RuntimeError for a second normalization of the same name; ValueError for no iterations.
    Source: Miyato et al., "Spectral normalization for generative adversarial networks", ICLR 2018.

    Example::

        >>> layer = nn.utils.spectral_norm(nn.Linear(20, 40))
        >>> layer.weight_u.shape
        tenon.Size([40])
    """
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, SpectralNorm) and hook.name == name:
            raise RuntimeError(
                f"Cannot register two spectral_norm hooks on the same parameter {name}"
            )
    hook = SpectralNorm(name, n_power_iterations, dim, eps)
    weight = module._parameters[name]
    if weight is None:
        raise ValueError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
    rows, columns = as_matrix(weight.detach(), dim).shape
    vectors = [init.normal_(_tn.empty(n, dtype=weight.dtype)) for n in (rows, columns)]
    u, v = (F.normalize(x, dim=0, eps=eps) for x in vectors)
    delattr(module, name)
    module.register_parameter(f"{name}_orig", weight)
    setattr(module, name, weight.detach())
    module.register_buffer(f"{name}_u", u)
    module.register_buffer(f"{name}_v", v)
    module.register_forward_pre_hook(hook)
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Makes the weight a plain parameter again, of its normalized value.

    Errors: ValueError without such a normalization.

    Example::

        >>> layer = nn.utils.remove_spectral_norm(nn.utils.spectral_norm(nn.Linear(2, 3)))
        >>> list(layer.state_dict())
        ['bias', 'weight']
    """
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, SpectralNorm) and hook.name == name:
            weight = hook.compute_weight(module, False).detach()
            delattr(module, name)
            for suffix in ("u", "v", "orig"):
                delattr(module, f"{name}_{suffix}")
            module.register_parameter(name, Parameter(weight))
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"spectral_norm of '{name}' not found in {module}")
