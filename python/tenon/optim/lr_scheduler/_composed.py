"""Schedules made of other schedules."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from ..optimizer import Optimizer
from ._base import LRScheduler, set_value
from ._plateau import ReduceLROnPlateau


class _Composed(LRScheduler):
    """Of other schedules, on one optimizer."""

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler]) -> None:
        if len(schedulers) < 1:
            raise ValueError(
                f"{type(self).__name__} expects at least one scheduler, but got no scheduler."
            )
        for i, scheduler in enumerate(schedulers):
            if isinstance(scheduler, ReduceLROnPlateau):
                raise ValueError(
                    f"{type(self).__name__} does not support `ReduceLROnPlateau`, found at index "
                    f"{i}."
                )
            if scheduler.optimizer is not optimizer:
                raise ValueError(
                    f"{type(self).__name__} expects all schedulers to belong to the same optimizer"
                )
        self.optimizer = optimizer
        self._schedulers = list(schedulers)

    def state_dict(self) -> dict[str, Any]:
        state = {k: v for k, v in self.__dict__.items() if k not in ("optimizer", "_schedulers")}
        state["_schedulers"] = [scheduler.state_dict() for scheduler in self._schedulers]
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.__dict__.update({k: v for k, v in state_dict.items() if k != "_schedulers"})
        for scheduler, state in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            scheduler.load_state_dict(state)


class SequentialLR(_Composed):
    """One schedule after another, the next beginning at each milestone.

    Errors: ValueError for schedules of different optimizers, and unless there is one milestone less
    than schedules.

    Example::

        >>> optimizer = tn.optim.SGD([nn.Parameter(tn.zeros(1))], lr=1.0)
        >>> warm = tn.optim.lr_scheduler.ConstantLR(optimizer, factor=0.5, total_iters=9)
        >>> rest = tn.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.25)
        >>> schedule = tn.optim.lr_scheduler.SequentialLR(optimizer, [warm, rest], milestones=[2])
        >>> [schedule.step() or schedule.get_last_lr()[0] for _ in range(4)]
        [0.5, 1.0, 0.25, 0.0625]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: list[LRScheduler],
        milestones: list[int],
        last_epoch: int = -1,
    ) -> None:
        super().__init__(optimizer, schedulers)
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                "Sequential Schedulers expects number of schedulers provided to be one more than "
                "the number "
                f"of milestone points, but got number of schedulers {len(schedulers)} and the "
                "number of "
                f"milestones to be equal to {len(milestones)}"
            )
        self._milestones = milestones
        self.last_epoch = last_epoch + 1
        # Each schedule has made its first step when it was made; only the first one may.
        for group in optimizer.param_groups:
            set_value(group, "lr", group["initial_lr"])
        self._undo(self)
        first = self._schedulers[bisect_right(milestones, 0)]
        first._initial_step()
        self._last_lr = first.get_last_lr()

    def _undo(self, scheduler: LRScheduler) -> None:
        if isinstance(scheduler, _Composed):
            for inner in scheduler._schedulers:
                self._undo(inner)
        else:
            scheduler.last_epoch -= 1

    def step(self) -> None:  # type: ignore[override]
        self.last_epoch += 1
        index = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[index]
        if index > 0 and self._milestones[index - 1] == self.last_epoch:
            scheduler._update_lr(0)
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()


class ChainedScheduler(_Composed):
    """All schedules at every step.

    Errors: ValueError for no schedules, and for schedules of different optimizers.

    Example::

        >>> optimizer = tn.optim.SGD([nn.Parameter(tn.zeros(1))], lr=1.0)
        >>> first = tn.optim.lr_scheduler.ConstantLR(optimizer, factor=0.5, total_iters=2)
        >>> second = tn.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
        >>> schedule = tn.optim.lr_scheduler.ChainedScheduler([first, second])
        >>> [schedule.step() or schedule.get_last_lr()[0] for _ in range(3)]
        [0.25, 0.25, 0.125]
    """

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        first: Any = schedulers[0].optimizer if optimizer is None and schedulers else optimizer
        super().__init__(first, schedulers)
        self._last_lr = self._present()

    def step(self) -> None:  # type: ignore[override]
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = self._present()
