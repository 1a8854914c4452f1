#include "trace/ops/signal.h"

#include <cmath>
#include <numbers>

#include "core/error.h"
#include "generated/values.h"

namespace tenon::values {
namespace {

Value times(Value x, double factor) { return x * ops::scalar(factor, dtype(x)); }

// Points from -1 to 1; a single one is 0, in the middle.
Value centred_points(int64_t count, bool periodic, DType dtype) {
  const double last = static_cast<double>(periodic ? count : count - 1);
  return times(points_of(count, dtype), 2 / last) - 1.0;
}

Value ones(int64_t count, DType dtype) { return ops::full(Dims{count}, ops::literal(1, dtype)); }

}  // namespace

Value points_of(int64_t count, DType dtype) { return ops::cast(ops::iota(Dims{count}, 0), dtype); }

Value cosine_window(int64_t count, bool periodic, const FloatList& factors, DType dtype) {
  check(!factors.empty(), ErrorKind::Value, "the list of coefficients must not be empty");
  if (count <= 1) return ones(count, dtype);
  const double last = static_cast<double>(periodic ? count : count - 1);
  const Value k = points_of(count, dtype);
  Value sum = times(ones(count, dtype), factors[0]);
  for (size_t i = 1; i < factors.size(); ++i) {
    if (factors[i] == 0) continue;
    const Value angle = times(k, 2 * std::numbers::pi * static_cast<double>(i) / last);
    sum = sum + times(ops::unary(Op::Cos, angle), i % 2 == 0 ? factors[i] : -factors[i]);
  }
  return sum;
}

Value bartlett_of(int64_t count, bool periodic, DType dtype) {
  if (count <= 1) return ones(count, dtype);
  return 1.0 - ops::unary(Op::Abs, centred_points(count, periodic, dtype));
}

Value sine_of(int64_t count, bool periodic, DType dtype) {
  if (count == 0) return ones(count, dtype);
  const double whole = static_cast<double>(periodic && count > 1 ? count + 1 : count);
  return ops::unary(Op::Sin, times(points_of(count, dtype) + 0.5, std::numbers::pi / whole));
}

Value kaiser_of(int64_t count, bool periodic, double beta, DType dtype) {
  if (count <= 1) return ones(count, dtype);
  const Value x = centred_points(count, periodic, dtype);
  const Value inside = ops::binary(Op::Maximum, 1.0 - x * x, ops::literal_like(x, 0));
  return i0(times(ops::unary(Op::Sqrt, inside), beta)) / i0(ops::scalar(beta, dtype));
}

}  // namespace tenon::values
