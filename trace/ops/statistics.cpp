// Counts and covariances.
#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/shape.h"
#include "generated/functions.h"
#include "generated/values.h"
#include "trace/complex.h"
#include "trace/ops/helpers.h"
#include "trace/tensor.h"

namespace tenon {
namespace values {

Value histc(Value input, int64_t bins, const Scalar& min_, const Scalar& max_) {
  check_floating({input}, ErrorKind::NotImplemented);
  check(bins > 0, ErrorKind::Runtime, "histc(): bins must be > 0, but got {}", bins);
  const double low = min_.to_double(), high = max_.to_double();
  check(std::isfinite(low) && std::isfinite(high), ErrorKind::Runtime,
        "histc: range of [{}, {}] is not finite", low, high);
  check(low <= high, ErrorKind::Runtime, "histc: max must be larger than min");
  const bool half = dtype(input) == DType::Float16 || dtype(input) == DType::BFloat16;
  const DType type = half ? DType::Float32 : dtype(input);
  const Value x = ops::cast(ops::reshape(input, {{type_of(input).numel}}), type);
  Value first = scalar_of(Scalar(low), type), last = scalar_of(Scalar(high), type);
  if (low == high && type_of(x).numel > 0) {  // the range of the data
    const int64_t axes[] = {0};
    const Value plain = ops::stop_gradient(x);
    first = ops::reduce(Op::ReduceMin, plain, axes);
    last = ops::reduce(Op::ReduceMax, plain, axes);
  }
  const Value one = ops::literal(1, type);
  const Value empty = ops::binary(Op::Eq, first, last);
  const Value from = ops::select(empty, first - one, first);
  const Value to = ops::select(empty, last + one, last);
  // The bin, as PyTorch computes it: rounded to the input's dtype after each step.
  const auto rounded = [&](Value v) { return ops::cast(ops::cast(v, dtype(input)), type); };
  const int64_t extents[] = {bins + 1};
  const Value count = scalar_of(Scalar(static_cast<double>(bins)), type);
  const Value scaled = rounded(rounded(x - from) * count) / rounded(to - from);
  Value bin = ops::cast(rounded(scaled), DType::Int64);
  const Value end = ops::scalar(bins, DType::Int64);
  bin = ops::binary(Op::Minimum, bin, end - ops::literal(1, DType::Int64));
  const Value inside = (x >= from) & (x <= to);
  const Value place = ops::select(inside, bin, end);  // the last counts what lies outside
  const Value counts = ops::scatter_add(ops::full(extents, ops::literal(0, type)), place,
                                        ops::full(Dims(dims(x)), one), 0);
  return ops::cast(ops::slice_axis(counts, 0, 0, bins), dtype(input));
}

Value cov(Value input, int64_t correction, Value fweights, Value aweights) {
  check(rank(input) <= 2, ErrorKind::Runtime,
        "cov(): expected input to have two or fewer dimensions but got an input with {} dimensions",
        rank(input));
  check(dtype(input) != DType::Bool, ErrorKind::Runtime,
        "cov(): bool dtype is not supported for input");
  const int64_t n = rank(input) < 2 ? type_of(input).numel : dims(input)[1];
  const Value x = rank(input) < 2 ? ops::reshape(input, {{1, n}}) : input;
  Value weights;
  for (const auto& [w, is_frequency] : {std::pair{fweights, true}, std::pair{aweights, false}}) {
    if (!w) continue;
    const char* name = is_frequency ? "fweights" : "aweights";
    check(rank(w) <= 1, ErrorKind::Runtime,
          "cov(): expected {} to have one or fewer dimensions but got {} with {} dimensions", name,
          name, rank(w));
    check(is_frequency ? is_integral(dtype(w), false) : is_floating(dtype(w)), ErrorKind::Runtime,
          "cov(): expected {} to have {} dtype but got {} with {} dtype", name,
          is_frequency ? "integral" : "floating point", name, name_of(dtype(w)));
    check(type_of(w).numel == n, ErrorKind::Runtime,
          "cov(): expected {} to have the same numel as there are observations in the input but "
          "got {} != {}",
          name, type_of(w).numel, n);
    const Value flat = ops::reshape(w, {{n}});
    weights = weights ? mul(weights, flat) : flat;
  }
  const DType type = is_integral(dtype(x), true) ? default_dtype() : dtype(x);
  Value mean_, total;
  const Value values = ops::cast(x, type);
  const int64_t axes[] = {1};
  if (weights) {
    total = sum(weights);
    mean_ = true_divide(ops::reduce(Op::ReduceSum, mul(values, weights), axes, true), total);
  } else {
    total = ops::scalar(n, DType::Int64);
    mean_ = mean(values, IntList{1}, true);
  }
  const Value centered = sub(values, mean_);
  Value norm;
  if (aweights && correction != 0) {
    const Value squares = mul(weights, aweights);
    norm = sub(total, true_divide(mul(sum(squares), ops::scalar(correction, DType::Int64)), total));
  } else {
    norm = sub(total, ops::scalar(correction, DType::Int64));
  }
  norm = maximum(norm, ops::literal(0, dtype(norm)));
  const Value weighted = weights ? mul(centered, weights) : centered;
  const Value product = matmul(centered, ops::conj(ops::permute(weighted, {{1, 0}})));
  return squeeze(true_divide(product, norm));
}

namespace {

Value clamped(Value x) {  // to [-1, 1]
  const Value one = ops::literal_like(x, 1), minus = ops::literal_like(x, -1);
  return ops::binary(Op::Minimum, ops::binary(Op::Maximum, x, minus), one);
}

}  // namespace

Value corrcoef(Value input) {
  check(rank(input) <= 2, ErrorKind::Runtime,
        "corrcoef(): expected input to have two or fewer dimensions but got an input with {} "
        "dimensions",
        rank(input));
  const Value c = cov(input, 1, Value{}, Value{});
  if (rank(c) == 0) return true_divide(c, c);
  const Value deviation = sqrt(ops::part(diagonal(c, 0, 0, 1), 0));
  Value result = true_divide(c, ops::unsqueeze(deviation, 1));
  result = true_divide(result, ops::unsqueeze(deviation, 0));
  if (is_complex(dtype(result))) {
    return ops::complex(clamped(ops::part(result, 0)), clamped(ops::part(result, 1)));
  }
  return clamped(result);
}

}  // namespace values

Tensor bincount(const Tensor& input, const Tensor& weights, int64_t minlength) {
  check(input.dtype() != DType::Bool, ErrorKind::NotImplemented,
        "bincount: not implemented for bool");
  check(input.rank() == 1 && is_integral(input.dtype(), false), ErrorKind::Runtime,
        "bincount only supports 1-d non-negative integral inputs.");
  check(minlength >= 0, ErrorKind::Runtime, "minlength should be >= 0");
  check(!weights.defined() || (weights.rank() == 1 && weights.numel() == input.numel()),
        ErrorKind::Runtime, "weights should be 1-d and have the same length as input");
  int64_t length = minlength;
  if (input.numel() > 0) {
    check(min(input).item_int() >= 0, ErrorKind::Runtime,
          "bincount only supports 1-d non-negative integral inputs.");
    length = std::max(length, max(input).item_int() + 1);
  }
  OpScope scope("bincount");
  DType type = DType::Int64;
  if (weights.defined()) {
    type = weights.dtype() == DType::Float32 ? DType::Float32 : DType::Float64;
  }
  const Value at = ops::cast(scope.use(input), DType::Int64);
  const Value ones = ops::full(input.dims(), ops::literal(1, type));
  const Value added = weights.defined() ? ops::cast(scope.use(weights), type) : ones;
  const int64_t extents[] = {length};
  const Value zeros = ops::full(extents, ops::literal(0, type));
  return scope.result(length == 0 ? zeros : ops::scatter_add(zeros, at, added, 0));
}

}  // namespace tenon
