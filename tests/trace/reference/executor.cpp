#include "tests/trace/reference/executor.h"

#include "tests/trace/reference/array.h"

namespace tenon::reference {

std::vector<Buffer> ReferenceExecutor::run(Program& program) {
  std::vector<Array> values;
  values.reserve(program.nodes.size());
  size_t next_input = 0;
  for (const ProgramNode& node : program.nodes) {
    if (node.op == Op::Input) {
      values.push_back(load(program.inputs[next_input++]));
      continue;
    }
    Operation operation{node, {}, program.axes_of(node), program.sizes_of(node)};
    for (uint32_t operand : program.operands_of(node)) {
      operation.operands.push_back(&values[operand]);
    }
    values.push_back(info(node.op).elementwise ? run_elementwise(operation)
                                               : run_structural(operation));
  }
  std::vector<Buffer> outputs;
  for (uint32_t output : program.outputs) {
    outputs.push_back(store(values[output], program.nodes[output].type));
  }
  return outputs;
}

}  // namespace tenon::reference
