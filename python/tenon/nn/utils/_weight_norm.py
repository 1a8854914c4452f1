"""Weight normalization by a hook before forward: the older form."""

from __future__ import annotations

from typing import Any

from tenon._C import Tensor

from ..module import Module
from ..parameter import Parameter
from .parametrizations import norm_except


class WeightNorm:
    """The hook: computes the weight from its length and direction."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name, self.dim = name, dim

    def compute_weight(self, module: Module) -> Tensor:
        g, v = getattr(module, f"{self.name}_g"), getattr(module, f"{self.name}_v")
        return v * (g / norm_except(v, self.dim))

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """A weight as weight_g, its length, times the direction of weight_v, before each forward.

    The norm is over all dimensions but dim.
    Errors: RuntimeError for a second normalization of the same name.
    Source: Salimans, Kingma, "Weight normalization", NeurIPS 2016.

    Example::

        >>> layer = nn.utils.weight_norm(nn.Linear(20, 40))
        >>> layer.weight_g.shape, layer.weight_v.shape
        (tenon.Size([40, 1]), tenon.Size([40, 20]))
    """
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm) and hook.name == name:
            raise RuntimeError(
                f"Cannot register two weight_norm hooks on the same parameter {name}"
            )
    hook = WeightNorm(name, dim)
    weight = getattr(module, name)
    del module._parameters[name]
    module.register_parameter(f"{name}_g", Parameter(norm_except(weight, dim).detach()))
    module.register_parameter(f"{name}_v", Parameter(weight.detach()))
    setattr(module, name, hook.compute_weight(module))
    module.register_forward_pre_hook(hook)
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Makes the weight a plain parameter again.

    Errors: ValueError without such a normalization.

    Example::

        >>> layer = nn.utils.remove_weight_norm(nn.utils.weight_norm(nn.Linear(2, 3)))
        >>> list(layer.state_dict())
        ['bias', 'weight']
    """
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, WeightNorm) and hook.name == name:
            weight = hook.compute_weight(module).detach()
            delattr(module, name)
            del module._parameters[f"{name}_g"], module._parameters[f"{name}_v"]
            setattr(module, name, Parameter(weight))
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"weight_norm of '{name}' not found in {module}")
