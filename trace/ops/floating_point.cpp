// Floating-point numbers taken apart (IEEE 754-2019), by exact arithmetic.
#include <array>
#include <cmath>

#include "core/error.h"
#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/tensor.h"

namespace tenon::values {

Value next_half(Value x, Value y) {
  const DType own = dtype(x);
  const Value from = ops::cast(x, DType::Float32), to = ops::cast(y, DType::Float32);
  // More than half and less than one and a half of the distance to either neighbour, so that it
  // rounds to that: neighbours are epsilon / 2 to epsilon apart, relatively, and nearer at powers
  // of two on the side of zero.
  const double least = epsilon_of(own) * (own == DType::Float16 ? 0x1p-14 : 0x1p-126);
  const Value step = ops::binary(Op::Maximum, ops::unary(Op::Abs, from) * (0.625 * epsilon_of(own)),
                                 ops::literal(0.625 * least, DType::Float32));
  const Value up = to > from, moved = ops::select(up, from + step, from - step);
  const Value most = ops::binary(Op::Copysign, ops::literal(largest_of(own), DType::Float32), from);
  const Value next = ops::select(ops::unary(Op::IsInf, from), most, moved);
  const Value stays = ops::binary(Op::Eq, from, to) | ops::unary(Op::IsNan, to);
  const Value result = ops::select(ops::unary(Op::IsNan, from), from, ops::select(stays, to, next));
  return ops::cast(result, own);
}

std::array<Value, 2> frexp(Value input) {
  check_floating({input}, ErrorKind::Runtime);
  const DType type = is_half(dtype(input)) ? DType::Float32 : dtype(input);
  const Value x = ops::stop_gradient(ops::cast(input, type));
  const Value magnitude = ops::unary(Op::Abs, x);
  const Value is_tame = ops::binary(Op::Eq, x - x, ops::literal(0, type)) & (magnitude > 0.0);
  // Powers of two that the number holds, or lacks, are taken out from the largest to the least.
  Value rest = ops::select(is_tame, magnitude, ops::literal(0.5, type));
  Value factor = ops::ones_like(rest);
  Value exponent = ops::full(dims(x), ops::literal(0, DType::Int32));
  const auto scale = [&](Value condition, int power) {
    const double by = std::ldexp(1.0, power);
    rest = ops::select(condition, rest * by, rest);
    factor = ops::select(condition, factor * by, factor);
    exponent = ops::select(condition, exponent + ops::literal(-power, DType::Int32), exponent);
  };
  const int most = type == DType::Float64 ? 512 : 64;
  for (int power = most; power > 0; power /= 2) {
    scale(rest >= std::ldexp(1.0, power), -power);
    if (power == most) scale(rest < std::ldexp(1.0, -power), power);  // of denormal numbers twice
    scale(rest < std::ldexp(1.0, -power), power);
  }
  scale(rest >= 1.0, -1);
  const Value mantissa = ops::select(is_tame, ops::binary(Op::Copysign, rest, x), x);
  const Value linear = ops::cast(input, type) * factor;
  return {ops::cast(ops::redirect(mantissa, linear), dtype(input)), exponent};
}

}  // namespace tenon::values
