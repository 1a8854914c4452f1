// Special functions that partial derivatives need and that are no primitives.
#include <numbers>

#include "trace/value.h"

namespace tenon::ops {

// The derivative of digamma. Below 1/2 by reflection, pi^2/sin^2(pi x) - trigamma(1 - x); then
// shifted up by six and summed asymptotically (Abramowitz and Stegun 6.4.7, 6.4.6, 6.4.12):
// error below 1e-9 relative.
Value trigamma(Value x) {
  const Value reflect = x < 0.5;
  Value z = select(reflect, 1.0 - x, x);
  Value sum = literal_like(x, 0);
  for (int shift = 0; shift < 8; ++shift) {
    sum = sum + 1.0 / (z * z);
    z = z + 1.0;
  }
  const Value inverse = 1.0 / z;
  const Value square = inverse * inverse;
  // Bernoulli numbers 1/6, -1/30, 1/42, -1/30, 5/66.
  const Value series =
      square *
      (1.0 / 6 +
       square * (-1.0 / 30 + square * (1.0 / 42 + square * (-1.0 / 30 + square * (5.0 / 66)))));
  sum = sum + inverse * (1.0 + inverse * 0.5 + series);
  const Value sine = unary(Op::Sin, x * std::numbers::pi);
  const Value reflected = std::numbers::pi * std::numbers::pi / (sine * sine) - sum;
  return select(reflect, reflected, sum);
}

}  // namespace tenon::ops
