// Helpers of composed operations that do arithmetic: constants, losses, ranges, random numbers.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "core/error.h"
#include "core/shape.h"
#include "generated/values.h"
#include "trace/complex.h"
#include "trace/ops/helpers.h"
#include "trace/recorder.h"
#include "trace/tensor.h"

namespace tenon::values {

Value as_floating(Value x) {
  return is_integral(dtype(x), true) ? ops::cast(x, default_dtype()) : x;
}

double largest_of(DType dtype) {
  switch (dtype) {
    case DType::Float16:
      return 65504.0;
    case DType::BFloat16:
      return 0x1.FEp127;
    case DType::Float32:
      return std::numeric_limits<float>::max();
    default:
      return std::numeric_limits<double>::max();
  }
}

double epsilon_of(DType dtype) {
  switch (dtype) {
    case DType::Float16:
      return 0x1p-10;
    case DType::BFloat16:
      return 0x1p-7;
    case DType::Float32:
      return 0x1p-23;
    default:
      return 0x1p-52;
  }
}

void check_not_empty(Value x, std::span<const int64_t> axes) {
  for (int64_t axis : axes) {
    check(dims(x)[axis] != 0, ErrorKind::Index,
          "{}(): Expected reduction dim {} to have non-zero size.", current_operation(), axis);
  }
}

namespace {

void check_taken(std::initializer_list<Value> values, ErrorKind kind, bool numbers) {
  Value first;
  for (Value value : values) {
    if (!value) continue;
    if (numbers ? dtype(value) != DType::Bool : !is_integral(dtype(value), true)) return;
    if (!first) first = value;
  }
  if (!first) return;
  fail(kind, "{}: not implemented for {}, only for {}", current_operation(), name_of(dtype(first)),
       numbers ? "numbers" : "floating dtypes");
}

}  // namespace

void check_floating(std::initializer_list<Value> values, ErrorKind kind) {
  check_taken(values, kind, false);
}

void check_numbers(std::initializer_list<Value> values, ErrorKind kind) {
  check_taken(values, kind, true);
}

Dims common_dims(Value a, Value b) { return broadcast_dims(dims(a), dims(b)); }

void check_same_size(Value target, Value input) {
  check(std::ranges::equal(dims(target), dims(input)), ErrorKind::Value,
        "{}: Target size ({}) must be the same as input size ({})", current_operation(),
        shown(dims(target)), shown(dims(input)));
}

Value index_of_extreme(Value x, int64_t dim, bool largest) {
  const int64_t axis = normalize_dim(dim, rank(x));
  if (rank(x) == 0) return ops::literal(0, DType::Int64);
  check(dims(x)[axis] != 0, ErrorKind::Index,
        "{}(): Expected reduction dim {} to have non-zero size.", current_operation(), axis);
  return ops::unsqueeze(ops::argreduce(largest ? Op::Argmax : Op::Argmin, x, axis), axis);
}

Value pick(Value x, Value index, int64_t dim) {
  const int64_t axis = normalize_dim(dim, rank(x));
  return rank(x) == 0 ? x : ops::take_along(x, index, axis);
}

Value running(Value x, int64_t dim, std::string_view kind) {
  const int64_t axis = normalize_dim(dim, rank(x));
  if (rank(x) == 0) return x;
  const Op op = kind == "sum"       ? Op::Cumsum
                : kind == "product" ? Op::Cumprod
                : kind == "max"     ? Op::Cummax
                                    : Op::Cummin;
  return ops::cumulative(op, x, axis);
}

Value running_index(Value x, Value extremum, int64_t dim) {
  const int64_t axis = normalize_dim(dim, rank(x));
  if (rank(x) == 0) return ops::literal(0, DType::Int64);
  const Value at = ops::iota(dims(x), axis);
  Value attains = ops::binary(Op::Eq, x, extremum);
  if (is_floating(dtype(x))) attains = attains | ops::unary(Op::IsNan, x);
  return ops::cumulative(Op::Cummax, ops::select(attains, at, ops::literal_like(at, 0)), axis);
}

Value reduce_loss(Value loss, std::string_view reduction) {
  if (reduction == "none") return loss;
  if (reduction == "mean") return mean(loss);
  check(reduction == "sum", ErrorKind::Value, "{}: {} is not a valid value for reduction",
        current_operation(), reduction);
  return sum(loss);
}

int64_t softmax_dim(int64_t rank) { return rank == 0 || rank == 1 || rank == 3 ? 0 : 1; }

Value in_groups(Value x, int64_t groups) {
  const auto shape = dims(x);
  int64_t rest = shape[1] / groups;
  for (int64_t extent : shape.subspan(2)) rest *= extent;
  return ops::reshape(x, {{shape[0], groups, rest}});
}

Value channel_vector(Value vector, int64_t rank) {
  Dims shape(static_cast<size_t>(rank), 1);
  shape[1] = dims(vector)[0];
  return ops::reshape(vector, shape);
}

int64_t axis_of_three(Value x) {
  const auto extents = dims(x);
  const auto found = std::ranges::find(extents, 3);
  check(found != extents.end(), ErrorKind::Runtime, "no dimension of size 3 in input: {}",
        shown(extents));
  return found - extents.begin();
}

Dims other_axes(Value x, int64_t dim) {
  Dims axes = all_dims(rank(x));
  axes.erase(axes.begin() + normalize_dim(dim, rank(x)));
  return axes;
}

Dims trailing_axes(Value x, const IntList& normalized_shape) {
  const auto extents = dims(x);
  const size_t count = normalized_shape.size();
  const bool fits =
      count >= 1 && count <= extents.size() &&
      std::ranges::equal(extents.last(count), std::span<const int64_t>(normalized_shape));
  check(fits, ErrorKind::Runtime,
        "{}: Given normalized_shape={}, expected input with shape [*, ...] ending in it, but got "
        "input of size {}",
        current_operation(), shown(normalized_shape), shown(extents));
  Dims axes;
  for (size_t i = extents.size() - count; i < extents.size(); ++i) {
    axes.push_back(static_cast<int64_t>(i));
  }
  return axes;
}

Dims feature_dims(Value x) {
  Dims shape(rank(x), 1);
  shape[0] = dims(x)[0];
  shape[1] = dims(x)[1];
  return shape;
}

Value index_of_pairs(int64_t n, bool first) {
  // Pairs that begin with row i are from i (2 n - i - 1) / 2 on; whole numbers below 2^53 are
  // exact.
  const auto whole = [](int64_t x) { return ops::scalar(x, DType::Int64); };
  const Value k = ops::iota({{n * (n - 1) / 2}}, 0);
  const DType wide = DType::Float64;
  const Value rows = ops::scalar(static_cast<double>(2 * n - 1), wide);
  const Value root = ops::unary(Op::Sqrt, rows * rows - ops::cast(k, wide) * 8.0);
  const Value i = ops::cast(ops::unary(Op::Floor, (rows - root) * 0.5), DType::Int64);
  if (first) return i;
  const Value begin = ops::binary(Op::FloorDiv, i * (whole(2 * n - 1) - i), whole(2));
  return k - begin + i + whole(1);
}

Value fit_variance(Value variance, Value input) {
  const auto from = dims(variance), to = dims(input);
  if (rank(variance) == 0 || std::ranges::equal(from, to)) return variance;
  if (std::ranges::equal(from, to.first(to.size() - 1))) {
    return ops::unsqueeze(variance, rank(variance));
  }
  bool fits = from.size() == to.size();
  for (size_t d = 0; fits && d < to.size(); ++d) fits = from[d] == to[d] || from[d] == 1;
  check(fits, ErrorKind::Value, "var is of incorrect size: {} for an input {}", shown(from),
        shown(to));
  return variance;
}

Dims identity_then(int64_t first, std::span<const int64_t> rest) {
  Dims order;
  for (int64_t d = 0; d < first; ++d) order.push_back(d);
  order.append(rest.begin(), rest.end());
  return order;
}

Value arange_of(const Scalar& start, const Scalar& end, const Scalar& step,
                std::optional<DType> dtype) {
  const bool integral = start.is_integral() && end.is_integral() && step.is_integral();
  const DType result = dtype.value_or(integral ? DType::Int64 : default_dtype());
  const double from = start.to_double(), to = end.to_double(), by = step.to_double();
  check(std::isfinite(from) && std::isfinite(to), ErrorKind::Runtime,
        "arange: unsupported range: {} -> {}", from, to);
  check(by != 0 && !std::isnan(by), ErrorKind::Runtime, "arange: step must be nonzero");
  check((by > 0) == (to >= from) || to == from, ErrorKind::Runtime,
        "arange: upper bound and lower bound inconsistent with step sign: {} to {} by {}", from, to,
        by);
  const int64_t count = static_cast<int64_t>(std::ceil((to - from) / by));
  const int64_t extents[] = {count};
  const Value index = ops::iota(extents, 0);
  if (is_integral(result, true)) {  // from the whole part of the start, as PyTorch
    Value x = index;
    if (step.to_int() != 1) x = x * ops::scalar(step.to_int(), DType::Int64);
    if (start.to_int() != 0) x = x + ops::scalar(start.to_int(), DType::Int64);
    return ops::cast(x, result);
  }
  // In float64, as PyTorch accumulates, rounded once.
  const DType wide = DType::Float64;
  const Value x = ops::cast(index, wide) * scalar_of(step, wide) + scalar_of(start, wide);
  return ops::cast(x, result);
}

namespace {

// From the nearer end, so that both ends are exact.
Value evenly_spaced(Value from, Value to, Value step, int64_t steps, DType result) {
  const DType wide = dtype(from);
  const int64_t extents[] = {steps};
  const Value places = ops::cast(ops::iota(extents, 0), DType::Float64);
  const Value half = scalar_of(Scalar(static_cast<double>(steps) / 2), DType::Float64);
  const Value last = scalar_of(Scalar(static_cast<double>(steps - 1)), wide);
  const Value index = ops::cast(places, wide);
  return ops::cast(ops::select(places < half, from + index * step, to - (last - index) * step),
                   result);
}

}  // namespace

Value linspace(const Scalar& start, const Scalar& end, int64_t steps, std::optional<DType> dtype,
               std::optional<Device> device) {
  const DeviceScope there(device);
  check(steps >= 0, ErrorKind::Runtime, "linspace: number of steps must be non-negative, not {}",
        steps);
  const DType result = dtype.value_or(default_dtype());
  const int64_t extents[] = {steps};
  const DType wide = DType::Float64;
  const auto bound = [&](const Scalar& number) {  // its whole part for a result of integers
    const double x = number.to_double();
    return is_integral(result, true) ? std::trunc(x) : x;
  };
  const double low = bound(start), high = bound(end);
  if (steps == 1) return ops::cast(ops::full(extents, scalar_of(low, wide)), result);
  const double step = (high - low) / static_cast<double>(steps - 1);
  return evenly_spaced(scalar_of(low, wide), scalar_of(high, wide), scalar_of(step, wide), steps,
                       result);
}

Value linspace_between(Value start, Value end, int64_t steps, std::optional<DType> dtype) {
  check(rank(start) == 0 && rank(end) == 0, ErrorKind::Runtime,
        "linspace only supports 0-dimensional start and end tensors, but got start with {} "
        "dimension(s) and end with {} dimension(s).",
        rank(start), rank(end));
  check(steps >= 0, ErrorKind::Runtime, "linspace: number of steps must be non-negative, not {}",
        steps);
  const bool complex = is_complex(tenon::dtype(start)) || is_complex(tenon::dtype(end));
  const DType wide = complex ? DType::Complex128 : DType::Float64;
  const DType result = dtype.value_or(complex ? complex_dtype(default_dtype()) : default_dtype());
  const auto bound = [&](Value x) {
    const Value number = ops::stop_gradient(ops::cast(x, wide));
    return is_integral(result, true) && !complex ? ops::unary(Op::Trunc, number) : number;
  };
  const Value low = bound(start), high = bound(end);
  if (steps <= 1) return ops::cast(ops::full(Dims{steps}, low), result);
  const Value step = (high - low) / scalar_of(Scalar(static_cast<double>(steps - 1)), wide);
  return evenly_spaced(low, high, step, steps, result);
}

namespace {

Value shift_right(Value bits, int count) {
  return ops::binary(Op::ShiftRight, bits, ops::literal_like(bits, count));
}

Value unit_interval(std::span<const int64_t> dims, Generator* generator, DType wide) {
  if (wide == DType::Float64) {  // 27 and 26 bits of two words
    const Value high = shift_right(draw_bits(dims, generator), 5);
    const Value low = shift_right(draw_bits(dims, generator), 6);
    return (ops::cast(high, wide) * 67108864.0 + ops::cast(low, wide)) * 0x1p-53;
  }
  return ops::cast(shift_right(draw_bits(dims, generator), 8), wide) * 0x1p-24;
}

DType random_dtype(DType dtype) {
  check(is_floating(dtype) && !is_float8(dtype), ErrorKind::NotImplemented,
        "{}: random numbers of {}", current_operation(), name_of(dtype));
  return dtype == DType::Float64 ? DType::Float64 : DType::Float32;
}

}  // namespace

Value uniform01(std::span<const int64_t> dims, DType dtype, Generator* generator) {
  checked_numel(dims);
  if (is_complex(dtype)) {
    const Value re = uniform01(dims, real_dtype(dtype), generator);
    return ops::complex(re, uniform01(dims, real_dtype(dtype), generator));
  }
  if (is_half(dtype)) {  // as many bits as the dtype holds, so that 1 is never reached
    const int kept = dtype == DType::Float16 ? 11 : 8;
    const Value bits = shift_right(draw_bits(dims, generator), 32 - kept);
    return ops::cast(ops::cast(bits, DType::Float32) * std::ldexp(1.0, -kept), dtype);
  }
  return unit_interval(dims, generator, random_dtype(dtype));
}

// Complex numbers have a variance of 1 in all, half of it a part.
Value normal01(std::span<const int64_t> dims, DType dtype, Generator* generator) {
  checked_numel(dims);
  if (is_complex(dtype)) {
    const Value re = normal01(dims, real_dtype(dtype), generator) * std::numbers::sqrt2 * 0.5;
    const Value im = normal01(dims, real_dtype(dtype), generator) * std::numbers::sqrt2 * 0.5;
    return ops::complex(re, im);
  }
  const DType wide = random_dtype(dtype);
  // Box and Muller: 1 - u lies in (0, 1], where the logarithm is finite.
  const Value u = unit_interval(dims, generator, wide), v = unit_interval(dims, generator, wide);
  const Value radius = ops::unary(Op::Sqrt, -2.0 * ops::unary(Op::Log, 1.0 - u));
  return ops::cast(radius * ops::unary(Op::Cos, v * (2 * std::numbers::pi)), dtype);
}

Value random_integers(int64_t low, int64_t high, std::span<const int64_t> dims, DType dtype,
                      Generator* generator) {
  check(low < high, ErrorKind::Runtime,
        "random_ expects 'from' to be less than 'to', but got from={} >= to={}", low, high);
  const uint64_t range = static_cast<uint64_t>(high) - static_cast<uint64_t>(low);
  check(range <= uint64_t{1} << 32, ErrorKind::NotImplemented,
        "{}: a range of more than 2^32 integers", current_operation());
  // The high word of bits * range: each integer within 2^-32 of its probability.
  const Value bits = ops::cast(draw_bits(dims, generator), DType::UInt64);
  const Value scaled = bits * ops::scalar(static_cast<int64_t>(range), DType::UInt64);
  const Value x = ops::cast(shift_right(scaled, 32), DType::Int64);
  return ops::cast(x + ops::scalar(low, DType::Int64), dtype);
}

Value randperm(int64_t n, Generator* generator, std::optional<DType> dtype,
               std::optional<Device> device) {
  const DeviceScope there(device);
  check(n >= 0, ErrorKind::Runtime, "n must be non-negative, got {}", n);
  const int64_t extents[] = {n};
  // 63 bits a key: no two of them are equal in practice, and if so, their order is still defined.
  const Value high = ops::cast(draw_bits(extents, generator), DType::Int64);
  const Value low = ops::cast(shift_right(draw_bits(extents, generator), 1), DType::Int64);
  const Value keys = high * 2147483648.0 + low;
  return ops::cast(ops::argsort(keys, 0, false), dtype.value_or(DType::Int64));
}

Value multinomial(Value input, int64_t num_samples, bool replacement, Generator* generator) {
  check(rank(input) == 1 || rank(input) == 2, ErrorKind::Runtime,
        "prob_dist must be 1 or 2 dim, not {}", rank(input));
  check(is_floating(dtype(input)), ErrorKind::Runtime,
        "multinomial only supports floating-point dtypes for input, got: {}",
        name_of(dtype(input)));
  check(num_samples > 0, ErrorKind::Runtime, "cannot sample n_sample <= 0 samples");
  const int64_t axis = rank(input) - 1, classes = dims(input)[axis];
  check(replacement || num_samples <= classes, ErrorKind::Runtime,
        "cannot sample n_sample > prob_dist.size(-1) samples without replacement");
  const auto race = [&](Value weights) {  // the first arrival of exponential clocks
    const Value noise =
        -ops::unary(Op::Log1p, -uniform01(dims(weights), DType::Float32, generator));
    return ops::cast(weights, DType::Float32) / noise;
  };
  if (!replacement) {
    return ops::slice_axis(ops::argsort(race(input), axis, true), axis, 0, num_samples);
  }
  Dims spread(dims(input));
  spread.insert(spread.begin() + axis, num_samples);
  return ops::argreduce(Op::Argmax, race(ops::expand(ops::unsqueeze(input, axis), spread)),
                        axis + 1);
}

Value pow(Value input, const Scalar& exponent) {
  const DType from = dtype(input);
  if (!exponent.is_integral() && is_integral(from, true)) input = ops::cast(input, default_dtype());
  if (from == DType::Bool && exponent.kind() == Scalar::Kind::Int) {
    input = ops::cast(input, DType::Int64);
  }
  const DType type = dtype(input);
  check(!is_integral(type, true) || exponent.to_double() >= 0, ErrorKind::Runtime,
        "Integers to negative integer powers are not allowed.");
  // The exponents that programs are written with select the program, as literals do.
  if (exponent.equals(1)) return ops::alias(input);
  if (exponent.equals(2)) return input * input;
  if (exponent.equals(3)) return input * input * input;
  if (exponent.equals(0.5)) return ops::unary(Op::Sqrt, input);
  if (exponent.equals(-1)) return 1.0 / input;
  if (exponent.equals(-2)) return 1.0 / (input * input);
  if (exponent.equals(-0.5)) return ops::unary(Op::Rsqrt, input);
  return ops::binary(Op::Pow, input, scalar_of(exponent, type));
}

}  // namespace tenon::values
