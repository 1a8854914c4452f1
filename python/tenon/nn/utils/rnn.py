"""Sequences of different lengths: padded, or packed step by step. See `torch.nn.utils.rnn`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import tenon as _tn
from tenon._C import Tensor

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class _Packed(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None = None
    unsorted_indices: Tensor | None = None


class PackedSequence(_Packed):
    """The elements of sequences, all of the first step, all of the second, and so on.

    batch_sizes: how many sequences have each step; they stand from the longest on, and
    sorted_indices say where each was. Made by pack_padded_sequence and pack_sequence.

    Example::

        >>> from tenon.nn.utils.rnn import pack_sequence
        >>> pack_sequence([tn.tensor([1, 2]), tn.tensor([3])])[:2]
        (tensor([1, 3, 2]), tensor([2, 1]))
    """

    def __new__(
        cls,
        data: Tensor,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if batch_sizes is None:
            raise ValueError("batch_sizes should always be given to PackedSequence")
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same, of `data.to(...)`."""
        return PackedSequence(self.data.to(*args, **kwargs), *self[1:])

    def float(self) -> PackedSequence:
        return self.to(_tn.float32)

    def double(self) -> PackedSequence:
        return self.to(_tn.float64)

    def cpu(self) -> PackedSequence:
        return self.to("cpu")


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes one; None of None.

    Example::

        >>> from tenon.nn.utils.rnn import invert_permutation
        >>> invert_permutation(tn.tensor([2, 0, 1]))
        tensor([1, 2, 0])
    """
    return None if permutation is None else permutation.argsort()


def lengths_of(batch_sizes: Tensor) -> Tensor:
    """The length of each sequence, the longest first."""
    count = int(batch_sizes[0])
    return (batch_sizes.unsqueeze(1) > _tn.arange(count)).sum(0)


def _places(batch_sizes: list[int]) -> Tensor:
    """Of each packed element, its flat index among (steps, sequences)."""
    width = batch_sizes[0]
    return _tn.tensor([t * width + i for t, size in enumerate(batch_sizes) for i in range(size)])


def pack_padded_sequence(
    input: Tensor,
    lengths: Tensor | Sequence[int],
    batch_first: bool = False,
    enforce_sorted: bool = True,
) -> PackedSequence:
    """Packs padded sequences. Reads the lengths.

    Shape: (longest, n, *), with batch_first (n, longest, *).
    Errors: RuntimeError for lengths that are not positive or more than there are, for other numbers
    of them, and, with enforce_sorted, for those that don't fall.

    Example::

        >>> from tenon.nn.utils.rnn import pack_padded_sequence
        >>> pack_padded_sequence(tn.tensor([[1, 2], [3, 0]]), [2, 1], batch_first=True).data
        tensor([1, 3, 2])
    """
    numbers = lengths.tolist() if isinstance(lengths, Tensor) else [int(n) for n in lengths]
    x = input.transpose(0, 1) if batch_first else input
    if len(numbers) != x.shape[1]:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(numbers)} "
            f"(batch_size={x.shape[1]})"
        )
    if not numbers or min(numbers) <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' "
            "that is <= 0"
        )
    order = None
    if enforce_sorted:
        if numbers != sorted(numbers, reverse=True):
            raise RuntimeError(
                "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. "
                "You can pass `enforce_sorted=False` to pack_padded_sequence and/or pack_sequence "
                "to sidestep this requirement if you do not need ONNX exportability."
            )
    else:
        ranks = sorted(range(len(numbers)), key=lambda i: -numbers[i])
        order = _tn.tensor(ranks)
        x, numbers = x.index_select(1, order), [numbers[i] for i in ranks]
    if numbers[0] > x.shape[0]:
        raise RuntimeError(
            f"Expected lengths of at most {x.shape[0]}, the padded sequences', but got {numbers[0]}"
        )
    sizes = [sum(n > t for n in numbers) for t in range(numbers[0])]
    data = x.flatten(0, 1).index_select(0, _places(sizes))
    return PackedSequence(data, _tn.tensor(sizes), order)


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The inverse of pack_padded_sequence: padded sequences and their lengths.

    Errors: ValueError for a total_length below the longest sequence's.

    Example::

        >>> from tenon.nn.utils.rnn import pack_sequence, pad_packed_sequence
        >>> packed = pack_sequence([tn.tensor([1, 2]), tn.tensor([3])])
        >>> pad_packed_sequence(packed, batch_first=True)
        (tensor([[1, 2],
                [3, 0]]), tensor([2, 1]))
    """
    sizes = sequence.batch_sizes.tolist()
    steps, width, rest = len(sizes), sizes[0], sequence.data.shape[1:]
    if total_length is not None:
        if total_length < steps:
            raise ValueError(
                "Expected total_length to be at least the length of the longest sequence in input, "
                f"but got total_length={total_length} and max sequence length being {steps}"
            )
        steps = total_length
    empty = _tn.full((steps * width, *rest), padding_value, dtype=sequence.data.dtype)
    padded = empty.index_copy(0, _places(sizes), sequence.data).unflatten(0, (steps, width))
    lengths = lengths_of(sequence.batch_sizes)
    if sequence.unsorted_indices is not None:
        padded = padded.index_select(1, sequence.unsorted_indices)
        lengths = lengths[sequence.unsorted_indices]
    return (padded.transpose(0, 1) if batch_first else padded), lengths


