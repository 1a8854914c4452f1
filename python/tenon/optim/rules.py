"""The optimizers, with PyTorch's signatures. What each computes is in C++: optim/rules.h.

Options may change from step to step, by hand or by a schedule: nothing is compiled anew.
`foreach`, `fused`, `capturable` and `differentiable` are accepted and mean nothing: all parameters
are updated by a few kernels anyway.
"""

from __future__ import annotations

from typing import Any

from tenon import _C
from tenon._C import Tensor

from .optimizer import Optimizer


def _check_lr(lr: Any) -> None:
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum (Sutskever et al. 2013). See `torch.optim.SGD`.

    ValueError for options out of range.

    Example::

        >>> model = nn.Linear(2, 1)
        >>> optimizer = tn.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        >>> model(tn.ones(4, 2)).square().mean().backward()
        >>> optimizer.step()
    """

    _rule = _C._optim.SGD

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        _check_lr(lr)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015), with amsgrad (Reddi et al. 2018). See `torch.optim.Adam`.

    ValueError for options out of range.
    """

    _rule = _C._optim.Adam

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        _check_lr(lr)
        if decoupled_weight_decay:
            self._rule = _C._optim.AdamW
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if any(group.get("decoupled_weight_decay") for group in self.param_groups):
            self._rule = _C._optim.AdamW


class AdamW(Adam):
    """Adam whose weight decay leaves the gradient alone (Loshchilov and Hutter 2019).

    See `torch.optim.AdamW`. ValueError for options out of range.
    """

    _rule = _C._optim.AdamW

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )
