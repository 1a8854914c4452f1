// Views, and writes through them: a view is its base and one movement; a write rebinds the root.
#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "core/error.h"
#include "core/shape.h"
#include "trace/complex.h"
#include "trace/recorder.h"

namespace tenon {
namespace {

using Ints = std::span<const int64_t>;

// PyTorch's rule: dims may be regrouped only inside runs that are contiguous in memory.
// Returns the strides of the reshaped view, or nothing.
std::optional<Dims> view_strides(const Type& type, Ints dims) {
  Dims strides(dims.size());
  if (type.numel == 0) return contiguous_strides(dims);
  int at = static_cast<int>(dims.size()) - 1;
  int64_t chunk_base = type.rank > 0 ? type.strides()[type.rank - 1] : 1;
  int64_t chunk = 1, viewed = 1;
  for (int i = type.rank - 1; i >= 0; --i) {
    chunk *= type.dims()[i];
    const bool ends =
        i == 0 || (type.dims()[i - 1] != 1 && type.strides()[i - 1] != chunk * chunk_base);
    if (!ends) continue;
    while (at >= 0 && (viewed < chunk || dims[at] == 1)) {
      strides[at] = viewed * chunk_base;
      viewed *= dims[at];
      --at;
    }
    if (viewed != chunk) return std::nullopt;
    if (i > 0) {
      chunk_base = type.strides()[i - 1];
      chunk = viewed = 1;
    }
  }
  for (; at >= 0; --at) {
    if (dims[at] != 1) return std::nullopt;
    strides[at] = viewed * chunk_base;
  }
  return strides;
}

struct ViewShape {
  Dims strides;
  int64_t offset = 0;
};

DType dtype_of_view(DType base, Op op, Ints axes) {
  switch (op) {
    case Op::ViewAsReal:
      return real_dtype(base);
    case Op::ViewAsComplex:
      return complex_dtype(base);
    case Op::Bitcast:
      return static_cast<DType>(axes[0]);
    default:
      return base;
  }
}

// Elements of one dtype, counted in elements of another.
int64_t recount(int64_t elements, DType from, DType to) {
  return elements * static_cast<int64_t>(size_of(from)) / static_cast<int64_t>(size_of(to));
}

ViewShape view_shape(const Type& type, Op op, Ints axes, Ints sizes, Ints dims) {
  ViewShape shape;
  shape.strides = Dims(dims.size(), 0);
  switch (op) {
    case Op::Slice:
      for (size_t i = 0; i < dims.size(); ++i) {
        shape.strides[i] = type.strides()[i] * sizes[dims.size() + i];
        if (type.numel > 0) shape.offset += type.strides()[i] * sizes[i];
      }
      break;
    case Op::Permute:
      for (size_t i = 0; i < dims.size(); ++i) shape.strides[i] = type.strides()[axes[i]];
      break;
    case Op::Expand: {
      const size_t shift = dims.size() - type.rank;
      for (int i = 0; i < type.rank; ++i) {
        if (type.dims()[i] == dims[shift + i]) shape.strides[shift + i] = type.strides()[i];
      }
      break;
    }
    case Op::ViewAsReal:
      for (int i = 0; i < type.rank; ++i) shape.strides[i] = 2 * type.strides()[i];
      shape.strides[type.rank] = 1;
      break;
    case Op::ViewAsComplex:
      for (int i = 0; i < type.rank - 1; ++i) shape.strides[i] = type.strides()[i] / 2;
      break;
    case Op::Reshape: {
      const auto strides = view_strides(type, dims);
      check(strides.has_value(), ErrorKind::Runtime,
            "{}: view size is not compatible with input tensor's size and stride (at least one "
            "dimension spans across two contiguous subspaces): {} with strides {} as {}. Use "
            ".reshape(...) instead.",
            current_operation(), shown(type.dims()), shown(type.strides()), shown(dims));
      shape.strides = *strides;
      break;
    }
    case Op::Bitcast: {
      const auto to = static_cast<DType>(axes[0]);
      std::ranges::copy(type.strides(), shape.strides.begin());
      if (size_of(to) == size_of(type.dtype)) break;
      for (int64_t& stride : shape.strides) stride = recount(stride, type.dtype, to);
      shape.strides.back() = 1;
      break;
    }
    case Op::Gather: {  // see strided_sizes
      const size_t rank = dims.size();
      shape.offset = sizes[rank + 1];
      std::ranges::copy(sizes.subspan(rank + 2), shape.strides.begin());
      break;
    }
    default:
      std::ranges::copy(type.strides(), shape.strides.begin());
  }
  return shape;
}

// The place in the base of what the view shows at `at`.
Dims place_in_base(const View& view, Ints view_dims, Ints base_dims, const Dims& at) {
  Dims place(base_dims.size(), 0);
  switch (view.op) {
    case Op::Slice:
      for (size_t i = 0; i < at.size(); ++i) {
        place[i] = view.sizes[i] + view.sizes[at.size() + i] * at[i];
      }
      break;
    case Op::Permute:
      for (size_t i = 0; i < at.size(); ++i) place[view.axes[i]] = at[i];
      break;
    case Op::Expand: {
      const size_t shift = at.size() - place.size();
      for (size_t i = 0; i < place.size(); ++i) place[i] = base_dims[i] == 1 ? 0 : at[shift + i];
      break;
    }
    case Op::ViewAsReal:
      place = Dims(Ints(at).first(base_dims.size()));
      break;
    case Op::ViewAsComplex:
      std::ranges::copy(at, place.begin());
      break;
    case Op::Bitcast:
      place = at;
      if (!at.empty()) place.back() = at.back() * base_dims.back() / view_dims.back();
      break;
    case Op::Reshape:
    case Op::Gather: {
      int64_t element = 0;
      for (size_t i = 0; i < at.size(); ++i) {
        element = view.op == Op::Reshape ? element * view_dims[i] + at[i]
                                         : element + view.sizes[i + 1] * at[i];
      }
      if (view.op == Op::Gather) element += view.sizes[0];
      for (size_t i = place.size(); i-- > 0; element /= base_dims[i]) {
        place[i] = element % base_dims[i];
      }
      break;
    }
    default:
      place = at;
  }
  return place;
}

// Of the copies that an expanded tensor shows of its base, the one at `at`.
Value one_copy(Value expanded, Ints base_dims, const Dims& at) {
  Dims dims(type_of(expanded).dims()), starts(dims.size(), 0);
  const size_t shift = dims.size() - base_dims.size();
  for (size_t i = 0; i < dims.size(); ++i) {
    if (i >= shift && base_dims[i - shift] == dims[i]) continue;
    starts[i] = at[i];
    dims[i] = 1;
  }
  const Dims steps(dims.size(), 1);
  return ops::reshape(ops::slice(expanded, starts, steps, dims), base_dims);
}

// `base` with the part that `view` shows replaced by `value`: the view's movement undone. `at` is
// the place in the view of an element that was written.
Value put(const View& view, Value base, Value value, const Dims& at) {
  switch (view.op) {
    case Op::Slice: {
      const size_t rank = view.sizes.size() / 2;
      return ops::update_slice(base, value, Ints(view.sizes).first(rank),
                               Ints(view.sizes).subspan(rank));
    }
    case Op::Permute: {
      Dims inverse(view.axes.size());
      for (size_t i = 0; i < inverse.size(); ++i) inverse[view.axes[i]] = static_cast<int64_t>(i);
      return ops::permute(value, inverse);
    }
    case Op::Reshape:
      return ops::reshape(value, type_of(base).dims());
    case Op::Gather: {
      const Type& type = type_of(base);
      const int64_t flat[] = {type.numel};
      const auto dims = type_of(value).dims();
      const Value at =
          ops::strided_places(dims, view.sizes[0], Ints(view.sizes).subspan(1, dims.size()));
      return ops::reshape(ops::scatter_set(ops::reshape(base, flat), at, value, 0), type.dims());
    }
    case Op::Bitcast:
      return ops::bitcast(value, dtype(base));
    case Op::ViewAsReal:
      return ops::view_as_complex(value);
    case Op::ViewAsComplex:
      return ops::view_as_real(value);
    case Op::Expand:  // write() has refused all that would write two copies of an element
      return one_copy(value, type_of(base).dims(), at);
    default:
      return value;
  }
}

bool overlaps_itself(const Type& type) {
  for (int i = 0; i < type.rank; ++i) {
    if (type.dims()[i] > 1 && type.strides()[i] == 0) return true;
  }
  return false;
}

// The value of a cell without a leaf's alias: what a write builds upon.
Value plain_value(Cell& cell) {
  const bool leaf = std::exchange(cell.requires_grad, false);
  const Value value = resolve(cell);
  cell.requires_grad = leaf;
  return value;
}

// A write under no_grad: the new value with the derivative, in the modes that are blocked, of the
// old one.
Value keep_derivative(Value value, Value old) {
  const DerivativeMask blocked = recorder().blocked;
  const auto active = [](Value v) { return recorder().segment->nodes[v.id].active; };
  if (active(value) & blocked) {
    value = append_masked(Op::Alias, type_id_of(value), {&value, 1}, {}, {}, ~blocked);
  }
  if (!(active(old) & blocked)) return value;
  const Value place = append_masked(Op::Alias, type_id_of(old), {&old, 1}, {}, {}, blocked);
  const Value operands[] = {value, place};
  return append_masked(Op::Redirect, type_id_of(value), operands, {}, {}, ~DerivativeMask{0});
}

}  // namespace

Dims strided_sizes(int64_t first, Ints steps, int64_t offset, Ints strides) {
  Dims sizes{first};
  sizes.append(steps.begin(), steps.end());
  sizes.push_back(offset);
  sizes.append(strides.begin(), strides.end());
  return sizes;
}

bool can_view(const Type& type, Ints dims) { return view_strides(type, dims).has_value(); }

Tensor make_view(const Tensor& base, Op op, Ints axes, Ints sizes, Ints dims) {
  TraceLock lock;
  const Type& type = base.type();
  const ViewShape shape = view_shape(type, op, axes, sizes, dims);
  auto cell = make_ref<Cell>();
  const DType dtype = dtype_of_view(type.dtype, op, axes);
  cell->type = intern(dtype, type.device, dims, shape.strides);
  cell->level = base.cell()->level;
  cell->view = std::make_unique<View>();
  View& view = *cell->view;
  view.base = base.cell();
  view.root = base.cell()->view ? base.cell()->view->root : base.cell();
  view.op = op;
  view.axes = Dims(axes);
  view.sizes = Dims(sizes);
  view.offset = recount(base.storage_offset() + shape.offset, type.dtype, dtype);
  view.blocked = recorder().blocked;
  view.detached = op == Op::Bitcast;
  return Tensor(std::move(cell));
}

Tensor as_strided(const Tensor& x, const IntList& size, const IntList& stride,
                  std::optional<int64_t> storage_offset) {
  TraceLock lock;
  check(size.size() == stride.size(), ErrorKind::Runtime,
        "as_strided: mismatch in length of strides and shape: {} and {}", shown(stride),
        shown(size));
  const int64_t offset = storage_offset.value_or(x.storage_offset());
  int64_t last = offset;
  for (size_t i = 0; i < size.size(); ++i) {
    check(size[i] >= 0 && stride[i] >= 0, ErrorKind::Runtime,
          "as_strided: negative sizes and strides are not supported: {}, {}", shown(size),
          shown(stride));
    last += (size[i] - 1) * stride[i];
  }
  check(offset >= 0, ErrorKind::Runtime, "as_strided: storage_offset must be non-negative, not {}",
        offset);
  // What lies in memory as elements of this dtype: the root, or a view of it with another dtype.
  const Cell* home = x.cell().get();
  while (home->view && type_of(home->view->base->type).dtype == x.dtype()) {
    home = home->view->base.get();
  }
  Tensor memory(Ref<Cell>(const_cast<Cell*>(home)));
  check(memory.storage_offset() == 0, ErrorKind::Runtime,
        "as_strided: a view of another dtype that starts inside of its storage; clone() it first");
  // Its dimensions from the largest stride to the smallest.
  const Type& type = memory.type();
  Dims order(type.rank, 0), inner(type.dims());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(
      order, [&](int64_t a, int64_t b) { return type.strides()[a] > type.strides()[b]; });
  int64_t dense = 1;
  for (size_t i = order.size(); i-- > 0;) {
    const int64_t extent = type.dims()[order[i]];
    check(extent == 1 || type.numel == 0 || type.strides()[order[i]] == dense, ErrorKind::Runtime,
          "as_strided: the storage has gaps: {} with strides {}; clone() the tensor first",
          shown(type.dims()), shown(type.strides()));
    dense *= extent;
    inner[i] = extent;
  }
  const bool is_empty = checked_numel(size) == 0;
  check(is_empty || last < dense, ErrorKind::Runtime,
        "setStorage: sizes {}, strides {}, storage offset {} require a storage of {} elements, "
        "which is out of bounds for one of {}",
        shown(size), shown(stride), offset, last + 1, dense);
  if (!std::ranges::is_sorted(order)) memory = make_view(memory, Op::Permute, order, {}, inner);
  Tensor view =
      make_view(memory, Op::Gather, {}, strided_sizes(offset, stride, offset, stride), size);
  View& own = *view.cell()->view;
  for (const Cell* at = x.cell().get(); at->view; at = at->view->base.get()) {
    own.blocked |= at->view->blocked;
    own.detached |= at->view->detached;
  }
  return view;
}

Tensor view(const Tensor& x, DType dtype) {
  const Type& type = x.type();
  if (dtype == type.dtype) return detach(x);  // as in PyTorch, no derivative either
  Dims dims(type.dims());
  const auto from = static_cast<int64_t>(size_of(type.dtype));
  const auto to = static_cast<int64_t>(size_of(dtype));
  if (from != to) {
    const auto expect = [&](bool holds, const std::string& what) {
      check(holds, ErrorKind::Runtime, "self.{} to view {} as {} (different element sizes)", what,
            name_of(type.dtype), name_of(dtype));
    };
    expect(!dims.empty(), "dim() cannot be 0");
    const auto strides = type.strides();
    expect(strides.back() == 1, fmt::format("stride(-1) must be 1 but is {}", strides.back()));
    if (to > from) {
      const int64_t ratio = to / from;
      const auto divides = [&](int64_t number, const std::string& what) {
        expect(number % ratio == 0,
               fmt::format("{} must be divisible by {} but is {}", what, ratio, number));
      };
      divides(dims.back(), "size(-1)");
      divides(x.storage_offset(), "storage_offset()");
      for (size_t i = 0; i + 1 < dims.size(); ++i) {
        divides(strides[i], fmt::format("stride({})", i));
      }
    }
    dims.back() = recount(dims.back(), type.dtype, dtype);
  }
  const int64_t axes[] = {static_cast<int64_t>(dtype)};
  return make_view(x, Op::Bitcast, axes, {}, dims);
}

Tensor detach(const Tensor& x) {
  Tensor view = make_view(x, Op::Alias, {}, {}, x.dims());
  view.cell()->view->detached = true;
  return view;
}

Tensor to(const Tensor& x, Device device) {
  if (x.device() == device) return x;
  OpScope scope("to");
  return scope.result(ops::to_device(scope.use(x), device));
}

const Tensor& OpScope::write(const Tensor& target, Value value) {
  Cell& cell = *target.cell();
  Cell& root = cell.root();
  const Type& type = type_of(cell.type);
  check(!overlaps_itself(type), ErrorKind::Runtime,
        "{}: unsupported operation: more than one element of the written-to tensor refers to a "
        "single memory location. Please clone() the tensor before performing the operation.",
        current_operation());
  bool detached = false;
  for (const Cell* at = &cell; at->view; at = at->view->base.get()) detached |= at->view->detached;
  check(!root.requires_grad || detached || !is_grad_enabled(), ErrorKind::Runtime,
        "{}: a {} leaf Variable that requires grad is being used in an in-place operation. Put it "
        "under tenon.no_grad(), or write to .data",
        current_operation(), cell.view ? "view of a" : "");
  value = ops::to_device(value, type.device);
  value = ops::expand(ops::cast(value, type.dtype), type.dims());

  // Undo the movements from this view up to the root, which then names the whole new value.
  std::vector<Cell*> chain;
  for (Cell* at = &cell; at->view; at = at->view->base.get()) chain.push_back(at);
  if (type.numel == 0 && !chain.empty()) {  // nothing of the root is written
    value = plain_value(root);
    chain.clear();
  }
  Dims place(type.rank, 0);
  for (Cell* at : chain) {
    Cell& base = *at->view->base;
    const Value old = base.view ? resolve(base) : plain_value(base);
    value = put(*at->view, old, value, place);
    place = place_in_base(*at->view, type_of(at->type).dims(), type_of(base.type).dims(), place);
    if (at->view->detached && !base.requires_grad &&
        (recorder().segment->nodes[old.id].active != 0)) {
      value = ops::redirect(value, old);
    }
  }
  if (recorder().blocked != 0) value = keep_derivative(value, plain_value(root));
  const Node& node = recorder().segment->nodes[value.id];
  if (node.type != root.type) {  // the root keeps the strides it shows
    value = append(Op::Alias, root.type, {&value, 1}, {}, {});
  }
  const Buffer home = root.segment ? Buffer{} : root.buffer;
  check(!home.storage || !home.storage->read_only(), ErrorKind::Runtime,
        "{}: the tensor shares read-only memory; clone() it before writing", current_operation());
  rebind(root, value);
  if (home.storage && home.storage->is_exposed()) {  // written there when the operation ends
    recorder().touched_exposed = true;
    recorder().homes.emplace_back(Ref<Cell>(&root), home);
  }
  complete_ = true;
  return target;
}

}  // namespace tenon
