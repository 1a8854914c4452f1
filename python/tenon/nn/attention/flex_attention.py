"""Attention with scores and masks of one's own. See `torch.nn.attention.flex_attention`.

A modification is a function of one score and its indices; vmap makes it one of all scores, and it
is fused with the softmax around it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import tenon as tn
from tenon import Tensor

__all__ = [
    "AuxOutput",
    "AuxRequest",
    "BlockMask",
    "and_masks",
    "create_block_mask",
    "create_mask",
    "flex_attention",
    "noop_mask",
    "or_masks",
]

MaskMod = Callable[[Any, Any, Any, Any], Any]
ScoreMod = Callable[[Tensor, Any, Any, Any, Any], Tensor]
_BLOCK = 128


class AuxRequest(NamedTuple):
    """What flex_attention is to give beside its output.

    Example::

        >>> from tenon.nn.attention.flex_attention import AuxRequest
        >>> AuxRequest(lse=True).max_scores
        False
    """

    lse: bool = False
    max_scores: bool = False


class AuxOutput(NamedTuple):
    """What an AuxRequest asked for: the rows' log-sum-exps and largest scores.

    Example::

        >>> from tenon.nn.attention.flex_attention import AuxOutput
        >>> AuxOutput().lse is None
        True
    """

    lse: Tensor | None = None
    max_scores: Tensor | None = None


def noop_mask(b: Any, h: Any, q_idx: Any, kv_idx: Any) -> Tensor:
    """True everywhere.

    Example::

        >>> from tenon.nn.attention.flex_attention import create_mask, noop_mask
        >>> create_mask(noop_mask, 1, 1, 1, 2)
        tensor([[[[True, True]]]])
    """
    return tn.ones((), dtype=tn.bool)


def and_masks(*mask_mods: MaskMod) -> MaskMod:
    """Where all masks are true.

    Errors: RuntimeError for what is not callable.

    Example::

        >>> from tenon.nn.attention.flex_attention import and_masks, create_mask
        >>> band = and_masks(lambda b, h, q, k: q >= k, lambda b, h, q, k: q - k < 2)
        >>> create_mask(band, 1, 1, 3, 3)[0, 0].int()
        tensor([[1, 0, 0],
                [1, 1, 0],
                [0, 1, 1]], dtype=tenon.int32)
    """
    if not all(callable(mod) for mod in mask_mods):
        raise RuntimeError(f"All inputs should be callable mask_mods: {mask_mods}")

    def both(b: Any, h: Any, q_idx: Any, kv_idx: Any) -> Any:
        result: Any = tn.ones((), dtype=tn.bool)
        for mod in mask_mods:
            result = result & mod(b, h, q_idx, kv_idx)
        return result

    return both


def or_masks(*mask_mods: MaskMod) -> MaskMod:
    """Where any mask is true.

    Errors: RuntimeError for what is not callable.

    Example::

        >>> from tenon.nn.attention.flex_attention import create_mask, or_masks
        >>> ends = or_masks(lambda b, h, q, k: q == k, lambda b, h, q, k: k == 0)
        >>> create_mask(ends, 1, 1, 3, 3)[0, 0].int()
        tensor([[1, 0, 0],
                [1, 1, 0],
                [1, 0, 1]], dtype=tenon.int32)
    """
    if not all(callable(mod) for mod in mask_mods):
        raise RuntimeError(f"All inputs should be callable mask_mods: {mask_mods}")

    def either(b: Any, h: Any, q_idx: Any, kv_idx: Any) -> Any:
        result: Any = tn.zeros((), dtype=tn.bool)
        for mod in mask_mods:
            result = result | mod(b, h, q_idx, kv_idx)
        return result

    return either


def _over_indices(mod: Callable[..., Any], has_score: bool) -> Callable[..., Tensor]:
    """The function of one score (if it has one) and four indices, over all of them."""
    score = (0,) if has_score else ()
    for place in (3, 2, 1, 0):
        dims = tuple(0 if i == place else None for i in range(4))
        mod = tn.func.vmap(mod, in_dims=(*score, *dims))
    return mod


def _indices(*extents: int) -> tuple[Tensor, ...]:
    return tuple(tn.arange(extent) for extent in extents)


def create_mask(
    mod_fn: Callable[..., Any],
    B: int | None,
    H: int | None,
    Q_LEN: int,
    KV_LEN: int,
    device: Any = None,
) -> Tensor:
    """A mask_mod as a tensor (B, H, Q_LEN, KV_LEN); None for B or H is 1.

    Example::

        >>> from tenon.nn.attention.flex_attention import create_mask
        >>> create_mask(lambda b, h, q, k: q >= k, None, None, 2, 2)
        tensor([[[[ True, False],
                  [ True,  True]]]])
    """
    return _over_indices(mod_fn, False)(*_indices(B or 1, H or 1, Q_LEN, KV_LEN))


def _in_blocks(mask: Tensor, q_block: int, kv_block: int) -> Tensor:
    """How many places of each block are allowed: (B, H, rows of blocks, columns of blocks)."""
    b, h, q, kv = mask.shape
    pad = (0, -kv % kv_block, 0, -q % q_block)
    padded = tn.nn.functional.pad(mask, pad)
    rows, columns = padded.shape[2] // q_block, padded.shape[3] // kv_block
    return padded.reshape(b, h, rows, q_block, columns, kv_block).sum((3, 5))


def _ordered(dense: Tensor) -> tuple[Tensor, Tensor]:
    """Of each row of blocks, how many there are, and their columns in order, then the others'."""
    counts = dense.sum(-1)
    return counts.int(), dense.int().argsort(-1, descending=True, stable=True).int()


