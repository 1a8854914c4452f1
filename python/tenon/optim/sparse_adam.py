"""SparseAdam: Adam that leaves alone the rows without a gradient."""

from __future__ import annotations

from typing import Any

import tenon as _tn
from tenon._C import Tensor

from .optimizer import Optimizer
from .rules import Betas


class SparseAdam(Optimizer):
    """Adam whose moments and parameters change only in the rows whose gradient is not all zero.

    Gradients are dense here; a row of zeros, as an embedding's gradient has for each index that did
    not occur, is what is missing from PyTorch's sparse one.

    See `torch.optim.SparseAdam`.
    Errors: ValueError for options out of range.

    Example::

        >>> p = nn.Parameter(tn.ones(2, 2))
        >>> p.grad = tn.tensor([[1.0, -1.0], [0.0, 0.0]])
        >>> tn.optim.SparseAdam([p], lr=0.5).step()
        >>> p.detach()
        tensor([[0.5000, 1.5000],
                [1.0000, 1.0000]])
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not float(lr) > 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if not eps > 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        for i, beta in enumerate(betas):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"Invalid beta parameter at index {i}: {beta}")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})

    def _update(self) -> None:
        with _tn.no_grad():
            for group in self.param_groups:
                for param in group["params"]:
                    if param.grad is not None:
                        self._update_one(param, param.grad, group)
        _tn.eval()

    def _update_one(self, param: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state = self.state[param]
        if not state:
            state["step"] = 0
            state["exp_avg"] = _tn.zeros_like(param)
            state["exp_avg_sq"] = _tn.zeros_like(param)
        state["step"] += 1
        beta1, beta2 = group["betas"]
        grad = -grad if group["maximize"] else grad
        rows: Tensor = grad.ne(0)
        touched = (
            rows.flatten(1).any(1).reshape(-1, *[1] * (grad.ndim - 1)) if grad.ndim > 1 else rows
        )
        average, square = state["exp_avg"], state["exp_avg_sq"]
        average.add_(_tn.where(touched, (grad - average) * (1 - beta1), 0.0))
        square.add_(_tn.where(touched, (grad * grad - square) * (1 - beta2), 0.0))
        correction1, correction2 = 1 - beta1 ** state["step"], 1 - beta2 ** state["step"]
        size = float(group["lr"]) * correction2**0.5 / correction1
        change = average / (square.sqrt() + group["eps"]) * size
        param.sub_(_tn.where(touched, change, 0.0))
