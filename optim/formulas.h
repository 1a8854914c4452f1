// PyTorch's fused forms over Values. Each is one operation there, so it rounds once, to the dtype
// of its first operand: half types are computed in float32.
#pragma once

#include <cmath>

#include "trace/value.h"

namespace tenon::optim {

inline Value wide(Value x) { return is_half(dtype(x)) ? ops::cast(x, DType::Float32) : x; }
inline Value narrow(Value x, Value like) { return ops::cast(x, dtype(like)); }
inline Value argument(Value like, double number) { return ops::scalar(number, dtype(like)); }

inline Value scaled(Value a, double factor) {  // a.mul(factor)
  return narrow(wide(a) * argument(wide(a), factor), a);
}
inline Value divided(Value a, double divisor) {  // a.div(divisor)
  return narrow(wide(a) / argument(wide(a), divisor), a);
}
inline Value shifted(Value a, double number) {  // a.add(number)
  return narrow(wide(a) + argument(wide(a), number), a);
}
// a.add(b, alpha=factor), where PyTorch first rounds the factor to the dtype of a.
inline Value add_scaled(Value a, Value b, double factor) {
  return narrow(wide(a) + wide(argument(a, factor)) * wide(b), a);
}
inline Value add_product(Value a, Value b, Value c, double factor) {  // a.addcmul(b, c, factor)
  return narrow(wide(a) + argument(wide(a), factor) * wide(b) * wide(c), a);
}
inline Value add_quotient(Value a, Value b, Value c, double factor) {  // a.addcdiv(b, c, factor)
  return narrow(wide(a) + argument(wide(a), factor) * wide(b) / wide(c), a);
}
inline Value interpolate(Value a, Value b, double weight) {  // a.lerp(b, weight): nearer end first
  const Value x = wide(a), y = wide(b), difference = y - x;
  if (std::abs(weight) < 0.5) return narrow(x + argument(x, weight) * difference, a);
  return narrow(y - difference * argument(x, 1 - weight), a);
}
inline Value square_root(Value a) { return ops::unary(Op::Sqrt, a); }
inline Value absolute(Value a) { return ops::unary(Op::Abs, a); }
inline Value sign(Value a) { return ops::unary(Op::Sign, a); }
inline Value larger(Value a, Value b) { return ops::binary(Op::Maximum, a, b); }
inline Value smaller(Value a, Value b) { return ops::binary(Op::Minimum, a, b); }

}  // namespace tenon::optim
