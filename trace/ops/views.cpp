// The views: each as the movements that make it. Errors are PyTorch's.
#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "core/shape.h"
#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/tensor.h"

namespace tenon {
namespace {

using values::normalize_dim;

Movements permuted(const Type& type, const Dims& perm) {
  Dims dims(perm.size());
  for (size_t i = 0; i < perm.size(); ++i) dims[i] = type.dims()[perm[i]];
  return {{Op::Permute, perm, {}, dims}};
}

Movements reshaped(const Dims& dims) { return {{Op::Reshape, {}, dims, dims}}; }

// Extents with the one -1 among them worked out.
Dims resolve_size(const Type& type, std::span<const int64_t> size) {
  Dims dims(size);
  int64_t known = 1;
  std::optional<size_t> unknown;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] == -1) {
      check(!unknown, ErrorKind::Runtime, "{}: only one dimension can be inferred: {}",
            current_operation(), shown(size));
      unknown = i;
      continue;
    }
    check(dims[i] >= 0, ErrorKind::Runtime, "{}: invalid shape dimension {} in {}",
          current_operation(), dims[i], shown(size));
    known *= dims[i];
  }
  if (unknown) {
    check(known != 0 || type.numel != 0, ErrorKind::Runtime,
          "{}: cannot reshape tensor of 0 elements into shape {} because the unspecified dimension "
          "size -1 can be any value and is ambiguous",
          current_operation(), shown(size));
    check(known != 0 && type.numel % known == 0, ErrorKind::Runtime,
          "{}: shape '{}' is invalid for input of size {}", current_operation(), shown(size),
          type.numel);
    dims[*unknown] = type.numel / known;
  } else {
    check(checked_numel(dims) == type.numel, ErrorKind::Runtime,
          "{}: shape '{}' is invalid for input of size {}", current_operation(), shown(size),
          type.numel);
  }
  return dims;
}

Movements sliced(const Type& type, int64_t axis, int64_t start, int64_t length) {
  Dims sizes(2 * static_cast<size_t>(type.rank), 0), dims(type.dims());
  for (int i = 0; i < type.rank; ++i) sizes[type.rank + i] = 1;
  sizes[axis] = start;
  dims[axis] = length;
  return {{Op::Slice, {}, sizes, dims}};
}

}  // namespace

Movements view_transpose(const Type& input, int64_t dim0, int64_t dim1) {
  const int64_t a = normalize_dim(dim0, input.rank), b = normalize_dim(dim1, input.rank);
  if (input.rank == 0) return {};
  Dims perm = values::all_dims(input.rank);
  std::swap(perm[a], perm[b]);
  return permuted(input, perm);
}

Movements view_t(const Type& input) {
  check(input.rank <= 2, ErrorKind::Runtime,
        "t() expects a tensor with <= 2 dimensions, but self is {}D", int{input.rank});
  return input.rank < 2 ? Movements{} : view_transpose(input, 0, 1);
}

Movements view_permute(const Type& input, const IntList& dims) {
  check(
      static_cast<int>(dims.size()) == input.rank, ErrorKind::Runtime,
      "permute(sparse_coo): number of dimensions in the tensor input does not match the length "
      "of the desired ordering of dimensions i.e. input.dim() = {} is not equal to len(dims) = {}",
      int{input.rank}, dims.size());
  Dims perm;
  for (int64_t dim : dims) {
    const int64_t axis = normalize_dim(dim, input.rank);
    check(std::ranges::find(perm, axis) == perm.end(), ErrorKind::Runtime,
          "permute(): duplicate dims are not allowed.");
    perm.push_back(axis);
  }
  return permuted(input, perm);
}

Movements view_movedim(const Type& input, const IntList& source, const IntList& destination) {
  check(source.size() == destination.size(), ErrorKind::Runtime,
        "movedim: Invalid source or destination dims: source ({} dims) should contain the same "
        "number of dims as destination ({} dims)",
        shown(source), shown(destination));
  Dims perm(input.rank, -1);
  Dims moved;
  for (size_t i = 0; i < source.size(); ++i) {
    const int64_t from = normalize_dim(source[i], input.rank);
    const int64_t to = normalize_dim(destination[i], input.rank);
    check(std::ranges::find(moved, from) == moved.end() && perm[to] == -1, ErrorKind::Runtime,
          "movedim: repeated dim in `source` ({}) or `destination` ({})", shown(source),
          shown(destination));
    moved.push_back(from);
    perm[to] = from;
  }
  int64_t next = 0;
  for (int64_t& at : perm) {
    if (at != -1) continue;
    while (std::ranges::find(moved, next) != moved.end()) ++next;
    at = next++;
  }
  return permuted(input, perm);
}

