"""Adafactor: second moments of matrices kept as their means over rows and columns."""

from __future__ import annotations

from typing import Any

import tenon as _tn
from tenon._C import Tensor

from .optimizer import Optimizer


class Adafactor(Optimizer):
    """Steps in proportion to a parameter's size, by second moments that take little memory.

    Of a gradient of at least two dimensions the mean squares over the last and over the one before
    are kept; their product over their mean estimates every element's second moment.

    See `torch.optim.Adafactor`.
    Errors: ValueError for options out of range; RuntimeError for complex parameters.
    Source: Shazeer and Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost",
    ICML 2018.

    Example::

        >>> p = nn.Parameter(tn.tensor([[1.0, 1.0], [1.0, 1.0]]))
        >>> p.grad = tn.tensor([[2.0, -2.0], [2.0, 2.0]])
        >>> tn.optim.Adafactor([p], lr=0.5).step()
        >>> p.detach()
        tensor([[0.5000, 1.5000],
                [0.5000, 0.5000]])
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not float(lr) >= 0.0:
            raise ValueError(f"Learning rate should be >= 0 but is: {lr}")
        if not beta2_decay <= 0.0:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if eps[0] is not None and not eps[0] >= 0.0:
            raise ValueError(f"epsilon1 should be >= 0 but is: {eps[0]}")
        if not eps[1] >= 0.0:
            raise ValueError(f"epsilon2 should be >= 0 but is: {eps[1]}")
        if not d >= 1.0:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        if not weight_decay >= 0.0:
            raise ValueError(f"weight_decay should be >= 0 but is: {weight_decay}")
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _update(self) -> None:
        with _tn.no_grad():
            for group in self.param_groups:
                given = [p for p in group["params"] if p.grad is not None]
                if not given:
                    continue
                eps = group["eps"][0]
                if eps is None:  # PyTorch's: of the group's first parameter
                    eps = _tn.finfo(given[0].dtype).eps
                for param in given:
                    self._update_one(param, param.grad, group, eps)
        _tn.eval()

    def _update_one(self, param: Tensor, grad: Tensor, group: dict[str, Any], eps: float) -> None:
        if param.is_complex():
            raise RuntimeError("Adafactor does not support complex parameters")
        state = self.state[param]
        if not state:
            state["step"] = _tn.tensor(0.0)
            if grad.ndim > 1:
                state["row_var"] = _tn.zeros_like(grad[..., :1])
                state["col_var"] = _tn.zeros_like(grad[..., :1, :])
            else:
                state["variance"] = _tn.zeros_like(grad)
        state["step"] += 1
        step, lr = float(state["step"]), float(group["lr"])
        grad = -grad if group["maximize"] else grad
        size = (param.norm() / param.numel() ** 0.5).clamp(min=group["eps"][1])
        if group["weight_decay"] != 0:
            param.mul_(1 - lr * group["weight_decay"])
        moment = self._second_moment(grad, state, step ** group["beta2_decay"], eps)
        update = grad * moment.clamp(min=eps * eps).rsqrt()
        clip = (update.norm() / (update.numel() ** 0.5 * group["d"])).clamp(min=1.0)
        param.sub_(update * (size * min(lr, step**-0.5) / clip))

    @staticmethod
    def _second_moment(grad: Tensor, state: dict[str, Any], weight: float, eps: float) -> Tensor:
        squares = grad * grad
        if grad.ndim < 2:
            return state["variance"].lerp_(squares, weight)  # type: ignore[no-any-return]
        row, column = state["row_var"], state["col_var"]
        row.lerp_(squares.mean(-1, keepdim=True), weight)
        column.lerp_(squares.mean(-2, keepdim=True), weight)
        return row * column / row.mean(-2, keepdim=True).clamp(min=eps)  # type: ignore[no-any-return]
