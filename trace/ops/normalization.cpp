// Batch and instance normalization: they also write their running statistics.
#include <algorithm>

#include "core/shape.h"
#include "generated/functions.h"
#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/ops/operands.h"

namespace tenon {
namespace {

struct Statistics {
  const Tensor& mean;
  const Tensor& variance;
};

void check_channels(const Tensor& x, int64_t channels, const char* name) {
  if (!x.defined()) return;
  check(x.numel() == channels, ErrorKind::Runtime, "{} should contain {} elements not {}", name,
        channels, x.numel());
}

Value mean_over(Value x, const Dims& axes) {
  const int64_t count = values::extent_of(x, axes);
  return ops::reduce(Op::ReduceSum, x, axes, true) /
         ops::scalar(static_cast<double>(count), dtype(x));
}

// running = running * (1 - factor) + factor * now, without a derivative.
void update(OpScope& scope, const Tensor& running, Value now, Value factor) {
  const Value old = scope.use(running);
  const DType wide = dtype(now);
  const Value weight = ops::cast(factor, wide);
  const Value next = ops::cast(old, wide) * (1.0 - weight) + weight * ops::reshape(now, dims(old));
  scope.write(running, ops::stop_gradient(next));
}

// x over the standard deviation of each channel (and, if `axes` leave it out, each example).
// `factor`: the weight of these statistics in the running ones.
Value normalize(OpScope& scope, Value input, const Statistics& running, const Tensor& weight,
                const Tensor& bias, bool use_input_stats, bool per_example, Value factor,
                double eps) {
  const bool is_nothing = rank(input) == 1 && type_of(input).numel == 0;
  check(rank(input) >= 2 || is_nothing, ErrorKind::Runtime,
        "{}: expected an input of at least 2 dimensions, but got {}", current_operation(),
        shown(dims(input)));
  values::check_floating({input}, ErrorKind::NotImplemented);
  const int64_t channels = is_nothing ? 0 : dims(input)[1];
  check_channels(running.mean, channels, "running_mean");
  check_channels(running.variance, channels, "running_var");
  check_channels(weight, channels, "weight");
  check_channels(bias, channels, "bias");
  check(use_input_stats || (running.mean.defined() && running.variance.defined()),
        ErrorKind::Runtime,
        "{}: Expected running_mean and running_var to be defined when training "
        "is False",
        current_operation());
  if (is_nothing) return ops::alias(input);
  const Value x = is_half(dtype(input)) ? ops::cast(input, DType::Float32) : input;
  Value mean, variance, centred;
  if (use_input_stats) {
    Dims axes;
    for (int d = per_example ? 2 : 0; d < rank(x); ++d) {
      if (d != 1) axes.push_back(d);
    }
    const int64_t count = values::extent_of(x, axes);
    check(count != 1, ErrorKind::Value, "Expected more than 1 {} when training, got input size {}",
          per_example ? "spatial element" : "value per channel", shown(dims(x)));
    mean = mean_over(x, axes);
    centred = x - mean;
    variance = mean_over(centred * centred, axes);
    if (running.mean.defined() && dims(x)[0] > 0 && count > 0) {
      const Value unbiased =
          variance *
          ops::scalar(static_cast<double>(count) / static_cast<double>(count - 1), dtype(x));
      const auto over_examples = [&](Value v) { return per_example ? mean_over(v, {0}) : v; };
      update(scope, running.mean, over_examples(mean), factor);
      update(scope, running.variance, over_examples(unbiased), factor);
    }
  } else {
    mean = values::channel_vector(ops::cast(scope.use(running.mean), dtype(x)), rank(x));
    variance = values::channel_vector(ops::cast(scope.use(running.variance), dtype(x)), rank(x));
    centred = x - mean;
  }
  Value scale = ops::unary(Op::Rsqrt, variance + ops::scalar(eps, dtype(x)));
  Value y = centred * scale;
  if (weight.defined())
    y = y * values::channel_vector(ops::cast(scope.use(weight), dtype(x)), rank(x));
  if (bias.defined()) y = y + values::channel_vector(ops::cast(scope.use(bias), dtype(x)), rank(x));
  return ops::cast(y, dtype(input));
}

void check_rank(const Tensor& input, int64_t spatial, bool without_batch) {
  const int64_t rank = input.rank();
  const bool one_less = spatial == 1 || without_batch;
  if (rank == spatial + 2 || (one_less && rank == spatial + 1)) return;
  if (one_less) {
    fail(ErrorKind::Value, "expected {}D or {}D input (got {}D input)", spatial + 1, spatial + 2,
         rank);
  }
  fail(ErrorKind::Value, "expected {}D input (got {}D input)", spatial + 2, rank);
}

}  // namespace

Tensor batch_norm(const Tensor& input, const Tensor& running_mean, const Tensor& running_var,
                  const Tensor& weight, const Tensor& bias, bool training, double momentum,
                  double eps) {
  OpScope scope("batch_norm");
  const Value x = scope.use(input);
  return scope.result(normalize(scope, x, {running_mean, running_var}, weight, bias, training,
                                false, ops::scalar(momentum, DType::Float64), eps));
}

Tensor batch_norm_layer(const Tensor& input, int64_t spatial, const Tensor& running_mean,
                        const Tensor& running_var, const Tensor& num_batches_tracked,
                        const Tensor& weight, const Tensor& bias, bool training,
                        std::optional<double> momentum, double eps) {
  check_rank(input, spatial, false);
  OpScope scope("batch_norm");
  const Value x = scope.use(input);
  Value factor = ops::scalar(momentum.value_or(0.0), DType::Float64);
  if (training && num_batches_tracked.defined()) {
    const Value count =
        scope.use(num_batches_tracked) + ops::scalar(int64_t{1}, num_batches_tracked.dtype());
    scope.write(num_batches_tracked, count);
    if (!momentum) factor = 1.0 / ops::cast(count, DType::Float64);
  }
  const bool use_input_stats = training || !running_mean.defined();
  const Tensor none;
  const Statistics running{training          ? running_mean
                           : use_input_stats ? none
                                             : running_mean,
                           training          ? running_var
                           : use_input_stats ? none
                                             : running_var};
  return scope.result(
      normalize(scope, x, running, weight, bias, use_input_stats, false, factor, eps));
}

Tensor instance_norm(const Tensor& input, const Tensor& running_mean, const Tensor& running_var,
                     const Tensor& weight, const Tensor& bias, bool use_input_stats,
                     double momentum, double eps) {
  OpScope scope("instance_norm");
  const Value x = scope.use(input);
  return scope.result(normalize(scope, x, {running_mean, running_var}, weight, bias,
                                use_input_stats, true, ops::scalar(momentum, DType::Float64), eps));
}

Tensor instance_norm_layer(const Tensor& input, int64_t spatial, const Tensor& running_mean,
                           const Tensor& running_var, const Tensor& weight, const Tensor& bias,
                           bool training, double momentum, double eps) {
  check_rank(input, spatial, true);
  OpScope scope("instance_norm");
  const Value given = scope.use(input);
  const bool had_batch = input.rank() == spatial + 2;
  const Value y = normalize(
      scope, had_batch ? given : ops::unsqueeze(given, 0), {running_mean, running_var}, weight,
      bias, training || !running_mean.defined(), true, ops::scalar(momentum, DType::Float64), eps);
  return scope.result(had_batch ? y : ops::reshape(y, input.dims()));
}

}  // namespace tenon
