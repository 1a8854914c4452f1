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
    """Stochastic gradient descent, with momentum and Nesterov's form of it.

    See `torch.optim.SGD`.
    Errors: ValueError for options out of range.
    Source: Sutskever et al., "On the importance of initialization and momentum in deep learning",
    ICML 2013.

    Example::

        >>> p = nn.Parameter(tn.tensor([1.0, 2.0]))
        >>> p.grad = tn.tensor([0.5, -4.0])
        >>> tn.optim.SGD([p], lr=0.5, momentum=0.9).step()
        >>> p.detach()
        tensor([0.7500, 4.0000])
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
    """Averaged stochastic gradient descent; state["ax"] holds the average.

    See `torch.optim.ASGD`.
    Errors: ValueError for options out of range.
    Source: Polyak, Juditsky, "Acceleration of stochastic approximation by averaging", SIAM Journal
    on Control and Optimization 1992.

    Example::

        >>> p = nn.Parameter(tn.tensor([1.0, 2.0]))
        >>> p.grad = tn.tensor([0.5, -4.0])
        >>> tn.optim.ASGD([p], lr=0.5).step()
        >>> p.detach()
        tensor([0.7499, 3.9999])
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
    """Steps of the gradients' running mean over the root of their running second moment.

    See `torch.optim.Adam`.
    Errors: ValueError for options out of range.
    Source: Kingma, Ba, "Adam: a method for stochastic optimization", ICLR 2015; amsgrad: Reddi et
    al., "On the convergence of Adam and beyond", ICLR 2018.

    Example::

        >>> p = nn.Parameter(tn.tensor([1.0, 2.0]))
        >>> p.grad = tn.tensor([0.5, -4.0])
        >>> tn.optim.Adam([p], lr=0.1).step()
        >>> p.detach()
        tensor([0.9000, 2.1000])
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
    """Adam whose weight decay shrinks the parameter and leaves the gradient alone.

    See `torch.optim.AdamW`.
    Errors: ValueError for options out of range.
    Source: Loshchilov, Hutter, "Decoupled weight decay regularization", ICLR 2019.

    Example::

        >>> p = nn.Parameter(tn.tensor([1.0, 2.0]))
        >>> p.grad = tn.tensor([0.5, -4.0])
        >>> tn.optim.AdamW([p], lr=0.1, weight_decay=0.5).step()
        >>> p.detach()
        tensor([0.8500, 2.0000])
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
    """Adam with the infinity norm in place of the second moment.

    See `torch.optim.Adamax`.
    Errors: ValueError for options out of range.
    Source: Kingma, Ba, "Adam: a method for stochastic optimization", ICLR 2015.

    Example::

        >>> p = nn.Parameter(tn.tensor([1.0, 2.0]))
        >>> p.grad = tn.tensor([0.5, -4.0])
        >>> tn.optim.Adamax([p], lr=0.1).step()
        >>> p.detach()
        tensor([0.9000, 2.1000])
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
    """Adam with Nesterov momentum.

    See `torch.optim.NAdam`.
    Errors: ValueError for options out of range.
    Source: Dozat, "Incorporating Nesterov momentum into Adam", ICLR 2016.

    Example::

        >>> p = nn.Parameter(tn.tensor([1.0, 2.0]))
        >>> p.grad = tn.tensor([0.5, -4.0])
        >>> tn.optim.NAdam([p], lr=0.1).step()
        >>> p.detach()
        tensor([0.8944, 2.1056])
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
    """Adam with a rectified variance in its first steps.

    See `torch.optim.RAdam`.
    Errors: ValueError for options out of range.
    Source: Liu et al., "On the variance of the adaptive learning rate and beyond", ICLR 2020.

    Example::

        >>> p = nn.Parameter(tn.tensor([1.0, 2.0]))
        >>> p.grad = tn.tensor([0.5, -4.0])
        >>> tn.optim.RAdam([p], lr=0.1).step()
        >>> p.detach()
        tensor([0.9500, 2.4000])
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
    """Steps over the root of the sum of all squared gradients so far.

    See `torch.optim.Adagrad`.
    Errors: ValueError for options out of range.
    Source: Duchi, Hazan, Singer, "Adaptive subgradient methods for online learning and stochastic
    optimization", JMLR 2011.

    Example::

        >>> p = nn.Parameter(tn.tensor([1.0, 2.0]))
        >>> p.grad = tn.tensor([0.5, -4.0])
        >>> tn.optim.Adagrad([p], lr=0.1).step()
        >>> p.detach()
        tensor([0.9000, 2.1000])
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
    """Steps over the root of a running mean of squared gradients.

    See `torch.optim.RMSprop`.
    Errors: ValueError for options out of range.
    Source: Tieleman, Hinton, "Lecture 6.5: rmsprop", Coursera 2012.

    Example::

        >>> p = nn.Parameter(tn.tensor([1.0, 2.0]))
        >>> p.grad = tn.tensor([0.5, -4.0])
        >>> tn.optim.RMSprop([p], lr=0.1, alpha=0.75).step()
        >>> p.detach()
        tensor([0.8000, 2.2000])
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
    """Steps in the units of earlier steps, so that lr has none.

    See `torch.optim.Adadelta`.
    Errors: ValueError for options out of range.
    Source: Zeiler, "ADADELTA: an adaptive learning rate method", 2012.

    Example::

        >>> p = nn.Parameter(tn.tensor([1.0, 2.0]))
        >>> p.grad = tn.tensor([0.5, -4.0])
        >>> tn.optim.Adadelta([p], lr=100.0).step()
        >>> p.detach()
        tensor([0.6838, 2.3162])
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
    """Steps by the gradient's sign alone, of a size that grows while the sign stays.

    See `torch.optim.Rprop`.
    Errors: ValueError for options out of range.
    Source: Riedmiller, Braun, "A direct adaptive method for faster backpropagation learning: the
    RPROP algorithm", ICNN 1993.

    Example::

        >>> p = nn.Parameter(tn.tensor([1.0, 2.0]))
        >>> p.grad = tn.tensor([0.5, -4.0])
        >>> tn.optim.Rprop([p], lr=0.1).step()
        >>> p.detach()
        tensor([0.9000, 2.1000])
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
