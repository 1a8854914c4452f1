// Derivatives of users' operations: their own rules, on tensors that stand for the node's values.
#include "trace/library.h"

#include "autograd/reverse.h"
#include "core/error.h"
#include "core/shape.h"

namespace tenon {
namespace {

using library::Arguments;
using library::CallSizes;
using library::Operation;

Tensor as_tensor(Value value) { return value ? Tensor(make_cell(value)) : Tensor(); }

// A list of one entry an operand, as one of an entry an argument.
template <class Entry>
std::vector<Tensor> by_argument(const CallSizes& sizes, Entry entry) {
  std::vector<Tensor> tensors;
  int operand = 0;
  for (bool given : sizes.is_given) tensors.push_back(given ? entry(operand++) : Tensor());
  return tensors;
}

Arguments arguments_of(RuleContext& c, const CallSizes& sizes) {
  return {by_argument(sizes, [&](int k) { return as_tensor(c.operand(k)); }), sizes.attributes};
}

// Where they were recorded, or, of a call of an earlier segment, recorded again: nothing runs again
// unless a rule reads them.
std::vector<Tensor> results_of(RuleContext& c, const CallSizes& sizes) {
  const Segment& segment = *recorder().segment;
  std::vector<Tensor> results;
  if (const Value token = c.node(); token) {
    for (size_t k = 0; k < sizes.results.size(); ++k) {
      const NodeId id = token.id + 1 + static_cast<NodeId>(k);
      if (id >= segment.nodes.size() || segment.nodes[id].op != Op::RegionOutput ||
          segment.operands_of(segment.nodes[id])[0] != token.id) {
        break;
      }
      results.push_back(as_tensor({id}));
    }
    if (results.size() == sizes.results.size()) return results;
  }
  results.clear();
  std::vector<Value> operands;
  for (size_t k = 0; k < c.operand_types.size(); ++k) {
    operands.push_back(c.operand(static_cast<int>(k)));
  }
  for (Value value : library::append_call(Dims(c.axes), operands, sizes)) {
    results.push_back(as_tensor(value));
  }
  return results;
}

std::vector<Tensor> called(const Operation::Backward& rule, const Operation& operation,
                           const char* what, const char* declares, const Arguments& arguments,
                           const std::vector<Tensor>& results, const std::vector<Tensor>& given,
                           size_t expected, DerivativeMask bit) {
  check(static_cast<bool>(rule), ErrorKind::NotImplemented,
        "{} has no derivative in {} mode. Declare one with tenon.library.{}", operation.name, what,
        declares);
  std::vector<Tensor> derivatives;
  {
    const autograd::FreshDepth fresh(bit);
    const TraceUnlock unlock;
    derivatives = rule(arguments, results, given);
  }
  check(derivatives.size() == expected, ErrorKind::Runtime,
        "{}: its derivative in {} mode gives {} tensors, where {} are expected", operation.name,
        what, derivatives.size(), expected);
  return derivatives;
}

}  // namespace

void vjp_Call(RuleContext& c, Value, std::span<const bool> needs, std::span<Value> cotangents) {
  const Operation& operation = library::operation_of(c.axes[0]);
  const CallSizes sizes = library::decode(c.sizes);
  const std::span<const Value> arrived = c.output_cotangents();
  std::vector<Tensor> gradients;
  for (size_t k = 0; k < sizes.results.size(); ++k) {
    gradients.push_back(as_tensor(k < arrived.size() ? arrived[k] : Value{}));
  }
  const std::vector<Tensor> given =
      called(operation.backward, operation, "reverse", "register_autograd", arguments_of(c, sizes),
             results_of(c, sizes), gradients, sizes.is_given.size(), c.bit);
  size_t operand = 0;
  for (size_t k = 0; k < given.size(); ++k) {
    if (!sizes.is_given[k]) continue;
    const size_t at = operand++;
    if (!needs[at] || !given[k].defined()) continue;
    cotangents[at] = autograd::fit_gradient(
        resolve(*given[k].cell()), c.operand_type(static_cast<int>(at)), k, operation.name);
  }
}

Value jvp_Call(RuleContext& c, std::span<const Value> tangents) {
  const Operation& operation = library::operation_of(c.axes[0]);
  const CallSizes sizes = library::decode(c.sizes);
  const std::vector<Tensor> directions =
      by_argument(sizes, [&](int k) { return as_tensor(tangents[static_cast<size_t>(k)]); });
  const std::vector<Tensor> given =
      called(operation.forward, operation, "forward", "register_jvp", arguments_of(c, sizes),
             results_of(c, sizes), directions, sizes.results.size(), c.bit);
  std::vector<Value> results;
  for (size_t k = 0; k < given.size(); ++k) {
    const library::ResultType& type = sizes.results[k];
    if (!given[k].defined()) {
      results.push_back(ops::full(type.dims, ops::literal(0, type.dtype)));
      continue;
    }
    const Value tangent = resolve(*given[k].cell());
    check(std::ranges::equal(dims(tangent), type.dims), ErrorKind::Runtime,
          "{}: the tangent of result {} has size {}, the result {}", operation.name, k,
          shown(dims(tangent)), shown(type.dims));
    results.push_back(ops::cast(tangent, type.dtype));
  }
  return library::pack(results);
}

}  // namespace tenon
