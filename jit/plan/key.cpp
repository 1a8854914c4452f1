#include "jit/plan/key.h"

#include "jit/simplify/graph.h"
#include "trace/region.h"

namespace tenon::jit {
namespace {

void write_layout(const Type& type, std::vector<uint64_t>& words) {
  if (type.contiguous) {
    words.push_back(0);
    return;
  }
  const Layout layout = layout_of(type);
  words.push_back(1 + layout.kind);
  for (uint8_t d : layout.order) words.push_back(d);
  for (uint8_t c : layout.classes) words.push_back(c);
}

// The keys of the bodies in place of their numbers, which know extents.
void write_region(std::span<const int64_t> axes, std::span<const int64_t> ids,
                  std::vector<uint64_t>& words) {
  for (const int64_t& axis : axes) {
    if (&axis >= ids.data() && &axis < ids.data() + ids.size()) {
      const Hash128 key = key_of(region_of(axis).program);
      words.push_back(key.low);
      words.push_back(key.high);
    } else {
      words.push_back(static_cast<uint64_t>(axis));
    }
  }
}

}  // namespace

Hash128 key_of(const Program& program) {
  std::vector<uint64_t> words;
  words.reserve(16 * program.nodes.size());
  SmallVector<int64_t, 16> structure;
  uint32_t inputs = 0;
  for (uint32_t i = 0; i < program.nodes.size(); ++i) {
    const ProgramNode& node = program.nodes[i];
    const Type& type = type_of(node.type);
    words.push_back(uint64_t{static_cast<uint16_t>(node.op)} |
                    uint64_t{static_cast<uint8_t>(type.dtype)} << 16 | uint64_t{type.rank} << 24 |
                    uint64_t{node.operand_count} << 32 | uint64_t{node.axes_count & 0xffffu} << 40 |
                    uint64_t{type.numel == 0} << 56 | uint64_t{!type.contiguous} << 57);
    const uint64_t ones = ones_mask(type);
    if (ones) words.push_back(ones);
    words.back() ^= uint64_t{ones != 0} << 63;
    for (uint32_t operand : program.operands_of(node)) words.push_back(i - operand);
    if (is_region(node.op)) {
      write_region(program.axes_of(node), region_ids(node.op, program.axes_of(node)), words);
    } else {
      for (int64_t axis : program.axes_of(node)) words.push_back(static_cast<uint64_t>(axis));
    }
    if (node.op != Op::Input && !type.contiguous) write_layout(type, words);
    if (node.op == Op::Input) write_layout(type_of(program.inputs[inputs++].type), words);
    if (is_keyed_by_sizes(node.op)) {
      structure.clear();
      structure_of(program, node, structure);
      for (int64_t word : structure) words.push_back(static_cast<uint64_t>(word));
    }
  }
  words.push_back(~uint64_t{0});
  for (uint32_t output : program.outputs) {
    words.push_back(program.nodes.size() - output);
    write_layout(type_of(program.nodes[output].type), words);
  }
  return hash128_of(std::span<const uint64_t>(words));
}

}  // namespace tenon::jit
