// Functions of f32 computed in f64: polynomials to 1e-11 or better, so one rounding to f32 is all
// the error that shows. They cost two to three times a formula in f32, and are simple.

#include <cmath>
#include <limits>
#include <numbers>

#include "jit/loop/formulas.h"

namespace tenon::loop::formulas {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kRounder = 0x1.8p52;  // adding and subtracting it rounds to an integer
constexpr double kHalfPi = std::numbers::pi / 2;

Pack wide(Builder& b, Pack x) { return b.cast(Scalar::F64, x); }
Pack narrow(Builder& b, Pack x) { return b.cast(Scalar::F32, x); }

// exp(r 2^0) for |r| <= ln(2)/2, relative error 2e-14.
Pack exp_reduced(Builder& b, Pack r) {
  const Pack p =
      polynomial(b, r,
                 {1.0000000000000089, 0.49999999999592259, 0.1666666666651522, 0.041666666995112976,
                  0.0083333333993730486, 0.0013888806657883191, 0.00019841153818811553,
                  2.4882705083264781e-05, 2.7646565564494708e-06});
  return b.fma(r, p, b.f64(1));
}

// |x| <= 250 * ln 2 after the clamp, far beyond what f32 holds.
Pack wide_exp(Builder& b, Pack x) {
  x = clamp(b, x, -170, 170);
  const Pack shifted = b.fma(x, b.f64(std::numbers::log2e), b.f64(kRounder));
  const Pack n = b.sub(shifted, b.f64(kRounder));
  const Pack r = b.fma(n, b.f64(-std::numbers::ln2), x);
  return b.scale(exp_reduced(b, r), n);
}

struct Logarithm {
  Pack exponent;
  Pack log1pf;  // x = 2^exponent (1 + f)
};

// log(1 + f) = 2 atanh(s), s = f / (2 + f); f in [-1/3, 1/2].
Pack log1p_reduced(Builder& b, Pack f) {
  const Pack s = b.div(f, b.add(f, b.f64(2)));
  const Pack z = b.mul(s, s);
  const Pack p =
      polynomial(b, z,
                 {0.33333333333336579, 0.19999999997959741, 0.1428571471928349, 0.11111067490511906,
                  0.090932498440756307, 0.076236630801520724, 0.076951839812912065});
  const Pack twice = b.add(s, s);
  return b.fma(b.mul(twice, z), p, twice);
}

constexpr int64_t kThreeQuarters = 0x3fe8000000000000;
constexpr int64_t kExponentMask = static_cast<int64_t>(0xfff0000000000000);

// x positive and normal (any positive f32 is). `low` is a small term to add to x.
Logarithm split_log(Builder& b, Pack x, Pack low = {}) {
  const Pack bits = b.bitcast(Scalar::I64, x);
  const Pack e = b.and_(b.sub(bits, b.i64(kThreeQuarters)), b.i64(kExponentMask));
  Pack f = b.sub(b.bitcast(Scalar::F64, b.sub(bits, e)), b.f64(1));
  if (low) {
    const Pack power = b.bitcast(Scalar::F64, b.sub(b.i64(0x3ff0000000000000), e));  // 2^-e
    f = b.fma(low, power, f);
  }
  // The exponent is small: through i32 vectors convert to f64 on every machine.
  const Pack exponent = b.cast(Scalar::F64, b.cast(Scalar::I32, b.shr(e, b.i64(52))));
  return {exponent, log1p_reduced(b, f)};
}

// log(1 + t), t >= 0, infinity included; precise for small t.
Pack wide_log1p(Builder& b, Pack t) {
  const Pack u = b.add(t, b.f64(1));
  const Logarithm l = split_log(b, u, b.sub(t, b.sub(u, b.f64(1))));
  const Pack result = b.fma(l.exponent, b.f64(std::numbers::ln2), l.log1pf);
  return b.select(b.lt(t, b.f64(kInfinity)), result, t);
}

// atan(t), t in [0, 1], relative error 1e-11.
Pack atan_reduced(Builder& b, Pack t) {
  const Pack p = polynomial(
      b, b.mul(t, t),
      {0.99999999999065281, -0.33333333005304966, 0.19999980836789569, -0.14285271422499982,
       0.11105741584246415, -0.090516195608026456, 0.075039596941221406, -0.060426281890652959,
       0.043967147821731965, -0.026338500055491248, 0.011646530675324234, -0.003278266965506781,
       0.0004329525632251048});
  return b.mul(t, p);
}

// The angle of (x, y) in f64; signs and infinities as C's atan2.
Pack angle(Builder& b, Pack y, Pack x) {
  const Pack ay = b.abs(y), ax = b.abs(x);
  const Pack is_steep = b.gt(ay, ax);
  const Pack low = b.select(is_steep, ax, ay), high = b.select(is_steep, ay, ax);
  Pack t = b.div(low, high);
  t = b.select(b.eq(low, high), b.f64(1), t);       // inf / inf, and x / x
  t = b.select(b.eq(high, b.f64(0)), b.f64(0), t);  // 0 / 0
  Pack a = atan_reduced(b, t);
  a = b.select(is_steep, b.sub(b.f64(kHalfPi), a), a);
  const Pack x_is_negative = b.lt(b.bitcast(Scalar::I64, x), b.i64(0));  // -0 too
  a = b.select(x_is_negative, b.sub(b.f64(std::numbers::pi), a), a);
  a = b.copysign(a, y);
  const Pack is_nan = b.or_(b.ne(x, x), b.ne(y, y));
  return b.select(is_nan, b.f64(kNaN), a);
}

}  // namespace

