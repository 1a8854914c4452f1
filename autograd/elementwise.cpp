// Derivatives of elementwise primitives, both modes, from their partial derivatives in the spec.
#include "autograd/reverse.h"
#include "core/error.h"

namespace tenon::autograd {
namespace {

class Operands {
 public:
  // Fetches what the partial for operand k reads.
  Operands(RuleContext& context, int k) {
    const uint8_t saved = saves_for(context.op, k);
    for (size_t i = 0; i < context.operand_types.size(); ++i) {
      if (saved & (1 << i)) values_[i] = context.operand(static_cast<int>(i));
    }
    if (saved & kSavesResult) out_ = context.result();
  }
  Value partial(Op op, int k) const { return tenon::partial(op, k, values_, out_); }

 private:
  Value values_[3];
  Value out_;
};

// g times the partial derivative for operand k; none where that is zero everywhere.
Value apply_partial(RuleContext& context, int k, Value g) {
  switch (partial_kind(context.op, k)) {
    case PartialKind::Zero:
      return {};
    case PartialKind::One:
      return g;
    case PartialKind::MinusOne:
      return -g;
    case PartialKind::Mask:
      return ops::select(Operands(context, k).partial(context.op, k), g, ops::literal_like(g, 0));
    case PartialKind::Factor:
      return g * Operands(context, k).partial(context.op, k);
  }
  return {};
}

}  // namespace

void transpose_elementwise(RuleContext& context, Value cotangent, std::span<const bool> needs,
                           std::span<Value> cotangents) {
  for (size_t k = 0; k < needs.size(); ++k) {
    if (!needs[k]) continue;
    const Type& operand = context.operand_type(static_cast<int>(k));
    Value g = context.op == Op::Cast ? ops::cast(cotangent, operand.dtype)
                                     : apply_partial(context, static_cast<int>(k), cotangent);
    // A step function's derivative is zero, not absent: the operand still gets a gradient.
    if (!g) g = ops::zeros(operand);
    cotangents[k] = ops::sum_to(g, operand.dims());
  }
}

Value push_forward_elementwise(RuleContext& context, std::span<const Value> tangents) {
  const Type& result = context.result_type();
  Value sum;
  for (size_t k = 0; k < tangents.size(); ++k) {
    if (!tangents[k]) continue;
    const Value term = context.op == Op::Cast
                           ? ops::cast(tangents[k], result.dtype)
                           : apply_partial(context, static_cast<int>(k), tangents[k]);
    if (term) sum = sum ? sum + term : term;
  }
  return sum ? ops::expand(sum, result.dims()) : sum;
}

}  // namespace tenon::autograd
