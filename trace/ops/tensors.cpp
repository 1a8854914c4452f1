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
Tensor cfloat(const Tensor& x) { return converted(x, DType::Complex64, "cfloat"); }
Tensor cdouble(const Tensor& x) { return converted(x, DType::Complex128, "cdouble"); }
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

TensorList tensor_split(const Tensor& x, int64_t sections, int64_t dim) {
  check(x.rank() > 0, ErrorKind::Runtime, "tensor_split expected at least a 1-dimensional tensor");
  check(sections > 0, ErrorKind::Runtime, "number of sections must be larger than 0, got {}",
        sections);
  const int64_t extent = x.size(dim);
  IntList sizes;  // the first ones are larger by one
  for (int64_t i = 0; i < sections; ++i) {
    sizes.push_back(extent / sections + (i < extent % sections ? 1 : 0));
  }
  return split(x, sizes, dim);
}

namespace {

// hsplit, vsplit and dsplit: along the dimension that their names give.
int64_t split_dim(const Tensor& x, int64_t least_rank, int64_t dim, const char* name) {
  check(x.rank() >= least_rank, ErrorKind::Runtime,
        "torch.{} requires a tensor with at least {} dimension(s), but got a tensor with {} "
        "dimensions!",
        name, least_rank, x.rank());
  return x.rank() == 1 ? 0 : dim;
}

TensorList equal_split(const Tensor& x, int64_t sections, int64_t dim, const char* name) {
  check(sections > 0 && x.size(dim) % sections == 0, ErrorKind::Runtime,
        "torch.{} attempted to split along dimension {}, but the size of the dimension {} is not "
        "divisible by the split_size {}!",
        name, dim, x.size(dim), sections);
  return tensor_split(x, sections, dim);
}

}  // namespace

TensorList hsplit(const Tensor& x, int64_t sections) {
  return equal_split(x, sections, split_dim(x, 1, 1, "hsplit"), "hsplit");
}
TensorList hsplit(const Tensor& x, const IntList& indices) {
  return tensor_split(x, indices, split_dim(x, 1, 1, "hsplit"));
}
TensorList vsplit(const Tensor& x, int64_t sections) {
  return equal_split(x, sections, split_dim(x, 2, 0, "vsplit"), "vsplit");
}
TensorList vsplit(const Tensor& x, const IntList& indices) {
  return tensor_split(x, indices, split_dim(x, 2, 0, "vsplit"));
}
TensorList dsplit(const Tensor& x, int64_t sections) {
  return equal_split(x, sections, split_dim(x, 3, 2, "dsplit"), "dsplit");
}
TensorList dsplit(const Tensor& x, const IntList& indices) {
  return tensor_split(x, indices, split_dim(x, 3, 2, "dsplit"));
}

TensorList split_with_sizes(const Tensor& x, const IntList& split_sizes, int64_t dim) {
  return split(x, split_sizes, dim);
}

Tensor empty_strided(const IntList& size, const IntList& stride, std::optional<DType> dtype,
                     std::optional<Device> device, bool requires_grad) {
  int64_t elements = checked_numel(size) == 0 ? 0 : 1;
  for (size_t i = 0; elements > 0 && i < std::min(size.size(), stride.size()); ++i) {
    elements += (size[i] - 1) * stride[i];
  }
  const Tensor memory = empty(IntList{elements}, dtype, device, false);
  const Tensor result = as_strided(memory, size, stride, 0);
  if (requires_grad) result.set_requires_grad(true);
  return result;
}

Tensor new_empty_strided(const Tensor& x, const IntList& size, const IntList& stride,
                         std::optional<DType> dtype, std::optional<Device> device,
                         bool requires_grad) {
  return empty_strided(size, stride, dtype.value_or(x.dtype()), device, requires_grad);
}

TensorList tensor_split(const Tensor& x, const Tensor& places, int64_t dim) {
  check(places.dtype() == DType::Int64 && places.rank() <= 1, ErrorKind::Runtime,
        "tensor_split expected tensor_indices_or_sections to have dtype of long and at most one "
        "dimension, but got {} with {} dimensions",
        name_of(places.dtype()), places.rank());
  if (places.rank() == 0) return tensor_split(x, places.item_int(), dim);
  const std::vector<std::byte> bytes = places.to_bytes();
  IntList indices(Dims(static_cast<size_t>(places.numel()), 0));
  std::memcpy(indices.data(), bytes.data(), bytes.size());
  return tensor_split(x, indices, dim);
}

Tensor narrow(const Tensor& x, int64_t dim, const Tensor& start, int64_t length) {
  check(start.rank() == 0 && is_integral(start.dtype(), false), ErrorKind::Runtime,
        "start must be an 0-dim integral Tensor.");
  return narrow(x, dim, start.item_int(), length);
}

Tensor repeat_interleave(const Tensor& repeats, std::optional<int64_t> output_size) {
  check(repeats.rank() == 1 && is_integral(repeats.dtype(), false), ErrorKind::Runtime,
        "repeat_interleave only accept 1D vector of integers as repeat");
  const Tensor ends = cumsum(repeats, 0);
  const int64_t total = output_size            ? *output_size
                        : repeats.numel() == 0 ? 0
                                               : select(ends, 0, -1).item_int();
  check(repeats.numel() == 0 || output_size || min(repeats).item_int() >= 0, ErrorKind::Runtime,
        "repeats can not be negative");
  return searchsorted(ends, arange(total, std::nullopt, ends.device()), false, true);
}

Tensor repeat_interleave(const Tensor& input, const Tensor& repeats, std::optional<int64_t> dim,
                         std::optional<int64_t> output_size) {
  const Tensor x = dim ? input : reshape(input, IntList{-1});
  const int64_t axis = dim ? values::normalize_dim(*dim, x.rank()) : 0, extent = x.size(axis);
  const bool one = repeats.numel() == 1;
  check(repeats.rank() <= 1 && (one || repeats.numel() == extent), ErrorKind::Runtime,
        "repeats must have the same size as input along dim, but got repeats.size(0) = {} and "
        "input.size({}) = {}",
        repeats.numel(), axis, extent);
  const Tensor each = one ? expand(reshape(repeats, IntList{1}), IntList{extent}) : repeats;
  return index_select(x, axis, repeat_interleave(each, output_size));
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
  return to(from_bytes(DType::Int64, dims, std::as_bytes(std::span<const int64_t>(rows))),
            x.device());
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
  const Value index = scope.use(x);
  const Value eye = values::eye(num_classes, DType::Int64, std::nullopt);
  return scope.result(ops::gather(eye, index, 0));
}

}  // namespace tenon
