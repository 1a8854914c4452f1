// Elementwise primitives of the reference executor, in double and int64 through the C++ library.
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>

#include "tests/trace/reference/array.h"
#include "trace/executor.h"

namespace tenon::reference {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Abramowitz and Stegun 6.3.5 to shift up, 6.3.18 from there, 6.3.7 below zero.
double digamma(double x) {
  if (x == 0) return std::copysign(kInfinity, -x);
  if (x < 0) {
    if (x == std::floor(x)) return kNan;
    return digamma(1 - x) - std::numbers::pi / std::tan(std::numbers::pi * x);
  }
  double sum = 0;
  for (; x < 12; ++x) sum -= 1 / x;
  const double s = 1 / (x * x);
  const double series =
      s * (1.0 / 12 - s * (1.0 / 120 - s * (1.0 / 252 - s * (1.0 / 240 - s * (1.0 / 132)))));
  return sum + std::log(x) - 0.5 / x - series;
}

// Newton's method on erf, started from Winitzki's approximation.
double erfinv(double y) {
  if (std::fabs(y) == 1) return std::copysign(kInfinity, y);
  if (!(std::fabs(y) < 1)) return kNan;
  const double l = std::log1p(-y * y);
  const double t = 2 / (std::numbers::pi * 0.147) + l / 2;
  double x = std::copysign(std::sqrt(std::sqrt(t * t - l / 0.147) - t), y);
  for (int step = 0; step < 4; ++step) {
    const double error = y > 0 ? -(std::erfc(x) - (1 - y)) : std::erfc(-x) - (1 + y);
    x -= error / (2 * std::numbers::inv_sqrtpi * std::exp(-x * x));
  }
  return x;
}

double unary(Op op, double a) {
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
    case Op::Erfinv:
      return erfinv(a);
    case Op::Lgamma:
      return std::lgamma(a);
    case Op::Digamma:
      return digamma(a);
    case Op::Floor:
      return std::floor(a);
    case Op::Ceil:
      return std::ceil(a);
    case Op::Round:
      return std::nearbyint(a);
    case Op::Trunc:
      return std::trunc(a);
    default:
      fail(ErrorKind::Internal, "reference: {} of a float", info(op).name);
  }
}

int64_t unary(Op op, int64_t a, DType dtype) {
  switch (op) {
    case Op::Neg:
      return static_cast<int64_t>(-static_cast<uint64_t>(a));
    case Op::Abs:
      return is_signed(dtype) && a < 0 ? static_cast<int64_t>(-static_cast<uint64_t>(a)) : a;
    case Op::Sign:
      return is_signed(dtype) ? (a > 0) - (a < 0) : a != 0;
    case Op::BitwiseNot:
      return dtype == DType::Bool ? !a : ~a;
    case Op::LogicalNot:
      return a == 0;
    case Op::Floor:
    case Op::Ceil:
    case Op::Round:
    case Op::Trunc:
      return a;
    default:
      fail(ErrorKind::Internal, "reference: {} of an integer", info(op).name);
  }
}

double next_after(DType dtype, double a, double b) {
  return dtype == DType::Float64 ? std::nextafter(a, b)
                                 : std::nextafter(static_cast<float>(a), static_cast<float>(b));
}

double binary(Op op, double a, double b, DType dtype) {
  const bool nan = std::isnan(a) || std::isnan(b);
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
      return std::floor(round_to(dtype, a / b));
    case Op::Remainder: {
      const double r = std::fmod(a, b);
      return r != 0 && (r < 0) != (b < 0) ? r + b : r;
    }
    case Op::Fmod:
      return std::fmod(a, b);
    case Op::Pow:
      return std::pow(a, b);
    case Op::Atan2:
      return std::atan2(a, b);
    case Op::Maximum:
      return nan ? kNan : std::fmax(a, b);
    case Op::Minimum:
      return nan ? kNan : std::fmin(a, b);
    case Op::Copysign:
      return std::copysign(a, b);
    case Op::NextAfter:
      return next_after(dtype, a, b);
    default:
      fail(ErrorKind::Internal, "reference: {} of floats", info(op).name);
  }
}

