"""The optimizers, with PyTorch's signatures. What each computes is in C++, in optim/.

Options may change from step to step, by hand or by a schedule: nothing is compiled anew.
`foreach`, `fused`, `capturable` and `differentiable` are accepted and mean nothing: all parameters
are updated by a few kernels anyway.
"""

from __future__ import annotations

from typing import Any

from tenon import _C
from tenon._C import Tensor

from .optimizer import Optimizer

Betas = tuple[float, float]


def _options(arguments: dict[str, Any]) -> dict[str, Any]:
    """A constructor's arguments as the defaults of a parameter group."""
    lr = arguments["lr"]
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    return {k: v for k, v in arguments.items() if k not in ("self", "params", "__class__")}


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum (Sutskever et al. 2013).

    See `torch.optim.SGD`. ValueError for options out of range.

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
        super().__init__(params, _options(locals()))


class ASGD(Optimizer):
    """Averaged stochastic gradient descent (Polyak and Juditsky 1992).

    See `torch.optim.ASGD`. ValueError for options out of range.
    """

    _rule = _C._optim.ASGD

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        super().__init__(params, _options(locals()))


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015), with amsgrad (Reddi et al. 2018).

    See `torch.optim.Adam`. ValueError for options out of range.
    """

    _rule = _C._optim.Adam

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: Betas = (0.9, 0.999),
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
        super().__init__(params, _options(locals()))
        if decoupled_weight_decay:
            self._rule = _C._optim.AdamW

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if any(group.get("decoupled_weight_decay") for group in self.param_groups):
            self._rule = _C._optim.AdamW


class AdamW(Adam):
    """Adam whose weight decay leaves the gradient alone (Loshchilov and Hutter 2019).

    See `torch.optim.AdamW`. ValueError for options out of range.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: Betas = (0.9, 0.999),
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
        super().__init__(**_options(locals()), params=params, decoupled_weight_decay=True)


class Adamax(Optimizer):
    """Adam with the infinity norm in place of the second moment (Kingma and Ba 2015).

    See `torch.optim.Adamax`. ValueError for options out of range.
    """

    _rule = _C._optim.Adamax

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        super().__init__(params, _options(locals()))


class NAdam(Optimizer):
    """Adam with Nesterov momentum (Dozat 2016).

    See `torch.optim.NAdam`. ValueError for options out of range.
    """

    _rule = _C._optim.NAdam

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, _options(locals()))


class RAdam(Optimizer):
    """Adam with a rectified variance in its first steps (Liu et al. 2020).

    See `torch.optim.RAdam`. ValueError for options out of range.
    """

    _rule = _C._optim.RAdam

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, _options(locals()))


class Adagrad(Optimizer):
    """Steps over the root of all squared gradients so far (Duchi et al. 2011).

    See `torch.optim.Adagrad`. ValueError for options out of range.
    """

    _rule = _C._optim.Adagrad

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(params, _options(locals()))
        self._rule.prepare(self.param_groups, self.state)


class RMSprop(Optimizer):
    """Steps over the root of a mean of squared gradients (Tieleman and Hinton 2012).

    See `torch.optim.RMSprop`. ValueError for options out of range.
    """

    _rule = _C._optim.RMSprop

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, _options(locals()))


class Adadelta(Optimizer):
    """Steps in the units of earlier steps (Zeiler 2012).

    See `torch.optim.Adadelta`. ValueError for options out of range.
    """

    _rule = _C._optim.Adadelta

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, _options(locals()))


class Rprop(Optimizer):
    """Steps of a size of their own, by the gradient's sign (Riedmiller and Braun 1993).

    See `torch.optim.Rprop`. ValueError for options out of range.
    """

    _rule = _C._optim.Rprop

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, _options(locals()))