class BlockMask:
    """A mask, and which blocks of it hold anything: kv_num_blocks in each row of blocks, their
    columns first in kv_indices; those that are full in full_kv_num_blocks and full_kv_indices.

    Made by create_block_mask, or by `from_kv_blocks` of the blocks one wants.

    Example::

        >>> from tenon.nn.attention.flex_attention import create_block_mask
        >>> mask = create_block_mask(lambda b, h, q, k: q >= k, None, None, 256, 256)
        >>> mask.shape, mask.to_dense()[0, 0], mask.sparsity()
        ((1, 1, 256, 256), tensor([[1, 0],
                [1, 1]], dtype=tenon.int32), 25.0)
    """

    def __init__(
        self,
        seq_lengths: tuple[int, int],
        kv_num_blocks: Tensor,
        kv_indices: Tensor,
        full_kv_num_blocks: Tensor | None,
        full_kv_indices: Tensor | None,
        BLOCK_SIZE: tuple[int, ...],
        mask_mod: MaskMod,
    ) -> None:
        if kv_indices.ndim < 2:
            raise RuntimeError("BlockMask must have at least 2 dimensions")
        self.seq_lengths, self.BLOCK_SIZE, self.mask_mod = seq_lengths, BLOCK_SIZE, mask_mod
        self.kv_num_blocks, self.kv_indices = kv_num_blocks, kv_indices
        self.full_kv_num_blocks, self.full_kv_indices = full_kv_num_blocks, full_kv_indices

    @classmethod
    def from_kv_blocks(
        cls,
        kv_num_blocks: Tensor,
        kv_indices: Tensor,
        full_kv_num_blocks: Tensor | None = None,
        full_kv_indices: Tensor | None = None,
        BLOCK_SIZE: int | tuple[int, int] = _BLOCK,
        mask_mod: MaskMod | None = None,
        seq_lengths: tuple[int, int] | None = None,
    ) -> BlockMask:
        """A mask of given blocks, of which mask_mod allows places."""
        size = (BLOCK_SIZE, BLOCK_SIZE) if isinstance(BLOCK_SIZE, int) else tuple(BLOCK_SIZE)
        if (full_kv_num_blocks is None) != (full_kv_indices is None):
            raise AssertionError(
                "full_kv_num_blocks and full_kv_indices must be both provided or omitted"
            )
        if seq_lengths is None:
            seq_lengths = (kv_indices.shape[-2] * size[0], kv_indices.shape[-1] * size[1])
        return cls(
            seq_lengths,
            kv_num_blocks,
            kv_indices,
            full_kv_num_blocks,
            full_kv_indices,
            size,
            mask_mod or noop_mask,
        )

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.kv_indices.shape[:-2], *self.seq_lengths)

    def numel(self) -> int:
        return math.prod(self.shape)

    def to_dense(self) -> Tensor:
        """1 for each block that holds anything: (*, rows of blocks, columns of blocks)."""

        def dense(counts: Tensor, columns: Tensor) -> Tensor:
            counted = tn.arange(columns.shape[-1]) < counts.unsqueeze(-1)
            zeros = tn.zeros(columns.shape, dtype=tn.int32)
            return zeros.scatter_add(-1, columns.long(), counted.int()).clamp(max=1)

        partial = dense(self.kv_num_blocks, self.kv_indices)
        if self.full_kv_num_blocks is None or self.full_kv_indices is None:
            return partial
        full = dense(self.full_kv_num_blocks, self.full_kv_indices)
        return (partial + full).clamp(max=1)

    def sparsity(self) -> float:
        """The percentage of blocks that hold nothing."""
        blocks = self.kv_num_blocks.sum()
        if self.full_kv_num_blocks is not None:
            blocks = blocks + self.full_kv_num_blocks.sum()
        return 100 * (1 - int(blocks) * math.prod(self.BLOCK_SIZE) / self.numel())

    def mask(self) -> Tensor:
        """The places that are allowed: (B, H, queries, keys)."""
        queries, keys = self.seq_lengths
        shape = self.kv_indices.shape
        batch = (1,) * (4 - len(shape)) + tuple(shape[:-2])
        places = create_mask(self.mask_mod, batch[0], batch[1], queries, keys)
        blocks = self.to_dense().bool().reshape(*batch, *shape[-2:])
        rows = tn.arange(queries) // self.BLOCK_SIZE[0]
        columns = tn.arange(keys) // self.BLOCK_SIZE[1]
        return places & blocks.index_select(-2, rows).index_select(-1, columns)

    def __repr__(self) -> str:
        return f"BlockMask(shape={self.shape}, sparsity={self.sparsity():.2f}%)"