Movements view_unsqueeze(const Type& input, int64_t dim) {
  Dims dims(input.dims());
  dims.insert(dims.begin() + normalize_dim(dim, input.rank + 1), 1);
  return reshaped(dims);
}

Movements view_squeeze(const Type& input, const std::optional<IntList>& dim) {
  Dims dims;
  const Dims axes = !dim           ? values::all_dims(input.rank)
                    : dim->empty() ? Dims{}
                                   : values::normalize_dims(dim, input.rank);
  for (int i = 0; i < input.rank; ++i) {
    const bool named = std::ranges::find(axes, i) != axes.end();
    if (!named || input.dims()[i] != 1) dims.push_back(input.dims()[i]);
  }
  return reshaped(dims);
}

Movements view_expand(const Type& input, const IntList& size) {
  const size_t rank = input.rank;
  check(size.size() >= rank, ErrorKind::Runtime,
        "expand: the number of sizes provided ({}) must be greater or equal to the number of "
        "dimensions in the tensor ({})",
        size.size(), rank);
  Dims dims(size);
  const size_t shift = size.size() - rank;
  for (size_t i = 0; i < dims.size(); ++i) {
    const int64_t have = i < shift ? 1 : input.dims()[i - shift];
    if (dims[i] == -1) {
      check(i >= shift, ErrorKind::Runtime,
            "expand: the expanded size of the tensor (-1) isn't allowed in a leading, "
            "non-existing dimension {}",
            i);
      dims[i] = have;
    }
    check(dims[i] >= 0, ErrorKind::Runtime, "expand: negative size {} at dimension {}", dims[i], i);
    check(have == 1 || have == dims[i], ErrorKind::Runtime,
          "{}: The expanded size of the tensor ({}) must match the existing size ({}) at "
          "non-singleton dimension {}.  Target sizes: {}.  Tensor sizes: {}",
          current_operation(), dims[i], have, i, shown(size), shown(input.dims()));
  }
  return {{Op::Expand, {}, dims, dims}};
}

Movements view_broadcast_to(const Type& input, const IntList& size) {
  return view_expand(input, size);
}

Movements view_view(const Type& input, const IntList& size) {
  return reshaped(resolve_size(input, size));
}
Movements view_reshape(const Type& input, const IntList& shape) { return view_view(input, shape); }

Movements view_flatten(const Type& input, int64_t start_dim, int64_t end_dim) {
  if (input.rank == 0) {
    normalize_dim(start_dim, 0);
    normalize_dim(end_dim, 0);
    return reshaped({1});
  }
  const int64_t start = normalize_dim(start_dim, input.rank);
  const int64_t end = normalize_dim(end_dim, input.rank);
  check(start <= end, ErrorKind::Runtime,
        "flatten() has invalid args: start_dim cannot come after end_dim");
  if (start == end) return {};
  Dims dims;
  int64_t joined = 1;
  for (int i = 0; i < input.rank; ++i) {
    const int64_t extent = input.dims()[i];
    if (i < start || i > end) dims.push_back(extent);
    if (i >= start && i <= end) joined *= extent;
    if (i == end) dims.push_back(joined);
  }
  return reshaped(dims);
}

Movements view_ravel(const Type& input) { return reshaped({input.numel}); }

Movements view_unflatten(const Type& input, int64_t dim, const IntList& sizes) {
  const int64_t axis = normalize_dim(dim, input.rank);
  check(input.rank > 0 && !sizes.empty(), ErrorKind::Runtime, "unflatten: sizes must be non-empty");
  const Type& one = type_of(intern_contiguous(input.dtype, input.device, {&input.dims()[axis], 1}));
  const Dims split = resolve_size(one, sizes);
  Dims dims;
  for (int i = 0; i < input.rank; ++i) {
    if (i != axis) dims.push_back(input.dims()[i]);
    if (i == axis) dims.append(split.begin(), split.end());
  }
  return reshaped(dims);
}

