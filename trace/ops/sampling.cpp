// Random numbers of distributions without a closed inverse: by rejection, with a bounded number of
// tries that are drawn at once, so that a sample depends on the seed and its place alone.
#include <array>
#include <cmath>
#include <numbers>

#include "core/error.h"
#include "core/shape.h"
#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/tensor.h"

namespace tenon::values {
namespace {

constexpr DType kWide = DType::Float64;

Value unary(Op op, Value x) { return ops::unary(op, x); }
Value log_of(Value x) { return unary(Op::Log, x); }

// (0, 1): a logarithm is finite.
Value open_uniform(std::span<const int64_t> dims, Generator* generator) {
  return uniform01(dims, kWide, generator) + 0x1p-54;
}

// Per element, the first candidate that is accepted, the last one if none is; tries along axis 0.
Value first_accepted(Value candidates, Value accepted) {
  const Value at = ops::argreduce(Op::Argmax, ops::cast(accepted, DType::Int32), 0);
  const Value picked = ops::take_along(candidates, ops::unsqueeze(at, 0), 0);
  return ops::reshape(picked, Dims(dims(candidates).subspan(1)));
}

Dims with_tries(std::span<const int64_t> dims, int64_t tries) {
  Dims shape{tries};
  shape.append(dims.begin(), dims.end());
  return shape;
}

void check_floating_dtype(Value x) {
  check(is_floating(dtype(x)), ErrorKind::NotImplemented, "{}: random numbers of {}",
        current_operation(), name_of(dtype(x)));
}

// Below this many expected events the distribution function is summed, above a rejection is cheap.
constexpr double kFew = 10;
constexpr int kTerms = 60;      // beyond: a probability below 1e-25
constexpr int64_t kTries = 32;  // each accepted with a probability above 0.7

// How many of the running sums of probabilities are below u. `next(k, p)`: from P(k) to P(k + 1).
template <class Next>
Value invert(Value first, Value u, Next&& next) {
  Value p = first, sum = first, count = ops::cast(sum < u, kWide);
  for (int k = 0; k + 1 < kTerms; ++k) {
    p = next(k, p);
    sum = sum + p;
    count = count + ops::cast(sum < u, kWide);
  }
  return count;
}

}  // namespace

Value standard_gamma(Value input, Generator* generator) {
  check_floating_dtype(input);
  const Dims shape(dims(input)), tries = with_tries(shape, 16);
  const Value a = ops::cast(input, kWide);
  // A shape below 1 is one above, times a power of a uniform number.
  const Value is_small = a < 1.0;
  const Value d = ops::select(is_small, a + 1.0, a) - 1.0 / 3;
  const Value c = 1.0 / unary(Op::Sqrt, d * 9.0);
  const Value x = normal01(tries, kWide, generator), root = x * c + 1.0, v = root * root * root;
  const Value u = open_uniform(tries, generator);
  const Value safe = ops::select(v > 0.0, v, ops::literal(1, kWide));
  const Value bound = x * x * 0.5 + d * (1.0 - safe + log_of(safe));
  const Value accepted = (v > 0.0) & (log_of(u) < bound);
  // Not accepted in any try: the mode.
  const Value candidates = ops::select(v > 0.0, safe, ops::literal(1, kWide));
  const Value gamma = d * first_accepted(candidates, accepted);
  const Value power = log_of(open_uniform(shape, generator)) / a;
  const Value result = ops::select(is_small, gamma * unary(Op::Exp, power), gamma);
  return ops::cast(result, dtype(input));
}

Value gamma_shape_derivative(Value input, Value output) {
  check_floating_dtype(input);
  const Dims common = broadcast_dims(dims(input), dims(output));
  const Value a = ops::unsqueeze(ops::expand(ops::cast(input, kWide), common), 0);
  const Value z = ops::unsqueeze(ops::expand(ops::cast(output, kWide), common), 0);
  const Value log_ratio = log_of(z) - unary(Op::Digamma, a);
  const Value is_low = ops::binary(Op::Lt, z, a);
  // dz/da = z * integral over v > 0 of (log_ratio - + v) exp(-a v + z (1 - exp(-v))) below, of
  // (log_ratio + v) exp(a v - z (exp(v) - 1)) above, scaled by where the exponent falls by about 1.
  const Value slope = unary(Op::Abs, a - z) + unary(Op::Sqrt, z);
  const Value width = 1.0 / ops::select(is_low, slope, slope + 1.0);
  // v = width * exp(x - exp(-x)): the double-exponential rule for what decays like exp(-v).
  constexpr int kNodes = 88;
  constexpr double kStep = 0.08, kFirst = -3.2;
  Dims along(common.size() + 1, 1);
  along[0] = kNodes;
  const Value x = ops::cast(ops::iota(along, 0), kWide) * kStep + kFirst;
  const Value falling = unary(Op::Exp, -x);
  const Value node = unary(Op::Exp, x - falling), weight = node * (falling + 1.0) * kStep;
  const Value v = width * node;
  const Value signed_v = ops::select(is_low, -v, v);
  const Value exponent = a * signed_v - z * unary(Op::Expm1, signed_v);
  const Value factor = ops::select(is_low, -(log_ratio + signed_v), log_ratio + signed_v);
  const int64_t nodes[] = {0};
  const Value integral =
      ops::reduce(Op::ReduceSum, factor * unary(Op::Exp, exponent) * weight, nodes, true);
  // What underflows to 0 stays there.
  const Value moves = ops::select(z > 0.0, z * width * integral, ops::literal(0, kWide));
  const Value result = ops::reshape(moves, common);
  return ops::cast(result, dtype(input));
}

Value poisson(Value input, Generator* generator) {
  check_floating_dtype(input);
  const Dims shape(dims(input)), tries = with_tries(shape, kTries);
  const Value rate = ops::cast(input, kWide);
  const Value is_few = rate < kFew;
  const Value few = ops::select(is_few, rate, ops::literal(1, kWide));
  const Value inverted =
      invert(unary(Op::Exp, -few), uniform01(shape, kWide, generator),
             [&](int k, Value p) { return p * few / static_cast<double>(k + 1); });
  // Hörmann's PTRS.
  const Value many = ops::select(is_few, ops::literal(kFew, kWide), rate);
  const Value root = unary(Op::Sqrt, many), b = root * 2.53 + 0.931, a = b * 0.02483 - 0.059;
  const Value u = uniform01(tries, kWide, generator) - 0.5, w = open_uniform(tries, generator);
  const Value us = 0.5 - unary(Op::Abs, u);
  const Value safe = ops::binary(Op::Maximum, us, ops::literal(0x1p-53, kWide));
  const Value k = unary(Op::Floor, (a * 2.0 / safe + b) * u + many + 0.43);
  const Value counts = ops::binary(Op::Maximum, k, ops::literal(0, kWide));
  const Value inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
  const Value left = log_of(w * inverse_alpha / (a / (safe * safe) + b));
  const Value accepted = (k >= 0.0) & (left <= counts * log_of(many) - many - lgamma(counts + 1.0));
  const Value rejected = first_accepted(counts, accepted);
  const Value result = ops::select(is_few, inverted, rejected);
  const Value bad = (rate < 0.0) | unary(Op::IsNan, rate);
  return ops::cast(ops::select(bad, ops::literal(NAN, kWide), result), dtype(input));
}

Value binomial(Value count, Value prob, Generator* generator) {
  check(dtype(count) == dtype(prob), ErrorKind::Runtime, "Found dtype {} but expected {}",
        name_of(dtype(count)), name_of(dtype(prob)));
  check_floating_dtype(count);
  const Dims shape = broadcast_dims(dims(count), dims(prob)), tries = with_tries(shape, kTries);
  const Value n = ops::expand(ops::cast(count, kWide), shape);
  const Value given = ops::expand(ops::cast(prob, kWide), shape);
  const Value is_likely = given > 0.5;  // then failures are drawn
  const Value p = ops::select(is_likely, 1.0 - given, given);
  const Value is_few = n * p < kFew;
  const Value odds = p / (1.0 - p);
  const Value none = unary(Op::Exp, n * unary(Op::Log1p, -p));
  const Value zero = ops::literal(0, kWide);
  const Value inverted = invert(ops::select(is_few, none, ops::literal(1, kWide)),
                                uniform01(shape, kWide, generator), [&](int k, Value q) {
                                  const Value left =
                                      ops::binary(Op::Maximum, n - static_cast<double>(k), zero);
                                  return q * odds * left / static_cast<double>(k + 1);
                                });
  const Value few = ops::binary(Op::Minimum, inverted, n);
  // Hörmann's BTRS.
  const Value m_n = ops::select(is_few, ops::literal(40, kWide), n);
  const Value m_p = ops::select(is_few, ops::literal(0.5, kWide), p);
  const Value spread = unary(Op::Sqrt, m_n * m_p * (1.0 - m_p));
  const Value b = spread * 2.53 + 1.15, a = b * 0.0248 + m_p * 0.01 - 0.0873;
  const Value c = m_n * m_p + 0.5, alpha = (2.83 + 5.1 / b) * spread;
  const Value ratio = m_p / (1.0 - m_p), mode = unary(Op::Floor, (m_n + 1.0) * m_p);
  const Value u = uniform01(tries, kWide, generator) - 0.5, w = open_uniform(tries, generator);
  const Value us = ops::binary(Op::Maximum, 0.5 - unary(Op::Abs, u), ops::literal(0x1p-53, kWide));
  const Value k = unary(Op::Floor, (a * 2.0 / us + b) * u + c);
  const Value counts = ops::binary(Op::Minimum, ops::binary(Op::Maximum, k, zero), m_n);
  const Value left = log_of(w * alpha / (a / (us * us) + b));
  const Value right = lgamma(mode + 1.0) + lgamma(m_n - mode + 1.0) - lgamma(counts + 1.0) -
                      lgamma(m_n - counts + 1.0) + (counts - mode) * log_of(ratio);
  const Value accepted =
      (k >= 0.0) & ops::binary(Op::Le, k, m_n) & ops::binary(Op::Le, left, right);
  const Value many = first_accepted(counts, accepted);
  const Value successes = ops::select(is_few, few, many);
  const Value result = ops::select(is_likely, n - successes, successes);
  const Value bad = unary(Op::IsNan, n) | unary(Op::IsNan, given);
  return ops::cast(ops::select(bad, ops::literal(NAN, kWide), result), dtype(count));
}

}  // namespace tenon::values
