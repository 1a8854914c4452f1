// Differences, integrals and running sums along a dimension.
#include <algorithm>

#include "core/error.h"
#include "core/shape.h"
#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/tensor.h"

namespace tenon::values {
namespace {

struct Neighbours {
  Value before, after;
};

Neighbours neighbours(Value x, int64_t axis) {
  const int64_t length = std::max<int64_t>(dims(x)[axis] - 1, 0);
  return {ops::slice_axis(x, axis, 0, length),
          ops::slice_axis(x, axis, std::min<int64_t>(1, dims(x)[axis]), length)};
}

// Widths of intervals as PyTorch lets them be given: a vector along dim, or y's size.
Value widths_of(Value x, Value y, int64_t axis) {
  Value points = x;
  if (rank(x) == 1) {
    check(dims(x)[0] == dims(y)[axis], ErrorKind::Runtime,
          "There must be one `x` value for each sample point: {} and {} along dim {}", dims(x)[0],
          shown(dims(y)), axis);
    Dims shape(rank(y), 1);
    shape[axis] = dims(x)[0];
    points = ops::reshape(x, shape);
  } else if (rank(x) < rank(y)) {
    Dims shape(static_cast<size_t>(rank(y) - rank(x)), 1);
    shape.append(dims(x).begin(), dims(x).end());
    points = ops::reshape(x, shape);
  }
  const int64_t at = axis + rank(points) - rank(y);
  const auto [before, after] = neighbours(points, at);
  return after - before;
}

// Twice the areas between neighbours.
Value sums_of_neighbours(Value y, int64_t axis) {
  const auto [before, after] = neighbours(y, axis);
  return before + after;
}

Value real_valued(Value y) {
  check(dtype(y) != DType::Bool, ErrorKind::Runtime,
        "{}: received a bool input for `x` or `y`, but bool is not supported", current_operation());
  return y;
}

}  // namespace

Value diff(Value input, int64_t n, int64_t dim, Value prepend, Value append) {
  check(rank(input) > 0, ErrorKind::Runtime, "diff expects input to be at least one-dimensional");
  const int64_t axis = normalize_dim(dim, rank(input));
  check(n >= 0, ErrorKind::Runtime, "order must be non-negative but got {}", n);
  if (n == 0) return ops::alias(input);
  std::vector<Value> parts;
  for (Value part : {prepend, input, append}) {
    if (!part) continue;
    check(rank(part) == rank(input), ErrorKind::Runtime,
          "diff expects prepend or append to be the same dimension as input");
    parts.push_back(part);
  }
  Value x = parts.size() > 1 ? cat(parts, axis) : input;
  for (int64_t i = 0; i < n; ++i) {
    const auto [before, after] = neighbours(x, axis);
    x = dtype(x) == DType::Bool ? ops::binary(Op::BitwiseXor, after, before) : after - before;
  }
  return x;
}

Value trapezoid(Value y, const Scalar& dx, int64_t dim) {
  real_valued(y);
  if (rank(y) == 0 || type_of(y).numel == 0 || dims(y)[normalize_dim(dim, rank(y))] == 0) {
    return sum(mul(y, scalar_like(y, 0)), IntList{dim});
  }
  const int64_t axis = normalize_dim(dim, rank(y));
  const Value total = sum(sums_of_neighbours(y, axis), IntList{axis});
  return true_divide(mul(total, scalar_of(dx, dx.dtype())), ops::literal(2, dtype(total)));
}

Value trapezoid(Value y, Value x, int64_t dim) {
  const int64_t axis = normalize_dim(dim, rank(y));
  const Value areas =
      mul(sums_of_neighbours(real_valued(y), axis), widths_of(real_valued(x), y, axis));
  const Value total = sum(areas, IntList{axis});
  return true_divide(total, ops::literal(2, dtype(total)));
}

Value cumulative_trapezoid(Value y, const Scalar& dx, int64_t dim) {
  const int64_t axis = normalize_dim(dim, rank(real_valued(y)));
  const Value total = cumsum(sums_of_neighbours(y, axis), axis);
  return true_divide(mul(total, scalar_of(dx, dx.dtype())), ops::literal(2, dtype(total)));
}

Value cumulative_trapezoid(Value y, Value x, int64_t dim) {
  const int64_t axis = normalize_dim(dim, rank(real_valued(y)));
  const Value areas = mul(sums_of_neighbours(y, axis), widths_of(real_valued(x), y, axis));
  const Value total = cumsum(areas, axis);
  return true_divide(total, ops::literal(2, dtype(total)));
}

// By doubling distances, so that a small term before a large one is not lost (see
// reduce_segments in scatter.cpp).
Value logcumsumexp(Value input, int64_t dim) {
  const int64_t axis = normalize_dim(dim, rank(input));
  if (rank(input) == 0) return ops::alias(input);
  Value sum = input;
  const int64_t length = dims(input)[axis];
  for (int64_t distance = 1; distance < length; distance *= 2) {
    const Value before = ops::slice_axis(sum, axis, 0, length - distance);
    const Value after = ops::slice_axis(sum, axis, distance, length - distance);
    const Value parts[] = {ops::slice_axis(sum, axis, 0, distance), logaddexp(before, after)};
    sum = ops::concatenate(parts, axis);
  }
  return sum.id == input.id ? ops::alias(sum) : sum;
}

}  // namespace tenon::values
