// The node of the open segment that stands for a tensor: its value's, a leaf's alias, a view's
// movement.
#include <cstring>
#include <utility>

#include "core/error.h"
#include "trace/capture.h"
#include "trace/recorder.h"

namespace tenon {
namespace {

void check_level(const Recorder& r, uint32_t level) {
  if (level == 0) return;
  for (const OpenVmap& open : r.vmaps) {
    if (open.instance == level) return;
  }
  fail(ErrorKind::Runtime,
       "{}: this tensor belongs to a vmap that has ended (or the body of a scan, cond or "
       "while_loop); "
       "return it from the function instead of keeping it",
       current_operation());
}

// Memory known outside may change once the call has returned. What is small is copied into the
// trace; with the rest the operation is complete before its call returns (see OpScope), unless a
// transform will read the trace again.
constexpr size_t kLargestCopy = size_t{1} << 20;

bool has_same_bytes(const Buffer& a, const Buffer& b) {
  const size_t bytes = a.storage->bytes();
  return a.storage->device().is_cpu() && bytes == b.storage->bytes() &&
         (bytes == 0 || std::memcmp(a.storage->data(), b.storage->data(), bytes) == 0);
}

// What stands for a tensor serves after the branch of a cond, too.
class NoFloor {
 public:
  explicit NoFloor(Recorder& r) : r_(r), floor_(std::exchange(r.floor, 0)) {}
  ~NoFloor() { r_.floor = floor_; }

