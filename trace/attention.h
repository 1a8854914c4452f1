// Scaled dot-product attention as recorded nodes: three primitives that library kernels compute
// without the matrix of scores (spec/primitives.toml), and the same from products and reductions,
// where derivatives of derivatives or a mask's gradient are wanted.
#pragma once

#include "trace/value.h"

namespace tenon::ops {

// q [..., L, E], k [..., S, E] and v [..., S, V] of one floating dtype and batch; no extent but the
// batch's is 0.
struct Attention {
  Value query, key, value;
  Value scale;  // 0-d, float64
  Value mask;   // [..., L, S], bool (which keys count) or of q's dtype (added); or none
  bool causal = false;
};

Value attention(const Attention& a);             // [..., L, V]
Value attention_normalizer(const Attention& a);  // [..., L]
// The gradient of q, k or v (0, 1, 2) from the result, its normalizer and its gradient.
Value attention_gradient(const Attention& a, int which, Value out, Value normalizer,
                         Value gradient);

// scale q k^T + mask, [..., L, S], in at least float32; -inf where keys don't count.
Value attention_scores(const Attention& a);
// softmax of the scores, in q's dtype; 0 in rows without keys. Needs no extent but E.
Value attention_weights(const Attention& a);
// x y, x y^T and x^T y of the last two dimensions, the others being one batch.
Value batched_product(Value x, Value y);
Value batched_product_transposed(Value x, Value y);
Value batched_transposed_product(Value x, Value y);

}  // namespace tenon::ops
