// Elementwise primitives on one element, in double.
#include "tests/jit/reference_scalar.h"

#include <bit>
#include <cmath>
#include <numeric>

namespace tenon::test {

double round_to(DType dtype, double v) {
  double result = v;
  visit_dtype(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_same_v<T, float16> || std::is_same_v<T, bfloat16>) {
      result = static_cast<float>(T(static_cast<float>(v)));
    } else if constexpr (std::is_same_v<T, bool>) {
      result = v != 0;
    } else if constexpr (std::is_floating_point_v<T>) {
      result = static_cast<T>(v);
    } else if constexpr (std::is_integral_v<T>) {
      result = static_cast<double>(static_cast<T>(static_cast<int64_t>(v)));
    }
  });
  return result;
}

double unary(Op op, double a, DType dtype) {
  switch (op) {
    case Op::Neg:
      return -a;
    case Op::Abs:
      return std::fabs(a);
    case Op::Sign:
      return a > 0 ? 1 : a < 0 ? -1 : 0;
    case Op::Exp:
      return std::exp(a);
    case Op::Exp2:
      return std::exp2(a);
    case Op::Expm1:
      return std::expm1(a);
    case Op::Log:
      return std::log(a);
    case Op::Log2:
      return std::log2(a);
    case Op::Log10:
      return std::log10(a);
    case Op::Log1p:
      return std::log1p(a);
    case Op::Sin:
      return std::sin(a);
    case Op::Cos:
      return std::cos(a);
    case Op::Tan:
      return std::tan(a);
    case Op::Asin:
      return std::asin(a);
    case Op::Acos:
      return std::acos(a);
    case Op::Atan:
      return std::atan(a);
    case Op::Sinh:
      return std::sinh(a);
    case Op::Cosh:
      return std::cosh(a);
    case Op::Tanh:
      return std::tanh(a);
    case Op::Asinh:
      return std::asinh(a);
    case Op::Acosh:
      return std::acosh(a);
    case Op::Atanh:
      return std::atanh(a);
    case Op::Sqrt:
      return std::sqrt(a);
    case Op::Rsqrt:
      return 1 / std::sqrt(a);
    case Op::Erf:
      return std::erf(a);
    case Op::Erfc:
      return std::erfc(a);
    case Op::Floor:
      return std::floor(a);
    case Op::Ceil:
      return std::ceil(a);
    case Op::Round:
      return std::nearbyint(a);
    case Op::Trunc:
      return std::trunc(a);
    case Op::BitwiseNot:
      return dtype == DType::Bool ? a == 0 : static_cast<double>(~static_cast<int64_t>(a));
    case Op::IsNan:
      return std::isnan(a);
    case Op::IsInf:
      return std::isinf(a);
    case Op::LogicalNot:
      return a == 0;
    default:
      return NAN;
  }
}

double binary(Op op, double a, double b, DType dtype) {
  const auto i = [](double v) { return static_cast<int64_t>(v); };
  switch (op) {
    case Op::Add:
      return a + b;
    case Op::Sub:
      return a - b;
    case Op::Mul:
      return a * b;
    case Op::Div:
      return a / b;
    case Op::FloorDiv:
      return std::floor(a / b);
    case Op::Remainder:
      return a - b * std::floor(a / b);
    case Op::Fmod:
      return std::fmod(a, b);
    case Op::Pow:
      return std::pow(a, b);
    case Op::Atan2:
      return std::atan2(a, b);
    case Op::Maximum:
      return std::isnan(a) || std::isnan(b) ? NAN : std::max(a, b);
    case Op::Minimum:
      return std::isnan(a) || std::isnan(b) ? NAN : std::min(a, b);
    case Op::Copysign:
      return std::copysign(a, b);
    case Op::BitwiseAnd:
      return static_cast<double>(i(a) & i(b));
    case Op::BitwiseOr:
      return static_cast<double>(i(a) | i(b));
    case Op::BitwiseXor:
      return static_cast<double>(i(a) ^ i(b));
    case Op::ShiftLeft:
      return static_cast<double>(i(a) << i(b));
    case Op::ShiftRight:
      return static_cast<double>(i(a) >> i(b));
    case Op::Eq:
      return a == b;
    case Op::Ne:
      return a != b;
    case Op::Lt:
      return a < b;
    case Op::Le:
      return a <= b;
    case Op::Gt:
      return a > b;
    case Op::Ge:
      return a >= b;
    case Op::NextAfter:
      return dtype == DType::Float32 ? std::nextafter(static_cast<float>(a), static_cast<float>(b))
                                     : std::nextafter(a, b);
    default:
      return NAN;
  }
}

}  // namespace tenon::test