// sin and cos polynomials of the reduced argument; the reduction holds to 2^29, and beyond it the
// host's tangent answers.
Pack tan(Builder& b, Pack narrow_x) {
  const Pack x = wide(b, narrow_x);
  const Pack shifted = b.fma(x, b.f64(2 / std::numbers::pi), b.f64(kRounder));
  const Pack n = b.sub(shifted, b.f64(kRounder));
  Pack r = b.fma(n, b.f64(-kHalfPi), x);
  r = b.fma(n, b.f64(-6.123233995736766e-17), r);  // pi/2 - kHalfPi
  const Pack z = b.mul(r, r);
  const Pack sine =
      b.fma(b.mul(r, z),
            polynomial(b, z,
                       {-0.16666666666666638, 0.0083333333333242155, -0.00019841269830883767,
                        2.7557313969764982e-06, -2.5050790749707333e-08, 1.5898211297141584e-10}),
            r);
  const Pack cosine =
      polynomial(b, z,
                 {1, -0.49999999999999462, 0.041666666666498313, -0.0013888888871316086,
                  2.4801578867818908e-05, -2.7555272225866356e-07, 2.063214392371451e-09});
  const Pack number = b.bitcast(Scalar::I64, shifted);
  const Pack is_odd = b.ne(b.and_(number, b.i64(1)), b.i64(0));
  const Pack ratio = b.div(b.select(is_odd, b.neg(cosine), sine), b.select(is_odd, sine, cosine));
  const Pack fast = b.select(b.eq(narrow_x, b.f32(0)), narrow_x, narrow(b, ratio));
  const Pack is_large = b.gt(b.abs(narrow_x), b.f32(0x1p29));
  return b.if_else(
      any(b, is_large),
      [&]() -> Builder::Packs {
        return {b.select(is_large, b.call(host_function("tan"), narrow_x), fast)};
      },
      [&]() -> Builder::Packs { return {fast}; })[0];
}

Pack atan2(Builder& b, Pack y, Pack x) { return narrow(b, angle(b, wide(b, y), wide(b, x))); }

Pack atan(Builder& b, Pack x) { return narrow(b, angle(b, wide(b, x), b.f64(1))); }

