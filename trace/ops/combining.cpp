// Operations that combine tensors, or places of one, into larger ones.
#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/shape.h"
#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/recorder.h"
#include "trace/tensor.h"

namespace tenon::values {
namespace {

Value vector_of(std::span<const int64_t> numbers, std::span<const int64_t> extents) {
  // Numbers that are known when recorded: a constant buffer, as a tensor of them would be.
  const Device device = recorder().device;
  OpScope scope(current_operation());
  return ops::to_device(scope.use(from_bytes(DType::Int64, extents, std::as_bytes(numbers))),
                        device);
}

// Rows and columns of a triangle, row by row.
Value triangle_places(int64_t row, int64_t col, int64_t offset, bool upper,
                      std::optional<DType> dtype, std::optional<Device> device) {
  const DeviceScope there(device);
  check(row >= 0 && col >= 0, ErrorKind::Runtime, "{}: sizes must be non-negative, got {} and {}",
        current_operation(), row, col);
  const DType type = dtype.value_or(DType::Int64);
  check(is_integral(type, false) && (type == DType::Int64 || type == DType::Int32),
        ErrorKind::Runtime, "{}: not implemented for {}", current_operation(), name_of(type));
  std::vector<int64_t> rows, columns;
  for (int64_t i = 0; i < row; ++i) {
    const int64_t from = upper ? std::clamp<int64_t>(i + offset, 0, col) : 0;
    const int64_t to = upper ? col : std::clamp<int64_t>(i + offset + 1, 0, col);
    for (int64_t j = from; j < to; ++j) {
      rows.push_back(i);
      columns.push_back(j);
    }
  }
  const int64_t extents[] = {2, static_cast<int64_t>(rows.size())};
  rows.insert(rows.end(), columns.begin(), columns.end());
  return ops::cast(vector_of(rows, extents), type);
}

}  // namespace

Value tril_indices(int64_t row, int64_t col, int64_t offset, std::optional<DType> dtype,
                   std::optional<Device> device) {
  return triangle_places(row, col, offset, false, dtype, device);
}
Value triu_indices(int64_t row, int64_t col, int64_t offset, std::optional<DType> dtype,
                   std::optional<Device> device) {
  return triangle_places(row, col, offset, true, dtype, device);
}

Value combinations(Value input, int64_t r, bool with_replacement) {
  check(rank(input) == 1, ErrorKind::Runtime, "Expect a 1D vector, but got shape {}",
        shown(dims(input)));
  check(r >= 0, ErrorKind::Runtime, "Expect a non-negative number, but got {}", r);
  const int64_t n = dims(input)[0];
  if (r == 0) return ops::full({{0}}, ops::literal_like(input, 0));
  // Places in lexicographic order.
  std::vector<int64_t> places, at(static_cast<size_t>(r));
  for (int64_t i = 0; i < r; ++i) at[i] = with_replacement ? 0 : i;
  int64_t count = 0;
  while (at[0] <= (with_replacement ? n - 1 : n - r)) {
    places.insert(places.end(), at.begin(), at.end());
    ++count;
    int64_t i = r - 1;
    while (i > 0 && at[i] >= (with_replacement ? n - 1 : n - r + i)) --i;
    ++at[i];
    for (int64_t k = i + 1; k < r; ++k) at[k] = at[k - 1] + (with_replacement ? 0 : 1);
  }
  const int64_t extents[] = {count, r};
  return ops::gather(input, vector_of(places, extents), 0);
}

Value cartesian_prod(std::span<const Value> tensors) {
  check(!tensors.empty(), ErrorKind::Runtime, "meshgrid expects a non-empty TensorList");
  for (Value x : tensors) {
    check(rank(x) == 1, ErrorKind::Runtime, "Expect a 1D vector, but got shape {}", shown(dims(x)));
  }
  if (tensors.size() == 1) return ops::alias(tensors[0]);
  std::vector<Value> columns;
  for (Value grid : meshgrid(tensors, "ij")) {
    columns.push_back(ops::reshape(grid, {{type_of(grid).numel}}));
  }
  return stack(columns, 1);
}

Value block_diag(std::span<const Value> tensors) {
  if (tensors.empty()) return ops::full({{1, 0}}, ops::literal(0, default_dtype()));
  const DType type = result_type(Promotion::Common, tensors);
  std::vector<Value> blocks;
  int64_t columns = 0;
  for (Value x : tensors) {
    check(rank(x) <= 2, ErrorKind::Runtime,
          "torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {} has {} "
          "dimensions",
          blocks.size(), rank(x));
    const Dims shape = rank(x) == 2   ? Dims(dims(x))
                       : rank(x) == 1 ? Dims{1, dims(x)[0]}
                                      : Dims{1, 1};
    blocks.push_back(ops::reshape(ops::cast(x, type), shape));
    columns += shape[1];
  }
  const Value zero = ops::literal(0, type);
  int64_t left = 0;
  for (Value& block : blocks) {
    const int64_t width = dims(block)[1];
    const int64_t low[] = {0, left}, high[] = {0, columns - left - width}, interior[] = {0, 0};
    block = ops::pad(block, zero, low, high, interior);
    left += width;
  }
  return blocks.size() == 1 ? ops::alias(blocks[0]) : ops::concatenate(blocks, 0);
}

Value kron(Value input, Value other) {
  const int most = std::max(rank(input), rank(other));
  Dims left, right, product;
  for (int d = 0; d < most; ++d) {
    const auto extent = [&](Value x) {
      const int at = d - (most - rank(x));
      return at < 0 ? int64_t{1} : dims(x)[at];
    };
    const int64_t n = extent(input), m = extent(other);
    left.push_back(n), left.push_back(1);
    right.push_back(1), right.push_back(m);
    product.push_back(n * m);
  }
  return ops::reshape(mul(ops::reshape(input, left), ops::reshape(other, right)), product);
}

Value column_stack(std::span<const Value> tensors) {
  check(!tensors.empty(), ErrorKind::Runtime, "column_stack expects a non-empty TensorList");
  std::vector<Value> xs(tensors.begin(), tensors.end());
  for (Value& x : xs) {
    if (rank(x) <= 1) x = ops::reshape(x, {{type_of(x).numel, 1}});
  }
  return cat(xs, 1);
}

Value dstack(std::span<const Value> tensors) {
  check(!tensors.empty(), ErrorKind::Runtime, "dstack expects a non-empty TensorList");
  std::vector<Value> xs(tensors.begin(), tensors.end());
  for (Value& x : xs) x = atleast_3d(x);
  return cat(xs, 2);
}

Value rot90(Value input, int64_t k, const IntList& dims_) {
  check(dims_.size() == 2, ErrorKind::Runtime,
        "expected total rotation dims == 2, but got dims = {}", dims_.size());
  check(rank(input) >= 2, ErrorKind::Runtime, "expected total dims >= 2, but got total dims = {}",
        rank(input));
  const int64_t a = normalize_dim(dims_[0], rank(input)), b = normalize_dim(dims_[1], rank(input));
  check(a != b, ErrorKind::Runtime,
        "expected rotation dims to be different, but got dim0 = {} and dim1 = {}", dims_[0],
        dims_[1]);
  Dims swapped = all_dims(rank(input));
  std::swap(swapped[a], swapped[b]);
  switch (((k % 4) + 4) % 4) {
    case 1:
      return ops::permute(ops::flip(input, b), swapped);
    case 2:
      return ops::flip(ops::flip(input, a), b);
    case 3:
      return ops::permute(ops::flip(input, a), swapped);
    default:
      return ops::alias(input);
  }
}

Value fill_diagonal(Value input, const Scalar& fill_value, bool wrap) {
  check(rank(input) >= 2, ErrorKind::Runtime, "dimensions must larger than 1");
  const auto extents = dims(input);
  if (rank(input) > 2) {
    for (int64_t extent : extents) {
      check(extent == extents[0], ErrorKind::Runtime,
            "all dimensions of input must be of equal length");
    }
  }
  Value on;
  for (int i = 1; i < rank(input); ++i) {
    Value row = ops::iota(extents, 0);
    if (wrap && rank(input) == 2) {  // begins anew below a gap of one row
      row = ops::binary(Op::Remainder, row, ops::scalar(extents[1] + 1, DType::Int64));
    }
    const Value same = ops::binary(Op::Eq, row, ops::iota(extents, i));
    on = on ? on & same : same;
  }
  return ops::select(on, scalar_like(input, fill_value), input);
}

Value logspace(const Scalar& start, const Scalar& end, int64_t steps, double base,
               std::optional<DType> dtype, std::optional<Device> device) {
  check(steps >= 0, ErrorKind::Runtime, "number of steps must be non-negative");
  const DType type = dtype.value_or(default_dtype());
  const auto bound = [&](const Scalar& number) {  // its whole part for a result of integers
    const double x = number.to_double();
    return Scalar(is_integral(type, true) ? std::trunc(x) : x);
  };
  const Value exponents = linspace(bound(start), bound(end), steps, DType::Float64, device);
  const Value powers = ops::binary(Op::Pow, scalar_like(exponents, Scalar(base)), exponents);
  return ops::cast(powers, type);
}

namespace {

Value unravel(Value indices, const IntList& shape, int64_t which) {
  int64_t step = 1;
  for (size_t i = static_cast<size_t>(which) + 1; i < shape.size(); ++i) step *= shape[i];
  const Value whole = ops::binary(Op::FloorDiv, indices, scalar_like(indices, Scalar(step)));
  return ops::binary(Op::Remainder, whole,
                     scalar_like(indices, Scalar(std::max<int64_t>(shape[which], 1))));
}

}  // namespace

std::vector<Value> unravel_index(Value indices, const IntList& shape) {
  check(is_integral(dtype(indices), false), ErrorKind::Type,
        "expected 'indices' to be integer dtype, but got {}", name_of(dtype(indices)));
  for (int64_t extent : shape) {
    check(extent >= 0, ErrorKind::Value, "'shape' cannot have negative values, but got {}",
          shown(shape));
  }
  std::vector<Value> result;
  indices = ops::cast(indices, DType::Int64);
  for (size_t i = 0; i < shape.size(); ++i) {
    result.push_back(unravel(indices, shape, static_cast<int64_t>(i)));
  }
  return result;
}

}  // namespace tenon::values
