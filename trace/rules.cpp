// The tables of rules, made from the spec's list of structural primitives: one without a rule
// does not link.
#include "trace/rules.h"

#include <array>

namespace tenon {

#define TENON_STRUCTURAL(Name)                                                                \
  TypeId infer_##Name(Op op, std::span<const TypeId> operands, std::span<const int64_t> axes, \
                      std::span<const int64_t> sizes);                                        \
  Value batch_##Name(const BatchContext& context);
#include "generated/structural.inc"
#undef TENON_STRUCTURAL
Value batch_Elementwise(const BatchContext& context);

namespace {

template <class Rule>
using Table = std::array<Rule, kOpCount>;

constexpr Table<InferRule> infer_rules = [] {
  Table<InferRule> table{};
#define TENON_STRUCTURAL(Name) table[static_cast<size_t>(Op::Name)] = infer_##Name;
#include "generated/structural.inc"
#undef TENON_STRUCTURAL
  return table;
}();

constexpr Table<BatchRule> batch_rules = [] {
  Table<BatchRule> table{};
  table.fill(batch_Elementwise);
#define TENON_STRUCTURAL(Name) table[static_cast<size_t>(Op::Name)] = batch_##Name;
#include "generated/structural.inc"
#undef TENON_STRUCTURAL
  return table;
}();

}  // namespace

InferRule infer_rule(Op op) { return infer_rules[static_cast<size_t>(op)]; }
BatchRule batch_rule(Op op) { return batch_rules[static_cast<size_t>(op)]; }
uint8_t saves(Op op, int operand) { return saves_for(op, operand); }

}  // namespace tenon
