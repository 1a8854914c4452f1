// Functions with a derivative of their own: how a call is recorded (see CustomDerivative), and what
// a backward pass does there.
#include <algorithm>
#include <optional>

#include "autograd/autograd.h"
#include "autograd/reverse.h"
#include "core/error.h"
#include "core/shape.h"
#include "trace/library.h"

namespace tenon::autograd {
namespace {

Value append_custom(TypeId type, std::span<const Value> operands, CustomPlace place) {
  const Value value = append(Op::Redirect, type, operands, {}, {});
  Segment& segment = *recorder().segment;
  Node& node = segment.nodes[value.id];
  node.flags |= Node::kCustom;
  node.attributes = static_cast<uint32_t>(segment.customs.size());
  segment.customs.push_back(std::move(place));
  return value;
}

Value append_output(Value value, Value call, int number) {
  const Value operands[] = {ops::stop_gradient(value), call};
  return append_custom(type_id_of(value), operands, {nullptr, number});
}

}  // namespace

Value fit_gradient(Value gradient, const Type& operand, size_t number, std::string_view function) {
  const auto from = type_of(gradient).dims(), to = operand.dims();
  bool fits = from.size() >= to.size();
  for (size_t i = 0; fits && i < to.size(); ++i) {
    fits = to[i] == 1 || to[i] == from[from.size() - to.size() + i];
  }
  check(fits, ErrorKind::Runtime,
        "{}: backward returned an invalid gradient at index {} - got {} but expected shape "
        "compatible with {}",
        function, number, shown(from), shown(to));
  return ops::cast(ops::sum_to(gradient, to), operand.dtype);
}

namespace {

DerivativeMask active_in(const Tensor& x) {
  TraceLock lock;
  const Value value = resolve(*x.cell());
  const Recorder& r = recorder();
  return r.segment->nodes[value.id].active & r.mask();
}

}  // namespace

bool is_differentiated(const Tensor& x) { return active_in(x) != 0; }
bool has_tangent(const Tensor& x) { return (active_in(x) >> 16) != 0; }

std::vector<Tensor> record_custom(Ref<CustomDerivative> derivative, std::span<const Tensor> inputs,
                                  std::span<const Tensor> outputs) {
  OpScope scope("autograd.Function");
  derivative->output_count = outputs.size();
  const Value nothing = ops::literal(0, DType::Float32);
  std::vector<Value> operands{nothing};
  for (const Tensor& input : inputs) operands.push_back(scope.use(input));
  const Value call = append_custom(type_id_of(nothing), operands, {std::move(derivative)});
  std::vector<Tensor> results;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Value value = scope.use(outputs[i]);
    results.push_back(scope.result(append_output(value, call, static_cast<int>(i))));
  }
  return results;
}

// The call's tangents stand in a row, after what stands for its own (library::pack).
Value push_custom(NodeId node, std::span<const Value> tangents, DerivativeMask bit) {
  const Segment& segment = *recorder().segment;
  const CustomPlace place = segment.customs[segment.nodes[node].attributes];
  if (place.output != CustomPlace::kCall) {
    return {tangents[1].id + 1 + static_cast<uint32_t>(place.output)};
  }
  const CustomDerivative& derivative = *place.derivative;
  check(static_cast<bool>(derivative.forward), ErrorKind::NotImplemented,
        "jvp: an autograd.Function without a jvp has a derivative in reverse mode alone");
  std::vector<Tensor> given;
  for (Value tangent : tangents.subspan(1)) {
    given.push_back(tangent ? Tensor(make_cell(tangent)) : Tensor());
  }
  std::vector<Tensor> outputs;
  for (NodeId id = node + 1; outputs.size() < derivative.output_count; ++id) {
    const Node& output = segment.nodes[id];
    if ((output.flags & Node::kCustom) && segment.operands_of(output)[1] == node) {
      outputs.emplace_back(make_cell({id}));
    }
  }
  std::vector<Tensor> results;
  {
    const FreshDepth fresh(bit);
    const TraceUnlock unlock;
    results = derivative.forward(given, outputs);
  }
  check(results.size() == derivative.output_count, ErrorKind::Runtime,
        "autograd.Function: jvp gives {} tangents for {} outputs", results.size(),
        derivative.output_count);
  std::vector<Value> values;
  for (const Tensor& result : results) values.push_back(resolve(*result.cell()));
  return library::pack(values);
}

CustomPlace ReverseWalk::custom_of(const Level& level, uint32_t node) {
  if (level.graph) return level.graph->nodes[node].custom;
  const Segment& open = *recorder().segment;
  return open.customs[open.nodes[node].attributes];
}

// A gradient of an output, to where its call lies.
void ReverseWalk::deliver(Level& level, uint32_t call, int output, Value cotangent) {
  Place elsewhere;
  if (level.graph) {
    const GraphNode& node = level.graph->nodes[call];
    elsewhere = {node.link, node.link_node};
  } else if (const Node& node = recorder().segment->nodes[call]; node.op == Op::Input) {
    const GraphRef& source = recorder().segment->sources[node.attributes].derivative;
    elsewhere = {source.graph(), source.node()};
  }
  if (elsewhere.graph) return deliver(level_of(elsewhere), elsewhere.node, output, cotangent);
  const CustomPlace custom = custom_of(level, call);
  check(static_cast<bool>(custom.derivative), ErrorKind::Runtime,
        "Trying to backward through the graph a second time: the values that an autograd.Function "
        "saved were freed by the first pass. Specify retain_graph=True");
  std::vector<Value>& sums = of_outputs_[{level.graph.get(), call}];
  sums.resize(custom.derivative->output_count);
  sums[output] = sums[output] ? sums[output] + cotangent : cotangent;
  if (call >= level.cotangents.size()) level.cotangents.resize(call + 1);
  level.cotangents[call] = cotangent;  // any: so that the call is visited
  level.highest = std::max(level.highest, call);
}

void ReverseWalk::call_custom(const Level& level, uint32_t node, const CustomDerivative& derivative,
                              std::span<const TypeId> types, std::span<Value> cotangents) {
  std::vector<Tensor> gradients, saved;
  for (Value gradient : of_outputs_[{level.graph.get(), node}]) {
    gradients.push_back(gradient ? Tensor(make_cell(gradient)) : Tensor());
  }
  for (const auto& [output, value] : derivative.saved_outputs) {
    saved.push_back(value);
    if (!is_grad_enabled()) continue;  // nobody differentiates the derivative
    const Value call =
        level.graph ? append_place(types[0], GraphRef(level.graph, node)) : Value{node};
    saved.back() = Tensor(make_cell(append_output(resolve(*value.cell()), call, output)));
  }
  std::vector<Tensor> results;
  {
    // `.backward()` is a depth of its own; of a transform's, those that its rule opens must differ.
    std::optional<FreshDepth> fresh;
    if (bit_ != reverse_bit(0)) fresh.emplace(bit_);
    const TraceUnlock unlock;
    results = derivative.function(gradients, saved);
  }
  check(results.size() + 1 == cotangents.size(), ErrorKind::Internal,
        "autograd.Function: {} gradients for {} inputs", results.size(), cotangents.size() - 1);
  for (size_t i = 0; i < results.size(); ++i) {
    if (!results[i].defined()) continue;
    cotangents[i + 1] =
        fit_gradient(resolve(*results[i].cell()), type_of(types[i + 1]), i, "autograd.Function");
  }
}

}  // namespace tenon::autograd
