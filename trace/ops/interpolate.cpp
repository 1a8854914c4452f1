// interpolate: each spatial dimension resampled by gathers, or by a matrix of weights where the
// kernel is widened against aliasing.
#include <array>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "core/shape.h"
#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/ops/window.h"

namespace tenon::values {
namespace {

// One spatial dimension: how many elements it has and gets, and the step between the places that
// are read.
struct Resampled {
  int64_t axis, from, to;
  double step;
  bool align_corners;
};

Value whole(int64_t n) { return ops::scalar(n, DType::Int64); }

// Where the centre of each new element lies in the old ones' coordinates.
Value centres(const Resampled& r, DType dtype) {
  const Value i = ops::cast(ops::iota({{r.to}}, 0), dtype);
  const Value step = ops::scalar(r.step, dtype);
  return r.align_corners ? i * step : (i + 0.5) * step - 0.5;
}

Value clamped(Value index, int64_t extent) {
  return ops::binary(Op::Minimum, ops::binary(Op::Maximum, index, whole(0)), whole(extent - 1));
}

Value along(Value vector, Value x, int64_t axis) {
  Dims shape(rank(x), 1);
  shape[axis] = dims(vector)[0];
  return ops::reshape(vector, shape);
}

// PyTorch finds nearest places in float32 whatever the dtype.
Value nearest(Value x, const Resampled& r, bool exact) {
  Value i = ops::cast(ops::iota({{r.to}}, 0), DType::Float32);
  if (exact) i = i + 0.5;
  const Value at = ops::unary(Op::Floor, i * ops::scalar(r.step, DType::Float32));
  return ops::gather(x, clamped(ops::cast(at, DType::Int64), r.from), r.axis);
}

Value linear_along(Value x, const Resampled& r) {
  const Value at = ops::binary(Op::Maximum, centres(r, dtype(x)), ops::literal_like(x, 0));
  const Value low = ops::unary(Op::Floor, at);
  const Value first = clamped(ops::cast(low, DType::Int64), r.from);
  const Value second = clamped(first + whole(1), r.from);
  const Value weight = along(at - low, x, r.axis);
  return ops::gather(x, first, r.axis) * (1.0 - weight) + ops::gather(x, second, r.axis) * weight;
}

Value cubic_along(Value x, const Resampled& r) {
  const Value at = centres(r, dtype(x)), low = ops::unary(Op::Floor, at);
  const Value first = ops::cast(low, DType::Int64) - whole(1);
  const std::array<Value, 4> weights = cubic_weights(at - low);
  Value sum;
  for (int k = 0; k < 4; ++k) {
    const Value tap = ops::gather(x, clamped(first + whole(k), r.from), r.axis);
    const Value part = tap * along(weights[k], x, r.axis);
    sum = sum ? sum + part : part;
  }
  return sum;
}

// The triangle, or Keys' cubic of a = -0.5, at a distance.
Value filter(Value distance, bool cubic) {
  const Value d = ops::unary(Op::Abs, distance), zero = ops::literal_like(d, 0);
  if (!cubic) return ops::binary(Op::Maximum, 1.0 - d, zero);
  const Value near = (d * 1.5 - 2.5) * d * d + 1.0;
  const Value far = ((d * -0.5 + 2.5) * d - 4.0) * d + 2.0;
  return ops::select(d < 1.0, near, ops::select(d < 2.0, far, zero));
}

// Weights of all old elements for each new one, as a matrix, with the kernel widened.
Value widened_weights(const Resampled& r, bool cubic, DType type) {
  const double wide = std::max(r.step, 1.0), support = (cubic ? 2.0 : 1.0) * wide;
  const int64_t extents[] = {r.to, r.from};
  const Value i = ops::cast(ops::iota(extents, 0), type), j = ops::iota(extents, 1);
  const Value step = ops::scalar(r.step, type);
  const Value centre = r.align_corners ? i * step + 0.5 : (i + 0.5) * step;
  const auto truncated = [](Value v) { return ops::cast(v, DType::Int64); };
  const Value reach = ops::scalar(support, type);
  const Value begin = ops::binary(Op::Maximum, truncated(centre - reach + 0.5), whole(0));
  const Value end = ops::binary(Op::Minimum, truncated(centre + reach + 0.5), whole(r.from));
  const Value inside = ops::binary(Op::Ge, j, begin) & ops::binary(Op::Lt, j, end);
  const Value distance = (ops::cast(j, type) - centre + 0.5) / ops::scalar(wide, type);
  const Value weights = ops::select(inside, filter(distance, cubic), ops::literal(0, type));
  const int64_t columns[] = {1};
  return weights / ops::reduce(Op::ReduceSum, weights, columns, true);
}

// The same of the plain kernels, what reaches outside being added to the edges.
Value plain_weights(const Resampled& r, bool cubic, DType type) {
  Value at = centres(r, type);
  if (!cubic) at = ops::binary(Op::Maximum, at, ops::literal(0, type));
  const Value low = ops::unary(Op::Floor, at), t = at - low;
  std::vector<Value> taps;
  if (cubic) {
    const std::array<Value, 4> four = cubic_weights(t);
    taps.assign(four.begin(), four.end());
  } else {
    taps = {1.0 - t, t};
  }
  const int64_t extents[] = {r.to, r.from};
  const Value first = ops::cast(low, DType::Int64) - whole(cubic ? 1 : 0);
  const Value j = ops::iota(extents, 1), zero = ops::literal(0, type);
  Value weights = ops::full(extents, zero);
  for (size_t k = 0; k < taps.size(); ++k) {
    const Value place = clamped(first + whole(static_cast<int64_t>(k)), r.from);
    const Value is_there = ops::binary(Op::Eq, j, ops::unsqueeze(place, 1));
    weights = weights + ops::select(is_there, ops::unsqueeze(taps[k], 1), zero);
  }
  return weights;
}

Value weighted_along(Value x, Value weights, int64_t axis) {
  const int64_t contract_weights[] = {1}, contract_x[] = {axis};
  const Value product = ops::dot_general(weights, x, {}, {}, contract_weights, contract_x);
  return ops::move_axis(product, 0, axis);
}

// Of bytes, in whole numbers: weights of as many bits as 16 hold with their sign, rounded sums.
Value bytes_along(Value x, const Resampled& r, bool cubic, bool antialias) {
  const DType wide = DType::Float64;
  const Value weights = antialias ? widened_weights(r, cubic, wide) : plain_weights(r, cubic, wide);
  const int64_t all[] = {0, 1};
  const Value peak = ops::reduce(Op::ReduceMax, weights, all);
  Value unit = ops::literal(0x1p22, wide);
  for (int bits = 22; bits-- > 0;) {  // the largest power that keeps the next one's peak in 15 bits
    const Value too_large = peak * std::ldexp(1.0, bits + 1) + 0.5 >= 32768.0;
    unit = ops::select(too_large, ops::literal(std::ldexp(1.0, bits), wide), unit);
  }
  const Value half = ops::binary(Op::Copysign, ops::literal(0.5, wide), weights);
  const Value whole_weights = ops::cast(weights * unit + half, DType::Int64);
  const Value whole_unit = ops::cast(unit, DType::Int64);
  const Value sum = weighted_along(ops::cast(x, DType::Int64), whole_weights, r.axis) +
                    ops::binary(Op::FloorDiv, whole_unit, whole(2));
  const Value rounded = ops::binary(Op::FloorDiv, sum, whole_unit);
  return ops::cast(
      ops::binary(Op::Minimum, ops::binary(Op::Maximum, rounded, whole(0)), whole(255)), dtype(x));
}

struct Mode {
  std::string_view name;
  int spatial;  // 0: any
  bool interpolates;
};
constexpr Mode kModes[] = {
    {"nearest", 0, false}, {"nearest-exact", 0, false}, {"area", 0, false},     {"linear", 1, true},
    {"bilinear", 2, true}, {"bicubic", 2, true},        {"trilinear", 3, true},
};

const Mode& mode_of(std::string_view name, int spatial) {
  for (const Mode& mode : kModes) {
    if (mode.name != name) continue;
    check(mode.spatial == 0 || mode.spatial == spatial, ErrorKind::NotImplemented,
          "Got {}D input, but {} mode needs {}D input", spatial + 2, name, mode.spatial + 2);
    return mode;
  }
  fail(ErrorKind::NotImplemented,
       "Input Error: Only 3D, 4D and 5D input Tensors supported (got {}D) for the modes: nearest | "
       "linear | bilinear | bicubic | trilinear | area | nearest-exact (got {})",
       spatial + 2, name);
}

}  // namespace

std::array<Value, 4> cubic_weights(Value t) {
  constexpr double a = -0.75;  // Keys' parameter
  const auto near = [&](Value d) { return ((d * (a + 2)) - (a + 3)) * d * d + 1.0; };
  const auto far = [&](Value d) { return ((d * a - 5 * a) * d + 8 * a) * d - 4 * a; };
  return {far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)};
}

