// Arithmetic of the loop IR in CUDA C++, with the meaning ir.h gives it.
#include <fmt/format.h>

#include <bit>
#include <cmath>

#include "core/error.h"
#include "jit/cuda/lower_internal.h"
#include "jit/loop/math.h"

namespace tenon::cuda {

using loop::BinaryOp;
using loop::Node;
using loop::Op;
using loop::Scalar;
using loop::UnaryOp;

namespace {

// Whole numbers and halves, quarters ... read well as decimals, which are exact then.
bool is_short_decimal(double value) {
  return std::fabs(value) < 1e6 && value * 64 == std::trunc(value * 64);
}

std::string negative_in_brackets(std::string text) {
  return text[0] == '-' ? "(" + text + ")" : text;
}

std::string float_literal(double value, const char* suffix) {
  std::string text =
      is_short_decimal(value) ? fmt::format("{}", value) : fmt::format("{:a}", value);
  if (text.find_first_of(".px") == std::string::npos) text += ".0";
  return negative_in_brackets(text + suffix);
}

}  // namespace

const char* type_name(Scalar type) { return type == Scalar::I1 ? "bool" : loop::name_of(type); }

std::string literal(Scalar type, int64_t payload) {
  const auto bits = static_cast<uint64_t>(payload);
  switch (type) {
    case Scalar::I1:
      return bits & 1 ? "true" : "false";
    case Scalar::I64:
      if (payload == INT64_MIN) return "i64(0x8000000000000000ull)";
      return negative_in_brackets(fmt::format("{}ll", payload));
    case Scalar::U64:
      return fmt::format("{}ull", bits);
    case Scalar::U32:
      return fmt::format("{}u", static_cast<uint32_t>(bits));
    case Scalar::I32: {
      const auto value = static_cast<int32_t>(bits);
      if (value == INT32_MIN) return "i32(0x80000000u)";
      return negative_in_brackets(fmt::format("{}", value));
    }
    case Scalar::I8:
      return fmt::format("i8({})", static_cast<int8_t>(bits));
    case Scalar::I16:
      return fmt::format("i16({})", static_cast<int16_t>(bits));
    case Scalar::U8:
      return fmt::format("u8({})", static_cast<uint8_t>(bits));
    case Scalar::U16:
    case Scalar::F16:
    case Scalar::BF16:
      return fmt::format("{}(0x{:x})", type_name(type), static_cast<uint16_t>(bits));
    case Scalar::F32: {
      const auto value = std::bit_cast<float>(static_cast<uint32_t>(bits));
      if (!std::isfinite(value)) {
        return fmt::format("__uint_as_float(0x{:x}u)", static_cast<uint32_t>(bits));
      }
      return float_literal(value, "f");
    }
    case Scalar::F64: {
      const auto value = std::bit_cast<double>(bits);
      if (!std::isfinite(value)) return fmt::format("__longlong_as_double(i64(0x{:x}ull))", bits);
      return float_literal(value, "");
    }
  }
  return {};
}

std::string Lowering::unary(const Node& node) {
  const std::string& x = operand(0);
  const bool is_float = loop::is_float(node.type);
  const char* suffix = node.type == Scalar::F32 ? "f" : "";
  switch (static_cast<UnaryOp>(node.detail)) {
    case UnaryOp::Neg:
      return is_float ? fmt::format("-{}", x) : fmt::format("negate({})", x);
    case UnaryOp::Abs:
      return is_float ? fmt::format("fabs{}({})", suffix, x) : fmt::format("absolute({})", x);
    case UnaryOp::Not:
      return node.type == Scalar::I1 ? fmt::format("!{}", x)
                                     : fmt::format("{}(~{})", type_name(node.type), x);
    case UnaryOp::Sqrt:
      return fmt::format("square_root({})", x);
    case UnaryOp::Floor:
      return fmt::format("floor{}({})", suffix, x);
    case UnaryOp::Ceil:
      return fmt::format("ceil{}({})", suffix, x);
    case UnaryOp::Round:
      return fmt::format("rint{}({})", suffix, x);
    case UnaryOp::Trunc:
      return fmt::format("trunc{}({})", suffix, x);
  }
  return {};
}

std::string Lowering::binary(const Node& node) {
  const std::string &x = operand(0), &y = operand(1);
  const bool is_float = loop::is_float(node.type);
  const auto infix = [&](const char* op) { return fmt::format("{} {} {}", x, op, y); };
  const auto call = [&](const char* name) { return fmt::format("{}({}, {})", name, x, y); };
  // The bits of small types are promoted to int, and come back unchanged.
  const auto bitwise = [&](const char* op) {
    return fmt::format("{}({} {} {})", type_name(node.type), x, op, y);
  };
  switch (static_cast<BinaryOp>(node.detail)) {
    case BinaryOp::Add:
      return is_float ? infix("+") : call("add");
    case BinaryOp::Sub:
      return is_float ? infix("-") : call("sub");
    case BinaryOp::Mul:
      return is_float ? infix("*") : call("mul");
    case BinaryOp::Div:
      return is_float ? infix("/") : call("divide");
    case BinaryOp::Rem:
      return call("modulo");
    case BinaryOp::Max:
      return call("maximum");
    case BinaryOp::Min:
      return call("minimum");
    case BinaryOp::And:
      return bitwise("&");
    case BinaryOp::Or:
      return bitwise("|");
    case BinaryOp::Xor:
      return bitwise("^");
    case BinaryOp::Shl:
      return call("shift_left");
    case BinaryOp::Shr:
      return call("shift_right");
    case BinaryOp::CopySign:
      return call(node.type == Scalar::F32 ? "copysignf" : "copysign");
    case BinaryOp::Scale:
      return call("scale");
  }
  return {};
}

std::string Lowering::reduce(const Node& node) {
  static constexpr const char* kNames[] = {"add", "mul", "maximum", "minimum", "&", "|"};
  static constexpr const char* kFloats[] = {"a + b", "a * b"};
  const char* type = type_name(node.type);
  std::string combined;
  if (node.detail >= static_cast<uint8_t>(loop::ReduceOp::And)) {
    combined = fmt::format("{}(a {} b)", type, kNames[node.detail]);
  } else if (loop::is_float(node.type) && node.detail < 2) {
    combined = kFloats[node.detail];
  } else {
    combined = fmt::format("{}(a, b)", kNames[node.detail]);
  }
  return fmt::format("reduce(lanes, {0}, []({1} a, {1} b) {{ return {2}; }})", operand(0), type,
                     combined);
}

std::string Lowering::cast(Scalar to, Scalar from, const std::string& x) const {
  if (to == from) return x;
  if (loop::is_half(from)) {
    return cast(to, Scalar::F32, fmt::format("f32_of_{}({})", type_name(from), x));
  }
  if (loop::is_half(to)) {
    return fmt::format("{}_of({})", type_name(to), cast(Scalar::F32, from, x));
  }
  if (to == Scalar::I1) return fmt::format("({} != 0)", x);
  if (!loop::is_float(from) || loop::is_float(to)) return fmt::format("{}({})", type_name(to), x);
  if (to == Scalar::I64 || to == Scalar::U64 || to == Scalar::U32 || to == Scalar::I32) {
    return fmt::format("truncate_{}({})", type_name(to), x);
  }
  return fmt::format("{}(truncate_i32({}))", type_name(to), x);
}

std::string Lowering::bitcast(Scalar to, Scalar from, const std::string& x) const {
  if (to == Scalar::F32) {
    return fmt::format("__uint_as_float(u32({}))", x);
  }
  if (from == Scalar::F32) return fmt::format("{}(__float_as_uint({}))", type_name(to), x);
  if (to == from) return x;
  if (to == Scalar::F64) return fmt::format("__longlong_as_double(i64({}))", x);
  if (from == Scalar::F64) return fmt::format("{}(__double_as_longlong({}))", type_name(to), x);
  return fmt::format("{}({})", type_name(to), x);
}

std::string Lowering::expression(const Node& node) {
  static constexpr const char* kCompare[] = {"==", "!=", "<", "<=", ">", ">="};
  switch (node.op) {
    case Op::Unary:
      return unary(node);
    case Op::Binary:
      return binary(node);
    case Op::Compare:
      return fmt::format("{} {} {}", operand(0), kCompare[node.detail], operand(1));
    case Op::Fma:
      return fmt::format("fused_multiply_add({}, {}, {})", operand(0), operand(1), operand(2));
    case Op::Select:
      return fmt::format("{} ? {} : {}", operand(0), operand(1), operand(2));
    case Op::Cast:
      return cast(node.type, operand_type(0), operand(0));
    case Op::Bitcast:
      return bitcast(node.type, operand_type(0), operand(0));
    case Op::Extract:
      return fmt::format("from_lane(lanes, {}, {})", operand(0), node.index);
    case Op::Reduce:
      return reduce(node);
    case Op::Call: {
      const loop::HostFunction& function = loop::host_functions()[node.index];
      std::string arguments = fmt::format("f64({})", operand(0));
      if (!function.unary) arguments += fmt::format(", f64({})", operand(1));
      return fmt::format("{}(call_{}({}))", type_name(node.type), function.name, arguments);
    }
    case Op::Load:
    case Op::ScratchLoad:
      return load(node);
    default:
      fail(ErrorKind::Internal, "the loop IR has an operation CUDA code can't be made for");
  }
}

}  // namespace tenon::cuda
