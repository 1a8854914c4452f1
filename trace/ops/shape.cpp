// Operations that move elements: joining, repeating, padding, triangles and diagonals.
#include "core/shape.h"

#include <algorithm>

#include "core/error.h"
#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/tensor.h"

namespace tenon::values {
namespace {

// Where the column less the row, in the last two dimensions, is at least (at most) `diagonal`.
Value triangle(Value x, int64_t diagonal, bool upper) {
  check(rank(x) >= 2, ErrorKind::Runtime, "{}: input tensor must have at least 2 dimensions",
        current_operation());
  const auto extents = dims(x).last(2);
  const Value offset = ops::iota(extents, 1) - ops::iota(extents, 0);
  const Value bound = ops::scalar(diagonal, DType::Int64);
  return upper ? offset >= bound : offset <= bound;
}

std::vector<Value> promoted(std::span<const Value> tensors) {
  std::vector<Value> xs(tensors.begin(), tensors.end());
  const DType type = result_type(Promotion::Common, xs);
  for (Value& x : xs) x = ops::cast(x, type);
  return xs;
}

void check_some(std::span<const Value> tensors) {
  check(!tensors.empty(), ErrorKind::Value, "{}: expected a non-empty list of Tensors",
        current_operation());
}

void check_list(std::span<const Value> tensors) {
  check(!tensors.empty(), ErrorKind::Runtime, "{} expects a non-empty TensorList",
        current_operation());
}

}  // namespace

Value clone(Value input) { return ops::alias(input); }

Value cat(std::span<const Value> tensors, int64_t dim) {
  check_some(tensors);
  std::vector<Value> xs;
  for (Value x : promoted(tensors)) {
    check(rank(x) > 0, ErrorKind::Runtime,
          "zero-dimensional tensor (at position {}) cannot be "
          "concatenated",
          xs.size());
    // PyTorch skips empty vectors, whatever the size of the others.
    if (rank(x) != 1 || dims(x)[0] != 0) xs.push_back(x);
  }
  if (xs.empty()) return ops::alias(ops::cast(tensors[0], result_type(Promotion::Common, tensors)));
  const int64_t axis = normalize_dim(dim, rank(xs[0]));
  for (size_t i = 1; i < xs.size(); ++i) {
    check(rank(xs[i]) == rank(xs[0]), ErrorKind::Runtime,
          "Tensors must have same number of dimensions: got {} and {}", rank(xs[0]), rank(xs[i]));
    for (int d = 0; d < rank(xs[0]); ++d) {
      check(d == axis || dims(xs[i])[d] == dims(xs[0])[d], ErrorKind::Runtime,
            "Sizes of tensors must match except in dimension {}. Expected size {} but got size {} "
            "for tensor number {} in the list.",
            axis, dims(xs[0])[d], dims(xs[i])[d], i);
    }
  }
  return xs.size() == 1 ? ops::alias(xs[0]) : ops::concatenate(xs, axis);
}

Value stack(std::span<const Value> tensors, int64_t dim) {
  check_some(tensors);
  std::vector<Value> xs = promoted(tensors);
  const int64_t axis = normalize_dim(dim, rank(xs[0]) + 1);
  const Dims first(dims(xs[0]));
  for (size_t i = 0; i < xs.size(); ++i) {
    check(std::ranges::equal(dims(xs[i]), first), ErrorKind::Runtime,
          "stack expects each tensor to be equal size, but got {} at entry 0 and {} at entry {}",
          shown(first), shown(dims(xs[i])), i);
    xs[i] = ops::unsqueeze(xs[i], axis);
  }
  return xs.size() == 1 ? ops::alias(xs[0]) : ops::concatenate(xs, axis);
}

Value hstack(std::span<const Value> tensors) {
  check_list(tensors);
  std::vector<Value> xs(tensors.begin(), tensors.end());
  for (Value& x : xs) x = atleast_1d(x);
  return cat(xs, rank(xs[0]) == 1 ? 0 : 1);
}

Value vstack(std::span<const Value> tensors) {
  check_list(tensors);
  std::vector<Value> xs(tensors.begin(), tensors.end());
  for (Value& x : xs) {
    x = atleast_1d(x);
    if (rank(x) == 1) x = ops::unsqueeze(x, 0);
  }
  return cat(xs, 0);
}

Value repeat(Value input, const IntList& repeats) {
  check(
      static_cast<int>(repeats.size()) >= rank(input), ErrorKind::Runtime,
      "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor");
  const size_t lead = repeats.size() - rank(input);
  Dims split, spread, joined;  // (1, d) -> (n, d) -> n * d for each dimension
  for (size_t i = 0; i < repeats.size(); ++i) {
    check(repeats[i] >= 0, ErrorKind::Runtime, "repeat: negative repeats {}", shown(repeats));
    const int64_t extent = i < lead ? 1 : dims(input)[i - lead];
    split.push_back(1);
    split.push_back(extent);
    spread.push_back(repeats[i]);
    spread.push_back(extent);
    joined.push_back(repeats[i] * extent);
  }
  const Value x = ops::expand(ops::reshape(input, split), spread);
  return ops::alias(ops::reshape(x, joined));
}

Value tile(Value input, const IntList& dims_) {
  IntList repeats(dims_);
  while (static_cast<int>(repeats.size()) < rank(input)) repeats.insert(repeats.begin(), 1);
  return repeat(input, repeats);
}

Value repeat_interleave(Value input, int64_t repeats, std::optional<int64_t> dim,
                        std::optional<int64_t>) {
  check(repeats >= 0, ErrorKind::Runtime, "repeats has to be positive");
  const int64_t flat[] = {type_of(input).numel};
  const Value x = dim ? input : ops::reshape(input, flat);
  const int64_t axis = dim ? normalize_dim(*dim, rank(x)) : 0;
  Dims spread(dims(x)), joined(dims(x));
  spread.insert(spread.begin() + axis + 1, repeats);
  joined[axis] *= repeats;
  return ops::alias(ops::reshape(ops::expand(ops::unsqueeze(x, axis + 1), spread), joined));
}

Value flip(Value input, const IntList& dims) {
  if (dims.empty()) return ops::alias(input);
  Value x = input;
  for (int64_t axis : normalize_dims(dims, rank(input))) x = ops::flip(x, axis);
  return x.id == input.id ? ops::alias(x) : x;
}

Value roll(Value input, const IntList& shifts, const std::optional<IntList>& dims_) {
  check(!shifts.empty(), ErrorKind::Runtime, "`shifts` required");
  if (!dims_ || dims_->empty()) {
    check(shifts.size() == 1, ErrorKind::Runtime,
          "shifts and dimensions must align. shifts: {}, dims:0", shifts.size());
    const int64_t flat[] = {type_of(input).numel};
    const Value x = roll(ops::reshape(input, flat), shifts, IntList{0});
    return ops::reshape(x, Dims(dims(input)));
  }
  check(shifts.size() == dims_->size(), ErrorKind::Runtime,
        "shifts and dimensions must align. shifts: {}, dims:{}", shifts.size(), dims_->size());
  Value x = input;
  for (size_t i = 0; i < shifts.size(); ++i) {
    check(rank(x) > 0, ErrorKind::Index, "Dimension specified as {} but tensor has no dimensions",
          (*dims_)[i]);
    const int64_t axis = normalize_dim((*dims_)[i], rank(x));
    const int64_t extent = dims(x)[axis];
    if (extent == 0) continue;
    const int64_t shift = ((shifts[i] % extent) + extent) % extent;
    if (shift == 0) continue;
    const Value parts[] = {ops::slice_axis(x, axis, extent - shift, shift),
                           ops::slice_axis(x, axis, 0, extent - shift)};
    x = ops::concatenate(parts, axis);
  }
  return x.id == input.id ? ops::alias(x) : x;
}

Value sum_to_size(Value input, const IntList& size) {
  bool fits = static_cast<int>(size.size()) <= rank(input);
  const int64_t shift = rank(input) - static_cast<int64_t>(size.size());
  for (size_t i = 0; fits && i < size.size(); ++i) {
    fits = size[i] == 1 || size[i] == dims(input)[shift + static_cast<int64_t>(i)];
  }
  check(fits, ErrorKind::Runtime, "size {{{}}} is not expandable to size {{{}}}.", shown(size),
        shown(dims(input)));
  if (std::ranges::equal(dims(input), size) && !size.empty()) return ops::alias(input);
  const bool widens = is_integral(dtype(input), true);
  return ops::sum_to(widens ? ops::cast(input, DType::Int64) : input, size);
}

Value tril(Value input, int64_t diagonal) {
  return ops::select(triangle(input, diagonal, false), input, ops::literal_like(input, 0));
}
Value triu(Value input, int64_t diagonal) {
  return ops::select(triangle(input, diagonal, true), input, ops::literal_like(input, 0));
}

Value diag_embed(Value input, int64_t offset, int64_t dim1, int64_t dim2) {
  const int64_t a = normalize_dim(dim1, rank(input) + 1), b = normalize_dim(dim2, rank(input) + 1);
  check(a != b, ErrorKind::Runtime, "diagonal dimensions cannot be identical {}, {}", dim1, dim2);
  check(rank(input) >= 1, ErrorKind::Runtime, "diag_embed: expected at least 1 dimension");
  const int64_t length = dims(input)[rank(input) - 1], size = length + std::abs(offset);
  // Columns shifted by the offset, one row each, where row and column agree.
  const int64_t extents[] = {length, size};
  const int64_t column = offset > 0 ? offset : 0, row = offset < 0 ? -offset : 0;
  const Value diagonal_at = ops::iota(extents, 0) + ops::scalar(column, DType::Int64);
  const Value at = ops::binary(Op::Eq, ops::iota(extents, 1), diagonal_at);
  const Value rows =
      ops::select(at, ops::unsqueeze(input, rank(input)), ops::literal_like(input, 0));
  Dims low(rank(rows), 0), high(rank(rows), 0), interior(rank(rows), 0);
  low[rank(rows) - 2] = row;
  high[rank(rows) - 2] = size - length - row;
  const Value square = ops::pad(rows, ops::literal_like(rows, 0), low, high, interior);
  Dims perm;  // the last two dimensions to a and b
  for (int64_t i = 0, next = 0; i < rank(square); ++i) {
    perm.push_back(i == a ? rank(square) - 2 : i == b ? rank(square) - 1 : next++);
  }
  return ops::permute(square, perm);
}

Value diag(Value input, int64_t diagonal_) {
  check(rank(input) == 1 || rank(input) == 2, ErrorKind::Runtime,
        "diag(): Supports 1D or 2D tensors. Got {}D", rank(input));
  return rank(input) == 1 ? diag_embed(input, diagonal_, -2, -1) : diagonal(input, diagonal_, 0, 1);
}

Value argsort(Value input, int64_t dim, bool descending, bool) {
  const int64_t axis = normalize_dim(dim, rank(input));
  if (rank(input) == 0) return ops::literal(0, DType::Int64);
  return ops::argsort(input, axis, descending);
}

namespace {

// Padding that repeats what is there: which source index each place along an axis reads.
Value pad_by_index(Value x, int64_t axis, int64_t before, int64_t after, std::string_view mode) {
  const int64_t extent = dims(x)[axis];
  check(mode != "reflect" || (before < extent && after < extent), ErrorKind::Runtime,
        "Padding size should be less than the corresponding input dimension, but got: padding ({}, "
        "{}) at dimension {} of input {}",
        before, after, axis, shown(dims(x)));
  const int64_t extents[] = {extent + before + after};
  Value at = ops::iota(extents, 0) - ops::scalar(before, DType::Int64);
  const Value last = ops::scalar(extent - 1, DType::Int64), zero = ops::literal(0, DType::Int64);
  if (mode == "circular") {
    at = ops::binary(Op::Remainder, at, ops::scalar(extent, DType::Int64));
  } else if (mode == "replicate") {
    at = ops::binary(Op::Minimum, ops::binary(Op::Maximum, at, zero), last);
  } else {
    at = ops::unary(Op::Abs, at);
    at = last - ops::unary(Op::Abs, last - at);
  }
  return ops::gather(x, at, axis);
}

}  // namespace

Value pad(Value input, const IntList& pad, std::string_view mode, std::optional<double> value) {
  check(pad.size() % 2 == 0, ErrorKind::Runtime, "Padding length must be divisible by 2");
  check(static_cast<int>(pad.size()) <= 2 * rank(input), ErrorKind::Runtime,
        "Padding length should be less than or equal to two times the input dimension but got "
        "padding length {} and input of dimension {}",
        pad.size(), rank(input));
  check(mode == "constant" || mode == "reflect" || mode == "replicate" || mode == "circular",
        ErrorKind::NotImplemented, "Unrecognised padding mode {}", mode);
  Value x = input;
  Dims low(rank(x), 0), high(rank(x), 0), interior(rank(x), 0);
  for (size_t i = 0; i < pad.size() / 2; ++i) {
    const int64_t axis = rank(x) - 1 - static_cast<int64_t>(i);
    const int64_t before = pad[2 * i], after = pad[2 * i + 1], extent = dims(x)[axis];
    check(extent + before + after >= 0, ErrorKind::Runtime,
          "The input size {}, plus negative padding {} and {} resulted in a negative output size",
          extent, before, after);
    if (mode != "constant") {
      if (before != 0 || after != 0) x = pad_by_index(x, axis, before, after, mode);
      continue;
    }
    const int64_t cut = std::max<int64_t>(0, -before);
    const int64_t kept = extent - cut - std::max<int64_t>(0, -after);
    x = ops::slice_axis(x, axis, cut, std::max<int64_t>(kept, 0));
    low[axis] = std::max<int64_t>(0, before);
    high[axis] = std::max<int64_t>(0, after);
  }
  if (mode == "constant") {
    const Value fill = value ? scalar_of(*value, dtype(x)) : ops::literal_like(x, 0);
    x = ops::pad(x, fill, low, high, interior);
  }
  return x.id == input.id ? ops::alias(x) : x;
}

std::vector<Value> meshgrid(std::span<const Value> tensors, std::string_view indexing) {
  check(indexing == "ij" || indexing == "xy", ErrorKind::Runtime,
        "meshgrid: indexing must be one of \"xy\" or \"ij\", but received: {}", indexing);
  Dims extents;
  for (Value x : tensors) {
    check(rank(x) <= 1, ErrorKind::Runtime,
          "meshgrid: Expected 0D or 1D tensor in the tensor list but got {}D", rank(x));
    extents.push_back(type_of(x).numel);
  }
  const bool swapped = indexing == "xy" && tensors.size() >= 2;
  if (swapped) std::swap(extents[0], extents[1]);
  std::vector<Value> grids;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const size_t axis = swapped && i < 2 ? 1 - i : i;
    Dims shape(extents.size(), 1);
    shape[axis] = extents[axis];
    grids.push_back(ops::expand(ops::reshape(tensors[i], shape), extents));
  }
  return grids;
}

}  // namespace tenon::values