def pad_sequence(
    sequences: Iterable[Tensor] | Tensor,
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Sequences side by side, the shorter ones padded.

    Shape: n tensors (length, *) -> (longest, n, *), with batch_first (n, longest, *).
    Errors: ValueError for a padding_side other than "right" and "left"; RuntimeError for no
    sequences and for further sizes that differ.

    Example::

        >>> from tenon.nn.utils.rnn import pad_sequence
        >>> pad_sequence([tn.tensor([1, 2]), tn.tensor([3])], batch_first=True)
        tensor([[1, 2],
                [3, 0]])
    """
    parts = list(sequences.unbind(0)) if isinstance(sequences, Tensor) else list(sequences)
    if padding_side not in ("right", "left"):
        raise ValueError("padding_side must be either 'right' or 'left'")
    if not parts:
        raise RuntimeError("received an empty list of sequences")
    rest = parts[0].shape[1:]
    longest = max(part.shape[0] for part in parts)
    padded = []
    for part in parts:
        if part.shape[1:] != rest:
            raise RuntimeError(
                f"The size of tensors must match except in dimension 0: {part.shape} and "
                f"{parts[0].shape}"
            )
        missing = longest - part.shape[0]
        ends = (0, missing) if padding_side == "right" else (missing, 0)
        sides = [0, 0] * len(rest)
        padded.append(_tn.nn.functional.pad(part, [*sides, *ends], value=padding_value))
    return _tn.stack(padded, 0 if batch_first else 1)


def unpad_sequence(
    padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False
) -> list[Tensor]:
    """The inverse of pad_sequence: the first elements of each sequence. Reads the lengths.

    Shape: (longest, n, *), with batch_first (n, longest, *) -> n tensors (length, *).

    Example::

        >>> from tenon.nn.utils.rnn import unpad_sequence
        >>> unpad_sequence(tn.tensor([[1, 2], [3, 0]]), tn.tensor([2, 1]), batch_first=True)
        [tensor([1, 2]), tensor([3])]
    """
    if not batch_first:
        padded_sequences = padded_sequences.transpose(0, 1)
    return [
        sequence[:length]
        for sequence, length in zip(padded_sequences.unbind(0), lengths.tolist(), strict=True)
    ]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Packs sequences; with enforce_sorted, they come from the longest on.

    Errors: as pad_sequence and pack_padded_sequence.

    Example::

        >>> from tenon.nn.utils.rnn import pack_sequence
        >>> pack_sequence([tn.tensor([1, 2]), tn.tensor([3])]).batch_sizes
        tensor([2, 1])
    """
    lengths = [sequence.shape[0] for sequence in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The inverse of pack_sequence.

    Example::

        >>> from tenon.nn.utils.rnn import pack_sequence, unpack_sequence
        >>> unpack_sequence(pack_sequence([tn.tensor([1, 2]), tn.tensor([3])]))
        [tensor([1, 2]), tensor([3])]
    """
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
