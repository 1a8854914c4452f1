// Maximum over windows. Each stage keeps which of its parts was the largest; the derivative is that
// part's alone.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/ops/window.h"

namespace tenon::values {
namespace {

double lowest_of(DType dtype) {
  if (is_floating(dtype)) return -HUGE_VAL;
  double lowest = 0;
  visit_dtype(dtype, [&]<class T>(DTypeTag<T>) {
    if constexpr (std::is_integral_v<T>) {
      lowest = static_cast<double>(std::numeric_limits<T>::lowest());
    }
  });
  return lowest;
}

// The k-th of equally shaped values, k given for each element.
Value picked(const std::vector<Value>& values, Value place) {
  Value result = values[0];
  for (size_t k = 1; k < values.size(); ++k) {
    const Value here = ops::binary(Op::Eq, place, ops::literal_like(place, static_cast<double>(k)));
    result = ops::select(here, values[k], result);
  }
  return result;
}

// `extent` indices along spatial dimension d of so many.
Value spatial_iota(int64_t extent, int d, int spatial) {
  Dims dims(spatial, 1);
  dims[d] = extent;
  return ops::iota(dims, d);
}

struct Maximum {
  Value value;
  bool wants_indices;
  Dims input;                  // spatial extents
  std::vector<Value> indices;  // of the maximum, along each spatial dimension: int64

  int spatial() const { return static_cast<int>(input.size()); }

  // Reduces `value` to the largest of the parts: the first of equal ones, the last NaN, as PyTorch
  // does. `start`, if any, is the place of the first part that is no fill.
  // `derivative`: the same maximum as a linear function of the input, for its derivative, by place.
  template <class Derivative>
  Value reduce(const std::vector<Value>& parts, Value start, Derivative derivative) {
    const DType index = parts.size() <= 256 ? DType::UInt8 : DType::Int32;
    const bool floating = is_floating(dtype(value));
    Value best = parts[0], place = ops::full(dims(best), ops::literal(0, index));
    if (start) {
      best = ops::full(dims(best), ops::literal_like(best, lowest_of(dtype(best))));
      place = ops::expand(ops::cast(start, index), dims(best));
    }
    for (size_t k = start ? 0 : 1; k < parts.size(); ++k) {
      Value better = parts[k] > best;
      if (floating) better = better | ops::unary(Op::IsNan, parts[k]);
      best = ops::select(better, parts[k], best);
      place = ops::select(better, ops::literal(static_cast<double>(k), index), place);
    }
    value = floating ? ops::redirect(best, derivative(place)) : best;
    return place;
  }

