"""Averages of weights over training. See `torch.optim.swa_utils`."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

import tenon as _tn
from tenon import nn
from tenon._C import Tensor

from .lr_scheduler import LRScheduler
from .lr_scheduler._base import for_each_group
from .optimizer import Optimizer

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]


def get_ema_avg_fn(decay: float = 0.999) -> Callable[..., Tensor]:
    """An exponential average: f(average, value, count) = decay * average + (1 - decay) * value.

    Errors: ValueError for a decay outside [0, 1].

    Example::

        >>> tn.optim.swa_utils.get_ema_avg_fn(0.5)(tn.tensor(1.0), tn.tensor(3.0), 1)
        tensor(2.)
    """
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1].")

    def average(averaged: Tensor, value: Tensor, count: Any) -> Tensor:
        return decay * averaged + (1 - decay) * value

    return average


def get_swa_avg_fn() -> Callable[..., Tensor]:
    """The mean of all values.

    Example::

        >>> tn.optim.swa_utils.get_swa_avg_fn()(tn.tensor(1.0), tn.tensor(4.0), 2)
        tensor(2.)
    """

    def average(averaged: Tensor, value: Tensor, count: Any) -> Tensor:
        return averaged + (value - averaged) / (count + 1)

    return average


def _of_lists(average: Callable[..., Tensor]) -> Callable[..., None]:
    def update(averaged: Iterable[Tensor], values: Iterable[Tensor], count: Any) -> None:
        with _tn.no_grad():
            for a, value in zip(averaged, values, strict=True):
                a.copy_(average(a, value, count))

    return update


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[..., None]:
    """get_ema_avg_fn of lists, in place.

    Example::

        >>> a = [tn.tensor(1.0)]
        >>> tn.optim.swa_utils.get_ema_multi_avg_fn(0.5)(a, [tn.tensor(3.0)], 1)
        >>> a
        [tensor(2.)]
    """
    return _of_lists(get_ema_avg_fn(decay))


def get_swa_multi_avg_fn() -> Callable[..., None]:
    """get_swa_avg_fn of lists, in place.

    Example::

        >>> a = [tn.tensor(1.0)]
        >>> tn.optim.swa_utils.get_swa_multi_avg_fn()(a, [tn.tensor(4.0)], 2)
        >>> a
        [tensor(2.)]
    """
    return _of_lists(get_swa_avg_fn())


class AveragedModel(nn.Module):
    """A copy of a model that holds averages of its parameters (and buffers, with use_buffers).

    Errors: AssertionError for both avg_fn and multi_avg_fn.
    Source: Izmailov et al., "Averaging weights leads to wider optima and better generalization",
    UAI 2018.

    Example::

        >>> model = nn.Linear(1, 1)
        >>> averaged = tn.optim.swa_utils.AveragedModel(model)
        >>> averaged.update_parameters(model)
        >>> tn.equal(averaged.module.weight, model.weight)
        True
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: nn.Module,
        device: Any = None,
        avg_fn: Callable[..., Tensor] | None = None,
        multi_avg_fn: Callable[..., None] | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", _tn.tensor(0))
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def _tensors(self, module: nn.Module) -> list[Tensor]:
        tensors: list[Tensor] = list(module.parameters())
        return [*tensors, *module.buffers()] if self.use_buffers else tensors

    def update_parameters(self, model: nn.Module) -> None:
        """Takes the model's present parameters into the averages."""
        averaged = [x.detach() for x in self._tensors(self.module)]
        values = [x.detach() for x in self._tensors(model)]
        with _tn.no_grad():
            if int(self.n_averaged) == 0:
                for a, value in zip(averaged, values, strict=True):
                    a.copy_(value)
            else:
                update = self.multi_avg_fn or _of_lists(self.avg_fn or get_swa_avg_fn())
                update(averaged, values, self.n_averaged)
            if not self.use_buffers:
                buffers = zip(self.module.buffers(), model.buffers(), strict=True)
                for mine, other in buffers:
                    mine.copy_(other.detach())
            self.n_averaged += 1
        _tn.eval(self.n_averaged)


def update_bn(loader: Iterable[Any], model: nn.Module, device: Any = None) -> None:
    """The running statistics of a model's batch normalizations, as means over the loader's data.

    Example::

        >>> model = nn.Sequential(nn.BatchNorm1d(1))
        >>> tn.optim.swa_utils.update_bn([tn.tensor([[1.0], [3.0]])], model)
        >>> model[0].running_mean
        tensor([2.])
    """
    from tenon.nn.modules.batchnorm import _BatchNorm

    momenta: dict[Any, Any] = {}
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.reset_running_stats()
            momenta[module] = module.momentum
    if not momenta:
        return
    was_training = model.training
    model.train()
    for module in momenta:
        module.momentum = None
    with _tn.no_grad():
        for batch in loader:
            x = batch[0] if isinstance(batch, (list, tuple)) else batch
            model(x if device is None else x.to(device))
    for module, momentum in momenta.items():
        module.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """From the present rate to swa_lr in anneal_epochs steps, then on with it.

    Errors: ValueError for another anneal_strategy than "cos" and "linear", and for negative
    anneal_epochs.

    Example::

        >>> optimizer = tn.optim.SGD([nn.Parameter(tn.zeros(1))], lr=1.0)
        >>> schedule = tn.optim.swa_utils.SWALR(
        ...     optimizer, swa_lr=0.5, anneal_epochs=2, anneal_strategy="linear"
        ... )
        >>> [schedule.step() or schedule.get_last_lr()[0] for _ in range(3)]
        [0.75, 0.5, 0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | list[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        for group, rate in zip(
            optimizer.param_groups, for_each_group("swa_lr", optimizer, swa_lr), strict=True
        ):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self.anneal_epochs, self._strategy = anneal_epochs, anneal_strategy
        super().__init__(optimizer, last_epoch)

    def _weight(self, t: float) -> float:
        """Of swa_lr, at a part t of the way."""
        t = min(max(t, 0.0), 1.0)
        return t if self._strategy == "linear" else (1 - math.cos(math.pi * t)) / 2

    def get_lr(self) -> list[Any]:
        step = self._step_count - 1
        length = max(1, self.anneal_epochs)
        before = self._weight((step - 1) / length) if step > 0 else 0.0
        now = self._weight(max(0, step) / length) if self.anneal_epochs else 1.0
        rates = []
        for group in self.optimizer.param_groups:
            target, present = group["swa_lr"], group["lr"]
            start = target if before == 1 else (present - before * target) / (1 - before)
            rates.append(target * now + start * (1 - now))
        return rates
