#include "trace/extract.h"

#include "trace/check.h"
#include "trace/recorder.h"

namespace tenon {
namespace {

bool is_concrete(const Node& node) { return node.op == Op::Input || (node.flags & Node::kValued); }

// A redirect's second operand is only a place in the derivative graph.
std::span<const NodeId> value_operands(const Segment& segment, const Node& node) {
  const auto operands = segment.operands_of(node);
  return node.op == Op::Redirect ? operands.first(1) : operands;
}

// A program's results are dense; the strides of views only matter to the cells that show them.
TypeId dense_type(TypeId id) {
  const Type& type = type_of(id);
  return is_dense(type) ? id : intern_contiguous(type.dtype, type.device, type.dims());
}

}  // namespace

void extract_program(const Segment& segment, RunRecipe& recipe) {
  Program& program = recipe.program;
  const auto& roots = recipe.roots;
  if (roots.empty()) return;
  std::vector<uint32_t> index(roots.back() + 1, kNoNode);  // then: place in the program
  constexpr uint32_t kLive = kNoNode - 1;
  for (NodeId root : roots) index[root] = kLive;
  size_t live = 0;
  for (NodeId id = roots.back() + 1; id-- > 0;) {
    if (index[id] != kLive) continue;
    ++live;
    const Node& node = segment.nodes[id];
    if (is_concrete(node)) continue;
    for (NodeId operand : value_operands(segment, node)) index[operand] = kLive;
  }
  program.nodes.reserve(live);
  program.operands.reserve(2 * live);
  program.attributes.reserve(2 * live);
  for (NodeId id = 0; id <= roots.back(); ++id) {
    if (index[id] != kLive) continue;
    const Node& node = segment.nodes[id];
    index[id] = static_cast<uint32_t>(program.nodes.size());
    ProgramNode out{};
    out.op = node.op;
    out.type = node.type;
    out.origin = node.origin;
    out.operands = static_cast<uint32_t>(program.operands.size());
    out.axes = static_cast<uint32_t>(program.attributes.size());
    if (is_concrete(node)) {
      out.op = Op::Input;
      recipe.inputs.push_back(id);
    } else {
      const auto operands = value_operands(segment, node);
      if (node.op == Op::Redirect) out.op = Op::Alias;
      out.operand_count = static_cast<uint8_t>(operands.size());
      for (NodeId operand : operands) program.operands.push_back(index[operand]);
      const auto axes = segment.axes_of(node), sizes = segment.sizes_of(node);
      program.attributes.insert(program.attributes.end(), axes.begin(), axes.end());
      program.attributes.insert(program.attributes.end(), sizes.begin(), sizes.end());
      out.axes_count = static_cast<uint32_t>(axes.size());
      out.sizes_count = static_cast<uint32_t>(sizes.size());
      if (!axes.empty() || !sizes.empty()) {
        recipe.attributes.push_back({node.attributes, out.axes, out.axes_count, out.sizes_count});
      }
    }
    out.sizes = out.axes + out.axes_count;
    program.nodes.push_back(out);
  }
  for (NodeId root : roots) {
    ProgramNode& node = program.nodes[index[root]];
    node.type = dense_type(node.type);
    program.outputs.push_back(index[root]);
  }
  if (checks_programs()) check_program(program);
}

void bind_inputs(RunRecipe& recipe, const Segment& segment) {
  Program& program = recipe.program;
  program.inputs.clear();
  for (NodeId id : recipe.inputs) {
    const Node& node = segment.nodes[id];
    program.inputs.push_back(node.op == Op::Input ? segment.sources[node.attributes].buffer
                                                  : segment.values.at(id));
  }
  program.donatable.resize(program.inputs.size());
  for (size_t i = 0; i < program.inputs.size(); ++i) {
    // Held by the segment's source and by the program: nobody else can see it change.
    const Storage& storage = *program.inputs[i].storage;
    program.donatable[i] = segment.state != Segment::State::Open && storage.use_count() == 2 &&
                           storage.is_owned() && !storage.is_exposed() && !storage.read_only();
  }
}

}  // namespace tenon
