// Common divisors and multiples.
#include "core/error.h"
#include "core/shape.h"
#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/tensor.h"

namespace tenon::values {
namespace {

void take_integers(Value& a, Value& b) {
  promote(Promotion::Common, {&a, &b});
  check(is_integral(dtype(a), false), ErrorKind::NotImplemented,
        "{}: not implemented for {}, only for integers", current_operation(), name_of(dtype(a)));
}

// Euclid's algorithm needs most steps for neighbours in Fibonacci's sequence, of which so many fit
// into the bits (Lamé's theorem).
int steps_for(DType type) {
  switch (size_of(type)) {
    case 1:
      return 13;
    case 2:
      return 24;
    case 4:
      return 47;
    default:
      return 93;
  }
}

}  // namespace

Value gcd(Value input, Value other) {
  take_integers(input, other);
  const Dims extents = common_dims(input, other);
  Value a = ops::expand(ops::unary(Op::Abs, input), extents);
  Value b = ops::expand(ops::unary(Op::Abs, other), extents);
  const Value zero = ops::literal_like(a, 0), one = ops::literal_like(a, 1);
  for (int step = 0; step < steps_for(dtype(a)); ++step) {
    const Value done = ops::binary(Op::Eq, b, zero);
    const Value rest = ops::binary(Op::Remainder, a, ops::select(done, one, b));
    a = ops::select(done, a, b);
    b = ops::select(done, b, rest);
  }
  return a;
}

Value lcm(Value input, Value other) {
  take_integers(input, other);
  const Value divisor = gcd(input, other);
  const Value zero = ops::binary(Op::Eq, divisor, ops::literal_like(divisor, 0));
  const Value safe = ops::select(zero, ops::literal_like(divisor, 1), divisor);
  return ops::unary(Op::Abs, ops::binary(Op::FloorDiv, input, safe) * other);
}

}  // namespace tenon::values
