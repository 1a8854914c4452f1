// Maximum over windows, with the index of each: the derivative is that element's alone.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/ops/window.h"

namespace tenon::values {
namespace {

// As PyTorch: only the batch may be empty.
void check_some_elements(Value input, int spatial) {
  const auto own = dims(input).last(std::min<size_t>(dims(input).size(), spatial + 1));
  check(std::ranges::count(own, 0) == 0, ErrorKind::Runtime,
        "{}: Expected {}D or {}D (batch mode) tensor with optional 0 dim batch size for input, but "
        "got: {}",
        current_operation(), spatial + 1, spatial + 2, shown(dims(input)));
}

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

// The input reduced, stage by stage, to its windows' maxima and where they stand: the flat index in
// the channel's plane, in int32 where that has room.
struct Maximum {
  Value input, value, index;
  Dims extents;  // spatial ones of the input
  DType index_dtype = DType::Int32;

  explicit Maximum(Value x) : input(x), value(x), extents(dims(x).subspan(2)) {
    if (step(-1) > std::numeric_limits<int32_t>::max()) index_dtype = DType::Int64;
  }
  int spatial() const { return static_cast<int>(extents.size()); }
  // Elements between neighbours along spatial dimension d.
  int64_t step(int d) const {
    int64_t n = 1;
    for (int i = spatial() - 1; i > d; --i) n *= extents[i];
    return n;
  }
  Value number(int64_t n) const { return ops::scalar(n, index_dtype); }
  Value iota(int64_t extent, int d) const {
    Dims along(spatial(), 1);
    along[d] = extent;
    return ops::cast(ops::iota(along, d), index_dtype);
  }

