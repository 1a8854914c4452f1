"""multi_head_attention_forward: projections around scaled_dot_product_attention."""

from __future__ import annotations

import math

import tenon as _tn
from tenon import _C
from tenon._C import Tensor

_ops = _C._all


def _additive(mask: Tensor | None, name: str, dtype: _tn.dtype) -> Tensor | None:
    """A mask to be added to scores; a bool one is true where attention is forbidden."""
    if mask is None or mask.is_floating_point():
        return mask if mask is None else mask.to(dtype)
    if mask.dtype != _tn.bool:
        raise RuntimeError(
            f"only bool and floating types of {name} are supported, not {mask.dtype}"
        )
    return _tn.zeros(mask.shape, dtype=dtype).masked_fill(mask, -math.inf)


def _check_shapes(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    padding: Tensor | None,
    mask: Tensor | None,
    heads: int,
) -> bool:
    """Whether there is a batch."""
    if query.ndim not in (2, 3):
        raise AssertionError(
            f"query should be unbatched 2D or batched 3D tensor but received {query.ndim}-D query "
            "tensor"
        )
    batched = query.ndim == 3
    kind = "batched (3-D)" if batched else "unbatched (2-D)"
    if key.ndim != query.ndim or value.ndim != query.ndim:
        raise AssertionError(
            f"For {kind} `query`, expected `key` and `value` to be {query.ndim}-D but found "
            f"{key.ndim}-D and {value.ndim}-D tensors respectively"
        )
    if padding is not None and padding.ndim != query.ndim - 1:
        raise AssertionError(
            f"For {kind} `query`, expected `key_padding_mask` to be `None` or {query.ndim - 1}-D "
            f"but found {padding.ndim}-D tensor instead"
        )
    if mask is not None and mask.ndim not in (2, 3):
        raise AssertionError(
            f"For {kind} `query`, expected `attn_mask` to be `None`, 2-D or 3-D but found "
            f"{mask.ndim}-D tensor instead"
        )
    if not batched and mask is not None and mask.ndim == 3:
        expected = (heads, query.shape[0], key.shape[0])
        if tuple(mask.shape) != expected:
            raise AssertionError(
                f"Expected `attn_mask` shape to be {expected} but got {mask.shape}"
            )
    return batched


