// Forward mode of regions: the loop of the values and their tangents together.
#include "autograd/reverse.h"
#include "core/error.h"
#include "trace/region.h"

namespace tenon {
namespace {

using Flags = std::vector<uint8_t>;

Value zeros_of(TypeId id) {
  const Type& type = type_of(id);
  return ops::zeros(type);
}

struct Pushed {
  std::vector<Value> values, tangents;  // of the outputs; a tangent may be none
};

// The body's nodes and, right after each, its tangent.
Pushed push_body(const Region& region, std::span<const Value> inputs,
                 std::span<const Value> input_tangents, DerivativeMask bit) {
  const Program& program = region.program;
  Recorder& r = recorder();
  const uint16_t blocked = r.blocked;
  std::vector<Value> tangents(program.nodes.size());
  size_t input = 0;
  for (uint32_t n = 0; n < program.nodes.size(); ++n) {
    if (program.nodes[n].op == Op::Input) tangents[n] = input_tangents[input++];
  }
  const auto same = [](DerivativeMask mask) { return mask; };
  const auto rewrite = [&](uint32_t n, std::span<const Value> operands) {
    const ProgramNode& node = program.nodes[n];
    const DerivativeMask mask = region.masks[n];
    const Value value = append_masked(node.op, node.type, operands, program.axes_of(node),
                                      program.sizes_of(node), mask);
    std::vector<Value> given;
    bool any = false;
    for (uint32_t operand : program.operands_of(node)) {
      given.push_back(mask & bit ? tangents[operand] : Value{});
      any = any || given.back();
    }
    if (!any || !is_differentiable(type_of(node.type).dtype)) return value;
    autograd::NodeContext context(value.id, bit);
    r.blocked = static_cast<uint16_t>(blocked | ~mask);  // as in ForwardTransform::exit
    tangents[n] = autograd::push_forward(context, given);
    r.blocked = blocked;
    return value;
  };
  const std::vector<Value> values = replay(region, inputs, same, rewrite);
  Pushed pushed;
  for (uint32_t output : program.outputs) {
    pushed.values.push_back(values[output]);
    pushed.tangents.push_back(tangents[output]);
  }
  return pushed;
}

Value token_of(std::span<const Value> outputs) { return {outputs[0].id - 1}; }

std::vector<Value> operands_of(RuleContext& c) {
  std::vector<Value> operands;
  for (size_t k = 0; k < c.operand_types.size(); ++k) {
    operands.push_back(c.operand(static_cast<int>(k)));
  }
  return operands;
}

Flags given(std::span<const Value> tangents) {
  Flags flags;
  for (Value tangent : tangents) flags.push_back(static_cast<bool>(tangent));
  return flags;
}

}  // namespace

Value jvp_Scan(RuleContext& c, std::span<const Value> tangents) {
  const auto carried = static_cast<size_t>(c.axes[0]), xs_count = static_cast<size_t>(c.axes[1]);
  const Region& region = region_of(c.axes[3]);
  const size_t count = region.program.inputs.size();
  const std::vector<Value> operands = operands_of(c);
  const Flags active = with_carried(region, given(tangents.first(count)), carried, c.bit);
  RegionRecording body("scan", c.sizes[0]);
  std::vector<Value> inputs(count), directions(count);
  std::vector<Value> parameters, carry, xs, x_parameters;
  const auto enter = [&](size_t k, std::vector<Value>& made, std::vector<Value>& begin) {
    inputs[k] = body.parameter(region.input_type(k));
    made.push_back(inputs[k]);
    begin.push_back(operands[k]);
  };
  const auto enter_tangent = [&](size_t k, std::vector<Value>& made, std::vector<Value>& begin) {
    if (!active[k]) return;
    directions[k] = body.parameter(region.input_type(k));
    made.push_back(directions[k]);
    begin.push_back(tangents[k] ? tangents[k] : zeros_of(c.operand_types[k]));
  };
  for (size_t k = 0; k < carried; ++k) enter(k, parameters, carry);
  for (size_t k = 0; k < carried; ++k) enter_tangent(k, parameters, carry);
  for (size_t k = carried; k < carried + xs_count; ++k) enter(k, x_parameters, xs);
  for (size_t k = carried; k < carried + xs_count; ++k) enter_tangent(k, x_parameters, xs);
  for (size_t k = carried + xs_count; k < count; ++k) {
    inputs[k] = operands[k];
    directions[k] = tangents[k];
  }
  parameters.insert(parameters.end(), x_parameters.begin(), x_parameters.end());

  const Pushed pushed = push_body(region, inputs, directions, c.bit);
  const size_t output_count = pushed.values.size();
  std::vector<int32_t> places(output_count, -1);
  std::vector<Value> outputs;
  const auto leave = [&](size_t first, size_t last) {
    for (size_t k = first; k < last; ++k) outputs.push_back(pushed.values[k]);
    for (size_t k = first; k < last; ++k) {
      if (k < carried ? !active[k] : !pushed.tangents[k]) continue;
      places[k] = static_cast<int32_t>(outputs.size());
      outputs.push_back(pushed.tangents[k] ? pushed.tangents[k] : zeros_of(region.output_type(k)));
    }
  };
  leave(0, carried);
  leave(carried, output_count);
  body.finish(outputs);
  return token_of(record_scan(body, parameters, carry, xs, c.sizes[0], c.axes[2] != 0, places));
}

Value jvp_While(RuleContext& c, std::span<const Value> tangents) {
  const auto carried = static_cast<size_t>(c.axes[0]);
  const Region &condition = region_of(c.axes[1]), &region = region_of(c.axes[2]);
  const size_t count = region.program.inputs.size();
  const std::vector<Value> operands = operands_of(c);
  const Flags active = with_carried(region, given(tangents), carried, c.bit);
  RegionRecording asking("while_loop", RegionRecording::kNoSteps);
  RegionRecording body("while_loop", RegionRecording::kNoSteps);
  std::vector<Value> begin(operands.begin(), operands.begin() + carried);
  for (size_t k = 0; k < carried; ++k) {
    if (active[k]) begin.push_back(tangents[k] ? tangents[k] : zeros_of(c.operand_types[k]));
  }
  const auto enter = [&](RegionRecording& recording) {
    std::vector<Value> parameters;
    for (Value value : begin) parameters.push_back(recording.parameter(type_id_of(value)));
    return parameters;
  };
  const auto with_constants = [&](std::span<const Value> parameters) {
    std::vector<Value> inputs(parameters.begin(), parameters.begin() + carried);
    inputs.insert(inputs.end(), operands.begin() + carried, operands.end());
    return inputs;
  };
  const std::vector<Value> asked = enter(asking);
  const auto same = [](DerivativeMask mask) { return mask; };
  const std::vector<Value> answers = replay(condition, with_constants(asked), same);
  asking.finish({{answers[condition.program.outputs[0]]}});

  const std::vector<Value> parameters = enter(body);
  std::vector<Value> directions(count);
  size_t next = carried;
  for (size_t k = 0; k < carried; ++k) {
    if (active[k]) directions[k] = parameters[next++];
  }
  for (size_t k = carried; k < count; ++k) directions[k] = tangents[k];
  const Pushed pushed = push_body(region, with_constants(parameters), directions, c.bit);
  std::vector<Value> outputs = pushed.values;
  std::vector<int32_t> places(carried, -1);
  for (size_t k = 0; k < carried; ++k) {
    if (!active[k]) continue;
    places[k] = static_cast<int32_t>(outputs.size());
    outputs.push_back(pushed.tangents[k] ? pushed.tangents[k] : zeros_of(region.input_type(k)));
  }
  body.finish(outputs);
  return token_of(record_while(asking, asked, body, parameters, begin, places));
}

Value jvp_Cond(RuleContext& c, std::span<const Value> tangents) {
  const Region* branches[] = {&region_of(c.axes[0]), &region_of(c.axes[1])};
  const std::vector<Value> operands = operands_of(c);
  const auto push = [&](int k) {
    const size_t count = branches[k]->program.inputs.size();
    return push_body(*branches[k], std::span(operands).subspan(1, count),
                     tangents.subspan(1, count), c.bit);
  };
  RegionRecording if_true("cond", RegionRecording::kOnce);
  Pushed a = push(0);
  RegionRecording if_false("cond", RegionRecording::kOnce);
  Pushed b = push(1);
  std::vector<int32_t> places(a.values.size(), -1);
  for (size_t k = 0; k < places.size(); ++k) {
    if (a.tangents[k] || b.tangents[k]) places[k] = 0;
  }
  const auto outputs = [&](const Pushed& from) {
    std::vector<Value> all = from.values;
    for (size_t k = 0; k < places.size(); ++k) {
      if (places[k] < 0) continue;
      places[k] = static_cast<int32_t>(all.size());
      all.push_back(from.tangents[k] ? from.tangents[k] : zeros_of(branches[0]->output_type(k)));
    }
    return all;
  };
  if_true.finish(outputs(a));
  if_false.finish(outputs(b));
  return token_of(record_cond(if_true, if_false, operands[0], places));
}

// The tangent of a token is the token of the region of the tangents.
Value jvp_RegionOutput(RuleContext& c, std::span<const Value> tangents) {
  const Segment& segment = *recorder().segment;
  const Node& owner = segment.nodes[tangents[0].id];
  // The tangents of a call's results, each in its place (library::pack).
  if (!is_region(owner.op)) return {tangents[0].id + 1 + static_cast<uint32_t>(c.axes[0])};
  const Region& region = region_of(region_ids(owner.op, segment.axes_of(owner)).back());
  const int32_t at = region.tangents[static_cast<size_t>(c.axes[0])];
  return at < 0 ? Value{} : Value{tangents[0].id + 1 + static_cast<uint32_t>(at)};
}

}  // namespace tenon
