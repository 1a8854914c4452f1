// Conversions of 8-bit floats. The steps are those of core/float8.h, on packs.
#include <bit>
#include <limits>

#include "jit/loop/math.h"

namespace tenon::loop {
namespace {

int exponent_bits_of(int exponent) { return (127 + exponent) << 23; }

Pack decode_power(Builder& b, Pack code) {
  const Pack wide = b.cast(Scalar::I32, code);
  const Pack bits = b.select(b.eq(wide, b.i32(0)), b.i32(0x400000), b.shl(wide, b.i32(23)));
  const Pack nan = b.f32(std::numeric_limits<double>::quiet_NaN());
  return b.select(b.eq(wide, b.i32(0xff)), nan, b.bitcast(Scalar::F32, bits));
}

Pack encode_power(Builder& b, Pack magnitude) {
  const Pack exponent = b.shr(magnitude, b.i32(23));
  const Pack fraction = b.and_(magnitude, b.i32(0x7fffff));
  const Pack least = b.select(b.eq(exponent, b.i32(0)), b.i32(0x400001), b.i32(0x400000));
  const Pack above = b.add(exponent, b.i32(1));
  const Pack rounded = b.select(b.ge(fraction, least), above, exponent);
  return b.select(b.eq(exponent, b.i32(0xff)), exponent, rounded);
}

}  // namespace

Pack decode_float8(Builder& b, const Float8Format& format, Pack code) {
  if (format.specials == Float8Specials::PowersOfTwo) return decode_power(b, code);
  const Pack wide = b.cast(Scalar::I32, code);
  const Pack magnitude = b.and_(wide, b.i32(0x7f));
  const Pack shifted = b.shl(magnitude, b.i32(23 - format.mantissa_bits));
  const Pack normal = b.bitcast(Scalar::F32, b.add(shifted, b.i32(exponent_bits_of(-format.bias))));
  const double unit =
      std::bit_cast<float>(exponent_bits_of(1 - format.bias - format.mantissa_bits));
  const Pack denormal = b.mul(b.cast(Scalar::F32, magnitude), b.f32(unit));
  Pack number = b.select(b.lt(magnitude, b.i32(1 << format.mantissa_bits)), denormal, normal);
  const Pack nan = b.f32(std::numeric_limits<double>::quiet_NaN());
  switch (format.specials) {
    case Float8Specials::UnsignedZero:
      number = b.select(b.eq(wide, b.i32(0x80)), nan, number);
      break;
    case Float8Specials::Infinities: {
      const Pack infinity = b.f32(std::numeric_limits<double>::infinity());
      number = b.select(b.ge(magnitude, b.i32(0x7c)), infinity, number);
      number = b.select(b.gt(magnitude, b.i32(0x7c)), nan, number);
      break;
    }
    default:
      number = b.select(b.eq(magnitude, b.i32(0x7f)), nan, number);
  }
  const Pack sign = b.shl(b.and_(wide, b.i32(0x80)), b.i32(24));
  return b.bitcast(Scalar::F32, b.or_(b.bitcast(Scalar::I32, number), sign));
}

Pack encode_float8(Builder& b, const Float8Format& format, Pack x) {
  const Pack bits = b.bitcast(Scalar::I32, x);
  const Pack magnitude = b.and_(bits, b.i32(0x7fffffff));
  if (format.specials == Float8Specials::PowersOfTwo) {
    return b.cast(Scalar::U8, encode_power(b, magnitude));
  }
  const Pack aligner = b.i32(format.denormal_aligner());
  const Pack aligned = b.add(b.bitcast(Scalar::F32, magnitude), b.bitcast(Scalar::F32, aligner));
  const Pack denormal = b.sub(b.bitcast(Scalar::I32, aligned), aligner);

  const int dropped = 23 - format.mantissa_bits;
  const Pack odd = b.and_(b.shr(magnitude, b.i32(dropped)), b.i32(1));
  const int rebase = (1 << (dropped - 1)) - 1 - exponent_bits_of(-format.bias);
  const Pack normal = b.shr(b.add(b.add(magnitude, b.i32(rebase)), odd), b.i32(dropped));

  const Pack is_small = b.lt(magnitude, b.i32(exponent_bits_of(1 - format.bias)));
  Pack code = b.select(is_small, denormal, normal);
  code = b.select(b.gt(code, b.i32(format.largest())), b.i32(format.overflow()), code);
  const Pack is_nan = b.gt(magnitude, b.i32(0x7f800000));
  code = b.select(is_nan, b.i32(format.quiet_nan()), code);
  const Pack sign = b.and_(b.shr(bits, b.i32(24)), b.i32(0x80));
  Pack signed_code = b.or_(code, sign);
  if (format.specials == Float8Specials::UnsignedZero) {
    const Pack is_unsigned = b.eq(b.and_(code, b.i32(0x7f)), b.i32(0));
    signed_code = b.select(is_unsigned, code, signed_code);
  }
  return b.cast(Scalar::U8, signed_code);
}

}  // namespace tenon::loop
