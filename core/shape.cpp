#include "core/shape.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"

namespace tenon {

namespace {

[[noreturn]] void fail_overflow(std::span<const std::int64_t> dims) {
  fail(ErrorKind::Runtime,
       "Storage size calculation overflowed with sizes={}: the product of the sizes must be below "
       "2^63",
       to_string(dims));
}

}  // namespace

std::string to_string(std::span<const std::int64_t> dims) {
  return fmt::format("[{}]", fmt::join(dims, ", "));
}

std::int64_t checked_numel(std::span<const std::int64_t> dims) {
  std::int64_t product = 1;
  bool overflow = false;
  bool empty = false;
  for (const std::int64_t dim : dims) {
    check(dim >= 0, ErrorKind::Runtime, "Trying to create tensor with negative dimension {}: {}",
          dim, shown(dims));
    if (dim == 0) empty = true;
    overflow |= __builtin_mul_overflow(product, std::max<std::int64_t>(dim, 1), &product);
  }
  // As PyTorch, a zero among huge dims doesn't help: the strides would not fit.
  if (overflow) fail_overflow(dims);
  return empty ? 0 : product;
}

Dims contiguous_strides(std::span<const std::int64_t> dims) {
  checked_numel(dims);
  Dims strides(dims.size());
  std::int64_t stride = 1;
  for (std::size_t i = dims.size(); i-- > 0;) {
    strides[i] = stride;
    stride *= std::max<std::int64_t>(dims[i], 1);
  }
  return strides;
}

bool is_contiguous(std::span<const std::int64_t> dims, std::span<const std::int64_t> strides) {
  std::int64_t expected = 1;
  bool contiguous = true;
  for (std::size_t i = dims.size(); i-- > 0;) {
    if (dims[i] == 0) return true;
    if (dims[i] != 1) {
      contiguous &= strides[i] == expected;
      expected *= dims[i];
    }
  }
  return contiguous;
}

Dims broadcast_dims(std::span<const std::int64_t> a, std::span<const std::int64_t> b) {
  const std::size_t rank = std::max(a.size(), b.size());
  Dims result(rank);
  for (std::size_t i = 0; i < rank; ++i) {  // i counts from the right
    const std::int64_t x = i < a.size() ? a[a.size() - 1 - i] : 1;
    const std::int64_t y = i < b.size() ? b[b.size() - 1 - i] : 1;
    check(x == y || x == 1 || y == 1, ErrorKind::Runtime,
          "The size of tensor a ({}) must match the size of tensor b ({}) at non-singleton "
          "dimension {}: shapes {} and {} don't broadcast",
          x, y, rank - 1 - i, shown(a), shown(b));
    result[rank - 1 - i] = x == 1 ? y : x;
  }
  return result;
}

}  // namespace tenon