int64_t divide(const ProgramNode& node, Op op, int64_t a, int64_t b, bool is_signed) {
  if (b == 0) throw DataError(ErrorKind::ZeroDivision, "division by zero", node.origin);
  if (!is_signed) {
    const auto x = static_cast<uint64_t>(a), y = static_cast<uint64_t>(b);
    return static_cast<int64_t>(op == Op::FloorDiv ? x / y : x % y);
  }
  if (b == -1) return op == Op::FloorDiv ? static_cast<int64_t>(-static_cast<uint64_t>(a)) : 0;
  const int64_t q = a / b, r = a % b;
  const bool adjust = r != 0 && (r < 0) != (b < 0);
  if (op == Op::FloorDiv) return q - adjust;
  return op == Op::Remainder && adjust ? r + b : r;
}

int64_t power(int64_t a, int64_t b) {
  if (b < 0) return a == 1 ? 1 : a == -1 ? (b % 2 ? -1 : 1) : 0;
  uint64_t result = 1, base = static_cast<uint64_t>(a);
  for (; b > 0; b >>= 1, base *= base) {
    if (b & 1) result *= base;
  }
  return static_cast<int64_t>(result);
}

int64_t shift(Op op, int64_t a, int64_t b, DType dtype) {
  const auto width = static_cast<int64_t>(8 * size_of(dtype));
  const bool out = b < 0 || b >= width;
  if (op == Op::ShiftLeft) return out ? 0 : static_cast<int64_t>(static_cast<uint64_t>(a) << b);
  if (!is_signed(dtype)) return out ? 0 : static_cast<int64_t>(static_cast<uint64_t>(a) >> b);
  return a >> (out ? 63 : b);
}

int64_t binary(const ProgramNode& node, int64_t a, int64_t b, DType dtype) {
  const auto x = static_cast<uint64_t>(a), y = static_cast<uint64_t>(b);
  const bool less = is_signed(dtype) ? a < b : x < y;
  switch (node.op) {
    case Op::Add:
      return dtype == DType::Bool ? a | b : static_cast<int64_t>(x + y);
    case Op::Sub:
      return static_cast<int64_t>(x - y);
    case Op::Mul:
      return static_cast<int64_t>(x * y);
    case Op::FloorDiv:
    case Op::Remainder:
    case Op::Fmod:
      return divide(node, node.op, a, b, is_signed(dtype));
    case Op::Pow:
      return power(a, b);
    case Op::Maximum:
      return less ? b : a;
    case Op::Minimum:
      return less ? a : b;
    case Op::BitwiseAnd:
      return a & b;
    case Op::BitwiseOr:
      return a | b;
    case Op::BitwiseXor:
      return a ^ b;
    case Op::ShiftLeft:
    case Op::ShiftRight:
      return shift(node.op, a, b, dtype);
    default:
      fail(ErrorKind::Internal, "reference: {} of integers", info(node.op).name);
  }
}

template <class T>
bool compare(Op op, T a, T b) {
  switch (op) {
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
    default:
      return a >= b;
  }
}

// Both saturate; NaN becomes 0.
int64_t to_whole(double x, DType dtype) {
  if (dtype == DType::Bool) return x != 0;
  return visit_dtype(dtype, [&](auto tag) -> int64_t {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_integral_v<T>) {
      if (std::isnan(x)) return 0;
      const double low = static_cast<double>(std::numeric_limits<T>::min());
      const double high = static_cast<double>(std::numeric_limits<T>::max());
      if (x <= low) return static_cast<int64_t>(std::numeric_limits<T>::min());
      if (x >= high) return static_cast<int64_t>(std::numeric_limits<T>::max());
      return static_cast<int64_t>(static_cast<T>(x));
    } else {
      return 0;
    }
  });
}

double to_real(int64_t x, DType from) {
  return from == DType::UInt64 ? static_cast<double>(static_cast<uint64_t>(x))
                               : static_cast<double>(x);
}

// Where an operand's element lies for an index of the result.
struct Broadcast {
  explicit Broadcast(const Array& x, size_t rank) : strides(rank, 0) {
    const Dims own = strides_of(x.dims);
    const size_t shift = rank - x.dims.size();
    for (size_t d = 0; d < x.dims.size(); ++d) {
      if (x.dims[d] != 1) strides[shift + d] = own[d];
    }
  }
  int64_t operator()(std::span<const int64_t> index) const {
    int64_t at = 0;
    for (size_t d = 0; d < index.size(); ++d) at += index[d] * strides[d];
    return at;
  }
  Dims strides;
};