// 1 - x and 1 + x are exact in f64 for every f32, as is their product to 1e-16.
Pack asin(Builder& b, Pack narrow_x) {
  const Pack x = wide(b, narrow_x);
  const Pack other = b.sqrt(b.mul(b.sub(b.f64(1), x), b.add(b.f64(1), x)));
  return narrow(b, angle(b, x, other));
}

Pack acos(Builder& b, Pack narrow_x) {
  const Pack x = wide(b, narrow_x);
  const Pack other = b.sqrt(b.mul(b.sub(b.f64(1), x), b.add(b.f64(1), x)));
  return narrow(b, angle(b, other, x));
}

Pack sinh(Builder& b, Pack narrow_x) {
  const Pack x = wide(b, narrow_x), y = b.abs(x);
  const Pack p =
      polynomial(b, b.mul(y, y),
                 {0.99999999999992661, 0.16666666667208738, 0.00833333326901191,
                  0.00019841297622825017, 2.7551914533960249e-06, 2.5535007644599212e-08});
  const Pack e = wide_exp(b, y);
  const Pack large = b.mul(b.f64(0.5), b.sub(e, b.div(b.f64(1), e)));
  return narrow(b, b.copysign(b.select(b.gt(y, b.f64(1)), large, b.mul(y, p)), x));
}

Pack cosh(Builder& b, Pack x) {
  const Pack e = wide_exp(b, b.abs(wide(b, x)));
  return narrow(b, b.mul(b.f64(0.5), b.add(e, b.div(b.f64(1), e))));
}

// asinh(y) = log1p(y + y^2 / (1 + sqrt(1 + y^2))).
Pack asinh(Builder& b, Pack narrow_x) {
  const Pack x = wide(b, narrow_x), y = b.abs(x);
  const Pack square = b.mul(y, y);
  const Pack root = b.sqrt(b.add(square, b.f64(1)));
  const Pack t = b.add(y, b.div(square, b.add(root, b.f64(1))));
  const Pack result = b.select(b.lt(y, b.f64(kInfinity)), wide_log1p(b, t), y);  // inf / inf
  return narrow(b, b.copysign(result, x));
}

// acosh(x) = log1p(t + sqrt(t (x + 1))), t = x - 1; NaN below 1 through the root of a negative.
Pack acosh(Builder& b, Pack narrow_x) {
  const Pack x = wide(b, narrow_x), t = b.sub(x, b.f64(1));
  const Pack result = wide_log1p(b, b.add(t, b.sqrt(b.mul(t, b.add(x, b.f64(1))))));
  return narrow(b, b.select(b.lt(x, b.f64(1)), b.f64(kNaN), result));
}

// atanh(y) = log1p(2 y / (1 - y)) / 2.
Pack atanh(Builder& b, Pack narrow_x) {
  const Pack x = wide(b, narrow_x), y = b.abs(x);
  const Pack t = b.div(b.add(y, y), b.sub(b.f64(1), y));
  const Pack result = b.mul(b.f64(0.5), wide_log1p(b, t));
  return narrow(b, b.copysign(b.select(b.gt(y, b.f64(1)), b.f64(kNaN), result), x));
}

// erfc(y) = exp(-y^2) p(t) / (1 + 2y), t = (y - 2) / (y + 2) (Shepherd and Laframboise, Math. Comp.
// 36, 1981); 2 - that for negative x. f32 underflows at 10.06.
Pack erfc(Builder& b, Pack narrow_x) {
  const Pack x = wide(b, narrow_x), y = clamp(b, b.abs(x), 0, 10.5);
  const Pack t = b.div(b.sub(y, b.f64(2)), b.add(y, b.f64(2)));
  const Pack p =
      polynomial(b, t,
                 {1.2769783815557691, -0.092763826520851925, -0.16603039819769766,
                  0.16405127601597713, -0.054219984753740583, -0.008033939472167231,
                  0.0087224948393454984, 0.0012706859799557092, -0.0014561657719174841,
                  -0.00045136746567165813, 0.00020556755023790448, 0.0001437072217446241,
                  -3.2855633252966921e-06, -2.7377261005143099e-05, -7.4511643827678486e-06});
  const Pack tail = b.div(b.mul(wide_exp(b, b.neg(b.mul(y, y))), p), b.add(b.f64(1), b.add(y, y)));
  return narrow(b, b.select(b.lt(x, b.f64(0)), b.sub(b.f64(2), tail), tail));
}

