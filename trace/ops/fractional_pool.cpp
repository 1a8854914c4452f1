// Maximum over windows at pseudo-random places.
#include <array>
#include <cmath>

#include "core/error.h"
#include "core/shape.h"
#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/ops/window.h"

namespace tenon::values {
namespace {

Value whole(int64_t n) { return ops::scalar(n, DType::Int64); }

// Where the windows along a dimension begin: (batch, channels, count), from numbers in [0, 1) that
// are (batch, channels, 1).
Value beginnings(Value u, int64_t extent, int64_t kernel, int64_t count) {
  const Dims along{1, 1, count}, every{dims(u)[0], dims(u)[1], count};
  const Value i = ops::iota(along, 2), last = whole(extent - kernel);
  if (count == 1) return ops::expand(last, every);
  const double step = static_cast<double>(extent - kernel) / static_cast<double>(count - 1);
  const Value a = ops::scalar(step, dtype(u));
  const auto floor_of = [](Value x) { return ops::cast(ops::unary(Op::Floor, x), DType::Int64); };
  const Value at = floor_of((ops::cast(i, dtype(u)) + u) * a) - floor_of(u * a);
  return ops::select(ops::binary(Op::Eq, i, whole(count - 1)), last, at);
}

std::array<Value, 2> fractional_max_pool(int spatial, Value input, const IntList& kernel_size,
                                         const std::optional<IntList>& output_size,
                                         const std::optional<FloatList>& output_ratio,
                                         Value samples) {
  check_floating({input}, ErrorKind::NotImplemented);
  check(output_size.has_value() != output_ratio.has_value(), ErrorKind::Value,
        "{} requires specifying either an output_size or an output_ratio", current_operation());
  const Batched batched(input, spatial);
  const Value x = batched.value;
  const int64_t n = dims(x)[0], channels = dims(x)[1];
  const Dims extents(dims(x).subspan(2));
  const Dims kernel = one_a_dimension(kernel_size, spatial, "kernel_size");
  Dims size;
  if (output_size) {
    size = one_a_dimension(*output_size, spatial, "output_size");
  } else {
    for (int d = 0; d < spatial; ++d) {
      const double ratio = (*output_ratio)[output_ratio->size() == 1 ? 0 : static_cast<size_t>(d)];
      check(ratio > 0 && ratio < 1, ErrorKind::Value,
            "{}: output_ratio must be between 0 and 1, got {}", current_operation(), ratio);
      size.push_back(static_cast<int64_t>(static_cast<double>(extents[d]) * ratio));
    }
  }
  int64_t plane = 1, places = 1;
  for (int d = 0; d < spatial; ++d) {
    check(size[d] >= 1 && kernel[d] >= 1 && size[d] + kernel[d] - 1 <= extents[d],
          ErrorKind::Runtime, "{}: pool size {} and output size {} don't fit an input of size {}",
          current_operation(), shown(kernel), shown(size), shown(dims(input)));
    plane *= extents[d];
    places *= size[d];
  }
  const Dims wanted{n, channels, spatial};
  if (!samples) samples = uniform01(wanted, dtype(x), nullptr);
  check(std::ranges::equal(dims(samples), wanted), ErrorKind::Runtime,
        "{}: expected _random_samples of size {}, got {}", current_operation(), shown(wanted),
        shown(dims(samples)));
  Dims shape{n, channels};
  shape.append(size.begin(), size.end());
  std::vector<Value> begins;  // in the result's shape
  for (int d = 0; d < spatial; ++d) {
    // PyTorch's first sample of two is the columns'.
    const Value u = ops::slice_axis(samples, 2, spatial == 2 ? 1 - d : d, 1);
    Dims along(shape.size(), 1);
    along[0] = n;
    along[1] = channels;
    along[2 + d] = size[d];
    begins.push_back(ops::reshape(beginnings(u, extents[d], kernel[d], size[d]), along));
  }
  const Value flat = ops::reshape(x, {{n, channels, plane}});
  int64_t window = 1;
  for (int64_t k : kernel) window *= k;
  Dims position(static_cast<size_t>(spatial), 0);
  Value value, index;
  for (int64_t k = 0; k < window; ++k) {
    int64_t rest = k;
    for (int d = spatial; d-- > 0; rest /= kernel[d]) position[d] = rest % kernel[d];
    Value at = whole(0);
    for (int d = 0; d < spatial; ++d) at = at * whole(extents[d]) + begins[d] + whole(position[d]);
    at = ops::reshape(ops::expand(at, shape), {{n, channels, places}});
    const Value part = ops::take_along(flat, at, 2);
    if (k == 0) {
      value = part;
      index = at;
      continue;
    }
    const Value is_better = (part > value) | ops::unary(Op::IsNan, part);
    value = ops::select(is_better, part, value);
    index = ops::select(is_better, at, index);
  }
  // Picked by index, so that the derivative is that element's alone.
  const Value picked = ops::take_along(flat, index, 2);
  return {batched.restore(ops::reshape(picked, shape)),
          batched.restore(ops::reshape(index, shape))};
}

}  // namespace

#define TENON_FRACTIONAL_MAX_POOL(n)                                                             \
  Value fractional_max_pool##n##d(Value input, const IntList& kernel_size,                       \
                                  const std::optional<IntList>& output_size,                     \
                                  const std::optional<FloatList>& output_ratio, Value samples) { \
    return fractional_max_pool(n, input, kernel_size, output_size, output_ratio, samples)[0];    \
  }                                                                                              \
  std::array<Value, 2> fractional_max_pool##n##d_with_indices(                                   \
      Value input, const IntList& kernel_size, const std::optional<IntList>& output_size,        \
      const std::optional<FloatList>& output_ratio, Value samples) {                             \
    return fractional_max_pool(n, input, kernel_size, output_size, output_ratio, samples);       \
  }
TENON_FRACTIONAL_MAX_POOL(2)
TENON_FRACTIONAL_MAX_POOL(3)
#undef TENON_FRACTIONAL_MAX_POOL

}  // namespace tenon::values
