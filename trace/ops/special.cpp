// Special functions (spec/ops/special.toml): Chebyshev series where functions are smooth
// (special_series.h), recurrences and sums elsewhere. Chapters are of the NIST Digital Library of
// Mathematical Functions. Half types are computed in float32.
#include <cmath>
#include <numbers>
#include <span>
#include <vector>

#include "core/error.h"
#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/ops/loops.h"
#include "trace/ops/special_series.h"
#include "trace/region.h"
#include "trace/tensor.h"

namespace tenon::values {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

Value fn(Op op, Value x) { return ops::unary(op, x); }
Value fn(Op op, Value x, Value y) { return ops::binary(op, x, y); }
Value choose(Value condition, Value a, Value b) { return ops::select(condition, a, b); }
Value choose(Value condition, double a, Value b) {
  return ops::select(condition, ops::literal_like(b, a), b);
}
Value choose(Value condition, Value a, double b) {
  return ops::select(condition, a, ops::literal_like(a, b));
}
Value equals(Value x, double number) { return fn(Op::Eq, x, ops::literal_like(x, number)); }
Value clamped_below(Value x, double least) { return choose(x < least, least, x); }
Value clamped_above(Value x, double most) { return choose(x > most, most, x); }

// Clenshaw's recurrence; float32 leaves out what it can't see.
Value sum_series(std::span<const double> coefficients, Value y) {
  const bool is_double = dtype(y) == DType::Float64;
  size_t n = coefficients.size();
  while (!is_double && n > 2 && std::abs(coefficients[n - 1]) < 1e-9 * std::abs(coefficients[0])) {
    --n;
  }
  const Value twice = y * 2.0;
  Value b1 = ops::literal_like(y, coefficients[n - 1]), b2;
  for (size_t k = n - 1; k-- > 1;) {
    Value next = twice * b1 + coefficients[k];
    if (b2) next = next - b2;
    b2 = b1, b1 = next;
  }
  const Value sum = y * b1 + coefficients[0];
  return b2 ? sum - b2 : sum;
}

// Half types as float32 inside `body`.
template <class Body>
Value widened(Value x, Body body) {
  x = as_floating(x);
  const DType own = dtype(x);
  check(is_floating(own), ErrorKind::NotImplemented, "{}: not implemented for {}",
        current_operation(), name_of(own));
  return ops::cast(body(is_half(own) ? ops::cast(x, DType::Float32) : x), own);
}

// ---- modified Bessel functions (10.25)
// -------------------------------------------------------------

Value scaled_i0(Value x) {
  const Value a = fn(Op::Abs, x), far = a > 8.0;
  const Value large = clamped_below(a, 8);
  return choose(far, sum_series(series::kI0eFar, 16.0 / large - 1.0) * fn(Op::Rsqrt, large),
                sum_series(series::kI0eNear, clamped_above(a, 8) * 0.25 - 1.0));
}

Value scaled_i1(Value x) {
  const Value a = fn(Op::Abs, x), far = a > 8.0;
  const Value large = clamped_below(a, 8);
  const Value decaying = sum_series(series::kI1eFar, 16.0 / large - 1.0) * fn(Op::Rsqrt, large);
  return choose(far, choose(x < 0.0, -decaying, decaying),
                x * sum_series(series::kI1eNear, clamped_above(a, 8) * 0.25 - 1.0));
}

// Near 0 by its power series (10.25.2), which has all derivatives there.
Value modified_i0(Value x) {
  constexpr int kTerms = 11;
  const Value near = fn(Op::Abs, x) < 1.0, small = choose(near, x, 0);
  const Value square = small * small * 0.25;
  Value sum = ops::ones_like(square);
  for (int k = kTerms; k > 0; --k) sum = sum * square / (1.0 * k * k) + 1.0;
  const Value far = choose(near, 1, x);
  return choose(near, sum, fn(Op::Exp, fn(Op::Abs, far)) * scaled_i0(far));
}
Value modified_i1(Value x) { return fn(Op::Exp, fn(Op::Abs, x)) * scaled_i1(x); }

// K of order 0 or 1, times exp(x) if scaled.
Value modified_k(Value x, int order, bool scaled) {
  const Value near = x <= 2.0, small = choose(near & (x > 0.0), x, 1), large = clamped_below(x, 2);
  const Value y = small * small * 0.5 - 1.0, logarithm = fn(Op::Log, small * 0.5);
  Value close = order == 0
                    ? sum_series(series::kK0Near, y) - logarithm * modified_i0(small)
                    : sum_series(series::kK1Near, y) / small + logarithm * modified_i1(small);
  if (scaled) close = close * fn(Op::Exp, small);
  const std::span<const double> far_series =
      order == 0 ? std::span<const double>(series::kK0Far) : series::kK1Far;
  Value far = sum_series(far_series, 4.0 / large - 1.0) * fn(Op::Rsqrt, large);
  if (!scaled) far = far * fn(Op::Exp, -large);
  const Value result = choose(near, close, far);
  return choose(equals(x, 0), HUGE_VAL, choose(x < 0.0, kNan, result));
}

// ---- Bessel functions (10.2, 10.17)
// ----------------------------------------------------------------

struct Waves {
  Value p, q, cosine, sine;  // amplitudes, and of the phase
};

// From 8 on; order 1's phase is a quarter turn behind.
Waves waves_of(Value large, int order) {
  const Value inverse = 8.0 / large, y = inverse * inverse * 2.0 - 1.0;
  const Value s = fn(Op::Sin, large), c = fn(Op::Cos, large);
  const Value sum = (s + c) * std::numbers::sqrt2 * 0.5, rest = (s - c) * std::numbers::sqrt2 * 0.5;
  const Value root = fn(Op::Rsqrt, large) * std::sqrt(2 / std::numbers::pi);
  const auto p = order == 0 ? std::span<const double>(series::kP0) : series::kP1;
  const auto q = order == 0 ? std::span<const double>(series::kQ0) : series::kQ1;
  return {sum_series(p, y) * root, sum_series(q, y) / large * root, order == 0 ? sum : rest,
          order == 0 ? rest : -sum};
}

Value near_argument(Value small) { return small * small * (1.0 / 32) - 1.0; }

Value bessel_j(Value x, int order) {
  const Value a = fn(Op::Abs, x), far = a > 8.0, small = choose(far, 0, x);
  const Waves w = waves_of(clamped_below(a, 8), order);
  const Value wave = w.p * w.cosine - w.q * w.sine;
  if (order == 0) return choose(far, wave, sum_series(series::kJ0Near, near_argument(small)));
  return choose(far, choose(x < 0.0, -wave, wave),
                small * sum_series(series::kJ1Near, near_argument(small)));
}

Value bessel_y(Value x, int order) {
  const Value far = x > 8.0, small = choose(far | (x <= 0.0), 1, x);
  const Waves w = waves_of(clamped_below(x, 8), order);
  const Value wave = w.p * w.sine + w.q * w.cosine;
  const Value logarithm = fn(Op::Log, small) * (2 / std::numbers::pi);
  const Value y = near_argument(small);
  const Value close = order == 0
                          ? sum_series(series::kY0Near, y) + logarithm * bessel_j(small, 0)
                          : small * sum_series(series::kY1Near, y) +
                                logarithm * bessel_j(small, 1) - (2 / std::numbers::pi) / small;
  const Value result = choose(far, wave, close);
  return choose(equals(x, 0), -HUGE_VAL, choose(x < 0.0, kNan, result));
}

// ---- error functions (7)
// ----------------------------------------------------------------------------

Value scaled_erfc(Value x) {
  const Value a = fn(Op::Abs, x), infinite = fn(Op::IsInf, a), finite = choose(infinite, 0, a);
  const Value decay =
      sum_series(series::kErfcx, (finite - 3.75) / (finite + 3.75)) / (finite * 2.0 + 1.0);
  const Value positive = choose(infinite, 0, decay);
  const Value negative = choose(x < 0.0, x, 0);
  return choose(x < 0.0, fn(Op::Exp, negative * negative) * 2.0 - positive, positive);
}

constexpr double kInverseRoot2 = 0.70710678118654752;

Value log_normal_tail(Value x) {
  const Value far = x < -1.0, low = choose(far, x, -1), high = choose(far, -1, x);
  const Value tail = fn(Op::Log, scaled_erfc(low * -kInverseRoot2) * 0.5) - low * low * 0.5;
  return choose(far, tail, fn(Op::Log1p, fn(Op::Erfc, high * kInverseRoot2) * -0.5));
}

// Quantiles of the normal law: by erfinv in the middle, else by the series of the smaller tail.
Value normal_quantile(Value p) {
  constexpr double kTail = 0.1353352832366127;  // exp(-2)
  const Value upper = p > 0.5, tail = choose(upper, 1.0 - p, p);
  const Value is_tail = tail < kTail;
  const Value middle = choose(is_tail, 0.5, p);
  const Value z = fn(Op::Sqrt, fn(Op::Log, choose(is_tail & (tail > 0.0), tail, kTail)) * -2.0);
  const Value t = 1.0 / z, far = z > 8.0;
  const Value near_series =
      sum_series(series::kNormalNear, (clamped_below(t, 0.125) - 0.3125) / 0.1875);
  const Value far_series = sum_series(series::kNormalFar, (clamped_above(t, 0.125) - 0.075) / 0.05);
  const Value distance = z - fn(Op::Log, z) * t - choose(far, far_series, near_series) * t;
  const Value from_tail = choose(upper, distance, -distance);
  const Value result =
      choose(is_tail, from_tail, fn(Op::Erfinv, middle * 2.0 - 1.0) * std::numbers::sqrt2);
  const Value outside = choose(equals(p, 0), -HUGE_VAL, choose(equals(p, 1), HUGE_VAL, result));
  return choose((p < 0.0) | (p > 1.0), kNan, outside);
}

// ---- Hurwitz's zeta function (25.11), polygamma functions (5.15)
// ---------------------------------------

// The sum by Euler and Maclaurin, of positive q.
Value sum_zeta(Value x, Value q) {
  // (2k)! / B_2k, which divide the terms.
  constexpr double kDivisors[] = {12.0,
                                  -720.0,
                                  30240.0,
                                  -1209600.0,
                                  47900160.0,
                                  -1.8924375803183791606e9,
                                  7.47242496e10,
                                  -2.950130727918164224e12,
                                  1.1646782814350067249e14,
                                  -4.5979787224074726105e15,
                                  1.8152105401943546773e17,
                                  -7.1661652561756670113e18};
  constexpr int kDirect = 10;
  Value sum = fn(Op::Pow, q, -x);
  for (int k = 1; k < kDirect; ++k) sum = sum + fn(Op::Pow, q + static_cast<double>(k), -x);
  const Value w = q + static_cast<double>(kDirect), power = fn(Op::Pow, w, -x);
  sum = sum + power * w / (x - 1.0) + power * 0.5;
  Value factor = x, scale = power / w;
  const Value inverse_square = 1.0 / (w * w);
  for (int k = 0; k < 12; ++k) {
    sum = sum + factor * scale / kDivisors[k];
    factor = factor * (x + (2.0 * k + 1)) * (x + (2.0 * k + 2));
    scale = scale * inverse_square;
  }
  return sum;
}

// The derivatives of cot(pi x) as polynomials of it: Q' (-pi) (1 + c^2) each time.
Value cotangent_derivative(Value x, int64_t n) {
  std::vector<double> polynomial{0, 1};
  for (int64_t k = 0; k < n; ++k) {
    std::vector<double> next(polynomial.size() + 1, 0.0);
    for (size_t i = 1; i < polynomial.size(); ++i) {
      const double d = -std::numbers::pi * static_cast<double>(i) * polynomial[i];
      next[i - 1] += d, next[i + 1] += d;
    }
    polynomial = next;
  }
  const Value turn = x - fn(Op::Round, x);
  const Value c = 1.0 / fn(Op::Tan, turn * std::numbers::pi);
  Value sum = ops::literal_like(x, polynomial.back());
  for (size_t i = polynomial.size() - 1; i-- > 0;) sum = sum * c + polynomial[i];
  return sum;
}

Value polygamma_of(int64_t n, Value x) {
  const double order = static_cast<double>(n);
  const double sign = n % 2 == 0 ? -1 : 1;
  double factorial = 1;
  for (int64_t k = 2; k <= n; ++k) factorial *= static_cast<double>(k);
  const Value is_low = x <= 0.0, is_pole = is_low & fn(Op::Eq, x, fn(Op::Floor, x));
  const Value high = choose(is_low, 1.0 - choose(is_pole, 0, x), x);
  const Value direct =
      sum_zeta(ops::full(dims(x), ops::literal_like(x, order + 1)), high) * (sign * factorial);
  const Value low = choose(is_low, choose(is_pole, 0.5, x), 0.5);
  const Value reflected =
      cotangent_derivative(low, n) * -std::numbers::pi + direct * (n % 2 == 0 ? 1.0 : -1.0);
  return choose(is_pole, sign * HUGE_VAL, choose(is_low, reflected, direct));
}

// ---- incomplete gamma functions
// ---------------------------------------------------------------------

// Regularized incomplete gamma functions (8.7.1, 8.9.2): the series of the lower one below a + 1,
// the continued fraction of the upper one above, by Lentz's method.
struct GammaPair {
  Value lower, upper;
};

GammaPair incomplete_gamma(Value a, Value x) {
  constexpr double kMostSteps = 2000;
  const double least = 0x1p-53;
  const Value below = x < a + 1.0, infinite = fn(Op::IsInf, x);
  const Value tame = (x > 0.0) & (a > 0.0) & fn(Op::LogicalNot, infinite);
  const Value is_low = below & tame, is_high = fn(Op::LogicalNot, below) & tame;
  const Value x_low = choose(is_low, x, 0.5), a_low = choose(is_low, a, 1);
  const Value x_high = choose(is_high, x, 4), a_high = choose(is_high, a, 1);
  const Value zero = ops::literal(0, dtype(x));
  const Value one = ops::ones_like(x_low);
  const std::vector<Value> lower = repeat_while(
      {zero, one, one},
      [&](const std::vector<Value>& c) {
        return (fn(Op::Abs, c[1]) > fn(Op::Abs, c[2]) * least) & (c[0] < kMostSteps);
      },
      [&](const std::vector<Value>& c) {
        const Value k = c[0] + 1.0, term = c[1] * x_low / (a_low + k);
        return std::vector<Value>{k, term, c[2] + term};
      });
  const Value b = x_high + 1.0 - a_high, d = 1.0 / b;
  const std::vector<Value> upper = repeat_while(
      {zero, b, ops::full(dims(d), ops::literal_like(d, 1e300)), d, d, d * 0.0 + 2.0},
      [&](const std::vector<Value>& c) {
        return (fn(Op::Abs, c[5] - 1.0) > 2 * least) & (c[0] < kMostSteps);
      },
      [&](const std::vector<Value>& c) {
        const Value k = c[0] + 1.0, numerator = k * (a_high - k), next = c[1] + 2.0;
        const auto nonzero = [](Value v) { return choose(fn(Op::Abs, v) < 1e-300, 1e-300, v); };
        const Value denominator = 1.0 / nonzero(numerator * c[3] + next);
        const Value ratio = nonzero(next + numerator / c[2]), delta = denominator * ratio;
        return std::vector<Value>{k, next, ratio, denominator, c[4] * delta, delta};
      });
  const auto weight = [](Value p, Value q) {
    return fn(Op::Exp, p * fn(Op::Log, q) - q - fn(Op::Lgamma, p));
  };
  const Value small = weight(a_low, x_low) * lower[2] / a_low;
  const Value large = weight(a_high, x_high) * upper[4];
  Value p = choose(below, small, 1.0 - large), q = choose(below, 1.0 - small, large);
  // The ends: x 0 or infinite, a 0.
  const Value bad = (x < 0.0) | (a < 0.0) | fn(Op::IsNan, x) | fn(Op::IsNan, a);
  const Value at_zero = equals(x, 0), at_end = infinite, whole = equals(a, 0);
  const Value both = (at_zero & whole) | (at_end & fn(Op::IsInf, a));
  p = choose(whole | at_end, 1, choose(at_zero | fn(Op::IsInf, a), 0, p));
  q = choose(whole | at_end, 0, choose(at_zero | fn(Op::IsInf, a), 1, q));
  return {choose(bad | both, kNan, p), choose(bad | both, kNan, q)};
}

// The density x^(a - 1) exp(-x) / gamma(a), from `from` to x, by Gauss's rule of two points. Where
// x is `from` it is zero, and its derivatives by x up to the fourth are those of the integral.
Value density_integral(Value a, Value from, Value x) {
  const Value width = x - from;
  Value sum;
  for (double place : {0.5 - std::numbers::inv_sqrt3 / 2, 0.5 + std::numbers::inv_sqrt3 / 2}) {
    const Value at = from + width * place;
    const Value density = fn(Op::Exp, (a - 1.0) * fn(Op::Log, at) - at - fn(Op::Lgamma, a));
    sum = sum ? sum + density : density;
  }
  return sum * width * 0.5;
}

// Derivatives by x are the density's; by a, forward mode goes through the loops.
Value gamma_part(Value a, Value x, bool upper) {
  check(is_floating(dtype(x)), ErrorKind::NotImplemented, "{}: not implemented for {}",
        current_operation(), name_of(dtype(x)));
  const Dims extents = common_dims(a, x);
  const DType own = dtype(x);
  const auto wide = [&](Value v) { return ops::expand(ops::cast(v, DType::Float64), extents); };
  const Value wide_a = wide(a), wide_x = wide(x), fixed = ops::stop_gradient(wide_x);
  const GammaPair pair = incomplete_gamma(wide_a, fixed);
  const Value integral = density_integral(ops::stop_gradient(wide_a), fixed, wide_x);
  const Value operands[] = {upper ? pair.upper : pair.lower, upper ? -integral : integral};
  return ops::cast(ops::primitive(Op::Redirect, operands), own);
}

// ---- Airy's function (9.7)
// ---------------------------------------------------------------------------

Value airy_of(Value x) {
  const Value decays = x > 1.0, waves = x < -5.0;
  const Value high = clamped_below(x, 1), middle = clamped_above(clamped_below(x, -5), 1);
  const Value root = fn(Op::Sqrt, high), power = high * root, z = power * (2.0 / 3);
  const Value decay = sum_series(series::kAiryDecay, 2.0 / power - 1.0) * fn(Op::Exp, -z) *
                      fn(Op::Rsqrt, root) * (0.5 / std::sqrt(std::numbers::pi));
  const Value low = clamped_below(-x, 5), low_root = fn(Op::Sqrt, low);
  const Value phase = low * low_root * (2.0 / 3), t = 5.0 / low, y = t * t * t * 2.0 - 1.0;
  const Value s = fn(Op::Sin, phase), c = fn(Op::Cos, phase);
  const Value wave =
      (sum_series(series::kAiryP, y) * (c + s) + sum_series(series::kAiryQ, y) / phase * (s - c)) *
      (kInverseRoot2 / std::sqrt(std::numbers::pi)) * fn(Op::Rsqrt, low_root);
  const Value result =
      choose(decays, decay,
             choose(waves, wave, sum_series(series::kAiryMiddle, middle * (1.0 / 3) + 2.0 / 3)));
  return choose(fn(Op::IsNan, x), x, result);
}

}  // namespace

