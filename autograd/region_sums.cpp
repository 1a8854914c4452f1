#include "autograd/region_sums.h"

#include "trace/recorder.h"

namespace tenon::autograd {
namespace {

using Test = std::function<bool(Value)>;

const Node& node_of(Value value) { return recorder().segment->nodes[value.id]; }
Value operand(Value value, size_t k) {
  const Segment& segment = *recorder().segment;
  return {segment.operands_of(segment.nodes[value.id])[k]};
}
bool is_alias(Value value, const Test& is_parameter) {
  return node_of(value).op == Op::Alias && !is_parameter(value);
}

Dims with_steps(std::span<const int64_t> axes) {
  Dims all{0};
  for (int64_t axis : axes) all.push_back(axis + 1);
  return all;
}

}  // namespace

Value behind_aliases(Value value, const Test& is_parameter) {
  while (is_alias(value, is_parameter)) value = operand(value, 0);
  return value;
}

bool find_step_leaves(Value term, const Test& is_parameter, const Test& varies,
                      std::vector<Value>& leaves) {
  if (is_parameter(term) || !varies(term)) return false;
  const Segment& segment = *recorder().segment;
  const Node& node = node_of(term);
  const auto add = [&](size_t k) {
    const Value leaf = behind_aliases(operand(term, k), is_parameter);
    leaves.push_back(leaf);
    return varies(leaf);
  };
  switch (node.op) {
    case Op::Alias:
    case Op::Permute:
    case Op::Reshape:
    case Op::Neg:
      return find_step_leaves(operand(term, 0), is_parameter, varies, leaves);
    case Op::Add:
      return type_of(operand(term, 0)).numel == type_of(operand(term, 1)).numel &&
             find_step_leaves(operand(term, 0), is_parameter, varies, leaves) &&
             find_step_leaves(operand(term, 1), is_parameter, varies, leaves);
    case Op::DotGeneral: {
      if (segment.axes_of(node)[0] != 0) return false;
      const int64_t factors = type_of(operand(term, 0)).numel + type_of(operand(term, 1)).numel;
      return factors <= 2 * type_of(term).numel && add(0) && add(1);
    }
    case Op::ReduceSum:
      return is_floating(type_of(term).dtype) && add(0);
    default:
      return false;
  }
}

Value sum_of_steps(Value term, const Test& is_parameter,
                   const std::function<Value(Value)>& stack_of) {
  const Node node = node_of(term);  // a copy, as of the axes: recording moves the arrays
  const Dims axes(recorder().segment->axes_of(node));
  const auto sum = [&](size_t k) { return sum_of_steps(operand(term, k), is_parameter, stack_of); };
  const auto stack = [&](size_t k) {
    return stack_of(behind_aliases(operand(term, k), is_parameter));
  };
  switch (node.op) {
    case Op::Permute:
      return ops::permute(sum(0), axes);
    case Op::Reshape:
      return ops::reshape(sum(0), type_of(node.type).dims());
    case Op::Neg:
      return -sum(0);
    case Op::Add: {
      const Value a = sum(0);
      return a + sum(1);
    }
    case Op::DotGeneral: {
      const std::span<const int64_t> all = axes;
      const auto count = static_cast<size_t>(all[1]);
      const Value a = stack(0), b = stack(1);
      return ops::dot_general(a, b, {}, {}, with_steps(all.subspan(2, count)),
                              with_steps(all.subspan(2 + count, count)));
    }
    case Op::ReduceSum:
      return ops::reduce(Op::ReduceSum, stack(0), with_steps(axes));
    default:
      return sum(0);  // an alias
  }
}

}  // namespace tenon::autograd
