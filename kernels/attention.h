// Scaled dot-product attention in tiles: the matrix of scores is never held.
//
//   scores = scale * Q K^T + mask,  P = softmax(scores) over the keys,  out = P V
//
// of each head of a batch: Q [queries, depth], K [keys, depth], V [keys, width]. A row whose keys
// are all masked has weights 0. How the work is cut is a function of the shape alone, and each
// result is computed in the same way whichever others are asked for, so the bits depend neither on
// the thread count nor on what runs together.
//
// The forward pass keeps running maxima and sums (Milakov and Gimelshein, "Online normalizer
// calculation for softmax", 2018; Dao et al., "FlashAttention", 2022); the backward pass makes the
// weights of a tile again from each row's normalizer, log(sum of exp(scores)).
#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace tenon::kernels {

// A matrix for each head, any strides (in elements; 0 where it is broadcast).
struct HeadMatrix {
  const void* data = nullptr;
  const std::int64_t* offsets = nullptr;  // where each head's matrix starts, in elements
  std::int64_t row_stride = 0, column_stride = 1;
};

struct AttentionShape {
  std::int64_t heads = 1;  // of the whole batch
  std::int64_t queries = 0, keys = 0, depth = 0, width = 0;
  double scale = 1;
  bool causal = false;  // query i sees keys 0 to i

  friend bool operator==(const AttentionShape&, const AttentionShape&) = default;
};

// What both passes read. `mask` [queries, keys], if its data isn't null: bool (which keys count) or
// of the operands' dtype (added to the scores).
struct AttentionInputs {
  DType dtype = DType::Float32;  // float16, bfloat16, float32, float64
  AttentionShape shape;
  HeadMatrix query, key, value, mask;
  bool bool_mask = false;
};

// The dtype in which scores are computed and normalizers are kept: float32 for the half types.
constexpr DType accumulation_dtype(DType dtype) {
  return dtype == DType::Float64 ? DType::Float64 : DType::Float32;
}

// `out` [heads, queries, width] and `normalizer` [heads, queries] (of the accumulation dtype;
// +inf in a row without keys, so that exp(score - normalizer) is 0), dense; either may be null.
void attention(const AttentionInputs& inputs, void* out, void* normalizer);

// Bytes at most that a pass allocates for a while on the pool's threads. `has_dense_rows`: of no
// operand's matrix need rows be copied for their strides.
std::int64_t attention_scratch(DType dtype, const AttentionShape& shape, bool has_dense_rows,
                               bool is_gradient);

struct AttentionGradients {
  HeadMatrix out, gradient;          // what `attention` gave, and the gradient of `out`
  const void* normalizer = nullptr;  // dense [heads, queries]
  // Dense [heads, queries, depth], [heads, keys, depth], [heads, keys, width]; each may be null.
  void *query = nullptr, *key = nullptr, *value = nullptr;
};
void attention_gradients(const AttentionInputs& inputs, const AttentionGradients& gradients);

}  // namespace tenon::kernels