#define TENON_WIDENED(name, call)                    \
  Value name(Value x) {                              \
    return widened(x, [](Value v) { return call; }); \
  }
TENON_WIDENED(i0, modified_i0(v))
TENON_WIDENED(special_i0e, scaled_i0(v))
TENON_WIDENED(special_i1, modified_i1(v))
TENON_WIDENED(special_i1e, scaled_i1(v))
TENON_WIDENED(special_modified_bessel_k0, modified_k(v, 0, false))
TENON_WIDENED(special_modified_bessel_k1, modified_k(v, 1, false))
TENON_WIDENED(special_scaled_modified_bessel_k0, modified_k(v, 0, true))
TENON_WIDENED(special_scaled_modified_bessel_k1, modified_k(v, 1, true))
TENON_WIDENED(special_bessel_j0, bessel_j(v, 0))
TENON_WIDENED(special_bessel_j1, bessel_j(v, 1))
TENON_WIDENED(special_bessel_y0, bessel_y(v, 0))
TENON_WIDENED(special_bessel_y1, bessel_y(v, 1))
TENON_WIDENED(special_erfcx, scaled_erfc(v))
TENON_WIDENED(special_log_ndtr, log_normal_tail(v))
TENON_WIDENED(special_ndtri, normal_quantile(v))
TENON_WIDENED(special_airy_ai, airy_of(v))
#undef TENON_WIDENED