def create_block_mask(
    mask_mod: MaskMod,
    B: int | None,
    H: int | None,
    Q_LEN: int,
    KV_LEN: int,
    device: Any = None,
    BLOCK_SIZE: int | tuple[int, int] = _BLOCK,
    _compile: bool = False,
) -> BlockMask:
    """The blocks in which a mask_mod allows anything; None for B or H: the same for all.

    Example::

        >>> from tenon.nn.attention.flex_attention import create_block_mask
        >>> create_block_mask(lambda b, h, q, k: q >= k, 1, 1, 128, 128).kv_num_blocks
        tensor([[[1]]], dtype=tenon.int32)
    """
    size = (BLOCK_SIZE, BLOCK_SIZE) if isinstance(BLOCK_SIZE, int) else tuple(BLOCK_SIZE)
    mask = create_mask(mask_mod, B, H, Q_LEN, KV_LEN)
    allowed = _in_blocks(mask, *size)
    full = allowed == size[0] * size[1]
    partial = (allowed > 0) & ~full
    return BlockMask((Q_LEN, KV_LEN), *_ordered(partial), *_ordered(full), size, mask_mod)


def _check(query: Tensor, key: Tensor, value: Tensor, enable_gqa: bool) -> None:
    if not (query.ndim == key.ndim == value.ndim == 4):
        raise ValueError("NYI: query, key, and value must be 4D tensors")
    if query.dtype != key.dtype or query.dtype != value.dtype:
        raise ValueError(
            "Expected query, key, and value to have the same dtype, but got query.dtype: "
            f"{query.dtype}, key.dtype: {key.dtype}, and value.dtype: {value.dtype} instead."
        )
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(
            f"Expect query and key/value to have the same embedding dimension but got "
            f"E={query.shape[-1]} and E={key.shape[-1]}."
        )
    heads, groups = query.shape[1], key.shape[1]
    if not enable_gqa and heads != groups:
        raise ValueError(
            f"Expect query and key/value to have the same number of heads but got Hq={heads} and "
            f"Hkv={groups}. Try setting enable_gqa=True for GQA."
        )
    if heads % groups != 0:
        raise ValueError(
            "Expect number of query heads to be a multiple of kv heads for GQA but got "
            f"Hq={heads} and Hkv={groups}."
        )
    if query.shape[0] != key.shape[0] and key.shape[0] != 1:
        raise ValueError(
            f"Expect query and key/value to have the same batch size, or non-none block_mask, but "
            f"got Bq={query.shape[0]} and Bkv={key.shape[0]}."
        )