 private:
  Recorder& r_;
  uint32_t floor_;
};

// The value of a root cell in the open segment, before a leaf's alias.
NodeId resolve_value(Recorder& r, Cell& cell) {
  if (cell.segment) {
    check_level(r, cell.segment->nodes[cell.node].level);
    if (cell.segment != r.segment.get()) settle(cell);
    if (cell.segment == r.segment.get()) return cell.node;
  }
  const Buffer& current = cell.segment ? cell.segment->values.at(cell.node) : cell.buffer;
  if (cell.cached_sequence == r.segment->sequence) {
    const Node& known = r.segment->nodes[cell.cached_node];
    const Buffer& recorded = r.segment->sources[known.attributes].buffer;
    if (recorded.storage == current.storage) {
      if (current.storage->exposures.load(std::memory_order_relaxed) > 0) r.touched_exposed = true;
      return cell.cached_node;
    }
    if (has_same_bytes(recorded, current)) return cell.cached_node;  // a copy, and still true
  }
  check(static_cast<bool>(current.storage), ErrorKind::Internal, "a tensor without a value");
  Buffer buffer = current;
  buffer.type = cell.type;
  if (buffer.storage->bytes() <= kLargestCopy || r.transforms > 0) {
    buffer = make_private(std::move(buffer));
  }
  cell.cached_node = append_input(std::move(buffer), cell.derivative, cell.position).id;
  cell.cached_sequence = r.segment->sequence;
  return cell.cached_node;
}

// A leaf stands in the trace as an alias, so that the derivative of what it was computed from
// stops here, and so that each depth sees its own.
NodeId resolve_leaf(Recorder& r, Cell& cell, NodeId value) {
  Segment& segment = *r.segment;
  if (cell.leaf_sequence == segment.sequence && cell.leaf_of == value &&
      cell.leaf_depth == r.depth) {
    return cell.leaf_node;
  }
  const NoFloor no_floor(r);
  const DerivativeMask all = (DerivativeMask{2} << r.depth) - 1;
  const Value operand{value};
  const Value alias = append_masked(Op::Alias, cell.type, {&operand, 1}, {}, {},
                                    (all | (all << 16)) & ~reverse_bit(0));
  Node& node = segment.nodes[alias.id];
  node.flags |= Node::kLeaf;
  node.active |= reverse_bit(0);
  node.attributes = static_cast<uint32_t>(segment.leaves.size());
  segment.leaves.push_back(anchor_of(cell));
  cell.leaf_sequence = segment.sequence;
  cell.leaf_node = alias.id;
  cell.leaf_of = value;
  cell.leaf_depth = r.depth;
  return alias.id;
}

// Whether a view's node is still what it shows of its root, which is `root` now.
bool is_view_current(const Recorder& r, const Cell& cell, NodeId root) {
  return cell.cached_sequence == r.segment->sequence && cell.leaf_of == root &&
         cell.cached_version == cell.view->root->version && cell.leaf_depth == r.depth;
}

// A view's movement; a strided one is a gather of the base's elements, made in the view's mode,
// and one of another dtype reads their bits.
Value append_movement(Recorder& r, const Cell& cell, Value base, DerivativeMask mask) {
  const View& view = *cell.view;
  if (view.op == Op::Bitcast) {
    const Value bits = ops::bitcast(base, static_cast<DType>(view.axes[0]));
    return append_masked(Op::Alias, cell.type, {&bits, 1}, {}, {}, mask);
  }
  if (view.op != Op::Gather) {
    return append_masked(view.op, cell.type, {&base, 1}, view.axes, view.sizes, mask);
  }
  const auto dims = type_of(cell.type).dims();
  const auto blocked = std::exchange(r.blocked, view.blocked);
  const Value elements =
      ops::strided(base, dims, view.sizes[0], std::span(view.sizes).subspan(1, dims.size()));
  r.blocked = blocked;
  return append_masked(Op::Alias, cell.type, {&elements, 1}, {}, {}, mask);
}

// A view's node carries the derivative mode in which the view was made, not that of its first use.
void emit_view(Recorder& r, Cell& cell, Value base, NodeId root) {
  const NoFloor no_floor(r);
  const View& view = *cell.view;
  const DerivativeMask all = (DerivativeMask{2} << r.depth) - 1;
  const DerivativeMask mask =
      view.detached ? 0 : (all & ~DerivativeMask{view.blocked}) | (all << 16);
  Segment::unbind(cell);
  if (cell.cached_version != view.root->version) cell.derivative.reset();
  Value value;
  if (cell.derivative) {  // it was differentiated through before a cut: that place stays its own
    value = append_movement(r, cell, base, 0);
    value = append_linked(value, cell.derivative);
  } else {
    value = append_movement(r, cell, base, mask);
    const Node& node = r.segment->nodes[value.id];
    if (node.active & reverse_bit(0)) r.segment->bind(cell, value.id);
  }
  cell.cached_node = value.id;
  cell.cached_sequence = r.segment->sequence;
  cell.cached_version = view.root->version;
  cell.leaf_of = root;
  cell.leaf_depth = r.depth;
}

}  // namespace

const Ref<LeafAnchor>& anchor_of(Cell& leaf) {
  if (!leaf.anchor) {
    leaf.anchor = make_ref<LeafAnchor>();
    leaf.anchor->cell = &leaf;
  }
  return leaf.anchor;
}

Value resolve(Cell& cell) {
  Recorder& r = recorder();
  if (r.unit) [[unlikely]] {
    for (Unit* unit = r.unit; unit; unit = unit->outer()) unit->note_resolved(cell);
  }
  if (!cell.view) [[likely]] {
    const NodeId value = resolve_value(r, cell);
    return {cell.requires_grad ? resolve_leaf(r, cell, value) : value};
  }
  // Where a view was differentiated through before is known once that segment has run.
  for (Cell* at = &cell; at->view; at = at->view->base.get()) {
    const bool is_elsewhere = at->segment && at->segment != r.segment.get();
    if (is_elsewhere && at->cached_version == at->view->root->version) settle(*at);
  }
  const NodeId root = resolve_value(r, cell.root());  // ids are held from here on
  std::vector<Cell*> chain;                           // views of views, innermost last
  Cell* at = &cell;
  for (; at->view && !is_view_current(r, *at, root); at = at->view->base.get()) {
    chain.push_back(at);
  }
  Value value = at->view ? Value{at->cached_node} : resolve(*at);
  for (size_t i = chain.size(); i-- > 0;) {
    emit_view(r, *chain[i], value, root);
    value = {chain[i]->cached_node};
  }
  return value;
}

}  // namespace tenon
