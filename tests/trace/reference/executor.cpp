#include "tests/trace/reference/executor.h"

#include <map>

#include "tests/trace/reference/array.h"
#include "trace/region.h"

namespace tenon::reference {
namespace {

using Arrays = std::vector<Array>;

Arrays evaluate(const Program& program, const Arrays& inputs);

// Element t of a stack along axis 0.
Array element(const Array& stack, int64_t t) {
  Array array;
  array.dtype = stack.dtype;
  array.dims = Dims(std::span<const int64_t>(stack.dims).subspan(1));
  const int64_t n = array.numel();
  if (stack.is_real()) {
    array.real.assign(stack.real.begin() + t * n, stack.real.begin() + (t + 1) * n);
  } else {
    array.whole.assign(stack.whole.begin() + t * n, stack.whole.begin() + (t + 1) * n);
  }
  return array;
}

void set_element(Array& stack, int64_t t, const Array& array) {
  const int64_t n = array.numel();
  std::copy(array.real.begin(), array.real.end(),
            stack.real.begin() + (stack.is_real() ? t * n : 0));
  std::copy(array.whole.begin(), array.whole.end(),
            stack.whole.begin() + (stack.is_real() ? 0 : t * n));
}

Arrays run_scan(const Arrays& operands, std::span<const int64_t> axes, int64_t length) {
  const Region& region = region_of(axes[3]);
  const auto carried = static_cast<size_t>(axes[0]), xs = static_cast<size_t>(axes[1]);
  const size_t outputs = region.program.outputs.size();
  Arrays inputs = operands, results(operands.begin(), operands.begin() + carried);
  inputs.resize(region.program.inputs.size());
  for (size_t k = carried; k < outputs; ++k) {
    results.push_back(make_array(stacked(region.output_type(k), length)));
  }
  for (int64_t i = 0; i < length; ++i) {
    const int64_t t = axes[2] ? length - 1 - i : i;
    for (size_t k = carried; k < carried + xs; ++k) inputs[k] = element(operands[k], t);
    const Arrays step = evaluate(region.program, inputs);
    for (size_t k = 0; k < carried; ++k) inputs[k] = results[k] = step[k];
    for (size_t k = carried; k < outputs; ++k) set_element(results[k], t, step[k]);
  }
  return results;
}

Arrays first_of(const Arrays& arrays, size_t count) {
  return {arrays.begin(), arrays.begin() + static_cast<std::ptrdiff_t>(count)};
}

Arrays run_while(const Arrays& operands, std::span<const int64_t> axes) {
  const Program &condition = region_of(axes[1]).program, &body = region_of(axes[2]).program;
  Arrays state = operands;
  while (evaluate(condition, first_of(state, condition.inputs.size()))[0].whole[0] != 0) {
    const Arrays next = evaluate(body, first_of(state, body.inputs.size()));
    std::copy(next.begin(), next.end(), state.begin());
  }
  return first_of(state, static_cast<size_t>(axes[0]));
}

Arrays run_region(const Program& program, const ProgramNode& node, const Arrays& operands) {
  const auto axes = program.axes_of(node);
  if (node.op == Op::Scan) return run_scan(operands, axes, program.sizes_of(node)[0]);
  if (node.op == Op::While) return run_while(operands, axes);
  const Program& branch = region_of(axes[operands[0].whole[0] != 0 ? 0 : 1]).program;
  Arrays inputs(operands.begin() + 1, operands.end());
  inputs.resize(branch.inputs.size());
  return evaluate(branch, inputs);
}

Arrays evaluate(const Program& program, const Arrays& inputs) {
  Arrays values;
  values.reserve(program.nodes.size());
  std::map<uint32_t, Arrays> of_regions;
  size_t next_input = 0;
  for (const ProgramNode& node : program.nodes) {
    const auto operands = program.operands_of(node);
    if (node.op == Op::Input) {
      values.push_back(inputs[next_input++]);
    } else if (is_region(node.op)) {
      Arrays given;
      for (uint32_t operand : operands) given.push_back(values[operand]);
      of_regions[static_cast<uint32_t>(values.size())] = run_region(program, node, given);
      values.push_back(make_array(node.type));
    } else if (node.op == Op::RegionOutput) {
      values.push_back(of_regions[operands[0]][static_cast<size_t>(program.axes_of(node)[0])]);
    } else {
      Operation operation{node, {}, program.axes_of(node), program.sizes_of(node)};
      for (uint32_t operand : operands) operation.operands.push_back(&values[operand]);
      values.push_back(info(node.op).elementwise ? run_elementwise(operation)
                                                 : run_structural(operation));
    }
  }
  Arrays outputs;
  for (uint32_t output : program.outputs) outputs.push_back(values[output]);
  return outputs;
}

}  // namespace

std::vector<Buffer> ReferenceExecutor::run(Program& program) {
  Arrays inputs;
  for (const Buffer& input : program.inputs) inputs.push_back(load(input));
  const Arrays values = evaluate(program, inputs);
  std::vector<Buffer> outputs;
  for (size_t k = 0; k < values.size(); ++k) {
    outputs.push_back(store(values[k], program.nodes[program.outputs[k]].type));
  }
  return outputs;
}

}  // namespace tenon::reference
