// Elementary functions in f32. The shapes of the reductions are the classical ones (Cody and Waite,
// "Software Manual for the Elementary Functions", 1980; Muller, "Elementary Functions", 3rd ed.,
// ch. 11).

#include <cmath>
#include <limits>
#include <numbers>

#include "jit/loop/formulas.h"

namespace tenon::loop::formulas {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Adding and subtracting 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits.
constexpr double kRounder = 12582912.0;

struct Rounded {
  Pack shifted;  // bits hold the integer
  Pack value;
};

Rounded round_product(Builder& b, Pack x, double factor) {
  const Pack shifted = b.fma(x, b.f32(factor), b.f32(kRounder));
  return {shifted, b.sub(shifted, b.f32(kRounder))};
}

// ln 2 in two parts; the first has 9 trailing zeros, so its product with |n| <= 2^8 is exact.
constexpr double kLn2High = 0x1.62e4p-1, kLn2Low = 0x1.7f7d1cp-20;

struct Reduced {
  Pack n;  // x = n ln 2 + r
  Pack r;
};

Reduced reduce_ln2(Builder& b, Pack x) {
  const Pack n = round_product(b, x, std::numbers::log2e).value;
  Pack r = b.fma(n, b.f32(-kLn2High), x);
  r = b.fma(n, b.f32(-kLn2Low), r);
  return {n, r};
}

// exp(r) - 1 for |r| <= ln(2) / 2, relative error 4e-10 before rounding.
Pack expm1_reduced(Builder& b, Pack r) {
  const Pack p = polynomial(
      b, r, {0.5, 0.166666672, 0.0416664891, 0.00833320897, 0.0013932708, 0.000199434289});
  return b.fma(b.mul(r, r), p, r);
}

// exp(r) for |r| <= ln(2) / 2, relative error 3.3e-9 before rounding.
Pack exp_reduced(Builder& b, Pack r) {
  const Pack p = polynomial(b, r, {0.5, 0.166665182, 0.0416664183, 0.0083689848, 0.00139392004});
  return b.add(b.fma(b.mul(r, r), p, r), b.f32(1));
}

struct Logarithm {
  Pack exponent;  // x = 2^exponent (1 + f)
  Pack log1pf;
};

// log(1 + f) for f in [-1/4, 1/2], relative error 6.5e-9 before rounding.
Pack log1p_reduced(Builder& b, Pack f) {
  const Pack p = polynomial(b, f,
                            {0.333334684, -0.250003338, 0.199900597, -0.166367263, 0.144713849,
                             -0.132672936, 0.107302405, -0.046920117});
  return b.fma(b.mul(f, f), b.fma(f, p, b.f32(-0.5)), f);
}

constexpr int64_t kThreeQuarters = 0x3f400000;  // bits of 0.75f
constexpr int64_t kExponentMask = 0xff800000;

// e << 23 where u = 2^e m with m in [3/4, 3/2).
Pack exponent_bits(Builder& b, Pack u) {
  return b.and_(b.sub(b.bitcast(Scalar::I32, u), b.i32(kThreeQuarters)), b.i32(kExponentMask));
}

Pack exponent_value(Builder& b, Pack bits) {
  return b.mul(b.cast(Scalar::F32, bits), b.f32(0x1p-23));
}

Logarithm split_log(Builder& b, Pack x) {
  const Pack is_tiny = b.lt(x, b.f32(0x1p-126));
  const Pack scaled = b.select(is_tiny, b.mul(x, b.f32(0x1p25)), x);
  const Pack e = exponent_bits(b, scaled);
  const Pack m = b.bitcast(Scalar::F32, b.sub(b.bitcast(Scalar::I32, scaled), e));
  const Pack exponent = b.add(exponent_value(b, e), b.select(is_tiny, b.f32(-25), b.f32(0)));
  return {exponent, log1p_reduced(b, b.sub(m, b.f32(1)))};
}

// Puts in what the formula can't give: log(0), log(inf), log of negative values and NaN.
Pack log_specials(Builder& b, Pack x, Pack result) {
  const Pack bad = b.select(b.eq(x, b.f32(0)), b.f32(-kInfinity), b.f32(kNaN));
  result = b.select(b.gt(x, b.f32(0)), result, bad);
  return b.select(b.eq(x, b.f32(kInfinity)), x, result);
}

// Above this, three parts of pi/2 no longer reduce to full accuracy (error grows to 1.5 ulp).
constexpr double kReductionLimit = 71476.0;

struct Quadrant {
  Pack r;       // |x| = k pi/2 + r, |r| <= pi/4 (1 + tiny)
  Pack number;  // k, in the low bits of an i32
};

Quadrant reduce_half_pi(Builder& b, Pack magnitude) {
  const Rounded k = round_product(b, magnitude, 2 / std::numbers::pi);
  Pack r = b.fma(k.value, b.f32(-0x1.921fb0p+0), magnitude);
  r = b.fma(k.value, b.f32(-0x1.5110b4p-22), r);
  r = b.fma(k.value, b.f32(-0x1.846988p-48), r);
  return {r, b.bitcast(Scalar::I32, k.shifted)};
}

Pack sin_reduced(Builder& b, Pack r, Pack square) {
  const Pack p =
      polynomial(b, square, {-0.166666672, 0.00833338033, -0.000198534704, 2.83668373e-06});
  return b.fma(b.mul(r, square), p, r);
}

Pack cos_reduced(Builder& b, Pack square) {
  return polynomial(b, square, {1, -0.5, 0.0416666456, -0.00138873013, 2.4430663e-05});
}

// sin with shift 0, cos with shift 1. Lanes with |x| > kReductionLimit, when there are any, ask the
// host's double function, which is right up to FLT_MAX.
Pack circular(Builder& b, Pack x, int shift, const char* name) {
  const Pack magnitude = b.abs(x);
  const Quadrant q = reduce_half_pi(b, magnitude);
  const Pack square = b.mul(q.r, q.r);
  Pack number = q.number;
  if (shift) number = b.add(number, b.i32(1));
  const Pack is_odd = b.ne(b.and_(number, b.i32(1)), b.i32(0));
  const Pack value = b.select(is_odd, cos_reduced(b, square), sin_reduced(b, q.r, square));
  Pack sign = b.shl(number, b.i32(30));
  if (!shift) sign = b.xor_(sign, b.bitcast(Scalar::I32, x));
  sign = b.and_(sign, b.i32(0x80000000));
  const Pack fast = b.bitcast(Scalar::F32, b.xor_(b.bitcast(Scalar::I32, value), sign));

  const Pack is_large = b.gt(magnitude, b.f32(kReductionLimit));
  return b.if_else(
      any(b, is_large),
      [&]() -> Builder::Packs {
        return {b.select(is_large, b.call(host_function(name), x), fast)};
      },
      [&]() -> Builder::Packs { return {fast}; })[0];
}

}  // namespace

