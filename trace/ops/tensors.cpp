// Operations over Tensors: those that give several views, share their operand, or read a value.
#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/shape.h"
#include "generated/functions.h"
#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/ops/operands.h"

namespace tenon {
namespace {

Tensor converted(const Tensor& x, DType dtype, const char* name) {
  if (x.dtype() == dtype) return x;
  OpScope scope(name);
  return scope.result(ops::cast(scope.use(x), dtype));
}

}  // namespace

Tensor float_(const Tensor& x) { return converted(x, DType::Float32, "float"); }
Tensor double_(const Tensor& x) { return converted(x, DType::Float64, "double"); }
Tensor half(const Tensor& x) { return converted(x, DType::Float16, "half"); }
Tensor bfloat16(const Tensor& x) { return converted(x, DType::BFloat16, "bfloat16"); }
Tensor long_(const Tensor& x) { return converted(x, DType::Int64, "long"); }
Tensor int_(const Tensor& x) { return converted(x, DType::Int32, "int"); }
Tensor short_(const Tensor& x) { return converted(x, DType::Int16, "short"); }
Tensor char_(const Tensor& x) { return converted(x, DType::Int8, "char"); }
Tensor byte(const Tensor& x) { return converted(x, DType::UInt8, "byte"); }
Tensor bool_(const Tensor& x) { return converted(x, DType::Bool, "bool"); }
Tensor type_as(const Tensor& x, const Tensor& other) {
  return converted(x, other.dtype(), "type_as");
}

Tensor contiguous(const Tensor& x) {
  if (x.is_contiguous()) return x;
  OpScope scope("contiguous");
  // A reshape to one dimension and back has row-major strides.
  const Value value = scope.use(x);
  const int64_t flat[] = {x.numel()};
  return scope.result(ops::reshape(ops::reshape(value, flat), Dims(x.dims())));
}

Tensor expand_as(const Tensor& x, const Tensor& other) { return expand(x, Dims(other.dims())); }
Tensor view_as(const Tensor& x, const Tensor& other) { return view(x, Dims(other.dims())); }
Tensor reshape_as(const Tensor& x, const Tensor& other) { return reshape(x, Dims(other.dims())); }

TensorList split(const Tensor& x, const IntList& sizes, int64_t dim) {
  OpScope scope("split");
  check(x.rank() > 0, ErrorKind::Runtime, "split expects at least a 1-dimensional tensor");
  const int64_t axis = values::normalize_dim(dim, x.rank());
  int64_t total = 0;
  for (int64_t size : sizes) {
    check(size >= 0, ErrorKind::Runtime,
          "split_with_sizes expects split_sizes have only "
          "non-negative entries, but got split_sizes={}",
          shown(sizes));
    total += size;
  }
  check(
      total == x.size(axis), ErrorKind::Runtime,
      "split_with_sizes expects split_sizes to sum exactly to {} (input tensor's size at dimension "
      "{}), but got split_sizes={}",
      x.size(axis), axis, shown(sizes));
  TensorList parts;
  int64_t start = 0;
  for (int64_t size : sizes) {
    parts.push_back(narrow(x, axis, start, size));
    start += size;
  }
  return parts;
}

TensorList split(const Tensor& x, int64_t size, int64_t dim) {
  check(x.rank() > 0, ErrorKind::Runtime, "split expects at least a 1-dimensional tensor");
  const int64_t axis = values::normalize_dim(dim, x.rank()), extent = x.size(axis);
  check(size > 0 || (size == 0 && extent == 0), ErrorKind::Runtime,
        "split expects split_size be non-negative, but got split_size={}", size);
  IntList sizes;
  for (int64_t start = 0; start < extent; start += size) {
    sizes.push_back(std::min(size, extent - start));
  }
  if (extent == 0) sizes.push_back(0);
  return split(x, sizes, axis);
}

TensorList chunk(const Tensor& x, int64_t chunks, int64_t dim) {
  check(chunks > 0, ErrorKind::Runtime, "chunk expects `chunks` to be greater than 0, got: {}",
        chunks);
  check(x.rank() > 0, ErrorKind::Runtime, "chunk expects at least a 1-dimensional tensor");
  const int64_t axis = values::normalize_dim(dim, x.rank()), extent = x.size(axis);
  if (extent == 0) return split(x, IntList(Dims(static_cast<size_t>(chunks), 0)), axis);
  return split(x, (extent + chunks - 1) / chunks, axis);
}

TensorList unbind(const Tensor& x, int64_t dim) {
  check(x.rank() > 0, ErrorKind::Index, "Dimension specified as {} but tensor has no dimensions",
        dim);
  const int64_t axis = values::normalize_dim(dim, x.rank());
  TensorList parts;
  for (int64_t i = 0; i < x.size(axis); ++i) parts.push_back(select(x, axis, i));
  return parts;
}

TensorList tensor_split(const Tensor& x, const IntList& indices, int64_t dim) {
  check(x.rank() > 0, ErrorKind::Runtime, "tensor_split expected at least a 1-dimensional tensor");
  const int64_t axis = values::normalize_dim(dim, x.rank()), extent = x.size(axis);
  TensorList parts;
  int64_t start = 0;
  const auto clip = [&](int64_t i) {
    return std::clamp<int64_t>(i < 0 ? i + extent : i, 0, extent);
  };
  for (int64_t index : indices) {
    const int64_t end = std::max(start, clip(index));
    parts.push_back(narrow(x, axis, start, end - start));
    start = clip(index);
  }
  parts.push_back(narrow(x, axis, start, extent - start));
  return parts;
}

TensorList broadcast_tensors(const TensorList& tensors) {
  Dims common;
  for (const Tensor& x : tensors) common = broadcast_dims(common, x.dims());
  TensorList results;
  for (const Tensor& x : tensors) results.push_back(expand(x, common));
  return results;
}

Tensor nonzero(const Tensor& x) {
  const Tensor flags = converted(x, DType::Bool, "nonzero");
  const std::vector<std::byte> bytes = flags.to_bytes();
  const int64_t rank = x.rank();
  std::vector<int64_t> rows;
  Dims index(rank, 0);
  int64_t count = 0;
  for (std::byte flag : bytes) {
    if (flag != std::byte{0}) {
      rows.insert(rows.end(), index.begin(), index.end());
      ++count;
    }
    for (int64_t d = rank - 1; d >= 0; --d) {
      if (++index[d] < x.dims()[d]) break;
      index[d] = 0;
    }
  }
  const int64_t dims[] = {count, rank};
  return from_bytes(DType::Int64, dims, std::as_bytes(std::span<const int64_t>(rows)));
}

Tensor masked_select(const Tensor& x, const Tensor& mask) {
  check(mask.dtype() == DType::Bool, ErrorKind::Runtime,
        "masked_select: expected BoolTensor for mask, not {}", name_of(mask.dtype()));
  const Dims common = broadcast_dims(x.dims(), mask.dims());
  const Tensor at = nonzero(reshape(expand(mask, common), IntList{-1}));
  return take(reshape(expand(x, common), IntList{-1}), reshape(at, IntList{-1}));
}

Tensor one_hot(const Tensor& x, int64_t num_classes) {
  check(x.dtype() == DType::Int64, ErrorKind::Runtime,
        "one_hot is only applicable to index tensor of type LongTensor, not {}",
        name_of(x.dtype()));
  if (num_classes == -1) {
    check(x.numel() > 0, ErrorKind::Runtime,
          "Can not infer total number of classes from empty tensor.");
    num_classes = max(x).item_int() + 1;
  }
  check(num_classes > 0, ErrorKind::Runtime, "num_classes should be positive");
  OpScope scope("one_hot");
  // Rows of the identity: a class out of bounds is an error, as any index.
  const Value eye = values::eye(num_classes, DType::Int64, std::nullopt);
  return scope.result(ops::gather(eye, scope.use(x), 0));
}

}  // namespace tenon