void cast_element(const Array& from, int64_t i, Array& into, int64_t at) {
  if (into.is_real()) {
    const double x = from.is_real() ? from.real[i] : to_real(from.whole[i], from.dtype);
    into.real[at] = round_to(into.dtype, x);
  } else {
    into.whole[at] =
        from.is_real() ? to_whole(from.real[i], into.dtype) : round_to(into.dtype, from.whole[i]);
  }
}

// The bits of one element in the place of another of its size.
void bitcast_element(const Array& from, int64_t i, Array& into, int64_t at) {
  std::array<std::byte, 8> bits{};
  visit_dtype(from.dtype, [&]<class T>(DTypeTag<T>) {
    if constexpr (std::is_integral_v<T>) {
      const T value = static_cast<T>(from.whole[i]);
      std::memcpy(bits.data(), &value, sizeof value);
    } else if constexpr (!is_complex(dtype_of<T>)) {
      using Number = std::conditional_t<std::is_same_v<T, double>, double, float>;
      const T value(static_cast<Number>(from.real[i]));
      std::memcpy(bits.data(), &value, sizeof value);
    }
  });
  visit_dtype(into.dtype, [&]<class T>(DTypeTag<T>) {
    if constexpr (std::is_same_v<T, bool>) {
      into.whole[at] = bits[0] != std::byte{0};
    } else if constexpr (!is_complex(dtype_of<T>)) {
      T value;
      std::memcpy(&value, bits.data(), sizeof value);
      if constexpr (std::is_integral_v<T>) {
        into.whole[at] = static_cast<int64_t>(value);
      } else {
        into.real[at] = static_cast<double>(value);
      }
    }
  });
}

void unary_element(const ProgramNode& node, const Array& x, int64_t i, Array& out, int64_t at) {
  switch (info(node.op).group) {
    case PrimitiveClass::Cast:
      node.op == Op::Cast ? cast_element(x, i, out, at) : bitcast_element(x, i, out, at);
      return;
    case PrimitiveClass::Predicate:
      out.whole[at] = node.op == Op::IsNan   ? x.is_real() && std::isnan(x.real[i])
                      : node.op == Op::IsInf ? x.is_real() && std::isinf(x.real[i])
                                             : (x.is_real() ? x.real[i] == 0 : x.whole[i] == 0);
      return;
    default:
      if (out.is_real()) {
        out.real[at] = round_to(out.dtype, unary(node.op, x.real[i]));
      } else {
        out.whole[at] = round_to(out.dtype, unary(node.op, x.whole[i], x.dtype));
      }
  }
}

void binary_element(const ProgramNode& node, const Array& a, int64_t i, const Array& b, int64_t j,
                    Array& out, int64_t at) {
  if (info(node.op).group == PrimitiveClass::Compare) {
    out.whole[at] = a.is_real()                ? compare(node.op, a.real[i], b.real[j])
                    : a.dtype == DType::UInt64 ? compare(node.op, static_cast<uint64_t>(a.whole[i]),
                                                         static_cast<uint64_t>(b.whole[j]))
                                               : compare(node.op, a.whole[i], b.whole[j]);
  } else if (out.is_real()) {
    out.real[at] = round_to(out.dtype, binary(node.op, a.real[i], b.real[j], out.dtype));
  } else {
    out.whole[at] = round_to(out.dtype, binary(node, a.whole[i], b.whole[j], out.dtype));
  }
}

}  // namespace

Array run_elementwise(const Operation& operation) {
  const ProgramNode& node = operation.node;
  Array out = make_array(node.type);
  std::vector<Broadcast> places;
  for (const Array* operand : operation.operands) places.emplace_back(*operand, out.dims.size());
  int64_t at = 0;
  for_each_index(out.dims, [&](std::span<const int64_t> index) {
    const Array& a = *operation.operands[0];
    const int64_t i = places[0](index);
    if (node.op == Op::Select) {
      const int k = a.whole[i] ? 1 : 2;
      const int64_t from = places[k](index);
      with_elements([&](auto& to, const auto& x) { to[at] = x[from]; }, out,
                    *operation.operands[k]);
    } else if (operation.operands.size() == 1) {
      unary_element(node, a, i, out, at);
    } else {
      binary_element(node, a, i, *operation.operands[1], places[1](index), out, at);
    }
    ++at;
  });
  return out;
}

}  // namespace tenon::reference