// 2^(y log2 |x|), then the special cases of C's pow.
Pack pow(Builder& b, Pack narrow_x, Pack narrow_y) {
  const Pack x = wide(b, narrow_x), y = wide(b, narrow_y);
  const Pack magnitude = b.abs(x);
  const Logarithm l = split_log(b, magnitude);
  Pack log2 = b.fma(l.log1pf, b.f64(std::numbers::log2e), l.exponent);
  log2 = b.select(b.eq(magnitude, b.f64(0)), b.f64(-kInfinity), log2);
  log2 = b.select(b.lt(magnitude, b.f64(kInfinity)), log2, magnitude);  // infinity and NaN
  const Pack z = clamp(b, b.mul(y, log2), -200, 200);
  const Pack n = b.sub(b.add(z, b.f64(kRounder)), b.f64(kRounder));
  const Pack r = b.mul(b.sub(z, n), b.f64(std::numbers::ln2));
  Pack result = b.scale(exp_reduced(b, r), n);

  const Pack half = b.mul(y, b.f64(0.5));
  const Pack is_integer = b.eq(b.unary(UnaryOp::Trunc, y), y);
  const Pack is_odd = b.and_(is_integer, b.ne(b.unary(UnaryOp::Trunc, half), half));
  const Pack is_negative = b.lt(b.bitcast(Scalar::I64, x), b.i64(0));
  result = b.select(b.and_(is_negative, is_odd), b.neg(result), result);
  const Pack is_below_zero = b.and_(b.lt(x, b.f64(0)), b.gt(x, b.f64(-kInfinity)));
  // A NaN y is no integer, and its result is NaN anyway.
  result = b.select(b.and_(is_below_zero, b.not_(is_integer)), b.f64(kNaN), result);
  const Pack is_one = b.or_(b.eq(x, b.f64(1)), b.eq(y, b.f64(0)));
  const Pack is_unit_to_infinity =
      b.and_(b.eq(magnitude, b.f64(1)), b.eq(b.abs(y), b.f64(kInfinity)));
  return narrow(b, b.select(b.or_(is_one, is_unit_to_infinity), b.f64(1), result));
}

// x - trunc(x / y) y. In f64 the quotient is at most one off and the difference is exact while the
// quotient is below 2^50; beyond that the host's fmod answers.
Pack fmod(Builder& b, Pack narrow_x, Pack narrow_y) {
  const Pack x = b.abs(wide(b, narrow_x)), y = b.abs(wide(b, narrow_y));
  const Pack quotient = b.div(x, y);
  Pack r = b.fma(b.neg(b.unary(UnaryOp::Trunc, quotient)), y, x);
  r = b.select(b.lt(r, b.f64(0)), b.add(r, y), r);
  r = b.select(b.ge(r, y), b.sub(r, y), r);
  r = b.select(b.eq(y, b.f64(kInfinity)), b.select(b.lt(x, y), x, b.f64(kNaN)), r);
  const Pack fast = b.copysign(narrow(b, r), narrow_x);
  // x / 0 and inf / y give NaN above; only finite quotients too large are left.
  const Pack is_large = b.and_(b.gt(quotient, b.f64(0x1p50)), b.lt(quotient, b.f64(kInfinity)));
  return b.if_else(
      any(b, is_large),
      [&]() -> Builder::Packs {
        return {b.select(is_large, b.call(host_function("fmod"), narrow_x, narrow_y), fast)};
      },
      [&]() -> Builder::Packs { return {fast}; })[0];
}

}  // namespace tenon::loop::formulas
