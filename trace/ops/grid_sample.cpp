// grid_sample and affine_grid: an image at places that a tensor names.
#include <array>
#include <cmath>

#include "core/error.h"
#include "core/shape.h"
#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/ops/window.h"

namespace tenon::values {
namespace {

enum class Outside : uint8_t { Zeros, Border, Reflection };

struct Sampling {
  Outside outside;
  bool align_corners;
};

Value like(Value x, double number) { return ops::scalar(number, dtype(x)); }

// From [-1, 1] to elements of an axis.
Value in_elements(Value at, int64_t extent, bool align_corners) {
  const auto n = static_cast<double>(extent);
  return align_corners ? (at + 1.0) * like(at, (n - 1) / 2)
                       : ((at + 1.0) * like(at, n) - 1.0) * 0.5;
}

Value clipped(Value at, int64_t extent) {
  return ops::binary(Op::Minimum, ops::binary(Op::Maximum, at, like(at, 0)),
                     like(at, static_cast<double>(extent - 1)));
}

// Back and forth between the outer elements' centres, or their outer edges.
Value reflected(Value at, int64_t extent, bool align_corners) {
  const double low = align_corners ? 0 : -0.5;
  const auto span = static_cast<double>(align_corners ? extent - 1 : extent);
  if (span == 0) return at * 0.0;
  const Value distance = ops::unary(Op::Abs, at - low);
  const Value turns = ops::unary(Op::Floor, distance / like(at, span));
  const Value rest = distance - turns * like(at, span);
  const Value half = turns * 0.5;
  const Value is_even = ops::binary(Op::Eq, ops::unary(Op::Floor, half), half);
  return ops::select(is_even, rest, like(at, span) - rest) + low;
}

// What is outside brought in, unless it gives zeros. What is no number reads the first element.
Value brought_in(Value at, int64_t extent, const Sampling& s) {
  if (s.outside == Outside::Zeros) return at;
  if (s.outside == Outside::Reflection) at = reflected(at, extent, s.align_corners);
  at = ops::select(ops::unary(Op::IsNan, at), like(at, 0), at);
  return clipped(at, extent);
}

class Image {
 public:
  Image(Value input, Value grid) : channels_(dims(input)[1]), extents_(dims(input).subspan(2)) {
    int64_t plane = 1, places = 1;
    for (int64_t n : extents_) plane *= n;
    for (int64_t n : dims(grid).subspan(1, extents_.size())) places *= n;
    batch_ = dims(input)[0];
    places_ = places;
    flat_ = ops::reshape(input, {{batch_, channels_, plane}});
  }

  // The elements at whole coordinates, one list an axis, each (batch, places); 0 outside.
  Value at(const std::vector<Value>& coordinates) const {
    Value inside, index = ops::literal(0, DType::Int64);
    for (size_t d = 0; d < extents_.size(); ++d) {
      const Value c = coordinates[d];
      const Value fits = (c >= 0.0) & (c <= like(c, static_cast<double>(extents_[d] - 1)));
      inside = inside ? inside & fits : fits;
      const Value safe = ops::cast(ops::select(fits, c, like(c, 0)), DType::Int64);
      index = index * ops::scalar(extents_[d], DType::Int64) + safe;
    }
    const Dims shape{batch_, channels_, places_};
    const Value rows = ops::expand(ops::unsqueeze(index, 1), shape);
    const Value picked = ops::take_along(flat_, rows, 2);
    return ops::select(ops::expand(ops::unsqueeze(inside, 1), shape), picked, like(picked, 0));
  }