Movements view_narrow(const Type& input, int64_t dim, int64_t start, int64_t length) {
  check(input.rank > 0, ErrorKind::Runtime, "narrow() cannot be applied to a 0-dim tensor.");
  const int64_t axis = normalize_dim(dim, input.rank), extent = input.dims()[axis];
  check(length >= 0, ErrorKind::Runtime, "narrow(): length must be non-negative.");
  check(start >= -extent && start <= extent, ErrorKind::Index,
        "narrow: start out of range (expected to be in range of [-{}, {}], but got {})", extent,
        extent, start);
  if (start < 0) start += extent;
  check(start + length <= extent, ErrorKind::Runtime,
        "start ({}) + length ({}) exceeds dimension size ({}).", start, length, extent);
  return sliced(input, axis, start, length);
}

Movements view_select(const Type& input, int64_t dim, int64_t index) {
  check(input.rank > 0, ErrorKind::Index, "select() cannot be applied to a 0-dim tensor.");
  const int64_t axis = normalize_dim(dim, input.rank), extent = input.dims()[axis];
  check(index >= -extent && index < extent, ErrorKind::Index,
        "select(): index {} out of range for tensor of size {} at dimension {}", index,
        shown(input.dims()), axis);
  Movements movements = sliced(input, axis, index < 0 ? index + extent : index, 1);
  Dims dims(input.dims());
  dims.erase(dims.begin() + axis);
  movements.push_back({Op::Reshape, {}, dims, dims});
  return movements;
}

Movements view_diagonal(const Type& input, int64_t offset, int64_t dim1, int64_t dim2) {
  const int64_t a = normalize_dim(dim1, input.rank), b = normalize_dim(dim2, input.rank);
  check(a != b, ErrorKind::Runtime, "diagonal dimensions cannot be identical {}, {}", dim1, dim2);
  const Dims steps = contiguous_strides(input.dims());
  const int64_t row = offset < 0 ? -offset : 0, column = offset > 0 ? offset : 0;
  const int64_t length =
      std::max<int64_t>(0, std::min(input.dims()[a] - row, input.dims()[b] - column));
  Dims dims, inner, outer;  // the steps in row-major order and in memory
  for (int i = 0; i < input.rank; ++i) {
    if (i == a || i == b) continue;
    dims.push_back(input.dims()[i]);
    inner.push_back(steps[i]);
    outer.push_back(input.strides()[i]);
  }
  dims.push_back(length);
  inner.push_back(steps[a] + steps[b]);
  outer.push_back(input.strides()[a] + input.strides()[b]);
  const int64_t first = length == 0 ? 0 : row * steps[a] + column * steps[b];
  const int64_t place = length == 0 ? 0 : row * input.strides()[a] + column * input.strides()[b];
  return {{Op::Gather, {}, strided_sizes(first, inner, place, outer), dims}};
}

Movements view_unfold(const Type& input, int64_t dimension, int64_t size, int64_t step) {
  const int64_t axis = normalize_dim(dimension, input.rank);
  const int64_t extent = input.rank == 0 ? 1 : input.dims()[axis];
  check(size >= 0, ErrorKind::Runtime, "size is {} but must be >= 0", size);
  check(size <= extent, ErrorKind::Runtime,
        "maximum size for tensor at dimension {} is {} but size is {}", axis, extent, size);
  check(step > 0, ErrorKind::Runtime, "step is {} but must be > 0", step);
  Dims dims(input.dims()), inner = contiguous_strides(dims), outer(input.strides());
  const int64_t along = input.rank == 0 ? 1 : inner[axis];
  const int64_t stride = input.rank == 0 ? 1 : outer[axis];
  if (input.rank > 0) {
    dims[axis] = (extent - size) / step + 1;
    inner[axis] *= step;
    outer[axis] *= step;
  }
  dims.push_back(size);
  inner.push_back(along);
  outer.push_back(stride);
  return {{Op::Gather, {}, strided_sizes(0, inner, 0, outer), dims}};
}

Movements view_atleast_1d(const Type& input) {
  return input.rank > 0 ? Movements{} : reshaped({1});
}

Movements view_atleast_2d(const Type& input) {
  return input.rank > 1 ? Movements{} : reshaped({1, input.numel});
}

Movements view_atleast_3d(const Type& input) {
  if (input.rank > 2) return {};
  if (input.rank < 2) return reshaped({1, input.numel, 1});
  return reshaped({input.dims()[0], input.dims()[1], 1});
}

}  // namespace tenon