def _project(
    inputs: tuple[Tensor, Tensor, Tensor],
    packed: Tensor | None,
    separate: tuple[Tensor | None, Tensor | None, Tensor | None],
    bias: Tensor | None,
) -> list[Tensor]:
    query, key, value = inputs
    linear = _ops["linear"]
    if packed is not None:
        if query is key and key is value:  # one product for all
            return list(linear(query, packed, bias).chunk(3, -1))
        weights = list(packed.chunk(3))
    else:
        weights = []
        for name, weight in zip("qkv", separate, strict=True):
            if weight is None:
                raise AssertionError(
                    f"use_separate_proj_weight is True but {name}_proj_weight is None"
                )
            weights.append(weight)
    biases = [None] * 3 if bias is None else list(bias.chunk(3))
    return [linear(x, w, b) for x, w, b in zip(inputs, weights, biases, strict=True)]


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """What MultiheadAttention computes; its arguments are described there.

    Shape: query (L, N, E), key and value (S, N, E), or without N -> (L, N, E) and, with
    need_weights, the weights (N, L, S), or (N, heads, L, S) unless average_attn_weights.
    Errors: AssertionError and RuntimeError for sizes that don't fit, as PyTorch.

    See `torch.nn.functional.multi_head_attention_forward`.

    Example::

        >>> x, eye = tn.ones(3, 1, 4), tn.eye(4)
        >>> out, weights = F.multi_head_attention_forward(
        ...     x, x, x, 4, 2, tn.cat([eye, eye, eye]), None, None, None, False, 0.0, eye, None)
        >>> out.shape, weights.shape
        (tenon.Size([3, 1, 4]), tenon.Size([1, 3, 3]))
    """
    batched = _check_shapes(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        same = query is key and key is value
        query = query.unsqueeze(1)
        key, value = (query, query) if same else (key.unsqueeze(1), value.unsqueeze(1))
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    length, batch, embed = query.shape
    if embed != embed_dim_to_check:
        raise AssertionError(
            f"was expecting embedding dimension of {embed_dim_to_check}, but got {embed}"
        )
    depth = embed // num_heads
    if depth * num_heads != embed:
        raise AssertionError(f"embed_dim {embed} not divisible by num_heads {num_heads}")
    if use_separate_proj_weight:
        if key.shape[:2] != value.shape[:2]:
            raise AssertionError(
                f"key's sequence and batch dims {key.shape[:2]} do not match value's "
                f"{value.shape[:2]}"
            )
    elif key.shape != value.shape:
        raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")
    elif in_proj_weight is None:
        raise AssertionError("use_separate_proj_weight is False but in_proj_weight is None")
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module "
            "method `generate_square_subsequent_mask` to create this mask."
        )
    # The hint says what the mask is: without the mask, the causal kernel reads none.
    is_causal = is_causal and key_padding_mask is None and not need_weights
    mask = None if is_causal else _additive(attn_mask, "attn_mask", query.dtype)
    padding = _additive(key_padding_mask, "key_padding_mask", query.dtype)
    q, k, v = _project(
        (query, key, value),
        None if use_separate_proj_weight else in_proj_weight,
        (q_proj_weight, k_proj_weight, v_proj_weight),
        in_proj_bias,
    )
    if mask is not None:
        sources = key.shape[0]
        if mask.ndim == 2:
            if tuple(mask.shape) != (length, sources):
                raise RuntimeError(
                    f"The shape of the 2D attn_mask is {mask.shape}, but should be "
                    f"{(length, sources)}."
                )
        elif tuple(mask.shape) != (batch * num_heads, length, sources):
            raise RuntimeError(
                f"The shape of the 3D attn_mask is {mask.shape}, but should be "
                f"{(batch * num_heads, length, sources)}."
            )
        else:
            mask = mask.reshape(batch, num_heads, length, sources)
    if (bias_k is None) != (bias_v is None):
        raise AssertionError("bias_k and bias_v must be given both or not at all")
    if bias_k is not None and bias_v is not None:
        if static_k is not None or static_v is not None:
            raise AssertionError("bias cannot be added to static key or value.")
        k = _tn.cat([k, bias_k.expand(1, batch, bias_k.shape[-1])])
        v = _tn.cat([v, bias_v.expand(1, batch, bias_v.shape[-1])])

    def by_heads(x: Tensor, static: Tensor | None) -> Tensor:
        """(batch, heads, length, depth)."""
        if static is not None:
            if static.shape[0] != batch * num_heads or static.shape[2] != depth:
                raise AssertionError(
                    f"expecting a static key or value of ({batch * num_heads}, *, {depth}), but "
                    f"got {static.shape}"
                )
            return static.reshape(batch, num_heads, -1, depth)
        return x.reshape(x.shape[0], batch, num_heads, depth).permute(1, 2, 0, 3)

    q, k, v = by_heads(q, None), by_heads(k, static_k), by_heads(v, static_v)
    if add_zero_attn:
        zeros = _tn.zeros((batch, num_heads, 1, depth), dtype=k.dtype)
        k, v = _tn.cat([k, zeros], 2), _tn.cat([v, zeros], 2)
    sources = k.shape[2]
    added = sources - key.shape[0] if static_k is None else 0
    if mask is not None and added:
        mask = _ops["pad"](mask, (0, added))
    if padding is not None:
        if added:
            padding = _ops["pad"](padding, (0, added))
        if tuple(padding.shape) != (batch, sources):
            raise AssertionError(
                f"Expected key_padded_mask.shape[0] to be {batch} and [1] to be {sources}, but got "
                f"{padding.shape}"
            )
        padding = padding.reshape(batch, 1, 1, sources)
        mask = padding if mask is None else mask + padding
    dropout_p = dropout_p if training else 0.0
    weights = None
    if need_weights:
        scores = _tn.matmul(q * math.sqrt(1.0 / depth), k.transpose(-2, -1))
        weights = (scores if mask is None else scores + mask).softmax(-1)
        if dropout_p > 0:
            weights = _ops["dropout"](weights, dropout_p)
        attended = _tn.matmul(weights, v)
    else:
        attend = _ops["scaled_dot_product_attention"]
        attended = attend(q, k, v, mask, dropout_p, is_causal)
    joined = attended.permute(2, 0, 1, 3).reshape(length, batch, embed)
    output = _ops["linear"](joined, out_proj_weight, out_proj_bias)
    if weights is not None and average_attn_weights:
        weights = weights.mean(1)
    if not batched:
        output = output.squeeze(1)
        weights = None if weights is None else weights.squeeze(0)
    return output, weights
