// The derivative of attention. In first order the library computes gradients from each row's
// normalizer; where something differentiates them, or wants the mask's, they are recorded as
// products with the matrix of weights P:
//
//   dP = g V^T,  dS = P (dP - sum of P dP over the keys),  dQ = scale dS K,  dK = scale dS^T Q,
//   dV = P^T g
#include "trace/attention.h"

#include "autograd/reverse.h"
#include "core/error.h"

namespace tenon {
namespace {

using Needs = std::span<const bool>;
using Cotangents = std::span<Value>;
constexpr int kScale = 3, kMask = 4;

ops::Attention attention_of(RuleContext& c) {
  ops::Attention a{c.operand(0), c.operand(1), c.operand(2), c.operand(kScale), {}, c.axes[0] != 0};
  if (c.operand_types.size() > kMask) a.mask = c.operand(kMask);
  return a;
}

// Whether what is recorded from these would be differentiated in turn.
bool is_differentiated(std::initializer_list<Value> values) {
  const Recorder& r = recorder();
  DerivativeMask active = 0;
  for (Value x : values) {
    if (x) active |= r.segment->nodes[x.id].active;
  }
  return (active & r.mask()) != 0;
}

// x - the sum of weights * x over the keys.
Value centred(Value weights, Value x) {
  const int64_t last = rank(x) - 1;
  return x - ops::reduce(Op::ReduceSum, weights * x, {&last, 1}, true);
}

Value scaled(const ops::Attention& a, Value x) { return x * ops::cast(a.scale, dtype(x)); }

}  // namespace

void vjp_Attention(RuleContext& c, Value g, Needs needs, Cotangents out) {
  const ops::Attention a = attention_of(c);
  check(!needs[kScale], ErrorKind::Internal, "attention: its scale has no derivative");
  const bool needs_mask = needs.size() > kMask && needs[kMask];
  if (!needs_mask && !is_differentiated({a.query, a.key, a.value, a.mask, g})) {
    const Value result = c.result(), normalizer = ops::attention_normalizer(a);
    for (int k = 0; k < 3; ++k) {
      if (needs[k]) out[k] = ops::attention_gradient(a, k, result, normalizer, g);
    }
    return;
  }
  const Value weights = ops::attention_weights(a);
  if (needs[2]) out[2] = ops::batched_transposed_product(weights, g);
  if (!needs[0] && !needs[1] && !needs_mask) return;
  const Value scores = weights * centred(weights, ops::batched_product_transposed(g, a.value));
  if (needs[0]) out[0] = scaled(a, ops::batched_product(scores, a.key));
  if (needs[1]) out[1] = scaled(a, ops::batched_transposed_product(scores, a.query));
  if (needs_mask) out[kMask] = scores;
}

Value jvp_Attention(RuleContext& c, std::span<const Value> t) {
  const ops::Attention a = attention_of(c);
  check(!t[kScale], ErrorKind::Internal, "attention: its scale has no derivative");
  const Value weights = ops::attention_weights(a);
  Value scores;
  const auto add = [&](Value term) { scores = scores ? scores + term : term; };
  if (t[0]) add(scaled(a, ops::batched_product_transposed(t[0], a.key)));
  if (t[1]) add(scaled(a, ops::batched_product_transposed(a.query, t[1])));
  if (t.size() > kMask && t[kMask]) add(t[kMask]);
  Value result;
  if (scores) result = ops::batched_product(weights * centred(weights, scores), a.value);
  if (!t[2]) return result;
  const Value direct = ops::batched_product(weights, t[2]);
  return result ? result + direct : direct;
}

// Recorded only where nothing differentiates them.
void vjp_AttentionNormalizer(RuleContext&, Value, Needs, Cotangents) {
  fail(ErrorKind::Internal, "the derivative of attention_normalizer was asked for");
}
void vjp_AttentionGradient(RuleContext&, Value, Needs, Cotangents) {
  fail(ErrorKind::Internal, "the derivative of attention_gradient was asked for");
}
Value jvp_AttentionNormalizer(RuleContext& c, std::span<const Value>) {
  vjp_AttentionNormalizer(c, {}, {}, {});
  return {};
}
Value jvp_AttentionGradient(RuleContext& c, std::span<const Value>) {
  vjp_AttentionGradient(c, {}, {}, {});
  return {};
}

}  // namespace tenon