Pack polynomial(Builder& b, Pack x, std::initializer_list<double> coefficients) {
  const Scalar type = b.type_of(x).scalar;
  const double* c = coefficients.end();
  Pack sum = b.constant(type, *--c);
  while (c != coefficients.begin()) sum = b.fma(sum, x, b.constant(type, *--c));
  return sum;
}

Pack clamp(Builder& b, Pack x, double low, double high) {
  const Scalar type = b.type_of(x).scalar;
  const Pack least = b.constant(type, low), most = b.constant(type, high);
  x = b.select(b.gt(least, x), least, x);
  return b.select(b.lt(most, x), most, x);
}

Pack any(Builder& b, Pack flags) {
  Pack all = flags[0];
  for (int i = 1; i < flags.count; ++i) all = b.or_(all, flags[i]);
  return b.type_of(all).lanes == 1 ? all : b.reduce(ReduceOp::Or, all);
}

Pack exp(Builder& b, Pack x) {
  const Reduced reduced = reduce_ln2(b, clamp(b, x, -104, 89));
  return b.scale(exp_reduced(b, reduced.r), reduced.n);
}

Pack exp2(Builder& b, Pack x) {
  x = clamp(b, x, -151, 129);
  const Pack n = b.sub(b.add(x, b.f32(kRounder)), b.f32(kRounder));
  const Pack r = b.sub(x, n);
  const Pack p = polynomial(
      b, r, {0.693147182, 0.240226507, 0.0555035882, 0.00961806905, 0.00133913651, 0.000154600668});
  return b.scale(b.fma(r, p, b.f32(1)), n);
}

Pack expm1(Builder& b, Pack x) {
  const Reduced reduced = reduce_ln2(b, clamp(b, x, -104, 89));
  const Pack p = expm1_reduced(b, reduced.r);
  // Half of 2^n: 2^128 is needed, but is no float.
  const Pack half = b.scale(b.f32(0.5), reduced.n);
  const Pack result = b.fma(p, half, b.sub(half, b.f32(0.5)));
  return b.select(b.eq(x, b.f32(0)), x, b.add(result, result));
}

Pack log(Builder& b, Pack x) {
  const Logarithm l = split_log(b, x);
  const Pack low = b.fma(l.exponent, b.f32(kLn2Low), l.log1pf);
  return log_specials(b, x, b.fma(l.exponent, b.f32(kLn2High), low));
}

