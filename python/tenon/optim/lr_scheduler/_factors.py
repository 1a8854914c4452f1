"""Schedules that multiply the rate by a function of the epoch."""

from __future__ import annotations

import math
import types
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from typing import Any

from ..optimizer import Optimizer
from ._base import LRScheduler, for_each_group, set_value


class _Function(LRScheduler):
    """Of one function of the epoch a group."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Any, last_epoch: int = -1) -> None:
        self.optimizer = optimizer
        self.lr_lambdas = for_each_group("lr_lambda", optimizer, lr_lambda)
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """Functions are not saved; objects that can be called are, by their attributes."""
        state = {k: v for k, v in self.__dict__.items() if k not in ("optimizer", "lr_lambdas")}
        state["lr_lambdas"] = [
            None if isinstance(f, types.FunctionType) else dict(f.__dict__) for f in self.lr_lambdas
        ]
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.__dict__.update({k: v for k, v in state_dict.items() if k != "lr_lambdas"})
        for function, fields in zip(self.lr_lambdas, state_dict["lr_lambdas"], strict=True):
            if fields is not None:
                function.__dict__.update(fields)


class LambdaLR(_Function):
    """The initial rate times a function of the epoch.

    Example::

        >>> optimizer = tn.optim.SGD([nn.Parameter(tn.zeros(1))], lr=1.0)
        >>> schedule = tn.optim.lr_scheduler.LambdaLR(
        ...     optimizer, lambda epoch: 1 / (1 + epoch)
        ... )
        >>> [round(schedule.step() or schedule.get_last_lr()[0], 4) for _ in range(4)]
        [0.5, 0.3333, 0.25, 0.2]
    """

    def get_lr(self) -> list[Any]:
        return [
            base * f(self.last_epoch)
            for f, base in zip(self.lr_lambdas, self.base_lrs, strict=True)
        ]


class MultiplicativeLR(_Function):
    """Each epoch, the rate times a function of it.

    Example::

        >>> optimizer = tn.optim.SGD([nn.Parameter(tn.zeros(1))], lr=1.0)
        >>> schedule = tn.optim.lr_scheduler.MultiplicativeLR(
        ...     optimizer, lambda epoch: 0.5
        ... )
        >>> [round(schedule.step() or schedule.get_last_lr()[0], 4) for _ in range(4)]
        [0.5, 0.25, 0.125, 0.0625]
    """

    def get_lr(self) -> list[Any]:
        if self._is_initial:
            return self._present()
        groups = self.optimizer.param_groups
        return [
            group["lr"] * f(self.last_epoch)
            for f, group in zip(self.lr_lambdas, groups, strict=True)
        ]


class StepLR(LRScheduler):
    """The rate times gamma every step_size epochs.

    Example::

        >>> optimizer = tn.optim.SGD([nn.Parameter(tn.zeros(1))], lr=1.0)
        >>> schedule = tn.optim.lr_scheduler.StepLR(
        ...     optimizer, step_size=2, gamma=0.5
        ... )
        >>> [round(schedule.step() or schedule.get_last_lr()[0], 4) for _ in range(4)]
        [1.0, 0.5, 0.5, 0.25]
    """

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        if self.last_epoch == 0 or self.last_epoch % self.step_size != 0:
            return self._present()
        return self._times(self.gamma)

    def _get_closed_form_lr(self) -> list[Any]:
        return [base * self.gamma ** (self.last_epoch // self.step_size) for base in self.base_lrs]


class MultiStepLR(LRScheduler):
    """The rate times gamma at each milestone.

    Example::

        >>> optimizer = tn.optim.SGD([nn.Parameter(tn.zeros(1))], lr=1.0)
        >>> schedule = tn.optim.lr_scheduler.MultiStepLR(
        ...     optimizer, milestones=[1, 3], gamma=0.5
        ... )
        >>> [round(schedule.step() or schedule.get_last_lr()[0], 4) for _ in range(4)]
        [0.5, 0.5, 0.25, 0.25]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.milestones = Counter(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        if self.last_epoch not in self.milestones:
            return self._present()
        return self._times(self.gamma ** self.milestones[self.last_epoch])

    def _get_closed_form_lr(self) -> list[Any]:
        passed = bisect_right(sorted(self.milestones.elements()), self.last_epoch)
        return [base * self.gamma**passed for base in self.base_lrs]


class ConstantLR(LRScheduler):
    """The rate times factor, until total_iters.

    Errors: ValueError for a factor outside [0, 1].

    Example::

        >>> optimizer = tn.optim.SGD([nn.Parameter(tn.zeros(1))], lr=1.0)
        >>> schedule = tn.optim.lr_scheduler.ConstantLR(
        ...     optimizer, factor=0.5, total_iters=3
        ... )
        >>> [round(schedule.step() or schedule.get_last_lr()[0], 4) for _ in range(4)]
        [0.5, 0.5, 1.0, 1.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 <= factor <= 1:
            raise ValueError("Constant multiplicative factor expected to be between 0 and 1.")
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        if self.last_epoch == 0:
            return self._times(self.factor)
        if self.last_epoch != self.total_iters:
            return self._present()
        return self._times(1.0 / self.factor)

    def _get_closed_form_lr(self) -> list[Any]:
        factor = self.factor + (self.last_epoch >= self.total_iters) * (1 - self.factor)
        return [base * factor for base in self.base_lrs]


class LinearLR(LRScheduler):
    """A factor that goes from start_factor to end_factor in total_iters epochs: a warm-up.

    Errors: ValueError for factors outside (0, 1] and [0, 1].

    Example::

        >>> optimizer = tn.optim.SGD([nn.Parameter(tn.zeros(1))], lr=1.0)
        >>> schedule = tn.optim.lr_scheduler.LinearLR(
        ...     optimizer, start_factor=0.5, total_iters=4
        ... )
        >>> [round(schedule.step() or schedule.get_last_lr()[0], 4) for _ in range(4)]
        [0.625, 0.75, 0.875, 1.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise ValueError(
                "Starting multiplicative factor expected to be greater than 0 and less or equal "
                "to 1."
            )
        if not 0 <= end_factor <= 1:
            raise ValueError("Ending multiplicative factor expected to be between 0 and 1.")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        if self.last_epoch == 0:
            return self._times(self.start_factor)
        if self._is_initial or self.last_epoch > self.total_iters:
            return self._present()
        change = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (self.last_epoch - 1) * change
        return self._times(1.0 + change / before)

    def _get_closed_form_lr(self) -> list[Any]:
        done = min(self.total_iters, self.last_epoch) / self.total_iters
        factor = self.start_factor + (self.end_factor - self.start_factor) * done
        return [base * factor for base in self.base_lrs]


class ExponentialLR(LRScheduler):
    """The rate times gamma, each epoch.

    Example::

        >>> optimizer = tn.optim.SGD([nn.Parameter(tn.zeros(1))], lr=1.0)
        >>> schedule = tn.optim.lr_scheduler.ExponentialLR(
        ...     optimizer, gamma=0.5
        ... )
        >>> [round(schedule.step() or schedule.get_last_lr()[0], 4) for _ in range(4)]
        [0.5, 0.25, 0.125, 0.0625]
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        return self._present() if self._is_initial else self._times(self.gamma)

    def _get_closed_form_lr(self) -> list[Any]:
        return [base * self.gamma**self.last_epoch for base in self.base_lrs]


class PolynomialLR(LRScheduler):
    """(1 - epoch / total_iters) ** power of the initial rate.

    Example::

        >>> optimizer = tn.optim.SGD([nn.Parameter(tn.zeros(1))], lr=1.0)
        >>> schedule = tn.optim.lr_scheduler.PolynomialLR(
        ...     optimizer, total_iters=4, power=2.0
        ... )
        >>> [round(schedule.step() or schedule.get_last_lr()[0], 4) for _ in range(4)]
        [0.5625, 0.25, 0.0625, 0.0]
    """

    def __init__(
        self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1
    ) -> None:
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        if self._is_initial or self.last_epoch > self.total_iters:
            return self._present()
        now, before = (1.0 - e / self.total_iters for e in (self.last_epoch, self.last_epoch - 1))
        return self._times((now / before) ** self.power)

    def _get_closed_form_lr(self) -> list[Any]:
        left = 1.0 - min(self.total_iters, self.last_epoch) / self.total_iters
        return [base * left**self.power for base in self.base_lrs]


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the initial rate to eta_min in T_max epochs.

    Source: Loshchilov, Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017.

    Example::

        >>> optimizer = tn.optim.SGD([nn.Parameter(tn.zeros(1))], lr=1.0)
        >>> schedule = tn.optim.lr_scheduler.CosineAnnealingLR(
        ...     optimizer, T_max=4
        ... )
        >>> [round(schedule.step() or schedule.get_last_lr()[0], 4) for _ in range(4)]
        [0.8536, 0.5, 0.1464, 0.0]
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        if self._is_initial:
            return self._present()
        if self._step_count == 1 and self.last_epoch > 0:
            return self._get_closed_form_lr()
        groups = self.optimizer.param_groups
        if (self.last_epoch - 1 - self.T_max) % (2 * self.T_max) == 0:
            rise = (1 - math.cos(math.pi / self.T_max)) / 2
            return [
                g["lr"] + (base - self.eta_min) * rise
                for base, g in zip(self.base_lrs, groups, strict=True)
            ]
        now, before = (
            1 + math.cos(math.pi * e / self.T_max) for e in (self.last_epoch, self.last_epoch - 1)
        )
        return [now / before * (g["lr"] - self.eta_min) + self.eta_min for g in groups]

    def _get_closed_form_lr(self) -> list[Any]:
        share = (1 + math.cos(math.pi * self.last_epoch / self.T_max)) / 2
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Cosines of T_0, T_0 * T_mult, ... epochs, one after another.

    Errors: ValueError unless T_0 > 0 and T_mult >= 1 are integers.

    Source: Loshchilov, Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017.

    Example::

        >>> optimizer = tn.optim.SGD([nn.Parameter(tn.zeros(1))], lr=1.0)
        >>> schedule = tn.optim.lr_scheduler.CosineAnnealingWarmRestarts(
        ...     optimizer, T_0=2, T_mult=2
        ... )
        >>> [round(schedule.step() or schedule.get_last_lr()[0], 4) for _ in range(4)]
        [0.5, 1.0, 0.8536, 0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        if not isinstance(T_0, int) or T_0 <= 0:
            raise ValueError(f"Expected positive integer T_0, but got {T_0}")
        if not isinstance(T_mult, int) or T_mult < 1:
            raise ValueError(f"Expected integer T_mult >= 1, but got {T_mult}")
        self.T_0 = T_0
        self.T_i = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        share = (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (base - self.eta_min) * share for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """The next epoch, or the given one, which may be a fraction."""
        if epoch is None and self.last_epoch >= 0:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        else:
            epoch = 0 if epoch is None else epoch
            if epoch < 0:
                raise ValueError(f"Expected non-negative epoch, but got {epoch}")
            self._seek(epoch)
        self.last_epoch = math.floor(epoch)
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            set_value(group, "lr", rate)
        self._last_lr = self._present()

    def _seek(self, epoch: float) -> None:
        if epoch < self.T_0:
            self.T_i, self.T_cur = self.T_0, epoch
        elif self.T_mult == 1:
            self.T_cur = epoch % self.T_0
        else:
            restarts = int(math.log(epoch / self.T_0 * (self.T_mult - 1) + 1, self.T_mult))
            begun = self.T_0 * (self.T_mult**restarts - 1) / (self.T_mult - 1)
            self.T_cur = epoch - begun
            self.T_i = self.T_0 * self.T_mult**restarts
