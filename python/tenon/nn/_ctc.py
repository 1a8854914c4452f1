"""Connectionist temporal classification: a scan over time, in logarithms."""

from __future__ import annotations

from collections.abc import Sequence

import tenon as _tn
from tenon._C import Tensor

from ..func._regions import scan

# Stands for log(0): what is added to it stays far below any log-probability, and no difference of
# two of them is NaN, which the derivative of a sum of zeros would be.
_IMPOSSIBLE = -1e30


def _lengths(name: str, lengths: Tensor | Sequence[int], batch: int) -> Tensor:
    if not isinstance(lengths, Tensor):
        lengths = _tn.tensor(list(lengths), dtype=_tn.int64)
    if lengths.is_floating_point():
        raise RuntimeError(f"{name} must be integral")
    lengths = lengths.reshape(-1).long()
    if lengths.shape[0] != batch:
        raise RuntimeError(
            f"Expected {name} to have value for each of the {batch} sequences, got "
            f"{lengths.shape[0]}"
        )
    return lengths


def _padded(targets: Tensor, lengths: Tensor, batch: int) -> Tensor:
    """Targets as (batch, longest): those of a vector stand one after another."""
    if targets.ndim == 2:
        if targets.shape[0] != batch:
            raise RuntimeError(
                f"Expected tensor to have size {batch} at dimension 0, but got size "
                f"{targets.shape[0]} for argument #2 'targets' (while checking arguments for "
                "ctc_loss)"
            )
        return targets.long()
    if targets.ndim != 1:
        raise RuntimeError("targets should be a vector or a matrix")
    longest = int(lengths.max()) if batch else 0
    begins = lengths.cumsum(0) - lengths
    at = begins.unsqueeze(1) + _tn.arange(longest)
    if targets.shape[0] == 0:
        return at * 0
    return targets.long()[at.clamp(max=targets.shape[0] - 1)]


def _log_add(*terms: Tensor) -> Tensor:
    largest = terms[0]
    for term in terms[1:]:
        largest = _tn.maximum(largest, term)
    largest = largest.detach()
    total = (terms[0] - largest).exp()
    for term in terms[1:]:
        total = total + (term - largest).exp()
    return largest + total.log()


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | Sequence[int],
    target_lengths: Tensor | Sequence[int],
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Minus the log-probability of label sequences whose alignment with the input is not known.

    The sum over all alignments, each label possibly repeated and with blanks between, by the
    forward recursion. The mean divides each loss by its target's length. A loss that no alignment
    makes finite is inf, or with zero_infinity 0, like its gradient. Derivatives of any order go
    through; they are those by log_probs as independent numbers (PyTorch's are those by the logits
    of a log_softmax, and agree after it). A vector of targets reads target_lengths.

    Shape: log_probs (T, N, C) or (T, C), targets (N, S) or (sum of target_lengths), lengths (N) ->
    (), or (N) without reduction.
    Errors: RuntimeError for lengths that don't fit and a blank out of range; ValueError for another
    reduction.

    Source: Graves et al., "Connectionist temporal classification", ICML 2006. See
    `torch.nn.functional.ctc_loss`.

    Example::

        >>> log_probs = tn.zeros(2, 1, 3).log_softmax(2)
        >>> F.ctc_loss(log_probs, tn.tensor([[1]]), [2], [1])  # -log(3 / 9)
        tensor(1.0986)
    """
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    if not log_probs.is_floating_point():
        raise RuntimeError(f"ctc_loss: expected floating log_probs, got {log_probs.dtype}")
    batched = log_probs.ndim == 3
    if not batched and log_probs.ndim != 2:
        raise RuntimeError(
            f"ctc_loss: expected log_probs of 2 or 3 dimensions, got {log_probs.ndim}"
        )
    x = log_probs if batched else log_probs.unsqueeze(1)
    steps, batch, classes = x.shape
    if not 0 <= blank < classes:
        raise RuntimeError("blank must be in label range")
    if steps == 0:
        raise RuntimeError("ctc_loss: log_probs tensor must not be empty")
    lengths = _lengths("input_lengths", input_lengths, batch)
    counts = _lengths("target_lengths", target_lengths, batch)
    if not batched and targets.ndim == 1:
        targets = targets.unsqueeze(0)
    labels = _padded(targets, counts, batch)
    size = labels.shape[1]
    # Labels with a blank before, between and after; those beyond a target's end count nowhere.
    counted = _tn.arange(size) < counts.unsqueeze(1)
    labels = _tn.where(counted, labels, blank)
    blanks = _tn.full((batch, size, 1), blank, dtype=_tn.int64)
    path = _tn.cat([blanks, labels.unsqueeze(2)], 2).reshape(batch, 2 * size)
    path = _tn.cat([path, _tn.full((batch, 1), blank, dtype=_tn.int64)], 1)
    # A blank may be left out between labels that differ.
    width = 2 * size + 1
    skips = (path != blank) & (path != _tn.nn.functional.pad(path, (2, 0), value=blank)[:, :width])
    skips = skips & (_tn.arange(width) >= 2)
    wide = x.float() if x.dtype in (_tn.float16, _tn.bfloat16) else x
    emissions = wide.gather(2, path.expand(steps, batch, width)).clamp(min=_IMPOSSIBLE)
    begin = _tn.where(_tn.arange(width) < 2, emissions[0], _IMPOSSIBLE)

    def step(alpha: Tensor, given: tuple[Tensor, Tensor]) -> tuple[Tensor, None]:
        emission, time = given
        pad = _tn.nn.functional.pad
        one = pad(alpha, (1, 0), value=_IMPOSSIBLE)[:, :width]
        two = _tn.where(skips, pad(alpha, (2, 0), value=_IMPOSSIBLE)[:, :width], _IMPOSSIBLE)
        after = (_log_add(alpha, one, two) + emission).clamp(min=_IMPOSSIBLE)
        return _tn.where(time < lengths.unsqueeze(1), after, alpha), None

    alpha, _ = scan(step, begin, (emissions[1:], _tn.arange(1, steps)))
    last = alpha.gather(1, (2 * counts).unsqueeze(1)).squeeze(1)
    before = alpha.gather(1, (2 * counts - 1).clamp(min=0).unsqueeze(1)).squeeze(1)
    before = _tn.where(counts > 0, before, _IMPOSSIBLE)
    loss = -_log_add(last, before)
    is_empty = (lengths == 0) & (counts == 0)
    loss = _tn.where(is_empty, 0.0, loss)
    loss = _tn.where((loss > -_IMPOSSIBLE / 2) | (lengths == 0) & (counts > 0), _tn.inf, loss)
    if zero_infinity:
        loss = _tn.where(loss == _tn.inf, 0.0, loss)
    loss = loss.to(x.dtype)
    if reduction == "mean":
        return (loss / counts.clamp(min=1).to(loss.dtype)).mean()
    if reduction == "sum":
        return loss.sum()
    return loss if batched else loss.squeeze(0)