  Value flat_indices() const {
    Value flat;
    int64_t step = 1;
    for (int d = spatial(); d-- > 0;) {
      const Value term = indices[d] * ops::scalar(step, DType::Int64);
      flat = flat ? flat + term : term;
      step *= input[d];
    }
    return ops::expand(flat, dims(value));
  }
};

// The derivative where each element is in one window at most: what was picked stays, the rest is 0.
Value masked_sum(const Windows& w, Value x, Value place) {
  const int64_t rank = tenon::rank(x);
  Dims broad(dims(place).first(rank - w.spatial()));
  Value own;  // an element's place in its window
  Dims grid;
  for (int d = 0; d < w.spatial(); ++d) {
    broad.push_back(w.extents[d]);
    broad.push_back(1);
    if (d) grid.push_back(1);
    grid.push_back(w.kernel[d]);
  }
  int64_t step = 1;
  for (int d = w.spatial(); d-- > 0; step *= w.kernel[d]) {
    Dims along(grid.size(), 1);
    along[2 * d] = w.kernel[d];
    const Value term = ops::iota(along, 2 * d) * ops::scalar(step, DType::Int64);
    own = own ? own + term : term;
  }
  const Value split = w.split(x);
  const Value is_picked =
      ops::binary(Op::Eq, ops::reshape(place, broad), ops::cast(own, dtype(place)));
  return ops::reduce(Op::ReduceSum, ops::select(is_picked, split, ops::literal_like(x, 0)),
                     w.split_axes(static_cast<int>(rank)));
}

void reduce_windows(Maximum& m, const Windows& w) {
  const int spatial = w.spatial();
  const std::vector<Dims> stages = w.stages();
  for (const Dims& axes : stages) {
    const Value x = m.value;
    const std::vector<Value> parts = w.shifted(x, ops::literal_like(x, lowest_of(dtype(x))), axes);
    const std::vector<Dims> positions = w.positions(axes);
    Value start;
    if (w.is_padded(axes)) {
      // The first position inside, along each dimension: how many are before the input.
      int64_t step = 1;
      for (size_t i = axes.size(); i-- > 0; step *= w.kernel[axes[i]]) {
        const int64_t d = axes[i];
        const Value origin = spatial_iota(w.extents[d], static_cast<int>(d), spatial) *
                             ops::scalar(w.stride[d], DType::Int64);
        for (int64_t k = 0; k < w.kernel[d] && k * w.dilation[d] < w.padding[d]; ++k) {
          const Value outside =
              origin < ops::scalar(w.padding[d] - k * w.dilation[d], DType::Int64);
          const Value term = ops::cast(outside, DType::Int64) * ops::scalar(step, DType::Int64);
          start = start ? start + term : term;
        }
      }
      if (!start) start = ops::literal(0, DType::Int64);
    }
    const Value place = m.reduce(parts, start, [&](Value at) {
      if (stages.size() == 1 && w.is_partition()) return masked_sum(w, x, at);
      const Value zero = ops::literal_like(x, 0);
      Value sum;
      for (size_t k = 0; k < parts.size(); ++k) {
        const Value here = ops::binary(Op::Eq, at, ops::literal_like(at, static_cast<double>(k)));
        const Value term = ops::select(here, parts[k], zero);
        sum = sum ? sum + term : term;
      }
      return sum;
    });
    if (!m.wants_indices) continue;
    for (Value& known : m.indices) {  // of dimensions done before
      if (known) known = picked(w.shifted(known, ops::literal_like(known, 0), axes), place);
    }
    for (size_t i = 0; i < axes.size(); ++i) {
      const int64_t d = axes[i];
      const Value origin = spatial_iota(w.extents[d], static_cast<int>(d), spatial) *
                           ops::scalar(w.stride[d], DType::Int64);
      std::vector<Value> along;
      for (const Dims& position : positions) {
        along.push_back(origin +
                        ops::scalar(position[i] * w.dilation[d] - w.padding[d], DType::Int64));
      }
      m.indices[d] = ops::expand(picked(along, place), dims(m.value));
    }
  }
}

void reduce_adaptive(Maximum& m, int d, int64_t extent) {
  const int64_t axis = rank(m.value) - m.spatial() + d;
  const AdaptiveWindows windows(m.input[d], extent);
  Dims vector(rank(m.value), 1);
  vector[axis] = extent;
  const auto gathered = [&](Value x) {
    std::vector<Value> parts;
    for (const Value at : windows.at) parts.push_back(ops::gather(x, at, axis));
    return parts;
  };
  const std::vector<Value> parts = gathered(m.value);
  const Value place = m.reduce(parts, {}, [&](Value at) { return picked(parts, at); });
  if (!m.wants_indices) return;
  for (Value& known : m.indices) {
    if (known) known = picked(gathered(known), place);
  }
  std::vector<Value> along;
  for (const Value at : windows.at) along.push_back(ops::reshape(at, vector));
  m.indices[d] = ops::expand(picked(along, place), dims(m.value));
}

std::array<Value, 2> finish(const Maximum& m, const Batched& x) {
  std::array<Value, 2> results{x.restore(m.value), Value{}};
  if (m.wants_indices) results[1] = x.restore(m.flat_indices());
  return results;
}

std::array<Value, 2> max_pool(int spatial, Value input, const IntList& kernel_size,
                              const std::optional<IntList>& stride, const IntList& padding,
                              const IntList& dilation, bool ceil_mode, bool wants_indices) {
  check_numbers({input}, ErrorKind::NotImplemented);
  const Batched x(input, spatial);
  const Dims extents(dims(x.value).subspan(2));
  const Windows w(spatial, extents, kernel_size, stride, padding, dilation, ceil_mode);
  Maximum m{x.value, wants_indices, extents, std::vector<Value>(spatial)};
  reduce_windows(m, w);
  return finish(m, x);
}

std::array<Value, 2> adaptive_max_pool(int spatial, Value input, const IntList& output_size,
                                       bool wants_indices) {
  check_numbers({input}, ErrorKind::NotImplemented);
  const Batched x(input, spatial);
  const Dims extents(dims(x.value).subspan(2)),
      size = one_a_dimension(output_size, spatial, "output_size");
  bool divides = true;
  for (int d = 0; d < spatial; ++d) {
    check(extents[d] > 0, ErrorKind::Runtime,
          "{}(): Expected input to have non-zero size for non-batch dimensions, but input has "
          "sizes {}",
          current_operation(), shown(dims(input)));
    check(size[d] >= 0, ErrorKind::Runtime,
          "{}: elements of output_size must be greater than or equal to 0, but received {}",
          current_operation(), shown(size));
    divides = divides && size[d] > 0 && extents[d] % size[d] == 0;
  }
  Maximum m{x.value, wants_indices, extents, std::vector<Value>(spatial)};
  if (divides) {
    Dims kernel(extents);
    for (int d = 0; d < spatial; ++d) kernel[d] /= size[d];
    reduce_windows(m, Windows(spatial, extents, kernel, std::nullopt, 0, 1, false));
  } else if (std::ranges::count(size, 0) != 0) {
    Dims none(dims(x.value).first(2));
    none.append(size.begin(), size.end());
    m.value = ops::full(none, ops::literal_like(x.value, 0));
    for (Value& index : m.indices) index = ops::full(none, ops::literal(0, DType::Int64));
  } else {
    for (int d = spatial; d-- > 0;) reduce_adaptive(m, d, size[d]);
  }
  return finish(m, x);
}

}  // namespace

#define TENON_MAX_POOL(n)                                                                   \
  Value max_pool##n##d(Value input, const IntList& kernel_size,                             \
                       const std::optional<IntList>& stride, const IntList& padding,        \
                       const IntList& dilation, bool ceil_mode) {                           \
    return max_pool(n, input, kernel_size, stride, padding, dilation, ceil_mode, false)[0]; \
  }                                                                                         \
  std::array<Value, 2> max_pool##n##d_with_indices(                                         \
      Value input, const IntList& kernel_size, const std::optional<IntList>& stride,        \
      const IntList& padding, const IntList& dilation, bool ceil_mode) {                    \
    return max_pool(n, input, kernel_size, stride, padding, dilation, ceil_mode, true);     \
  }                                                                                         \
  Value adaptive_max_pool##n##d(Value input, const IntList& output_size) {                  \
    return adaptive_max_pool(n, input, output_size, false)[0];                              \
  }                                                                                         \
  std::array<Value, 2> adaptive_max_pool##n##d_with_indices(Value input,                    \
                                                            const IntList& output_size) {   \
    return adaptive_max_pool(n, input, output_size, true);                                  \
  }
TENON_MAX_POOL(1)
TENON_MAX_POOL(2)
TENON_MAX_POOL(3)
#undef TENON_MAX_POOL

}  // namespace tenon::values
