// Means over windows.
#include <algorithm>

#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/ops/window.h"

namespace tenon::values {
namespace {

Value in_accumulator(Value x) {
  check_floating({x}, ErrorKind::NotImplemented);
  return is_half(dtype(x)) ? ops::cast(x, DType::Float32) : x;
}

Value number(Value like, int64_t value) {
  return is_floating(dtype(like)) ? ops::scalar(static_cast<double>(value), dtype(like))
                                  : ops::scalar(value, dtype(like));
}

Value sum_windows(Value x, const Windows& w) {
  const bool is_partition = w.is_partition();
  const auto reduced = [&] {
    return ops::reduce(Op::ReduceSum, w.split(x), w.split_axes(rank(x)));
  };
  const std::vector<Dims> stages = w.stages();
  if (is_partition && stages.size() > 1) return reduced();
  Value sum = x;
  for (const Dims& axes : stages) {
    const std::vector<Value> parts = w.shifted(sum, ops::literal_like(sum, 0), axes);
    sum = parts[0];
    for (size_t k = 1; k < parts.size(); ++k) sum = sum + parts[k];
  }
  // The same sum, whose transpose is a broadcast.
  return is_partition ? ops::redirect(sum, reduced()) : sum;
}

// How many elements of each window along dimension d count.
Value window_sizes(const Windows& w, int d, int64_t extent, bool count_include_pad, Value like) {
  const auto whole = [](int64_t n) { return ops::scalar(n, DType::Int64); };
  Dims along(w.spatial(), 1);
  along[d] = w.extents[d];
  Value begin = ops::iota(along, d) * whole(w.stride[d]) - whole(w.padding[d]);
  Value end = ops::binary(Op::Minimum, begin + whole(w.kernel[d]), whole(extent + w.padding[d]));
  if (!count_include_pad) {
    begin = ops::binary(Op::Maximum, begin, whole(0));
    end = ops::binary(Op::Minimum, end, whole(extent));
  }
  return ops::cast(end - begin, dtype(like));
}

Value avg_pool(int spatial, Value input, const IntList& kernel_size,
               const std::optional<IntList>& stride, const IntList& padding, bool ceil_mode,
               bool count_include_pad, std::optional<int64_t> divisor) {
  const Batched batched(input, spatial);
  const bool is_whole = dtype(input) == DType::Int64;
  const Value x = is_whole ? batched.value : in_accumulator(batched.value);
  const auto over = [&](Value sum, Value size) {
    if (!is_whole) return sum / size;
    const auto magnitude = [](Value v) { return ops::unary(Op::Abs, v); };
    const Value quotient = ops::binary(Op::FloorDiv, magnitude(sum), magnitude(size));
    return quotient * ops::unary(Op::Sign, sum) * ops::unary(Op::Sign, size);  // towards 0
  };
  const auto extents = dims(batched.value).subspan(2);
  const Windows w(spatial, extents, kernel_size, stride, padding, 1, ceil_mode);
  check(!divisor || *divisor != 0, ErrorKind::Runtime, "divisor must be not zero");
  Value mean = sum_windows(x, w);
  if (divisor) {
    mean = over(mean, number(x, *divisor));
  } else {
    bool all_equal = true;
    for (int d = 0; d < spatial; ++d) {
      const int64_t beyond = w.overhang[d] - w.padding[d];  // never counts
      all_equal = all_equal && beyond <= 0 && (count_include_pad || w.padding[d] == 0);
    }
    Value size = number(x, w.size());
    for (int d = 0; d < spatial && !all_equal; ++d) {
      const Value along = window_sizes(w, d, extents[d], count_include_pad, x);
      size = d ? size * along : along;
    }
    mean = over(mean, size);
  }
  return batched.restore(ops::cast(mean, dtype(input)));
}

Value adaptive_mean(Value x, int64_t axis, int64_t extent) {
  if (dims(x)[axis] == extent) return x;
  const AdaptiveWindows windows(dims(x)[axis], extent);
  Dims vector(rank(x), 1);
  vector[axis] = extent;
  const Value size = ops::reshape(windows.end - windows.first, vector);
  Value sum = ops::gather(x, windows.at[0], axis);
  for (size_t k = 1; k < windows.at.size(); ++k) {
    const Value counts = size > ops::scalar(static_cast<int64_t>(k), DType::Int64);
    const Value part = ops::gather(x, windows.at[k], axis);
    sum = sum + ops::select(counts, part, ops::literal_like(x, 0));
  }
  return sum / ops::cast(size, dtype(x));
}

Value adaptive_avg_pool(int spatial, Value input, const IntList& output_size) {
  check_adaptive_rank(input, output_size);
  const Batched batched(input, spatial);
  Value x = in_accumulator(batched.value);
  const Dims extents(dims(x).subspan(2)), size = adaptive_size(input, spatial, output_size);
  if (const auto w = equal_windows(extents, size)) {
    if (w->size() > 1) x = sum_windows(x, *w) / number(x, w->size());
  } else if (std::ranges::count(size, 0) != 0) {
    Dims none(dims(x).first(2));
    none.append(size.begin(), size.end());
    x = ops::full(none, ops::literal_like(x, 0));
  } else {
    for (int d = 0; d < spatial; ++d) x = adaptive_mean(x, 2 + d, size[d]);
  }
  x = ops::cast(x, dtype(input));
  return batched.restore(x.id == input.id ? ops::alias(x) : x);
}

}  // namespace

Value avg_pool1d(Value input, const IntList& kernel_size, const std::optional<IntList>& stride,
                 const IntList& padding, bool ceil_mode, bool count_include_pad) {
  return avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad,
                  std::nullopt);
}

#define TENON_AVG_POOL(n)                                                                 \
  Value avg_pool##n##d(Value input, const IntList& kernel_size,                           \
                       const std::optional<IntList>& stride, const IntList& padding,      \
                       bool ceil_mode, bool count_include_pad,                            \
                       std::optional<int64_t> divisor_override) {                         \
    return avg_pool(n, input, kernel_size, stride, padding, ceil_mode, count_include_pad, \
                    divisor_override);                                                    \
  }
TENON_AVG_POOL(2)
TENON_AVG_POOL(3)
#undef TENON_AVG_POOL

#define TENON_ADAPTIVE_AVG_POOL(n)                                         \
  Value adaptive_avg_pool##n##d(Value input, const IntList& output_size) { \
    return adaptive_avg_pool(n, input, output_size);                       \
  }
TENON_ADAPTIVE_AVG_POOL(1)
TENON_ADAPTIVE_AVG_POOL(2)
TENON_ADAPTIVE_AVG_POOL(3)
#undef TENON_ADAPTIVE_AVG_POOL

}  // namespace tenon::values