Value interpolate(Value input, const std::optional<IntList>& size,
                  const std::optional<FloatList>& scale_factor, std::string_view mode_name,
                  std::optional<bool> align_corners, std::optional<bool> recompute_scale_factor,
                  bool antialias) {
  const int spatial = rank(input) - 2;
  check(spatial >= 1 && spatial <= 3, ErrorKind::NotImplemented,
        "Input Error: Only 3D, 4D and 5D input Tensors supported (got {}D)", rank(input));
  const Mode& mode = mode_of(mode_name, spatial);
  check(mode.interpolates || !align_corners, ErrorKind::Value,
        "align_corners option can only be set with the interpolating modes: linear | bilinear | "
        "bicubic | trilinear");
  check(!(size && scale_factor), ErrorKind::Value,
        "only one of size or scale_factor should be defined");
  check(size || scale_factor, ErrorKind::Value, "either size or scale_factor should be defined");
  const bool recomputes = recompute_scale_factor.value_or(false);
  check(!(recomputes && size), ErrorKind::Value,
        "recompute_scale_factor is not meaningful with an explicit size.");
  check(!antialias || (spatial == 2 && (mode.name == "bilinear" || mode.name == "bicubic")),
        ErrorKind::Value,
        "Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D tensor "
        "as input");
  const size_t given = size ? size->size() : scale_factor->size();
  check(given == 1 || given == static_cast<size_t>(spatial), ErrorKind::Value,
        "Input and output must have the same number of spatial dimensions, but got input with "
        "spatial dimensions of {} and {} of {} numbers. Please provide input tensor in (N, C, d1, "
        "d2, ...,dK) format and output size in (o1, o2, ...,oK) format.",
        shown(dims(input).subspan(2)), size ? "output size" : "scale_factor", given);

  std::vector<Resampled> axes;
  Dims extents;
  for (int d = 0; d < spatial; ++d) {
    const size_t at = given == 1 ? 0 : static_cast<size_t>(d);
    Resampled r{2 + d, dims(input)[2 + d], 0, 1, align_corners.value_or(false)};
    const double factor = scale_factor ? (*scale_factor)[at] : 0;
    r.to =
        size ? (*size)[at] : static_cast<int64_t>(std::floor(static_cast<double>(r.from) * factor));
    check(r.from > 0 && r.to > 0, ErrorKind::Runtime,
          "Input and output sizes should be greater than 0, but got input of size {} and output "
          "{} along dimension {}",
          shown(dims(input)), r.to, 2 + d);
    const auto from = static_cast<double>(r.from), to = static_cast<double>(r.to);
    if (r.align_corners) {
      r.step = r.to > 1 ? (from - 1) / (to - 1) : 0;
    } else {
      r.step = scale_factor && !recomputes && factor > 0 ? 1 / factor : from / to;
    }
    extents.push_back(r.to);
    axes.push_back(r);
  }
  if (mode.name == "area") {
    if (spatial == 1) return adaptive_avg_pool1d(input, extents);
    return spatial == 2 ? adaptive_avg_pool2d(input, extents) : adaptive_avg_pool3d(input, extents);
  }
  if (dtype(input) == DType::UInt8 && mode.interpolates && spatial == 2) {
    Value bytes = input;
    for (size_t d = axes.size(); d-- > 0;) {
      bytes = bytes_along(bytes, axes[d], mode.name == "bicubic", antialias);
    }
    return bytes;
  }
  if (mode.interpolates) check_floating({input}, ErrorKind::NotImplemented);
  Value x = is_half(dtype(input)) && mode.interpolates ? ops::cast(input, DType::Float32) : input;
  for (const Resampled& r : axes) {
    const bool is_cubic = mode.name == "bicubic";
    if (!mode.interpolates) {
      x = nearest(x, r, mode.name == "nearest-exact");
    } else if (antialias) {
      x = weighted_along(x, widened_weights(r, is_cubic, dtype(x)), r.axis);
    } else {
      x = is_cubic ? cubic_along(x, r) : linear_along(x, r);
    }
  }
  return ops::cast(x, dtype(input));
}

}  // namespace tenon::values