  // The largest of the parts: the first of equal ones, the last NaN, as PyTorch does. `places` are
  // their indices; a part k where begins[k] holds is taken whatever it is.
  void reduce(const std::vector<Value>& parts, const std::vector<Value>& places,
              const std::vector<Value>& begins) {
    value = parts[0];
    index = ops::expand(places[0], dims(parts[0]));
    for (size_t k = 1; k < parts.size(); ++k) {
      Value better = parts[k] > value;
      if (is_floating(dtype(value))) better = better | ops::unary(Op::IsNan, parts[k]);
      if (!begins.empty() && begins[k]) better = better | begins[k];
      value = ops::select(better, parts[k], value);
      index = ops::select(better, places[k], index);
    }
  }
};

void reduce_windows(Maximum& m, const Windows& w) {
  for (const Dims& axes : w.stages()) {
    const Value fill = ops::literal_like(m.value, lowest_of(dtype(m.value)));
    const std::vector<Value> parts = w.shifted(m.value, fill, axes);
    std::vector<Value> places, begins;
    if (m.index) places = w.shifted(m.index, ops::literal(0, m.index_dtype), axes);
    // Windows that begin in the padding: their first element that is none, should all be the fill.
    std::vector<Value> first(w.spatial());
    const bool is_padded = std::ranges::any_of(axes, [&](int64_t d) { return w.padding[d] > 0; });
    Value origin = m.number(0);
    for (int64_t d : axes) {
      const Value at = m.iota(w.extents[d], static_cast<int>(d)) * m.number(w.stride[d]);
      origin = origin + at * m.number(m.step(static_cast<int>(d)));
      first[d] = m.number(0);
      for (int64_t k = 0; k < w.kernel[d] && k * w.dilation[d] < w.padding[d]; ++k) {
        const Value outside = at < m.number(w.padding[d] - k * w.dilation[d]);
        first[d] = first[d] + ops::cast(outside, m.index_dtype);
      }
    }
    const std::vector<Dims> positions = w.positions(axes);
    for (size_t k = 0; k < positions.size(); ++k) {
      int64_t offset = 0;
      Value is_first;
      for (size_t i = 0; i < axes.size(); ++i) {
        const int64_t d = axes[i];
        offset += (positions[k][i] * w.dilation[d] - w.padding[d]) * m.step(static_cast<int>(d));
        if (!is_padded) continue;
        const Value here = ops::binary(Op::Eq, first[d], m.number(positions[k][i]));
        is_first = is_first ? is_first & here : here;
      }
      const Value place = origin + m.number(offset);
      if (m.index) {
        places[k] = places[k] + place;
      } else {
        places.push_back(place);
      }
      begins.push_back(is_first);
    }
    m.reduce(parts, places, begins);
  }
}

void reduce_adaptive(Maximum& m, int d, int64_t extent) {
  const int64_t axis = rank(m.value) - m.spatial() + d;
  const AdaptiveWindows windows(m.extents[d], extent);
  Dims vector(rank(m.value), 1);
  vector[axis] = extent;
  std::vector<Value> parts, places;
  for (const Value at : windows.at) {
    parts.push_back(ops::gather(m.value, at, axis));
    Value place = ops::cast(ops::reshape(at, vector), m.index_dtype) * m.number(m.step(d));
    if (m.index) place = ops::gather(m.index, at, axis) + place;
    places.push_back(place);
  }
  m.reduce(parts, places, {});
}

// The maxima and their indices. The derivative is that of picking by index.
std::array<Value, 2> finish(const Maximum& m, const Batched& x) {
  const Value indices = ops::cast(m.index, DType::Int64);
  Value value = m.value;
  if (is_floating(dtype(value))) {
    const auto in_planes = [](Value v, int64_t plane) {
      return ops::reshape(v, {{dims(v)[0], dims(v)[1], plane}});
    };
    int64_t count = 1;
    for (int64_t extent : dims(value).subspan(2)) count *= extent;
    const Value picked =
        ops::take_along(in_planes(m.input, m.step(-1)), in_planes(indices, count), 2);
    value = ops::redirect(value, ops::reshape(picked, Dims(dims(value))));
  }
  return {x.restore(value), x.restore(indices)};
}

std::array<Value, 2> max_pool(int spatial, Value input, const IntList& kernel_size,
                              const std::optional<IntList>& stride, const IntList& padding,
                              const IntList& dilation, bool ceil_mode) {
  check_numbers({input}, ErrorKind::NotImplemented);
  check_some_elements(input, spatial);
  const Batched x(input, spatial);
  const Dims extents(dims(x.value).subspan(2));
  const Windows w(spatial, extents, kernel_size, stride, padding, dilation, ceil_mode);
  Maximum m(x.value);
  reduce_windows(m, w);
  return finish(m, x);
}

std::array<Value, 2> adaptive_max_pool(int spatial, Value input, const IntList& output_size) {
  check_numbers({input}, ErrorKind::NotImplemented);
  check_adaptive_rank(input, output_size);
  const Batched x(input, spatial);
  const Dims size = adaptive_size(input, spatial, output_size);
  Maximum m(x.value);
  if (const auto w = equal_windows(dims(x.value).subspan(2), size)) {
    reduce_windows(m, *w);
  } else if (std::ranges::count(size, 0) != 0) {
    Dims none(dims(x.value).first(2));
    none.append(size.begin(), size.end());
    m.value = ops::full(none, ops::literal_like(x.value, 0));
    m.index = ops::full(none, ops::literal(0, m.index_dtype));
  } else {
    for (int d = spatial; d-- > 0;) reduce_adaptive(m, d, size[d]);
  }
  return finish(m, x);
}

}  // namespace

#define TENON_MAX_POOL(n)                                                                 \
  Value max_pool##n##d(Value input, const IntList& kernel_size,                           \
                       const std::optional<IntList>& stride, const IntList& padding,      \
                       const IntList& dilation, bool ceil_mode) {                         \
    return max_pool(n, input, kernel_size, stride, padding, dilation, ceil_mode)[0];      \
  }                                                                                       \
  std::array<Value, 2> max_pool##n##d_with_indices(                                       \
      Value input, const IntList& kernel_size, const std::optional<IntList>& stride,      \
      const IntList& padding, const IntList& dilation, bool ceil_mode) {                  \
    return max_pool(n, input, kernel_size, stride, padding, dilation, ceil_mode);         \
  }                                                                                       \
  Value adaptive_max_pool##n##d(Value input, const IntList& output_size) {                \
    return adaptive_max_pool(n, input, output_size)[0];                                   \
  }                                                                                       \
  std::array<Value, 2> adaptive_max_pool##n##d_with_indices(Value input,                  \
                                                            const IntList& output_size) { \
    return adaptive_max_pool(n, input, output_size);                                      \
  }
TENON_MAX_POOL(1)
TENON_MAX_POOL(2)
TENON_MAX_POOL(3)
#undef TENON_MAX_POOL

}  // namespace tenon::values
