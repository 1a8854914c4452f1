#include <limits>

#include "jit/loop/formulas.h"

namespace tenon::loop::formulas {

// Square and multiply over the exponent's bits; products wrap. A negative exponent gives the
// truncated reciprocal: 1 for base 1, +-1 for base -1, else 0.
Pack integer_pow(Builder& b, Pack base, Pack exponent) {
  const ValueType shape = b.type_of(base).lanes == kLanes ? b.type_of(base) : b.type_of(exponent);
  if (shape.lanes == kLanes) base = b.broadcast(base), exponent = b.broadcast(exponent);
  const Scalar type = shape.scalar;
  auto number = [&](int64_t value) { return b.constant_int(type, value); };
  const int count = std::max(base.count, exponent.count);
  auto spread = [&](Pack x) {
    Pack wide = x;
    for (int i = 0; i < count; ++i) wide.value[i] = x[i];
    wide.count = count;
    return wide;
  };
  Pack one = b.constant_int(type, 1, shape.lanes);
  const auto results = b.for_loop(
      b.i64(0), b.i64(8 * size_of(type)), b.i64(1), {spread(one), spread(base), spread(exponent)},
      [&](Pack, const Builder::Packs& state) -> Builder::Packs {
        const Pack is_set = b.ne(b.and_(state[2], number(1)), number(0));
        return {b.select(is_set, b.mul(state[0], state[1]), state[0]), b.mul(state[1], state[1]),
                b.shr(state[2], number(1))};
      });
  if (!is_signed(type)) return results[0];
  const Pack is_odd = b.ne(b.and_(exponent, number(1)), number(0));
  const Pack minus_one = b.select(is_odd, number(-1), number(1));
  Pack reciprocal = b.select(b.eq(base, number(-1)), minus_one, number(0));
  reciprocal = b.select(b.eq(base, number(1)), number(1), reciprocal);
  return b.select(b.lt(exponent, number(0)), reciprocal, results[0]);
}

// One step along the ordered bits of the format (IEEE 754 nextUp and nextDown).
Pack next_after(Builder& b, Pack x, Pack y) {
  const Scalar type = b.type_of(x).scalar;
  const Scalar bits_type = size_of(type) == 4 ? Scalar::I32 : Scalar::I64;
  auto number = [&](int64_t value) { return b.constant_int(bits_type, value); };
  const Pack zero = b.constant(type, 0);
  const Pack bits = b.bitcast(bits_type, x);
  const Pack goes_up = b.lt(x, y);
  const Pack is_away = b.eq(b.compare(CompareOp::Gt, x, zero), goes_up);  // magnitude grows
  const Pack step = b.select(is_away, number(1), number(-1));
  Pack result = b.bitcast(type, b.add(bits, step));
  const Pack least = b.copysign(b.bitcast(type, number(1)), y);
  result = b.select(b.eq(x, zero), least, result);
  result = b.select(b.eq(x, y), y, result);
  const Pack nan = b.constant(type, std::numeric_limits<double>::quiet_NaN());
  return b.select(b.or_(b.ne(x, x), b.ne(y, y)), nan, result);
}

}  // namespace tenon::loop::formulas
