// Views, and writes through them: a view is its base and one movement; a write rebinds the root.
#include <algorithm>
#include <optional>
#include <utility>

#include "core/error.h"
#include "core/shape.h"
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
    case Op::Reshape: {
      int64_t element = 0;
      for (size_t i = 0; i < at.size(); ++i) element = element * view_dims[i] + at[i];
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

bool can_view(const Type& type, Ints dims) { return view_strides(type, dims).has_value(); }

Tensor make_view(const Tensor& base, Op op, Ints axes, Ints sizes, Ints dims) {
  TraceLock lock;
  const Type& type = base.type();
  const ViewShape shape = view_shape(type, op, axes, sizes, dims);
  auto cell = make_ref<Cell>();
  cell->type = intern(type.dtype, type.device, dims, shape.strides);
  cell->level = base.cell()->level;
  cell->view = std::make_unique<View>();
  View& view = *cell->view;
  view.base = base.cell();
  view.root = base.cell()->view ? base.cell()->view->root : base.cell();
  view.op = op;
  view.axes = Dims(axes);
  view.sizes = Dims(sizes);
  view.offset = base.storage_offset() + shape.offset;
  view.blocked = recorder().blocked;
  return Tensor(std::move(cell));
}

Tensor detach(const Tensor& x) {
  Tensor view = make_view(x, Op::Alias, {}, {}, x.dims());
  view.cell()->view->detached = true;
  return view;
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
