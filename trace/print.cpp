#include "trace/print.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <span>

#include "core/shape.h"
#include "trace/origin.h"
#include "trace/recorder.h"
#include "trace/region.h"
#include "trace/rules.h"

namespace tenon {
namespace {

using Ints = std::span<const int64_t>;

bool has_plain_payload(const Type& type, Ints axes, Ints sizes) {
  const bool literal = axes.size() == 2 && sizes.empty() && axes[0] == 1;
  const bool scalar = axes.size() == 1 && sizes.size() == 1 && axes[0] == 0;
  if (!literal && !scalar) return false;
  const auto number = std::bit_cast<double>(literal ? axes[1] : sizes[0]);
  // A NaN other than the usual one shows its bits.
  return !is_differentiable(type.dtype) || !std::isnan(number) ||
         std::bit_cast<int64_t>(number) ==
             std::bit_cast<int64_t>(std::numeric_limits<double>::quiet_NaN());
}

std::string print_attributes(Op op, const Type& type, Ints axes, Ints sizes) {
  if (is_region(op)) axes = axes.first(axes.size() - region_ids(op, axes).size());
  if (op == Op::Constant && has_plain_payload(type, axes, sizes)) {
    const bool literal = axes[0] == 1;
    const int64_t bits = literal ? axes[1] : sizes[0];
    const char* name = literal ? "literal" : "scalar";
    return is_differentiable(type.dtype) ? fmt::format(" {}={}", name, std::bit_cast<double>(bits))
                                         : fmt::format(" {}={}", name, bits);
  }
  std::string text;
  if (!axes.empty()) text += " axes=" + to_string(axes);
  if (!sizes.empty()) text += " sizes=" + to_string(sizes);
  return text;
}

template <class Id>
std::string print_operands(std::span<const Id> operands) {
  std::string text;
  for (size_t k = 0; k < operands.size(); ++k) {
    text += fmt::format("{}%{}", k == 0 ? " " : ", ", operands[k]);
  }
  return text;
}

std::string print_origin(uint32_t origin) {
  const std::string place = describe_origin(origin);
  return place.empty() ? place : "  # " + place;
}

// The bodies that a region's node owns, indented; their numbers are this process' own.
std::string print_bodies(Op op, Ints axes) {
  std::string text;
  for (RegionId id : region_ids(op, axes)) {
    const std::string body = print(region_of(id).program);
    text += " {\n";
    for (size_t at = 0; at < body.size();) {
      const size_t end = body.find('\n', at) + 1;
      text += "  " + body.substr(at, end - at);
      at = end;
    }
    text += "}";
  }
  return text;
}

std::string print_node(size_t id, TypeId type, Op op, std::span<const uint32_t> operands, Ints axes,
                       Ints sizes) {
  return fmt::format("%{}: {} = {}{}{}", id, print_type(type), info(op).name,
                     print_operands(operands), print_attributes(op, type_of(type), axes, sizes));
}

}  // namespace

std::string print_type(TypeId id) {
  const Type& type = type_of(id);
  std::string text = fmt::format("{}{}", name_of(type.dtype), to_string(type.dims()));
  if (!type.canonical) {
    const std::string strides = to_string(type.strides());
    text += "{" + strides.substr(1, strides.size() - 2) + "}";
  }
  if (type.device.kind != Device::Kind::CPU) text += "@" + to_string(type.device);
  return text;
}

std::string print(const Program& program) {
  std::string text;
  size_t input = 0;
  for (size_t id = 0; id < program.nodes.size(); ++id) {
    const ProgramNode& node = program.nodes[id];
    text += print_node(id, node.type, node.op, program.operands_of(node), program.axes_of(node),
                       program.sizes_of(node));
    if (node.op == Op::Input) {
      if (input < program.donatable.size() && program.donatable[input]) text += " donatable";
      ++input;
    }
    text += print_origin(node.origin) + print_bodies(node.op, program.axes_of(node)) + "\n";
  }
  return text + "return" + print_operands(std::span<const uint32_t>(program.outputs)) + "\n";
}

std::string print(const Segment& segment) {
  constexpr DerivativeMask kUsual = reverse_bit(0) | forward_bit(0);
  std::string text;
  for (NodeId id = 0; id < segment.nodes.size(); ++id) {
    const Node& node = segment.nodes[id];
    const bool is_input = node.op == Op::Input;
    text += print_node(id, node.type, node.op,
                       is_input ? std::span<const uint32_t>{} : segment.operands_of(node),
                       segment.axes_of(node), segment.sizes_of(node));
    if (node.flags & Node::kLeaf) {
      text += " leaf";
    } else if (node.flags & Node::kCustom) {
      const int output = segment.customs[node.attributes].output;
      text += output == CustomPlace::kCall ? " call" : fmt::format(" output={}", output);
    } else if (node.operand_count > 0 && node.mask != kUsual) {
      text += fmt::format(" mask={:#x}", node.mask);
    }
    if (node.level != 0) text += fmt::format(" vmap={}", node.level);
    text += print_origin(node.origin) + print_bodies(node.op, segment.axes_of(node)) + "\n";
  }
  std::vector<NodeId> live;
  for (const Cell* cell = segment.cells; cell; cell = cell->next) live.push_back(cell->node);
  std::ranges::sort(live);
  live.erase(std::unique(live.begin(), live.end()), live.end());
  return text + "return" + print_operands(std::span<const NodeId>(live)) + "\n";
}

std::string pending_trace() {
  TraceLock lock;
  return print(*recorder().segment);
}

}  // namespace tenon
