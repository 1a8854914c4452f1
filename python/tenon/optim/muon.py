"""Muon: momentum whose singular values are made equal."""

from __future__ import annotations

import math
from typing import Any

import tenon as _tn
from tenon._C import Tensor

from .optimizer import Optimizer

Coefficients = tuple[float, float, float]


def _orthogonalized(matrix: Tensor, coefficients: Coefficients, steps: int, eps: float) -> Tensor:
    """About U V^T of U S V^T, in bfloat16: singular values come near 1 by a quintic iteration."""
    a, b, c = coefficients
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.bfloat16()
    x = x.T if is_tall else x
    x = x / x.norm().clamp(min=eps)  # singular values of at most 1
    for _ in range(steps):
        gram = x @ x.T
        polynomial = _tn.addmm(gram, gram, gram, beta=b, alpha=c)
        x = _tn.addmm(x, polynomial, x, beta=a)
    return x.T if is_tall else x


class Muon(Optimizer):
    """Momentum of matrices, orthogonalized by a Newton-Schulz iteration.

    adjust_lr_fn: "original" (and None) scales the rate by sqrt(max(1, rows / columns)),
    "match_rms_adamw" by 0.2 sqrt(max(rows, columns)). Other parameters than matrices (biases,
    embeddings) go to another optimizer.

    See `torch.optim.Muon`.
    Errors: ValueError for options out of range and parameters that are no matrices; RuntimeError
    for complex ones.
    Source: K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.

    Example::

        >>> p = nn.Parameter(tn.eye(2))
        >>> p.grad = tn.eye(2)
        >>> tn.optim.Muon([p], lr=0.1).step()
        >>> p.detach().diagonal() < 1
        tensor([True, True])
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: Coefficients = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not float(lr) >= 0.0:
            raise ValueError(f"Learning rate should be >= 0 but is: {lr}")
        if not momentum >= 0.0:
            raise ValueError(f"momentum should be >= 0 but is: {momentum}")
        if not weight_decay >= 0.0:
            raise ValueError(f"weight decay should be >= 0 but is: {weight_decay}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        super().add_param_group(param_group)
        for param in self.param_groups[-1]["params"]:
            if param.ndim != 2:
                self.param_groups.pop()
                raise ValueError(
                    "Muon only supports 2D parameters whereas we found a parameter with size: "
                    f"{param.size()}"
                )

    def _update(self) -> None:
        with _tn.no_grad():
            for group in self.param_groups:
                if group["ns_steps"] >= 100:
                    raise ValueError("Number of steps must be less than 100")
                if len(group["ns_coefficients"]) != 3:
                    raise ValueError("Coefficients must be a tuple of exactly 3 values")
                for param in group["params"]:
                    if param.grad is not None:
                        self._update_one(param, param.grad, group)
        _tn.eval()

    def _update_one(self, param: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        if param.is_complex():
            raise RuntimeError("Muon does not support complex parameters")
        state = self.state[param]
        if not state:
            state["momentum_buffer"] = _tn.zeros_like(grad)
        average = state["momentum_buffer"]
        average.lerp_(grad, 1 - group["momentum"])
        direction = grad.lerp(average, group["momentum"]) if group["nesterov"] else average
        update = _orthogonalized(
            direction, group["ns_coefficients"], group["ns_steps"], group["eps"]
        )
        rows, columns = param.shape
        ratio = math.sqrt(max(1.0, rows / columns))
        if group["adjust_lr_fn"] == "match_rms_adamw":
            ratio = 0.2 * math.sqrt(max(rows, columns))
        lr = float(group["lr"])
        param.mul_(1 - lr * group["weight_decay"])
        param.add_(update, alpha=-lr * ratio)