 private:
  int64_t batch_, channels_, places_;
  Dims extents_;
  Value flat_;
};

Value weighed(Value picked, Value weight) {
  // A weight that is no number belongs to an element outside, which is 0.
  const Value w = ops::unsqueeze(weight, 1);
  return picked * ops::select(ops::unary(Op::IsNan, w), like(w, 0), w);
}

Value linear_sample(const Image& image, const std::vector<Value>& at) {
  const size_t count = at.size();
  std::vector<Value> low, high;
  for (Value c : at) {
    low.push_back(ops::stop_gradient(ops::unary(Op::Floor, c)));
    high.push_back(low.back() + 1.0);
  }
  Value sum;
  for (size_t corner = 0; corner < size_t{1} << count; ++corner) {
    std::vector<Value> place(count);
    Value weight;
    for (size_t d = 0; d < count; ++d) {
      const bool is_high = corner >> (count - 1 - d) & 1;
      place[d] = is_high ? high[d] : low[d];
      const Value part = is_high ? at[d] - low[d] : high[d] - at[d];
      weight = weight ? weight * part : part;
    }
    const Value part = weighed(image.at(place), weight);
    sum = sum ? sum + part : part;
  }
  return sum;
}

Value cubic_sample(const Image& image, const std::vector<Value>& at, const Dims& extents,
                   const Sampling& s) {
  std::array<std::array<Value, 4>, 2> weights, places;
  for (size_t d = 0; d < 2; ++d) {
    const Value low = ops::stop_gradient(ops::unary(Op::Floor, at[d]));
    weights[d] = cubic_weights(at[d] - low);
    for (int k = 0; k < 4; ++k) places[d][k] = brought_in(low + (k - 1.0), extents[d], s);
  }
  Value sum;
  for (int i = 0; i < 4; ++i) {
    Value row;
    for (int j = 0; j < 4; ++j) {
      const Value part = weighed(image.at({places[0][i], places[1][j]}), weights[1][j]);
      row = row ? row + part : part;
    }
    const Value part = weighed(row, weights[0][i]);
    sum = sum ? sum + part : part;
  }
  return sum;
}

// Places of n elements from -1 to 1: their centres, or with align_corners the outer ones' at +-1.
Value spread_over(int64_t n, bool align_corners, DType dtype) {
  const Value i = ops::cast(ops::iota({{n}}, 0), dtype);
  if (n == 1) return i * 0.0;
  const auto count = static_cast<double>(n);
  const double step = align_corners ? 2 / (count - 1) : 2 / count;
  const double first = align_corners ? -1 : 1 / count - 1;
  return i * ops::scalar(step, dtype) + ops::scalar(first, dtype);
}

}  // namespace

Value grid_sample(Value input, Value grid, std::string_view mode, std::string_view padding_mode,
                  std::optional<bool> align_corners) {
  check(mode == "bilinear" || mode == "nearest" || mode == "bicubic", ErrorKind::Value,
        "nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but "
        "got: '{}'",
        mode);
  check(padding_mode == "zeros" || padding_mode == "border" || padding_mode == "reflection",
        ErrorKind::Value,
        "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or "
        "'reflection', but got: '{}'",
        padding_mode);
  const int spatial = rank(input) - 2;
  check(spatial == 2 || spatial == 3, ErrorKind::Runtime,
        "grid_sampler(): expected 4D or 5D input, but got input of size {}", shown(dims(input)));
  check_floating({input}, ErrorKind::NotImplemented);
  check(dtype(input) == dtype(grid), ErrorKind::Runtime,
        "grid_sampler(): expected input and grid to have same dtype, but input has {} and grid has "
        "{}",
        name_of(dtype(input)), name_of(dtype(grid)));
  check(rank(grid) == rank(input) && dims(grid)[rank(grid) - 1] == spatial &&
            dims(grid)[0] == dims(input)[0],
        ErrorKind::Runtime,
        "grid_sampler(): expected a grid of {} dimensions, the same batch as the input and {} "
        "coordinates last, but got input {} and grid {}",
        rank(input), spatial, shown(dims(input)), shown(dims(grid)));
  check(mode != "bicubic" || spatial == 2, ErrorKind::Runtime,
        "grid_sampler(): bicubic interpolation only supports 4D input");
  const Dims extents(dims(input).subspan(2));
  for (int64_t n : extents) {
    check(n > 0, ErrorKind::Runtime,
          "grid_sampler(): expected input to have non-empty spatial dimensions, but input has "
          "sizes {}",
          shown(dims(input)));
  }
  const Sampling s{padding_mode == "zeros"    ? Outside::Zeros
                   : padding_mode == "border" ? Outside::Border
                                              : Outside::Reflection,
                   align_corners.value_or(false)};
  const DType wide = is_half(dtype(input)) ? DType::Float32 : dtype(input);
  const Value x = ops::cast(input, wide), g = ops::cast(grid, wide);
  const Image image(x, g);
  const Dims places(dims(grid).subspan(1, static_cast<size_t>(spatial)));
  int64_t count = 1;
  for (int64_t n : places) count *= n;
  std::vector<Value> at;  // the first spatial dimension's coordinate is the grid's last
  for (int d = 0; d < spatial; ++d) {
    const Value c = ops::slice_axis(g, spatial + 1, spatial - 1 - d, 1);
    const Value flat = ops::reshape(c, {{dims(g)[0], count}});
    at.push_back(in_elements(flat, extents[d], s.align_corners));
  }
  Value sampled;
  if (mode == "bicubic") {
    sampled = cubic_sample(image, at, extents, s);
  } else {
    for (int d = 0; d < spatial; ++d) at[d] = brought_in(at[d], extents[d], s);
    if (mode == "nearest") {
      for (Value& c : at) c = ops::stop_gradient(ops::unary(Op::Round, c));
      sampled = image.at(at);
    } else {
      sampled = linear_sample(image, at);
    }
  }
  Dims shape{dims(input)[0], dims(input)[1]};
  shape.append(places.begin(), places.end());
  return ops::cast(ops::reshape(sampled, shape), dtype(input));
}

Value affine_grid(Value theta, const IntList& size, std::optional<bool> align_corners) {
  check_floating({theta}, ErrorKind::Value);
  check(size.size() == 4 || size.size() == 5, ErrorKind::NotImplemented,
        "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. "
        "Got size {}",
        shown(size));
  const auto spatial = static_cast<int64_t>(size.size()) - 2;
  const Dims expected{size[0], spatial, spatial + 1};
  check(std::ranges::equal(dims(theta), expected), ErrorKind::Value,
        "Expected a batch of {}D affine matrices of shape {} for size {}. Got {}.", spatial,
        shown(expected), shown(size), shown(dims(theta)));
  for (int64_t n : size) {
    check(n > 0, ErrorKind::Value, "Expected non-zero, positive output size. Got {}", shown(size));
  }
  Dims grid(std::span<const int64_t>(size).subspan(2)), parts(grid);
  parts.push_back(1);
  grid.push_back(spatial + 1);
  std::vector<Value> columns;
  for (int64_t d = spatial; d-- > 0;) {  // x first: the last dimension's place
    Dims shape(parts.size(), 1);
    shape[d] = size[2 + d];
    const Value along = spread_over(size[2 + d], align_corners.value_or(false), dtype(theta));
    columns.push_back(ops::expand(ops::reshape(along, shape), parts));
  }
  columns.push_back(ops::full(parts, ops::literal_like(theta, 1)));
  const int64_t base_axis[] = {spatial}, theta_axis[] = {2};
  const Value base = ops::concatenate(columns, spatial);  // [..., coordinates and 1]
  const Value product = ops::dot_general(theta, base, {}, {}, theta_axis, base_axis);
  return ops::move_axis(product, 1, spatial + 1);
}

Value grid_sample_by_number(Value input, Value grid, int64_t mode, int64_t padding,
                            bool align_corners) {
  constexpr std::string_view kModes[] = {"bilinear", "nearest", "bicubic"};
  constexpr std::string_view kPaddings[] = {"zeros", "border", "reflection"};
  return grid_sample(input, grid, kModes[mode], kPaddings[padding], align_corners);
}

}  // namespace tenon::values
