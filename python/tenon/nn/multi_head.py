"""MultiheadAttention."""

from __future__ import annotations

from typing import Any

import tenon as _tn
from tenon._C import Tensor

from . import functional as F
from . import init
from ._layers import Linear
from .module import Module
from .parameter import Parameter


class NonDynamicallyQuantizableLinear(Linear):
    """The output projection of MultiheadAttention, under PyTorch's name for it."""


class MultiheadAttention(Module):
    """Attention of several heads: projections, scaled dot products in each head, a projection.

    kdim and vdim: features of keys and values where they differ. add_bias_kv: a learned key and
    value are added to each sequence; add_zero_attn: one of zeros. Masks: a bool one is true where
    attention is forbidden, a floating one is added to the scores. is_causal says that attn_mask is
    the causal one, which then needn't be read.

    Shape: query (L, N, E), key (S, N, kdim), value (S, N, vdim), without N, or with batch_first
    (N, L, E) and so on; key_padding_mask (N, S) or (S); attn_mask (L, S) or (N * heads, L, S) ->
    the output as query, and the weights: (N, L, S), (N, heads, L, S) unless average_attn_weights,
    None unless need_weights.

    Errors: ValueError for sizes that are not positive, AssertionError for an embed_dim that is no
    multiple of num_heads and for inputs that don't fit.

    Source: Vaswani et al., "Attention is all you need", NeurIPS 2017. See
    `torch.nn.MultiheadAttention`.

    Example::

        >>> attention = nn.MultiheadAttention(8, 2, batch_first=True)
        >>> x = tn.randn(3, 5, 8)
        >>> output, weights = attention(x, x, x)
        >>> output.shape, weights.shape
        (tenon.Size([3, 5, 8]), tenon.Size([3, 5, 5]))
    """

    __constants__ = ("batch_first",)
    in_proj_weight: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                "embed_dim and num_heads must be greater than 0, got "
                f"embed_dim={embed_dim} and num_heads={num_heads} instead"
            )
        super().__init__()
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads, self.dropout, self.batch_first = num_heads, dropout, batch_first
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError("embed_dim must be divisible by num_heads")

        def add(name: str, *shape: int) -> None:
            empty = _tn.empty(shape, dtype=dtype, device=device) if shape else None
            self.register_parameter(name, None if empty is None else Parameter(empty))

        if self._qkv_same_embed_dim:
            add("in_proj_weight", 3 * embed_dim, embed_dim)
            for name in "qkv":
                add(f"{name}_proj_weight")
        else:
            add("q_proj_weight", embed_dim, embed_dim)
            add("k_proj_weight", embed_dim, self.kdim)
            add("v_proj_weight", embed_dim, self.vdim)
            add("in_proj_weight")
        add("in_proj_bias", *([3 * embed_dim] if bias else []))
        self.out_proj = NonDynamicallyQuantizableLinear(
            embed_dim, embed_dim, bias=bias, device=device, dtype=dtype
        )
        for name in ("bias_k", "bias_v"):
            add(name, *([1, 1, embed_dim] if add_bias_kv else []))
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for weight in (
            self.in_proj_weight,
            self.q_proj_weight,
            self.k_proj_weight,
            self.v_proj_weight,
        ):
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            assert self.out_proj.bias is not None
            init.zeros_(self.out_proj.bias)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                init.xavier_normal_(bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        swaps = self.batch_first and query.ndim == 3
        if swaps:
            same = query is key and key is value
            query = query.transpose(1, 0)
            key = query if same else key.transpose(1, 0)
            value = query if same else value.transpose(1, 0)
        output, weights = F.multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            use_separate_proj_weight=not self._qkv_same_embed_dim,
            q_proj_weight=self.q_proj_weight,
            k_proj_weight=self.k_proj_weight,
            v_proj_weight=self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
        return (output.transpose(1, 0) if swaps else output), weights