Value polygamma(int64_t n, Value x) {
  check(n >= 0, ErrorKind::Runtime, "polygamma(n, x) does not support negative n.");
  return widened(x, [&](Value v) { return n == 0 ? fn(Op::Digamma, v) : polygamma_of(n, v); });
}

// Below 0, of whole x: with w = q - floor(q), the terms of negative q + k are those of 1 - w up to
// -q with a sign, which are two more sums to infinity.
Value special_zeta(Value x, Value q) {
  const Dims extents = common_dims(x, q);
  const Value wide_x = ops::expand(x, extents);
  return widened(ops::expand(q, extents), [&](Value start) {
    const Value power = ops::cast(wide_x, dtype(start)), whole = fn(Op::Floor, start);
    const Value is_pole = (start <= 0.0) & fn(Op::Eq, start, whole), is_low = start < 0.0;
    const Value is_nan = (power < 1.0) | (is_low & fn(Op::Ne, power, fn(Op::Floor, power))) |
                         fn(Op::IsNan, power) | fn(Op::IsNan, start);
    const Value bad = is_pole | is_nan;
    const Value good = choose(bad, 1, choose(is_low, start - whole, start));
    const Value low = choose(is_low & fn(Op::LogicalNot, bad), start, -0.5);
    const Value x1 = choose(is_nan | equals(power, 1), 2, power);
    const Value odd = x1 - fn(Op::Floor, x1 * 0.5) * 2.0;
    const Value w = low - fn(Op::Floor, low);
    const Value negative = (sum_zeta(x1, 1.0 - w) - sum_zeta(x1, 1.0 - low)) * (1.0 - odd * 2.0);
    const Value sum = sum_zeta(x1, good);
    const Value result = choose(is_low, sum + negative, sum);
    return choose(is_nan, kNan, choose(is_pole | equals(power, 1), HUGE_VAL, result));
  });
}

Value igamma(Value a, Value x) { return gamma_part(a, x, false); }
Value igammac(Value a, Value x) { return gamma_part(a, x, true); }

Value mvlgamma(Value a, int64_t p) {
  check(p >= 1, ErrorKind::Runtime, "p has to be greater than or equal to 1");
  const double pairs = static_cast<double>(p * (p - 1)) / 4 * std::log(std::numbers::pi);
  return widened(a, [&](Value v) {
    Value sum = ops::literal_like(v, pairs);
    for (int64_t j = 0; j < p; ++j) sum = sum + fn(Op::Lgamma, v - static_cast<double>(j) / 2);
    return sum;
  });
}

}  // namespace tenon::values