Pack log2(Builder& b, Pack x) {
  const Logarithm l = split_log(b, x);
  constexpr double kHigh = 0x1.715476p+0, kLow = 0x1.4ae0cp-26;  // log2(e)
  const Pack fraction = b.fma(l.log1pf, b.f32(kHigh), b.mul(l.log1pf, b.f32(kLow)));
  return log_specials(b, x, b.add(l.exponent, fraction));
}

Pack log10(Builder& b, Pack x) {
  const Logarithm l = split_log(b, x);
  constexpr double kHigh = 0x1.bcb7b2p-2, kLow = -0x1.5b235ep-27;    // log10(e)
  constexpr double kTwoHigh = 0x1.344p-2, kTwoLow = 0x1.3509f8p-18;  // log10(2)
  const Pack fraction = b.fma(l.log1pf, b.f32(kHigh), b.mul(l.log1pf, b.f32(kLow)));
  const Pack low = b.fma(l.exponent, b.f32(kTwoLow), fraction);
  return log_specials(b, x, b.fma(l.exponent, b.f32(kTwoHigh), low));
}

// x is scaled by the exponent of 1 + x rather than added to 1, so no bit of it is lost: with
// 1 + x = 2^e m, log1p(x) = e ln 2 + log1p(x 2^-e + (2^-e - 1)).
Pack log1p(Builder& b, Pack x) {
  const Pack u = b.add(x, b.f32(1));
  const Pack e = exponent_bits(b, u);
  const Pack scaled = b.bitcast(Scalar::F32, b.sub(b.bitcast(Scalar::I32, x), e));
  const Pack four = b.bitcast(Scalar::F32, b.sub(b.i32(0x40800000), e));  // 4 * 2^-e
  const Pack f = b.add(scaled, b.fma(b.f32(0.25), four, b.f32(-1)));
  const Pack is_same = b.eq(e, b.i32(0));
  const Pack exponent = exponent_value(b, e);
  const Pack log1pf = log1p_reduced(b, b.select(is_same, x, f));
  const Pack low = b.fma(exponent, b.f32(kLn2Low), log1pf);
  const Pack result = log_specials(b, u, b.fma(exponent, b.f32(kLn2High), low));
  return b.select(b.eq(x, b.f32(0)), x, result);
}

Pack sin(Builder& b, Pack x) { return circular(b, x, 0, "sin"); }
Pack cos(Builder& b, Pack x) { return circular(b, x, 1, "cos"); }

// x + x^3 p(x^2) up to 0.6; beyond, 1 - 2 / (exp(2x) + 1), where 1 dominates. From 9.1 on the
// result rounds to 1.
Pack tanh(Builder& b, Pack x) {
  const Pack magnitude = b.abs(x);
  const Pack square = b.mul(magnitude, magnitude);
  const Pack p = polynomial(
      b, square,
      {-0.333333313, 0.133332282, -0.0539496951, 0.0217174683, -0.00822062977, 0.00218419358});
  const Pack small = b.fma(b.mul(magnitude, square), p, magnitude);
  const Pack y = b.select(b.lt(b.f32(9.1), magnitude), b.f32(9.1), magnitude);
  const Reduced reduced = reduce_ln2(b, b.add(y, y));
  const Pack e = b.scale(exp_reduced(b, reduced.r), reduced.n);
  const Pack large = b.sub(b.f32(1), b.div(b.f32(2), b.add(e, b.f32(1))));
  return b.copysign(b.select(b.lt(magnitude, b.f32(0.6)), small, large), x);
}

Pack erf(Builder& b, Pack x) {
  const Pack y = b.abs(x);
  const Pack square = b.mul(y, y);
  const Pack p = polynomial(b, square,
                            {0.128379166, -0.376126289, 0.112836242, -0.0268555842, 0.00519192591,
                             -0.000804343377, 7.96726963e-05});
  const Pack small = b.fma(p, y, y);
  // 1 - exp(-q(y)); from 4 on the result rounds to 1.
  const Pack z = b.select(b.lt(b.f32(4), y), b.f32(4), y);
  const Pack q = polynomial(b, z,
                            {-0.000173245091, 1.12950814, 0.633360386, 0.108265519, -0.0251101684,
                             0.00416760612, -0.000433760986, 2.10353792e-05});
  const Reduced reduced = reduce_ln2(b, b.neg(q));
  const Pack power = b.scale(exp_reduced(b, reduced.r), reduced.n);
  const Pack large = b.sub(b.f32(1), power);
  return b.copysign(b.select(b.gt(y, b.f32(0.92)), large, small), x);
}

}  // namespace tenon::loop::formulas
