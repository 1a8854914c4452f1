// Selecting and placing elements by tensors of indices. Bounds are checked when the program runs.
#include <algorithm>

#include "core/error.h"
#include "core/shape.h"
#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/tensor.h"

namespace tenon::values {
namespace {

Value as_index(Value index) {
  const DType type = dtype(index);
  check(is_integral(type, false), ErrorKind::Runtime,
        "{}(): Expected dtype int32/int64 for index, not {}", current_operation(), name_of(type));
  return ops::cast(index, DType::Int64);
}

// At least one dimension, which the primitives want.
Value spread(Value x) { return atleast_1d(x); }

Value restore(Value x, Value like) { return ops::reshape(x, Dims(dims(like))); }

void check_index_fits(Value input, Value index, int64_t axis) {
  check(rank(index) == rank(input), ErrorKind::Runtime,
        "{}(): Index tensor must have the same number of dimensions as input tensor: {} and {}",
        current_operation(), shown(dims(index)), shown(dims(input)));
  for (int i = 0; i < rank(input); ++i) {
    check(
        i == axis || dims(index)[i] <= dims(input)[i], ErrorKind::Runtime,
        "Size does not match at dimension {} expected index {} to be no larger than self {} apart "
        "from dimension {}",
        i, shown(dims(index)), shown(dims(input)), axis);
  }
}

// The part of x that an index tensor of these extents reads, whole along the axis.
Value prefix(Value x, std::span<const int64_t> extents, int64_t axis) {
  Dims starts(rank(x), 0), steps(rank(x), 1), size(extents);
  size[axis] = dims(x)[axis];
  return ops::slice(x, starts, steps, size);
}

// Applies `place` to the part of `input` that index covers, and puts it back.
template <class Place>
Value place_in_prefix(Value input, Value index, int64_t axis, Place&& place) {
  Dims size(dims(index)), starts(rank(input), 0), steps(rank(input), 1);
  size[axis] = dims(input)[axis];
  if (std::ranges::equal(size, dims(input))) return place(input);
  return ops::update_slice(input, place(prefix(input, dims(index), axis)), starts, steps);
}

Value source_prefix(Value source, Value index) {
  check(rank(source) == rank(index), ErrorKind::Runtime,
        "{}(): Index tensor must have the same number of dimensions as src tensor: {} and {}",
        current_operation(), shown(dims(index)), shown(dims(source)));
  for (int i = 0; i < rank(source); ++i) {
    check(dims(index)[i] <= dims(source)[i], ErrorKind::Runtime,
          "{}: Expected index {} to be no larger than src {}", current_operation(),
          shown(dims(index)), shown(dims(source)));
  }
  Dims starts(rank(source), 0), steps(rank(source), 1);
  return ops::slice(source, starts, steps, Dims(dims(index)));
}

void check_same_dtype(Value a, Value b) {
  check(dtype(a) == dtype(b), ErrorKind::Runtime,
        "{}(): Expected self.dtype to be equal to src.dtype: {} and {}", current_operation(),
        name_of(dtype(a)), name_of(dtype(b)));
}

struct VectorIndex {
  Value input, index;
  int64_t axis;
};

VectorIndex vector_index(Value input, int64_t dim, Value index) {
  const int64_t axis = normalize_dim(dim, rank(input));
  check(rank(index) <= 1, ErrorKind::Index, "{}(): Index is supposed to be a vector, not {}",
        current_operation(), shown(dims(index)));
  return {spread(input), spread(as_index(index)), axis};
}

}  // namespace

Value gather(Value input, int64_t dim, Value index) {
  const int64_t axis = normalize_dim(dim, rank(input));
  const Value at = as_index(index);
  if (rank(input) == 0) {
    return restore(ops::take_along(spread(input), spread(at), 0), index);
  }
  check_index_fits(input, at, axis);
  return ops::take_along(prefix(input, dims(at), axis), at, axis);
}

Value take_along_dim(Value input, Value indices, int64_t dim) {
  const int64_t axis = normalize_dim(dim, rank(input));
  check(rank(input) == rank(indices) && rank(input) > 0, ErrorKind::Runtime,
        "torch.take_along_dim(): input and indices should have the same number of dimensions, but "
        "got {} dimensions for input, and {} dimensions for indices",
        rank(input), rank(indices));
  Value at = as_index(indices);
  const Value extent = ops::scalar(dims(input)[axis], DType::Int64);
  at = ops::select(at < 0.0, at + extent, at);
  Dims common(dims(input));
  common[axis] = 1;
  Dims other(dims(at));
  other[axis] = 1;
  common = broadcast_dims(common, other);
  Dims index_size(common), input_size(common);
  index_size[axis] = dims(at)[axis];
  input_size[axis] = dims(input)[axis];
  return ops::take_along(ops::expand(input, input_size), ops::expand(at, index_size), axis);
}

Value scatter(Value input, int64_t dim, Value index, Value src) {
  const int64_t axis = normalize_dim(dim, rank(input));
  check_same_dtype(input, src);
  const Value x = spread(input), at = spread(as_index(index)), from = spread(src);
  check_index_fits(x, at, axis);
  const Value updates = source_prefix(from, at);
  return restore(
      place_in_prefix(x, at, axis,
                      [&](Value part) { return ops::put_along_set(part, at, updates, axis); }),
      input);
}

Value scatter(Value input, int64_t dim, Value index, const Scalar& value) {
  const int64_t axis = normalize_dim(dim, rank(input));
  const Value x = spread(input), at = spread(as_index(index));
  check_index_fits(x, at, axis);
  const Value updates = ops::expand(scalar_like(input, value), Dims(dims(at)));
  return restore(
      place_in_prefix(x, at, axis,
                      [&](Value part) { return ops::put_along_set(part, at, updates, axis); }),
      input);
}

Value scatter_add(Value input, int64_t dim, Value index, Value src) {
  const int64_t axis = normalize_dim(dim, rank(input));
  check_same_dtype(input, src);
  const Value x = spread(input), at = spread(as_index(index)), from = spread(src);
  check_index_fits(x, at, axis);
  const Value updates = source_prefix(from, at);
  return restore(
      place_in_prefix(x, at, axis,
                      [&](Value part) { return ops::put_along_add(part, at, updates, axis); }),
      input);
}

Value index_select(Value input, int64_t dim, Value index) {
  const auto [x, at, axis] = vector_index(input, dim, index);
  const Value picked = ops::gather(x, at, axis);
  return rank(input) == 0 ? ops::reshape(picked, {}) : picked;
}

namespace {

// Source broadcast to what gather(x, at, axis) would give.
Value updates_for(Value x, Value at, int64_t axis, Value source) {
  Dims extents(dims(x));
  extents[axis] = dims(at)[0];
  check(
      rank(source) == 0 || std::ranges::equal(dims(source), extents), ErrorKind::Runtime,
      "{}(): source tensor shape must match self tensor shape, excluding the specified dimension. "
      "Got self.shape = {} source.shape = {}",
      current_operation(), shown(dims(x)), shown(dims(source)));
  return ops::expand(source, extents);
}

}  // namespace

Value index_add(Value input, int64_t dim, Value index, Value source, const Scalar& alpha) {
  const auto [x, at, axis] = vector_index(input, dim, index);
  check_same_dtype(input, source);
  Value updates = updates_for(x, at, axis, source);
  if (alpha.to_double() != 1) updates = updates * scalar_like(updates, alpha);
  return restore(ops::scatter_add(x, at, updates, axis), input);
}

Value index_copy(Value input, int64_t dim, Value index, Value source) {
  const auto [x, at, axis] = vector_index(input, dim, index);
  check_same_dtype(input, source);
  return restore(ops::scatter_set(x, at, updates_for(x, at, axis, source), axis), input);
}

Value index_fill(Value input, int64_t dim, Value index, const Scalar& value) {
  const auto [x, at, axis] = vector_index(input, dim, index);
  return restore(ops::scatter_set(x, at, updates_for(x, at, axis, scalar_like(input, value)), axis),
                 input);
}

Value take(Value input, Value index) {
  const int64_t flat[] = {type_of(input).numel};
  Value at = as_index(index);
  at = ops::select(at < 0.0, at + ops::scalar(flat[0], DType::Int64), at);
  return ops::gather(ops::reshape(input, flat), at, 0);
}

Value searchsorted(Value sorted_sequence, Value input, bool out_int32, bool right) {
  check_numbers({sorted_sequence, input}, ErrorKind::NotImplemented);
  check(rank(sorted_sequence) == 1, ErrorKind::NotImplemented,
        "searchsorted: boundaries of more than one dimension: {}", shown(dims(sorted_sequence)));
  Value edges = sorted_sequence, x = input;
  promote(Promotion::Common, {&edges, &x});
  // How many boundaries lie before each element: one comparison each, summed.
  const Value before =
      right ? edges <= ops::unsqueeze(x, rank(x)) : edges < ops::unsqueeze(x, rank(x));
  const int64_t axes[] = {int64_t{rank(x)}};
  const Value count = ops::reduce(Op::ReduceSum, ops::cast(before, DType::Int64), axes);
  return ops::cast(count, out_int32 ? DType::Int32 : DType::Int64);
}

}  // namespace tenon::values
