"""AdaptiveLogSoftmaxWithLoss: frequent classes first, rare ones in clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tenon as _tn
from tenon._C import Tensor

from ._layers import Linear
from .containers import ModuleList, Sequential
from .module import Module


class _ASMoutput(NamedTuple):
    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """log_softmax over many classes: a head of the frequent ones and a class for each cluster of
    rare ones, whose tails have fewer features, div_value times fewer in each.

    Every cluster is computed for every example: no result depends on how many fall into one.

    Shape: input (N, in_features) or (in_features), target (N) or () -> the target's
    log-probability, of its size, and the loss, minus their mean.
    Errors: ValueError for cutoffs that don't rise within n_classes; RuntimeError for sizes that
    don't fit; IndexError, when the result is computed, for a class out of range.

    Source: Grave et al., "Efficient softmax approximation for GPUs", ICML 2017. See
    `torch.nn.AdaptiveLogSoftmaxWithLoss`.

    Example::

        >>> layer = nn.AdaptiveLogSoftmaxWithLoss(8, 20, cutoffs=[4, 10])
        >>> output, loss = layer(tn.randn(3, 8), tn.tensor([0, 7, 19]))
        >>> output.shape, layer.log_prob(tn.randn(3, 8)).shape
        (tenon.Size([3]), tenon.Size([3, 20]))
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        bounds = list(cutoffs)
        if len(bounds) == 0:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        if (
            bounds != sorted(set(bounds))
            or min(bounds) <= 0
            or max(bounds) > n_classes - 1
            or any(int(bound) != bound for bound in bounds)
        ):
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing "
                "order, where each value is between 1 and n_classes-1"
            )
        self.in_features, self.n_classes = in_features, n_classes
        self.cutoffs = [*bounds, n_classes]
        self.div_value, self.head_bias = div_value, head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **made)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            hidden = int(in_features // div_value ** (i + 1))
            size = self.cutoffs[i + 1] - self.cutoffs[i]
            self.tail.append(
                Sequential(
                    Linear(in_features, hidden, bias=False, **made),
                    Linear(hidden, size, bias=False, **made),
                )
            )

    def reset_parameters(self) -> None:
        self.head.reset_parameters()
        for first, second in self.tail:
            first.reset_parameters()
            second.reset_parameters()

    def forward(self, input: Tensor, target: Tensor) -> _ASMoutput:
        if target.ndim == 1:
            if input.shape[0] != target.shape[0]:
                raise RuntimeError(
                    "Input and target should have the same size in the batch dimension."
                )
            if input.ndim != 2:
                raise RuntimeError(
                    "1D target tensor expects 2D input tensors, but found inputs with size "
                    f"{input.shape}"
                )
        elif target.ndim != 0:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        elif input.ndim != 1:
            raise RuntimeError(
                "0D target tensor expects 1D input tensors, but found inputs with size "
                f"{input.shape}"
            )
        batched = target.ndim == 1
        x, classes = (input, target) if batched else (input.unsqueeze(0), target.unsqueeze(0))
        head = self.head(x).log_softmax(1)
        # A class beyond all clusters is left to the gather to refuse.
        in_head = (classes < self.shortlist_size) | (classes >= self.n_classes)
        place = _tn.where(in_head, classes, 0)
        last = _tn.where(classes >= self.n_classes, self.head_size, place)
        output = _tn.where(in_head, head.gather(1, last.unsqueeze(1)).squeeze(1), 0.0)
        for i, tail in enumerate(self.tail):
            low, high = self.cutoffs[i], self.cutoffs[i + 1]
            inside = (classes >= low) & (classes < high)
            at = _tn.where(inside, classes - low, 0).unsqueeze(1)
            within = tail(x).log_softmax(1).gather(1, at).squeeze(1)
            output = output + _tn.where(inside, head[:, self.shortlist_size + i] + within, 0.0)
        loss = -output.mean()
        return _ASMoutput(output if batched else output.squeeze(0), loss)

    def log_prob(self, input: Tensor) -> Tensor:
        """The log-probabilities of all classes: (N, in_features) -> (N, n_classes)."""
        head = self.head(input).log_softmax(1)
        parts = [head[:, : self.shortlist_size]]
        for i, tail in enumerate(self.tail):
            cluster = head[:, self.shortlist_size + i].unsqueeze(1)
            parts.append(tail(input).log_softmax(1) + cluster)
        return _tn.cat(parts, 1)

    def predict(self, input: Tensor) -> Tensor:
        """The likeliest class of each example."""
        return self.log_prob(input).argmax(1)