def flex_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    score_mod: ScoreMod | None = None,
    block_mask: BlockMask | None = None,
    scale: float | None = None,
    enable_gqa: bool = False,
    return_lse: bool = False,
    kernel_options: dict[str, Any] | None = None,
    *,
    return_aux: AuxRequest | None = None,
) -> Any:
    """softmax(score_mod(query @ key.T * scale)) @ value, over the places that block_mask allows.

    score_mod(score, b, h, q_idx, kv_idx) changes one score; a query without keys gives 0. scale is
    1 / sqrt(E) unless given. return_lse: also the logarithm of each row's sum of exponentials,
    return_aux: what it asks for. kernel_options say nothing here.

    Shape: query (B, H, L, E), key (B, G, S, E), value (B, G, S, V) -> (B, H, L, V); G is H, or with
    enable_gqa a divisor of it.
    Errors: ValueError for sizes and dtypes that don't fit.

    See `torch.nn.attention.flex_attention.flex_attention`.

    Example::

        >>> from tenon.nn.attention.flex_attention import flex_attention
        >>> q = k = tn.zeros(1, 1, 2, 4)
        >>> v = tn.tensor([[[[1.0], [3.0]]]])
        >>> flex_attention(q, k, v, lambda score, b, h, i, j: tn.where(i >= j, score, -inf))
        tensor([[[[1.],
                  [2.]]]])
    """
    _check(query, key, value, enable_gqa)
    batch, heads, length, depth = query.shape
    sources = key.shape[2]
    if heads != key.shape[1]:
        key, value = (x.repeat_interleave(heads // x.shape[1], 1) for x in (key, value))
    wide = tn.float64 if query.dtype == tn.float64 else tn.float32
    factor = 1 / math.sqrt(depth) if scale is None else scale
    scores = (query.to(wide) @ key.to(wide).transpose(-2, -1)) * factor
    if score_mod is not None:
        modify = _over_indices(score_mod, True)
        scores = modify(scores, *_indices(batch, heads, length, sources)).to(wide)
    if block_mask is not None:
        if block_mask.seq_lengths[0] < length or block_mask.seq_lengths[1] < sources:
            raise ValueError(
                f"block_mask was created for block_mask.shape={block_mask.shape} but got "
                f"q_len={length} and kv_len={sources}."
            )
        allowed = block_mask.mask()[..., :length, :sources]
        scores = tn.where(allowed, scores, -math.inf)
    largest = scores.amax(-1, keepdim=True).detach()
    safe = tn.where(largest == -math.inf, 0.0, largest)
    weights = (scores - safe).exp()
    total = weights.sum(-1, keepdim=True)
    some = tn.where(total == 0, 1.0, total)
    output = ((weights / some) @ value.to(wide)).to(query.dtype)
    if return_aux is not None:
        lse = (total.log() + safe).squeeze(-1) if return_aux.lse else None
        return output, AuxOutput(lse, largest.squeeze(-1) if return_aux.max_scores else None)
    if return_lse:
        return output, (total.log() + safe).squeeze(-1)
    return output
