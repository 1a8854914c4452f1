#include "tests/trace/reference/executor.h"

#include "tests/trace/reference/array.h"

namespace tenon::reference {

std::string ReferenceExecutor::key_of(const Program& program) {
  std::string key;
  for (size_t id = 0; id < program.nodes.size(); ++id) {
    const ProgramNode& node = program.nodes[id];
    key += fmt::format("{}:{}{}", info(node.op).name, name_of(type_of(node.type).dtype),
                       type_of(node.type).rank);
    for (uint32_t operand : program.operands_of(node)) key += fmt::format(" -{}", id - operand);
    for (int64_t axis : program.axes_of(node)) key += fmt::format(" {}", axis);
    key += ';';
  }
  return key;
}

std::vector<Buffer> ReferenceExecutor::run(Program& program) {
  ++runs;
  keys.insert(key_of(program));
  nodes += program.nodes.size();
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

ReferenceExecutor& installed() {
  static ReferenceExecutor executor;
  return executor;
}

}  // namespace tenon::reference
