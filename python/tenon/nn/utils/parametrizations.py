"""Weights by direction and length, or over their largest singular value. See
`torch.nn.utils.parametrizations`.
"""

from __future__ import annotations

import tenon as _tn
from tenon._C import Tensor

from .. import functional as F
from .. import init
from ..module import Module
from . import parametrize

__all__ = ["spectral_norm", "weight_norm"]


def norm_except(v: Tensor, dim: int | None) -> Tensor:
    """The norm over all dimensions but one, which stays; over all of them for None and -1.

    Example::

        >>> from tenon.nn.utils.parametrizations import norm_except
        >>> norm_except(tn.tensor([[3.0, 4.0], [0.0, 2.0]]), 0)
        tensor([[5.],
                [2.]])
    """
    if dim is None or dim == -1:
        return v.norm()
    axes = [d for d in range(v.ndim) if d != dim % v.ndim]
    return v.square().sum(axes, keepdim=True).sqrt() if axes else v.abs()


class _WeightNorm(Module):
    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_v * (weight_g / norm_except(weight_v, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """A weight as its length, original0, times the direction of original1.

    The norm is over all dimensions but dim. A state of `nn.utils.weight_norm` loads.
    Errors: ValueError for a name that is none of the module's parameters.
    Source: Salimans, Kingma, "Weight normalization", NeurIPS 2016.

    Example::

        >>> layer = nn.utils.parametrizations.weight_norm(nn.Linear(20, 40))
        >>> layer.parametrizations.weight.original0.shape
        tenon.Size([40, 1])
    """
    parametrize.register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def accept_old_names(state: dict[str, Tensor], prefix: str, *_: object) -> None:
        for i, old in enumerate(("g", "v")):
            key = f"{prefix}{name}_{old}"
            if key in state:
                state[f"{prefix}parametrizations.{name}.original{i}"] = state.pop(key)

    module._register_load_state_dict_pre_hook(accept_old_names)
    return module


def as_matrix(weight: Tensor, dim: int) -> Tensor:
    """The weight with `dim` as rows, all others as columns."""
    return weight.movedim(dim, 0).flatten(1) if weight.ndim > 1 else weight.unsqueeze(1)


class _SpectralNorm(Module):
    _u: Tensor
    _v: Tensor

    def __init__(
        self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ) -> None:
        super().__init__()
        if n_power_iterations <= 0:
            raise ValueError(
                "Expected n_power_iterations to be positive, but got "
                f"n_power_iterations={n_power_iterations}"
            )
        if not -weight.ndim <= dim < weight.ndim:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [-{weight.ndim}, "
                f"{weight.ndim - 1}] but got {dim})"
            )
        self.dim = dim % weight.ndim
        self.eps = eps
        if weight.ndim > 1:
            self.n_power_iterations = n_power_iterations
            matrix = as_matrix(weight.detach(), self.dim)
            rows, columns = matrix.shape
            vectors = (init.normal_(_tn.empty(n, dtype=weight.dtype)) for n in (rows, columns))
            u, v = (F.normalize(x, dim=0, eps=eps) for x in vectors)
            self.register_buffer("_u", u)
            self.register_buffer("_v", v)
            self._iterate(matrix, 15)

    def _iterate(self, matrix: Tensor, count: int) -> None:
        """Power iterations, which turn _u and _v towards the first singular vectors."""
        with _tn.no_grad():
            u, v = self._u, self._v
            for _ in range(count):
                u = F.normalize(matrix @ v, dim=0, eps=self.eps)
                v = F.normalize(matrix.T @ u, dim=0, eps=self.eps)
            self._u.copy_(u)
            self._v.copy_(v)

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            self._iterate(matrix, self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()
        return weight / u.dot(matrix.mv(v))

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """A weight over its largest singular value, estimated by power iterations in training.

    dim: the outputs' dimension, by default 0, and 1 for transposed convolutions.
    Errors: ValueError for a name that is none of the module's parameters and for no iterations.
    Source: Miyato et al., "Spectral normalization for generative adversarial networks", ICLR 2018.

    Example::

        >>> layer = nn.utils.parametrizations.spectral_norm(nn.Linear(20, 40))
        >>> layer.parametrizations.weight[0]._u.shape
        tenon.Size([40])
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    norm = _SpectralNorm(weight, n_power_iterations, dim, eps)
    return parametrize.register_parametrization(module, name, norm)
