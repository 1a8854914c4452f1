"""Losses whose arguments only Python can take apart: lists of lengths, a distance function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tenon._C import Tensor

from . import functional as F
from ._bases import _Loss


class CTCLoss(_Loss):
    """Minus the log-probability of labels whose alignment is not known: see `F.ctc_loss`.

    Shape: log_probs (T, N, C), targets (N, S) or (sum of target_lengths), lengths (N) -> (), or (N)
    without reduction.
    Errors: as ctc_loss.

    Source: Graves et al., "Connectionist temporal classification", ICML 2006. See
    `torch.nn.CTCLoss`.

    Example::

        >>> log_probs = tn.zeros(2, 1, 3).log_softmax(2)
        >>> nn.CTCLoss()(log_probs, tn.tensor([[1]]), [2], [1])
        tensor(1.0986)
    """

    def __init__(
        self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False
    ) -> None:
        super().__init__()
        self.blank, self.reduction, self.zero_infinity = blank, reduction, zero_infinity

    def forward(
        self, log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any
    ) -> Tensor:
        return F.ctc_loss(
            log_probs,
            targets,
            input_lengths,
            target_lengths,
            self.blank,
            self.reduction,
            self.zero_infinity,
        )


class TripletMarginWithDistanceLoss(_Loss):
    """TripletMarginLoss with any distance, by default pairwise_distance.

    Shape: what the distance takes -> (), or what it gives without reduction.
    Errors: ValueError unless the margin is positive.

    See `torch.nn.TripletMarginWithDistanceLoss`.

    Example::

        >>> l1 = lambda x, y: (x - y).abs().sum(-1)
        >>> loss = nn.TripletMarginWithDistanceLoss(distance_function=l1, margin=2.0)
        >>> loss(tn.zeros(1, 2), tn.ones(1, 2), tn.tensor([[0.0, 3.0]]))
        tensor(1.)
    """

    def __init__(
        self,
        *,
        distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        if margin <= 0:
            raise ValueError(
                f"TripletMarginWithDistanceLoss: expected margin to be greater than 0, got "
                f"{margin} instead"
            )
        self.distance_function = distance_function or F.pairwise_distance
        self.margin, self.swap, self.reduction = margin, swap, reduction

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return F.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )
