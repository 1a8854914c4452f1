#include "jit/loop/evaluate.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "core/half.h"
#include "jit/loop/math.h"

namespace tenon::loop {

namespace {

template <class T>
T from_lane(Lane lane) {
  T value;
  std::memcpy(&value, &lane, sizeof(T));
  return value;
}

template <class T>
Lane to_lane(T value) {
  Lane lane = 0;
  std::memcpy(&lane, &value, sizeof(T));
  return lane;
}

// Calls f with a value of the C++ type of an arithmetic scalar type.
template <class F>
auto with_type(Scalar type, F&& f) {
  switch (type) {
    case Scalar::I1:
      return f(bool{});
    case Scalar::U8:
      return f(uint8_t{});
    case Scalar::I8:
      return f(int8_t{});
    case Scalar::U16:
      return f(uint16_t{});
    case Scalar::I16:
      return f(int16_t{});
    case Scalar::U32:
      return f(uint32_t{});
    case Scalar::I32:
      return f(int32_t{});
    case Scalar::U64:
      return f(uint64_t{});
    case Scalar::I64:
      return f(int64_t{});
    case Scalar::F32:
      return f(float{});
    default:
      return f(double{});
  }
}

template <class T>
T integer_binary(BinaryOp op, T x, T y) {
  using U = std::make_unsigned_t<T>;
  // Products of 16-bit values would overflow int; 64 bits hold all that is kept.
  const uint64_t a = static_cast<U>(x), b = static_cast<U>(y);
  constexpr unsigned kBits = 8 * sizeof(T);
  const bool is_count_too_large = b >= kBits;
  switch (op) {
    case BinaryOp::Add:
      return static_cast<T>(a + b);
    case BinaryOp::Sub:
      return static_cast<T>(a - b);
    case BinaryOp::Mul:
      return static_cast<T>(a * b);
    case BinaryOp::Div:
      if (y == 0) return 0;
      if (std::is_signed_v<T> && y == static_cast<T>(-1)) return static_cast<T>(0 - a);
      return static_cast<T>(x / y);
    case BinaryOp::Rem:
      if (y == 0) return x;
      if (std::is_signed_v<T> && y == static_cast<T>(-1)) return 0;
      return static_cast<T>(x % y);
    case BinaryOp::Max:
      return x > y ? x : y;
    case BinaryOp::Min:
      return x < y ? x : y;
    case BinaryOp::And:
      return static_cast<T>(a & b);
    case BinaryOp::Or:
      return static_cast<T>(a | b);
    case BinaryOp::Xor:
      return static_cast<T>(a ^ b);
    case BinaryOp::Shl:
      return is_count_too_large ? T{0} : static_cast<T>(a << b);
    case BinaryOp::Shr:
      if (is_count_too_large) return static_cast<T>(x < 0 ? -1 : 0);
      return static_cast<T>(x >> b);
    default:
      return 0;
  }
}

template <class T>
T float_binary(BinaryOp op, T x, T y) {
  switch (op) {
    case BinaryOp::Add:
      return x + y;
    case BinaryOp::Sub:
      return x - y;
    case BinaryOp::Mul:
      return x * y;
    case BinaryOp::Div:
      return x / y;
    case BinaryOp::Max:
      return std::isnan(x) || x > y ? x : y;
    case BinaryOp::Min:
      return std::isnan(x) || x < y ? x : y;
    case BinaryOp::CopySign:
      return std::copysign(x, y);
    case BinaryOp::Scale:
      return std::isnan(y) ? y : std::ldexp(x, static_cast<int>(y));
    default:
      return 0;
  }
}

template <class T>
T float_unary(UnaryOp op, T x) {
  switch (op) {
    case UnaryOp::Neg:
      return -x;
    case UnaryOp::Abs:
      return std::fabs(x);
    case UnaryOp::Sqrt:
      return std::sqrt(x);
    case UnaryOp::Floor:
      return std::floor(x);
    case UnaryOp::Ceil:
      return std::ceil(x);
    case UnaryOp::Round:
      return std::nearbyint(x);  // the rounding mode is never changed: to even
    case UnaryOp::Trunc:
      return std::trunc(x);
    default:
      return 0;
  }
}

// Truncation, or the least value of the signed type where the result does not fit.
template <class I>
I truncate(double x, double low, double high) {
  const bool fits = x > low && x < high;  // false on NaN
  if (!fits) return static_cast<I>(uint64_t{1} << (8 * sizeof(I) - 1));
  if constexpr (std::is_unsigned_v<I>) {
    return x < 0 ? static_cast<I>(static_cast<std::make_signed_t<I>>(x)) : static_cast<I>(x);
  } else {
    return static_cast<I>(x);
  }
}

Lane float_to_integer(Scalar to, double x) {
  constexpr double k31 = 2147483648.0, k63 = 9223372036854775808.0;
  // The open interval of what truncates into range. -2^63 itself truncates to the value that stands
  // for out of range, so the bound at -2^63 may be open too.
  switch (to) {
    case Scalar::I1:
      return x != 0;
    case Scalar::U64:
      return to_lane(truncate<uint64_t>(x, -k63, 2 * k63));
    case Scalar::I64:
      return to_lane(truncate<int64_t>(x, -k63, k63));
    case Scalar::U32:
      return to_lane(truncate<uint32_t>(x, -k31 - 1, 2 * k31));
    default: {
      const auto value = truncate<int32_t>(x, -k31 - 1, k31);
      return size_of(to) == 4   ? to_lane(value)
             : size_of(to) == 2 ? to_lane(static_cast<int16_t>(value))
                                : to_lane(static_cast<int8_t>(value));
    }
  }
}

Lane to_float(Scalar to, auto x) {
  switch (to) {
    case Scalar::F16:
      return float16(static_cast<float>(x)).bits;
    case Scalar::BF16:
      return bfloat16(static_cast<float>(x)).bits;
    case Scalar::F32:
      return to_lane(static_cast<float>(x));
    default:
      return to_lane(static_cast<double>(x));
  }
}

}  // namespace

Lane evaluate_unary(UnaryOp op, Scalar type, Lane x) {
  if (type == Scalar::I1) return x ^ 1;  // only `not`
  return with_type(type, [&](auto tag) -> Lane {
    using T = decltype(tag);
    const T value = from_lane<T>(x);
    if constexpr (std::is_floating_point_v<T>) {
      return to_lane(float_unary(op, value));
    } else {
      const auto bits = static_cast<uint64_t>(static_cast<int64_t>(value));
      if (op == UnaryOp::Not) return to_lane(static_cast<T>(~bits));
      if (op == UnaryOp::Abs) {
        if constexpr (std::is_unsigned_v<T>)
          return x;
        else if (value >= 0)
          return x;
      }
      return to_lane(static_cast<T>(0 - bits));
    }
  });
}

Lane evaluate_binary(BinaryOp op, Scalar type, Lane x, Lane y) {
  return with_type(type, [&](auto tag) -> Lane {
    using T = decltype(tag);
    if constexpr (std::is_same_v<T, bool>) {
      return op == BinaryOp::And ? x & y : op == BinaryOp::Or ? x | y : x ^ y;
    } else if constexpr (std::is_floating_point_v<T>) {
      return to_lane(float_binary(op, from_lane<T>(x), from_lane<T>(y)));
    } else {
      return to_lane(integer_binary(op, from_lane<T>(x), from_lane<T>(y)));
    }
  });
}

bool evaluate_compare(CompareOp op, Scalar type, Lane x, Lane y) {
  return with_type(type, [&](auto tag) {
    using T = decltype(tag);
    const T a = from_lane<T>(x), b = from_lane<T>(y);
    switch (op) {
      case CompareOp::Eq:
        return a == b;
      case CompareOp::Ne:
        return a != b;
      case CompareOp::Lt:
        return a < b;
      case CompareOp::Le:
        return a <= b;
      case CompareOp::Gt:
        return a > b;
      default:
        return a >= b;
    }
  });
}

Lane evaluate_fma(Scalar type, Lane x, Lane y, Lane z) {
  if (type == Scalar::F32) {
    return to_lane(std::fma(from_lane<float>(x), from_lane<float>(y), from_lane<float>(z)));
  }
  return to_lane(std::fma(from_lane<double>(x), from_lane<double>(y), from_lane<double>(z)));
}

Lane evaluate_cast(Scalar to, Scalar from, Lane x) {
  if (to == from) return x;
  if (is_float(from)) {
    if (from == Scalar::F64) {
      const double value = from_lane<double>(x);
      return is_float(to) ? to_float(to, value) : float_to_integer(to, value);
    }
    const float value = from == Scalar::F16 ? float(float16::from_bits(static_cast<uint16_t>(x)))
                        : from == Scalar::BF16
                            ? float(bfloat16::from_bits(static_cast<uint16_t>(x)))
                            : from_lane<float>(x);
    return is_float(to) ? to_float(to, value) : float_to_integer(to, value);
  }
  return with_type(from, [&](auto tag) -> Lane {
    const auto value = from_lane<decltype(tag)>(x);
    if (is_float(to)) return to_float(to, value);
    if (to == Scalar::I1) return value != 0;
    const auto bits =
        static_cast<uint64_t>(static_cast<int64_t>(value));  // extends by the sign of `from`
    const int width = 8 * size_of(to);
    return width == 64 ? bits : bits & ((uint64_t{1} << width) - 1);
  });
}

Lane evaluate_call(uint32_t function, Scalar type, Lane x, Lane y) {
  const HostFunction& host = host_functions()[function];
  const bool is_double = type == Scalar::F64;
  const double a = is_double ? from_lane<double>(x) : from_lane<float>(x);
  const double b = is_double ? from_lane<double>(y) : from_lane<float>(y);
  const double result = host.unary ? host.unary(a) : host.binary(a, b);
  return is_double ? to_lane(result) : to_lane(static_cast<float>(result));
}

Lane evaluate_scalar_param(Scalar type, uint64_t payload) {
  return is_float(type) ? evaluate_cast(type, Scalar::F64, payload)
                        : evaluate_cast(type, Scalar::I64, payload);
}

}  // namespace tenon::loop
