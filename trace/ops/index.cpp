#include "trace/ops/index.h"

#include <algorithm>

#include "core/error.h"
#include "core/shape.h"
#include "generated/functions.h"
#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/ops/operands.h"

namespace tenon {
namespace {

bool is_mask(const Tensor& x) { return x.dtype() == DType::Bool || x.dtype() == DType::UInt8; }

int64_t consumed_dims(const Index& item) {
  switch (item.kind) {
    case Index::Kind::NewAxis:
    case Index::Kind::Ellipsis:
      return 0;
    case Index::Kind::Tensor:
      return is_mask(item.tensor) ? item.tensor.rank() : 1;
    default:
      return 1;
  }
}

struct Extent {
  int64_t start, length;
};

// Python's rules for a slice.
Extent clip(const Index& item, int64_t extent) {
  check(item.step > 0, ErrorKind::Value, "slice step must be positive");
  const auto bound = [&](std::optional<int64_t> at, int64_t absent) {
    const int64_t from = at.value_or(absent);
    return std::clamp<int64_t>(from < 0 ? from + extent : from, 0, extent);
  };
  const int64_t start = bound(item.start, 0), stop = bound(item.stop, extent);
  return {start, stop <= start ? 0 : (stop - start + item.step - 1) / item.step};
}

// The view by numbers, slices and new axes, and which of its dimensions tensors index.
struct Basic {
  Movements movements;
  std::vector<std::pair<int64_t, Tensor>> tensors;  // dimension of the view, its index
};

Basic split_basic(const Tensor& x, std::span<const Index> items) {
  int64_t consumed = 0;
  int ellipses = 0;
  for (const Index& item : items) {
    consumed += consumed_dims(item);
    ellipses += item.kind == Index::Kind::Ellipsis;
  }
  check(ellipses <= 1, ErrorKind::Index, "an index can only have a single ellipsis ('...')");
  check(consumed <= x.rank(), ErrorKind::Index,
        "too many indices for tensor of dimension {}: {} are given", x.rank(), consumed);

  Basic basic;
  const size_t rank = x.rank();
  Dims sizes(2 * rank, 0), kept(x.dims()), dims;
  std::fill(sizes.begin() + rank, sizes.end(), 1);
  bool sliced = false, reshaped = false;
  int64_t dim = 0;
  const auto keep = [&](int64_t count) {
    for (; count > 0; --count) dims.push_back(kept[dim++]);
  };
  for (const Index& item : items) {
    switch (item.kind) {
      case Index::Kind::Ellipsis:
        keep(x.rank() - consumed);
        break;
      case Index::Kind::NewAxis:
        dims.push_back(1);
        reshaped = true;
        break;
      case Index::Kind::Number: {
        const int64_t extent = x.dims()[dim];
        check(item.number >= -extent && item.number < extent, ErrorKind::Index,
              "index {} is out of bounds for dimension {} with size {}", item.number, dim, extent);
        sizes[dim] = item.number < 0 ? item.number + extent : item.number;
        kept[dim] = 1;
        ++dim;
        sliced = reshaped = true;
        break;
      }
      case Index::Kind::Slice: {
        const Extent part = clip(item, x.dims()[dim]);
        sliced = sliced || part.length != x.dims()[dim] || item.step != 1;
        sizes[dim] = part.start;
        sizes[rank + dim] = item.step;
        kept[dim] = part.length;
        keep(1);
        break;
      }
      case Index::Kind::Tensor: {
        const int64_t count = consumed_dims(item);
        if (count == 0) {  // a 0-d mask stands for a new dimension of size 1, kept or not
          dims.push_back(1);
          reshaped = true;
          basic.tensors.emplace_back(static_cast<int64_t>(dims.size()) - 1,
                                     unsqueeze(item.tensor, 0));
          break;
        }
        basic.tensors.emplace_back(static_cast<int64_t>(dims.size()), item.tensor);
        keep(count);
        break;
      }
    }
  }
  keep(x.rank() - dim);
  if (sliced) basic.movements.push_back({Op::Slice, {}, sizes, kept});
  if (reshaped) basic.movements.push_back({Op::Reshape, {}, dims, dims});
  return basic;
}

void check_mask(const Tensor& x, int64_t dim, const Tensor& mask) {
  for (int i = 0; i < mask.rank(); ++i) {
    check(
        mask.dims()[i] == x.dims()[dim + i], ErrorKind::Index,
        "The shape of the mask {} at index {} does not match the shape of the indexed tensor {} at "
        "index {}",
        shown(mask.dims()), i, shown(x.dims()), dim + i);
  }
}

// Masks read and turned into the indices of their true places, one tensor a dimension.
std::vector<std::pair<int64_t, Tensor>> without_masks(
    const Tensor& x, const std::vector<std::pair<int64_t, Tensor>>& tensors) {
  std::vector<std::pair<int64_t, Tensor>> result;
  for (const auto& [dim, tensor] : tensors) {
    if (!is_mask(tensor)) {
      check(is_integral(tensor.dtype(), false), ErrorKind::Index,
            "tensors used as indices must be long, int, byte or bool tensors, not {}",
            name_of(tensor.dtype()));
      result.emplace_back(dim, tensor);
      continue;
    }
    check_mask(x, dim, tensor);
    const Tensor places = nonzero(tensor);
    for (int64_t i = 0; i < tensor.rank(); ++i) result.emplace_back(dim + i, select(places, 1, i));
  }
  return result;
}

// The indexed dimensions brought together and merged into one, which one index tensor reads.
struct Merged {
  Dims perm;  // of the operand: merged dimensions together at `axis`
  Dims inverse;
  Dims shape;           // permuted and merged
  Dims permuted_shape;  // permuted
  int64_t axis;
  Value index;  // into the merged dimension; out of bounds if any component is
};

Merged merge(Value x, std::span<const std::pair<int64_t, Value>> indices) {
  Merged m;
  Dims common, indexed;
  for (const auto& [dim, index] : indices) {
    try {
      common = broadcast_dims(common, dims(index));
    } catch (const Error&) {
      fail(ErrorKind::Index,
           "shape mismatch: indexing tensors could not be broadcast together with shapes {}, {}",
           shown(common), shown(dims(index)));
    }
    indexed.push_back(dim);
  }
  bool adjacent = true;
  for (size_t i = 1; i < indexed.size(); ++i) adjacent &= indexed[i] == indexed[i - 1] + 1;
  m.axis = adjacent ? indexed[0] : 0;
  for (int i = 0; i < rank(x); ++i) {
    if (std::ranges::find(indexed, i) == indexed.end()) m.perm.push_back(i);
  }
  for (size_t i = 0; i < indexed.size(); ++i) {
    m.perm.insert(m.perm.begin() + m.axis + static_cast<int64_t>(i), indexed[i]);
  }
  m.inverse = Dims(m.perm.size());
  int64_t merged = 1;
  for (size_t i = 0; i < m.perm.size(); ++i) {
    m.inverse[m.perm[i]] = static_cast<int64_t>(i);
    const int64_t extent = dims(x)[m.perm[i]];
    m.permuted_shape.push_back(extent);
    const int64_t place = static_cast<int64_t>(i) - m.axis;
    if (place < 0 || place >= static_cast<int64_t>(indexed.size())) {
      m.shape.push_back(extent);
      continue;
    }
    merged *= extent;
    if (place + 1 == static_cast<int64_t>(indexed.size())) m.shape.push_back(merged);
  }
  const auto number = [](int64_t n) { return ops::scalar(n, DType::Int64); };
  Value valid;
  for (const auto& [dim, index] : indices) {
    const Value extent = number(dims(x)[dim]);
    Value at = ops::expand(ops::cast(index, DType::Int64), common);
    at = ops::select(at < 0.0, at + extent, at);
    if (indices.size() > 1) {  // one component out of bounds must not pass for a place elsewhere
      const Value inside = (at >= 0.0) & (at < extent);
      valid = valid ? valid & inside : inside;
    }
    m.index = m.index ? m.index * extent + at : at;
  }
  if (valid) m.index = ops::select(valid, m.index, number(merged));
  return m;
}

std::vector<std::pair<int64_t, Value>> use_indices(
    OpScope& scope, const std::vector<std::pair<int64_t, Tensor>>& tensors, Device device) {
  std::vector<std::pair<int64_t, Value>> values;
  for (const auto& [dim, tensor] : tensors) {
    const Value index = scope.use(tensor);  // the host's may index what is on a device
    values.emplace_back(dim, tensor.device().is_cpu() ? ops::to_device(index, device) : index);
  }
  scope.on(device);
  return values;
}

}  // namespace

Tensor index(const Tensor& x, std::span<const Index> items) {
  OpScope scope("index");
  const Basic basic = split_basic(x, items);
  if (basic.tensors.empty()) return apply_view(x, basic.movements);
  const Tensor view = basic.movements.empty() ? x : apply_view(x, basic.movements);
  const auto tensors = without_masks(view, basic.tensors);
  const auto indices = use_indices(scope, tensors, x.device());
  const Value value = scope.use(view);
  const Merged m = merge(value, indices);
  const Value source = ops::reshape(ops::permute(value, m.perm), m.shape);
  return scope.result(ops::gather(source, m.index, m.axis));
}

void index_put(const Tensor& x, std::span<const Index> items, const Tensor& value,
               bool accumulate) {
  OpScope scope("index_put_");
  const Basic basic = split_basic(x, items);
  const Tensor view = basic.movements.empty() ? x : apply_view(x, basic.movements);
  if (basic.tensors.empty()) {
    const Value update = ops::cast(scope.use(value), x.dtype());
    const Value old = scope.use(view);
    // Leading dimensions of size 1 of the value may go, as in NumPy.
    Value fitted = update;
    while (rank(fitted) > view.rank() && dims(fitted)[0] == 1) {
      fitted = ops::reshape(fitted, Dims(dims(fitted).subspan(1)));
    }
    write(scope, view, accumulate ? old + fitted : fitted);
    return;
  }
  const auto& [mask_dim, mask] = basic.tensors[0];
  if (basic.tensors.size() == 1 && is_mask(mask) && value.numel() == 1 && !accumulate) {
    check_mask(view, mask_dim, mask);
    Dims spread(view.rank(), 1);
    std::ranges::copy(mask.dims(), spread.begin() + mask_dim);
    const Value flags = ops::cast(ops::reshape(scope.use(mask), spread), DType::Bool);
    const Value one = ops::reshape(ops::cast(scope.use(value), x.dtype()), {});
    write(scope, view, ops::select(flags, one, scope.use(view)));
    return;
  }
  const auto tensors = without_masks(view, basic.tensors);
  const auto indices = use_indices(scope, tensors, x.device());
  const Value old = scope.use(view);
  const Merged m = merge(old, indices);
  const Value base = ops::reshape(ops::permute(old, m.perm), m.shape);
  Dims result(m.shape);
  result.erase(result.begin() + m.axis);
  const auto extents = dims(m.index);
  for (size_t i = 0; i < extents.size(); ++i) {
    result.insert(result.begin() + m.axis + static_cast<int64_t>(i), extents[i]);
  }
  const Value update = ops::cast(scope.use(value), x.dtype());
  const auto have = dims(update);
  bool fits = have.size() <= result.size();
  for (size_t i = 0; fits && i < have.size(); ++i) {
    const int64_t extent = have[have.size() - 1 - i];
    fits = extent == 1 || extent == result[result.size() - 1 - i];
  }
  check(
      fits, ErrorKind::Runtime,
      "shape mismatch: value tensor of shape {} cannot be broadcast to indexing result of shape {}",
      shown(have), shown(result));
  const Value updates = ops::expand(update, result);
  const Value put = accumulate ? ops::scatter_add(base, m.index, updates, m.axis)
                               : ops::scatter_set(base, m.index, updates, m.axis);
  write(scope, view, ops::permute(ops::reshape(put, m.permuted_shape), m.inverse));
}

}  // namespace tenon
