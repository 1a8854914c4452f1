// scaled_dot_product_attention: what PyTorch's takes, as the primitives of trace/attention.h take
// it.
#include "trace/attention.h"

#include <cmath>

#include "core/error.h"
#include "core/shape.h"
#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/tensor.h"

namespace tenon::values {
namespace {

Dims batch_of(Value x) { return Dims(dims(x).first(static_cast<size_t>(rank(x)) - 2)); }

void check_operands(Value query, Value key, Value value, Value mask, bool is_causal) {
  for (Value x : {query, key, value}) {
    check(rank(x) >= 2, ErrorKind::Runtime,
          "scaled_dot_product_attention: Expected query, key, and value to all be at least 2 "
          "dimensional, but got {}",
          shown(dims(x)));
    check(dtype(x) == dtype(query), ErrorKind::Runtime,
          "scaled_dot_product_attention: Expected query, key, and value to have the same dtype, "
          "but got: {} != {}",
          name_of(dtype(query)), name_of(dtype(x)));
  }
  check(is_floating(dtype(query)), ErrorKind::Runtime,
        "scaled_dot_product_attention: expected floating tensors, but got {}",
        name_of(dtype(query)));
  check(!(is_causal && mask), ErrorKind::Runtime,
        "scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True");
  const Dims q(dims(query)), k(dims(key)), v(dims(value));
  check(q[q.size() - 1] == k[k.size() - 1], ErrorKind::Runtime,
        "scaled_dot_product_attention: query and key have {} and {} features: {} and {}",
        q[q.size() - 1], k[k.size() - 1], shown(q), shown(k));
  check(k[k.size() - 2] == v[v.size() - 2], ErrorKind::Runtime,
        "scaled_dot_product_attention: {} keys and {} values: {} and {}", k[k.size() - 2],
        v[v.size() - 2], shown(k), shown(v));
  check(!mask || dtype(mask) == DType::Bool || is_floating(dtype(mask)), ErrorKind::Runtime,
        "scaled_dot_product_attention: expected a floating or bool attn_mask, but got {}",
        mask ? name_of(dtype(mask)) : "");
}

// [..., heads, rows, columns] with the heads as (groups, heads of a group).
Value split_heads(Value x, int64_t groups) {
  Dims shape(dims(x));
  const size_t at = shape.size() - 3;
  shape[at] /= groups;
  shape.insert(shape.begin() + static_cast<std::ptrdiff_t>(at), groups);
  return ops::reshape(x, shape);
}

// Each group of query heads shares a head of keys and values: a dimension that those lack.
void group_heads(ops::Attention& a) {
  for (Value x : {a.query, a.key, a.value}) {
    check(rank(x) >= 3, ErrorKind::Runtime,
          "scaled_dot_product_attention: enable_gqa wants dimensions (..., heads, length, "
          "features), but got {}",
          shown(dims(x)));
  }
  const int64_t heads = dims(a.query)[rank(a.query) - 3];
  const int64_t groups = dims(a.key)[rank(a.key) - 3];
  check(groups > 0 && heads % groups == 0 && dims(a.value)[rank(a.value) - 3] == groups,
        ErrorKind::Runtime, "scaled_dot_product_attention: {} query heads for {} key heads", heads,
        groups);
  a.query = split_heads(a.query, groups);
  a.key = ops::unsqueeze(a.key, rank(a.key) - 2);
  a.value = ops::unsqueeze(a.value, rank(a.value) - 2);
  if (a.mask && rank(a.mask) >= 3) {
    const bool is_shared = dims(a.mask)[rank(a.mask) - 3] == 1;
    a.mask = split_heads(a.mask, is_shared ? 1 : groups);
  }
}

// The operands with one batch, the mask over all scores.
void broadcast(ops::Attention& a) {
  const Dims scores{dims(a.query)[rank(a.query) - 2], dims(a.key)[rank(a.key) - 2]};
  Dims batch = broadcast_dims(batch_of(a.query), batch_of(a.key));
  batch = broadcast_dims(batch, batch_of(a.value));
  if (a.mask && rank(a.mask) > 2) batch = broadcast_dims(batch, batch_of(a.mask));
  for (Value* x : {&a.query, &a.key, &a.value}) {
    Dims shape(batch);
    const auto matrix = dims(*x).last(2);
    shape.append(matrix.begin(), matrix.end());
    *x = ops::expand(*x, shape);
  }
  if (!a.mask) return;
  batch.append(scores.begin(), scores.end());
  if (dtype(a.mask) != DType::Bool) a.mask = ops::cast(a.mask, dtype(a.query));
  a.mask = ops::expand(a.mask, batch);
}

// With one query the weights are a row: its products with keys and values stream them at the speed
// of memory.
constexpr int64_t kFewestQueries = 2;

}  // namespace

Value scaled_dot_product_attention(Value query, Value key, Value value, Value attn_mask,
                                   double dropout_p, bool is_causal, std::optional<double> scale,
                                   bool enable_gqa) {
  check_operands(query, key, value, attn_mask, is_causal);
  const int64_t depth = dims(query)[rank(query) - 1];
  const double factor = scale.value_or(1.0 / std::sqrt(static_cast<double>(depth)));
  ops::Attention a{query, key, value, ops::scalar(factor, DType::Float64), attn_mask, is_causal};
  if (enable_gqa) group_heads(a);
  broadcast(a);
  const auto last = [](Value x, int64_t from_end) { return dims(x)[rank(x) - from_end]; };
  const bool is_empty =
      last(a.key, 2) == 0 || last(a.value, 1) == 0 || last(a.query, 2) == 0 || depth == 0;
  Value result;
  const bool is_row = last(a.query, 2) < kFewestQueries;
  const bool is_tiled =
      type_of(query).device.is_cpu();  // the host alone has the primitive's kernel
  if (is_empty || is_row || !is_tiled || dropout_p > 0) {
    Value weights = ops::attention_weights(a);
    if (dropout_p > 0) weights = dropout(weights, dropout_p, true);
    result = ops::batched_product(weights, a.value);
  } else {
    result = ops::attention(a);
  }
  if (!enable_gqa) return result;
  // (groups, heads of a group) are heads again.
  Dims joined(dims(result));
  const size_t at = joined.size() - 4;
  joined[at + 1] *= joined[at];
  joined.erase(joined.begin() + static_cast<std::ptrdiff_t>(at));
  return ops::reshape(result, joined);
}

}  // namespace tenon::values
