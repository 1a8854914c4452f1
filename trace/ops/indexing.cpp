// Selecting and placing elements by tensors of indices. Bounds are checked when the program runs.
#include <algorithm>
#include <string_view>

#include "core/error.h"
#include "core/shape.h"
#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/tensor.h"

namespace tenon::values {

Value as_index(Value index) {
  const DType type = dtype(index);
  check(is_integral(type, false), ErrorKind::Runtime,
        "{}(): Expected dtype int32/int64 for index, not {}", current_operation(), name_of(type));
  return ops::cast(index, DType::Int64);
}

void check_stored_dtype(Value a, Value b) {
  check(dtype(a) == dtype(b), ErrorKind::Runtime,
        "{}(): Expected self.dtype to be equal to src.dtype: {} and {}", current_operation(),
        name_of(dtype(a)), name_of(dtype(b)));
}

namespace {

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
  if (type_of(at).numel == 0) return ops::full(Dims(dims(index)), ops::literal_like(input, 0));
  if (rank(input) == 0) {
    return restore(ops::take_along(spread(input), spread(at), 0), index);
  }
  check_index_fits(input, at, axis);
  return ops::take_along(prefix(input, dims(at), axis), at, axis);
}

Value take_along_dim(Value input, Value indices, std::optional<int64_t> dim) {
  if (!dim) {
    const auto flat = [](Value x) { return ops::reshape(x, {{type_of(x).numel}}); };
    return take_along_dim(flat(input), flat(indices), int64_t{0});
  }
  const int64_t axis = normalize_dim(*dim, rank(input));
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
  check_stored_dtype(input, src);
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

Value scatter(Value input, int64_t dim, Value index, Value src, std::string_view reduce) {
  check(reduce == "add" || reduce == "multiply", ErrorKind::Runtime,
        "reduce argument must be either add or multiply, not {}.", reduce);
  if (reduce == "add") return scatter_add(input, dim, index, src);
  return scatter_reduce(input, dim, index, src, "prod", true);
}

Value scatter(Value input, int64_t dim, Value index, const Scalar& value, std::string_view reduce) {
  const Value src = ops::full(Dims(dims(index)), scalar_like(input, value));
  return scatter(input, dim, index, src, reduce);
}

Value scatter_add(Value input, int64_t dim, Value index, Value src) {
  const int64_t axis = normalize_dim(dim, rank(input));
  check_stored_dtype(input, src);
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
  check_stored_dtype(input, source);
  Value updates = updates_for(x, at, axis, source);
  if (alpha.to_double() != 1) updates = updates * scalar_like(updates, alpha);
  return restore(ops::scatter_add(x, at, updates, axis), input);
}

Value index_copy(Value input, int64_t dim, Value index, Value source) {
  const auto [x, at, axis] = vector_index(input, dim, index);
  check_stored_dtype(input, source);
  return restore(ops::scatter_set(x, at, updates_for(x, at, axis, source), axis), input);
}

namespace {

// By a mask, so that the number's derivative counts each place once.
Value fill_places(Value input, int64_t dim, Value index, Value number) {
  const auto [x, at, axis] = vector_index(input, dim, index);
  const int64_t extents[] = {dims(x)[axis]};
  const Value none = ops::full(extents, ops::literal(0, DType::Bool));
  const Value all = ops::full(Dims(dims(at)), ops::literal(1, DType::Bool));
  Dims shape(rank(x), 1);
  shape[axis] = extents[0];
  const Value named = ops::reshape(ops::scatter_set(none, at, all, 0), shape);
  return restore(ops::select(named, number, x), input);
}

}  // namespace

Value index_fill(Value input, int64_t dim, Value index, const Scalar& value) {
  return fill_places(input, dim, index, scalar_like(input, value));
}

Value index_fill(Value input, int64_t dim, Value index, Value value) {
  check(rank(value) == 0, ErrorKind::Runtime,
        "index_fill_ only supports a 0-dimensional value tensor, but got tensor with {} "
        "dimension(s).",
        rank(value));
  return fill_places(input, dim, index, ops::cast(value, dtype(input)));
}

Value take(Value input, Value index) {
  const int64_t flat[] = {type_of(input).numel};
  Value at = as_index(index);
  at = ops::select(at < 0.0, at + ops::scalar(flat[0], DType::Int64), at);
  return ops::gather(ops::reshape(input, flat), at, 0);
}

}  // namespace tenon::values
