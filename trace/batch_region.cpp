// Batching of regions: a scan of a batch is a scan whose body is batched.
#include <algorithm>
#include <array>

#include "core/error.h"
#include "trace/batch.h"
#include "trace/recorder.h"
#include "trace/region.h"

namespace tenon {
namespace {

TypeId batched_type(TypeId id, int64_t extent) { return stacked(id, extent); }

bool everything(uint32_t) { return true; }

// A body's nodes on inputs of which some have the batch at axis 0. What the body recorded under
// no_grad stays so.
std::vector<Value> batch_body(const Region& region, std::span<const Value> inputs,
                              std::span<const uint8_t> is_batched, int64_t extent) {
  const std::vector<uint8_t> batched = reached(region, is_batched, everything);
  const Program& program = region.program;
  const auto same = [](DerivativeMask mask) { return mask; };
  const auto rewrite = [&](uint32_t n, std::span<const Value> operands) {
    if (!batched[n]) return Value{};
    const ProgramNode& node = program.nodes[n];
    std::vector<TypeId> types;
    std::array<bool, 256> flags{};
    for (uint32_t operand : program.operands_of(node)) {
      flags[types.size()] = batched[operand] != 0;
      types.push_back(program.nodes[operand].type);
    }
    const size_t first = recorder().segment->nodes.size();
    const Value value = batch_rule(node.op)({node.op,
                                             node.type,
                                             types,
                                             operands,
                                             {flags.data(), types.size()},
                                             program.axes_of(node),
                                             program.sizes_of(node),
                                             extent});
    auto& nodes = recorder().segment->nodes;
    for (size_t id = first; id < nodes.size(); ++id) nodes[id].mask = region.masks[n];
    return value;
  };
  std::vector<Value> values = replay(region, inputs, same, rewrite);
  std::vector<Value> outputs;
  for (uint32_t output : program.outputs) {
    const Value value = values[output];
    outputs.push_back(
        batched[output] ? value : ops::expand(value, batched_dims(extent, type_of(value).dims())));
  }
  return outputs;
}

// Which of the carried values get a batch: those that begin with one, or are computed from one.
std::vector<uint8_t> batched_inputs(const Region& region, std::span<const bool> operands,
                                    size_t carried) {
  std::vector<uint8_t> inputs(operands.begin(), operands.begin() + region.program.inputs.size());
  for (bool grew = true; grew;) {
    grew = false;
    const std::vector<uint8_t> batched = reached(region, inputs, everything);
    for (size_t k = 0; k < carried; ++k) {
      if (inputs[k] || !batched[region.program.outputs[k]]) continue;
      inputs[k] = 1;
      grew = true;
    }
  }
  return inputs;
}

// The token of outputs that a region's node has just given.
Value token_of(std::span<const Value> outputs) { return {outputs[0].id - 1}; }

}  // namespace

Value batch_Scan(const BatchContext& c) {
  const auto carried = static_cast<size_t>(c.axes[0]), xs_count = static_cast<size_t>(c.axes[1]);
  const bool reverse = c.axes[2] != 0;
  const int64_t length = c.sizes[0];
  const Region& region = region_of(c.axes[3]);
  const std::vector<uint8_t> batched = batched_inputs(region, c.batched, carried);
  RegionRecording body("scan", length);
  std::vector<Value> inputs, carry, xs;
  for (size_t k = 0; k < region.program.inputs.size(); ++k) {
    const int operand = static_cast<int>(k);
    if (k >= carried + xs_count) {
      inputs.push_back(c.operands[k]);
      continue;
    }
    const TypeId type = region.input_type(k);
    inputs.push_back(body.parameter(batched[k] ? batched_type(type, c.extent) : type));
    if (k < carried) {
      carry.push_back(batched[k] ? c.batch(operand) : c.operands[k]);
    } else {
      xs.push_back(batched[k] ? ops::move_axis(c.operands[k], 0, 1) : c.operands[k]);
    }
  }
  std::vector<Value> outputs = batch_body(region, inputs, batched, c.extent);
  for (size_t k = 0; k < carried; ++k) {
    if (!batched[k]) outputs[k] = ops::slice_axis(outputs[k], 0, 0, std::min<int64_t>(1, c.extent));
    if (!batched[k]) outputs[k] = ops::reshape(outputs[k], type_of(region.input_type(k)).dims());
  }
  body.finish(outputs);
  return token_of(record_scan(body, std::span(inputs).first(carried + xs_count), carry, xs, length,
                              reverse, region.tangents));
}

Value batch_While(const BatchContext& c) {
  const auto carried = static_cast<size_t>(c.axes[0]);
  const Region &condition = region_of(c.axes[1]), &body = region_of(c.axes[2]);
  std::vector<uint8_t> batched = batched_inputs(body, c.batched, carried);
  const auto asks_each = [&] {
    return reached(condition, std::span(batched).first(condition.program.inputs.size()),
                   everything)[condition.program.outputs[0]] != 0;
  };
  // Examples that are done keep their values, so that everything carried differs.
  const bool each = asks_each();
  if (each) std::fill_n(batched.begin(), carried, uint8_t{1});
  RegionRecording condition_recording("while_loop", RegionRecording::kNoSteps);
  RegionRecording body_recording("while_loop", RegionRecording::kNoSteps);
  const auto parameters = [&](RegionRecording& recording) {
    std::vector<Value> inputs;
    for (size_t k = 0; k < c.operands.size(); ++k) {
      if (k >= carried) {
        inputs.push_back(c.operands[k]);
        continue;
      }
      const TypeId type = body.input_type(k);
      inputs.push_back(recording.parameter(batched[k] ? batched_type(type, c.extent) : type));
    }
    return inputs;
  };
  const auto holds = [&](std::span<const Value> inputs) {
    return batch_body(condition, inputs, batched, c.extent)[0];
  };
  const std::vector<Value> asked = parameters(condition_recording);
  Value more = holds(asked);
  more = each ? ops::reduce(Op::ReduceAny, more, {{0}})
              : ops::reshape(ops::slice_axis(more, 0, 0, std::min<int64_t>(1, c.extent)), {});
  condition_recording.finish({&more, 1});
  const std::vector<Value> inputs = parameters(body_recording);
  std::vector<Value> outputs = batch_body(body, inputs, batched, c.extent);
  const Value running = each ? holds(inputs) : Value{};
  for (size_t k = 0; k < carried; ++k) {
    if (!batched[k]) {
      outputs[k] = ops::reshape(ops::slice_axis(outputs[k], 0, 0, std::min<int64_t>(1, c.extent)),
                                type_of(body.input_type(k)).dims());
    } else if (each) {
      Dims dims(type_of(inputs[k]).rank, 1);
      dims[0] = c.extent;
      outputs[k] = ops::select(ops::reshape(running, dims), outputs[k], inputs[k]);
    }
  }
  body_recording.finish(outputs);
  std::vector<Value> carry;
  for (size_t k = 0; k < carried; ++k) {
    carry.push_back(batched[k] ? c.batch(static_cast<int>(k)) : c.operands[k]);
  }
  return token_of(record_while(condition_recording, std::span(asked).first(carried), body_recording,
                               std::span(inputs).first(carried), carry, body.tangents));
}

// A predicate for each example: both branches run, and a select chooses.
Value batch_Cond(const BatchContext& c) {
  const Region* branches[] = {&region_of(c.axes[0]), &region_of(c.axes[1])};
  std::vector<uint8_t> batched(c.batched.begin() + 1, c.batched.end());
  const auto operands = c.operands.subspan(1);
  const auto run = [&](int branch) {
    return batch_body(*branches[branch], operands.first(branches[branch]->program.inputs.size()),
                      batched, c.extent);
  };
  if (!c.batched[0]) {
    RegionRecording if_true("cond", RegionRecording::kOnce);
    const std::vector<Value> a = run(0);
    RegionRecording if_false("cond", RegionRecording::kOnce);
    if_true.finish(a);
    if_false.finish(run(1));
    return token_of(record_cond(if_true, if_false, c.operands[0], branches[0]->tangents));
  }
  RegionRecording both("cond", RegionRecording::kOnce);
  const std::vector<Value> a = run(0), b = run(1);
  std::vector<Value> chosen;
  for (size_t k = 0; k < a.size(); ++k) {
    Dims dims(type_of(a[k]).rank, 1);
    dims[0] = c.extent;
    chosen.push_back(ops::select(ops::reshape(c.operands[0], dims), a[k], b[k]));
  }
  both.finish(chosen);
  return token_of(record_cond(both, both, ops::literal(1, DType::Bool), branches[0]->tangents));
}

Value batch_RegionOutput(const BatchContext& c) {
  const Segment& segment = *recorder().segment;
  const Node& owner = segment.nodes[c.operands[0].id];
  const Value output{c.operands[0].id + 1 + static_cast<uint32_t>(c.axes[0])};
  if (type_of(output).rank == type_of(c.type).rank) {
    return ops::expand(output, batched_dims(c.extent, type_of(c.type).dims()));
  }
  const bool is_stack = owner.op == Op::Scan && c.axes[0] >= segment.axes_of(owner)[0];
  return is_stack ? ops::move_axis(output, 1, 0) : output;
}

}  // namespace tenon
