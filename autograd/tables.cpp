// The tables of derivative rules, made from the spec's list of structural primitives: one without
// a transpose does not link, and one that is neither linear nor bilinear must have a forward rule.
#include <array>

#include "autograd/reverse.h"
#include "core/error.h"

namespace tenon {

#define TENON_STRUCTURAL(Name)                                                        \
  void vjp_##Name(RuleContext& context, Value cotangent, std::span<const bool> needs, \
                  std::span<Value> cotangents);
#include "generated/structural.inc"
#undef TENON_STRUCTURAL

#define TENON_FORWARD_RULES(apply)                                                               \
  apply(ReduceMax) apply(ReduceMin) apply(ReduceProd) apply(Cumprod) apply(Cummax) apply(Cummin) \
      apply(Scan) apply(While) apply(Call) apply(Cond) apply(RegionOutput) apply(Attention)      \
          apply(AttentionNormalizer) apply(AttentionGradient) apply(TriangularSolve)             \
              apply(Cholesky) apply(Lu) apply(Qr) apply(Eigh) apply(Eig) apply(Svd)
#define TENON_DECLARE(Name) Value jvp_##Name(RuleContext&, std::span<const Value>);
TENON_FORWARD_RULES(TENON_DECLARE)
#undef TENON_DECLARE

namespace {

// Linear primitives are their own forward mode: operands with a tangent are replaced by it, the
// others in which it is jointly linear by zero, the rest (indices) stay.
Value jvp_linear(RuleContext& c, std::span<const Value> tangents) {
  std::vector<Value> operands(tangents.size());
  for (size_t k = 0; k < tangents.size(); ++k) {
    const Type& type = c.operand_type(static_cast<int>(k));
    const bool linear = info(c.op).operands == kVariadic || (info(c.op).linear_in >> k & 1);
    operands[k] = tangents[k] ? tangents[k]
                  : linear    ? ops::zeros(type)
                              : c.operand(static_cast<int>(k));
  }
  const Dims axes(c.axes), sizes(c.sizes);
  if (c.op == Op::Slice) {
    const int rank = c.result_type().rank;
    return ops::slice(operands[0], std::span(sizes).first(rank), std::span(sizes).subspan(rank),
                      c.result_type().dims());
  }
  return ops::primitive(c.op, operands, axes, sizes);
}

// Bilinear ones: the sum over the operands of the product with that operand's tangent.
Value jvp_bilinear(RuleContext& c, std::span<const Value> tangents) {
  Value sum;
  const Dims axes(c.axes), sizes(c.sizes);
  for (int k = 0; k < 2; ++k) {
    if (!tangents[k]) continue;
    const Value operands[] = {k == 0 ? tangents[0] : c.operand(0),
                              k == 1 ? tangents[1] : c.operand(1)};
    const Value term = ops::primitive(c.op, operands, axes, sizes);
    sum = sum ? sum + term : term;
  }
  return sum;
}

Value jvp_none(RuleContext&, std::span<const Value>) { return {}; }
Value jvp_Redirect(RuleContext&, std::span<const Value> tangents) {
  if (!tangents[0] || !tangents[1]) return tangents[0] ? tangents[0] : tangents[1];
  return tangents[0] + tangents[1];
}

template <class Rule>
using Table = std::array<Rule, kOpCount>;

constexpr Table<VjpRule> vjp_rules = [] {
  Table<VjpRule> table{};
#define TENON_STRUCTURAL(Name) table[static_cast<size_t>(Op::Name)] = vjp_##Name;
#include "generated/structural.inc"
#undef TENON_STRUCTURAL
  return table;
}();

// Calls enter(op, rule) for every forward rule.
template <class Enter>
constexpr void enter_forward_rules(Enter&& enter) {
  for (Op op : {Op::Input, Op::Constant, Op::Iota, Op::RandomBits, Op::ReduceAny, Op::ReduceAll,
                Op::Argmax, Op::Argmin, Op::Argsort, Op::LuPermutation}) {
    enter(op, jvp_none);
  }
#define TENON_ENTER(Name) enter(Op::Name, jvp_##Name);
  TENON_FORWARD_RULES(TENON_ENTER)
  TENON_ENTER(Redirect)
#undef TENON_ENTER
  for (size_t i = 0; i < kOpCount; ++i) {
    const auto op = static_cast<Op>(i);
    if (kPrimitives[i].linear && op != Op::TriangularSolve) enter(op, jvp_linear);
    if (kPrimitives[i].bilinear) enter(static_cast<Op>(i), jvp_bilinear);
  }
}

constexpr Table<JvpRule> jvp_rules = [] {
  Table<JvpRule> table{};
  enter_forward_rules([&](Op op, JvpRule rule) { table[static_cast<size_t>(op)] = rule; });
  return table;
}();

// Counted apart from the table: under UBSan, GCC doesn't compare addresses of functions with null
// in constant expressions.
constexpr bool every_structural_has_forward_rule = [] {
  Table<bool> entered{};
  enter_forward_rules([&](Op op, JvpRule) { entered[static_cast<size_t>(op)] = true; });
  for (size_t i = 0; i < kOpCount; ++i) {
    if (!kPrimitives[i].elementwise && !entered[i]) return false;
  }
  return true;
}();
static_assert(every_structural_has_forward_rule, "a primitive lacks its forward-mode rule");

}  // namespace

VjpRule vjp_rule(Op op) { return vjp_rules[static_cast<size_t>(op)]; }
JvpRule jvp_rule(Op op) { return jvp_rules[static_cast<size_t>(op)]; }

namespace autograd {

void transpose_elementwise(RuleContext&, Value, std::span<const bool>, std::span<Value>);
Value push_forward_elementwise(RuleContext&, std::span<const Value>);

void transpose(RuleContext& context, Value cotangent, std::span<const bool> needs,
               std::span<Value> cotangents) {
  if (is_elementwise(context.op)) {
    transpose_elementwise(context, cotangent, needs, cotangents);
  } else {
    vjp_rule(context.op)(context, cotangent, needs, cotangents);
  }
}

Value push_forward(RuleContext& context, std::span<const Value> tangents) {
  return is_elementwise(context.op) ? push_forward_elementwise(context, tangents)
                                    : jvp_rule(context.op)(context, tangents);
}

}  // namespace autograd
}  // namespace tenon
