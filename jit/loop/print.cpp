#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <iterator>

#include "core/half.h"
#include "jit/loop/ir.h"
#include "jit/loop/math.h"
#include "jit/loop/names.h"

namespace tenon::loop {

namespace {

std::string type_text(ValueType type) {
  return type.lanes == 1 ? name_of(type.scalar)
                         : fmt::format("{}x{}", name_of(type.scalar), type.lanes);
}

// Numbers read back exactly; a NaN shows its bits.
std::string constant_text(const Node& node) {
  const auto bits = static_cast<uint64_t>(node.payload);
  auto number = [&](auto value) {
    return std::isnan(value) ? fmt::format("0x{:x}", bits) : fmt::format("{}", value);
  };
  switch (node.type) {
    case Scalar::I1:
      return bits ? "true" : "false";
    case Scalar::I8:
      return fmt::format("{}", static_cast<int8_t>(bits));
    case Scalar::I16:
      return fmt::format("{}", static_cast<int16_t>(bits));
    case Scalar::I32:
      return fmt::format("{}", static_cast<int32_t>(bits));
    case Scalar::I64:
      return fmt::format("{}", static_cast<int64_t>(bits));
    case Scalar::F16:
      return number(float(float16::from_bits(static_cast<uint16_t>(bits))));
    case Scalar::BF16:
      return number(float(bfloat16::from_bits(static_cast<uint16_t>(bits))));
    case Scalar::F32:
      return number(std::bit_cast<float>(static_cast<uint32_t>(bits)));
    case Scalar::F64:
      return number(std::bit_cast<double>(bits));
    default:
      return fmt::format("{}", bits);
  }
}

std::string operation_text(const Node& node) {
  switch (node.op) {
    case Op::Constant:
      return "constant " + constant_text(node);
    case Op::Unary:
      return kUnaryNames[node.detail];
    case Op::Binary:
      return kBinaryNames[node.detail];
    case Op::Compare:
      return kCompareNames[node.detail];
    case Op::Reduce:
      return kReduceNames[node.detail];
    case Op::IntParam:
    case Op::ScalarParam:
    case Op::Extract:
    case Op::Carried:
    case Op::Result:
      return fmt::format("{} {}", kOpNames[static_cast<int>(node.op)], node.index);
    case Op::Load:
    case Op::Store:
      return fmt::format("{} @{}", kOpNames[static_cast<int>(node.op)], node.index);
    case Op::Call:
      return fmt::format("call {}", host_functions()[node.index].name);
    case Op::Check:
      return fmt::format("check code {} site {}", node.payload, node.index);
    default:
      return kOpNames[static_cast<int>(node.op)];
  }
}

void print_header(const Kernel& kernel, std::string& text) {
  auto out = std::back_inserter(text);
  fmt::format_to(out, "kernel {}(", kernel.name);
  for (size_t i = 0; i < kernel.buffers.size(); ++i) {
    const BufferParam& buffer = kernel.buffers[i];
    fmt::format_to(out, "{}@{} {} {}", i ? ", " : "", i, name_of(buffer.type),
                   kAccessNames[static_cast<int>(buffer.access)]);
  }
  fmt::format_to(out, "; ints {}; scalars", kernel.ints);
  for (Scalar scalar : kernel.scalars) fmt::format_to(out, " {}", name_of(scalar));
  fmt::format_to(out, "; scratch {}", kernel.scratch.constant);
  for (const auto& term : kernel.scratch.terms) {
    fmt::format_to(out, " + {} * int {}", term.factor, term.param);
  }
  text += ")\n";
}

}  // namespace

std::string print(const Kernel& kernel) {
  std::string text;
  print_header(kernel, text);
  auto out = std::back_inserter(text);
  int depth = 1;
  for (Value v = 0; v < kernel.nodes.size(); ++v) {
    const Node& node = kernel.nodes[v];
    const bool closes = node.op == Op::EndFor || node.op == Op::Else || node.op == Op::EndIf;
    if (closes) --depth;
    fmt::format_to(out, "{:{}}", "", 2 * depth);
    if (node.has_result()) fmt::format_to(out, "%{}: {} = ", v, type_text(node.value_type()));
    text += operation_text(node);
    for (Value operand : kernel.operands_of(node)) fmt::format_to(out, " %{}", operand);
    text += '\n';
    if (node.op == Op::For || node.op == Op::If || node.op == Op::Else) ++depth;
  }
  return text;
}

}  // namespace tenon::loop
