#include "trace/recorder.h"

#include <atomic>
#include <condition_variable>
#include <thread>

#include "core/error.h"
#include "trace/executor.h"
#include "trace/origin.h"
#include "trace/rules.h"

namespace tenon {
namespace {

std::atomic<uint64_t> next_sequence{1};
OriginHooks origin_hooks;

// A test-and-set lock that yields: critical sections are tens of nanoseconds.
std::atomic_flag trace_lock = ATOMIC_FLAG_INIT;
constinit thread_local int lock_depth __attribute__((tls_model("initial-exec"))) = 0;

void acquire() {
  while (trace_lock.test_and_set(std::memory_order_acquire)) {
    for (int spin = 0; trace_lock.test(std::memory_order_relaxed); ++spin) {
      if (spin > 100) std::this_thread::yield();
    }
  }
}
void release() { trace_lock.clear(std::memory_order_release); }

// Leaves what a finished thread still had pending to whoever reads it.
struct ThreadRecorder {
  Recorder* recorder = new Recorder;
  ~ThreadRecorder() {
    TraceLock lock;
    Segment& segment = *recorder->segment;
    segment.owner = nullptr;
    segment.state = Segment::State::Pending;
    if (segment.cells) segment.self = recorder->segment;
    delete recorder;
    thread_recorder = nullptr;
  }
};

uint32_t store_attributes(Segment& segment, std::span<const int64_t> axes,
                          std::span<const int64_t> sizes) {
  if (axes.empty() && sizes.empty()) return 0;
  const auto at = static_cast<uint32_t>(segment.attributes.size());
  segment.attributes.push_back(static_cast<int64_t>(axes.size()));
  segment.attributes.push_back(static_cast<int64_t>(sizes.size()));
  segment.attributes.insert(segment.attributes.end(), axes.begin(), axes.end());
  segment.attributes.insert(segment.attributes.end(), sizes.begin(), sizes.end());
  return at;
}

}  // namespace

Recorder::Recorder() : segment(make_ref<Segment>(next_sequence++)) { segment->owner = this; }
Recorder::~Recorder() = default;

constinit thread_local Recorder* thread_recorder = nullptr;

Recorder& make_recorder() {
  thread_local ThreadRecorder mine;
  thread_recorder = mine.recorder;
  return *thread_recorder;
}

Ref<Segment> next_segment(Recorder& recorder) {
  Ref<Segment> sealed = std::move(recorder.segment);
  sealed->owner = nullptr;
  sealed->state = Segment::State::Pending;
  open_segment(recorder, make_ref<Segment>(next_sequence++));
  return sealed;
}

void open_segment(Recorder& recorder, Ref<Segment> segment) {
  recorder.pinned_bytes = 0;
  for (const Node& node : segment->nodes) {
    if (node.op == Op::Input) recorder.pinned_bytes += dense_bytes(type_of(node.type));
  }
  recorder.next_check = std::max(Recorder::kFirstCheck, 2 * segment->nodes.size());
  segment->owner = &recorder;
  segment->state = Segment::State::Open;
  segment->positions.clear();
  recorder.segment = std::move(segment);
}

void start_sequences_at(uint64_t sequence) { next_sequence = sequence; }
uint64_t reserve_sequences(size_t count) { return next_sequence.fetch_add(count); }

TraceLock::TraceLock() {
  if (lock_depth++ == 0) acquire();
}
TraceLock::~TraceLock() {
  if (--lock_depth == 0) release();
}
TraceUnlock::TraceUnlock() : depth_(lock_depth) {
  lock_depth = 0;
  if (depth_ > 0) release();
}
TraceUnlock::~TraceUnlock() {
  if (depth_ > 0) acquire();
  lock_depth = depth_;
}

void set_origin_hooks(OriginHooks hooks) { origin_hooks = hooks; }
uint32_t current_origin() { return origin_hooks.current ? origin_hooks.current() : 0; }
std::string describe_origin(uint32_t origin) {
  return origin != 0 && origin_hooks.describe ? origin_hooks.describe(origin) : std::string();
}

Value append_masked(Op op, TypeId type, std::span<const Value> operands,
                    std::span<const int64_t> axes, std::span<const int64_t> sizes,
                    DerivativeMask mask) {
  Recorder& r = recorder();
  Segment& segment = *r.segment;
  Node node{};
  node.op = op;
  node.type = type;
  node.mask = mask;
  node.origin = r.origin;
  for (Value operand : operands) {
    const Node& from = segment.nodes[operand.id];
    node.active |= from.active;
    node.level = std::max(node.level, from.level);
  }
  node.active &= is_differentiable(type_of(type).dtype) ? mask : 0;
  check(operands.size() < 256, ErrorKind::Runtime, "{}: more than 255 operands",
        current_operation());
  node.operand_count = static_cast<uint8_t>(operands.size());
  if (operands.size() <= Node::kInlineOperands) {
    for (size_t i = 0; i < operands.size(); ++i) node.operands[i] = operands[i].id;
  } else {
    node.operands[0] = static_cast<uint32_t>(segment.operand_pool.size());
    for (Value operand : operands) segment.operand_pool.push_back(operand.id);
  }
  node.attributes = store_attributes(segment, axes, sizes);
  segment.nodes.push_back(node);
  return {static_cast<uint32_t>(segment.nodes.size() - 1)};
}

Value append(Op op, TypeId type, std::span<const Value> operands, std::span<const int64_t> axes,
             std::span<const int64_t> sizes) {
  return append_masked(op, type, operands, axes, sizes, recorder().mask());
}

Value append_input(Buffer buffer, GraphRef derivative, uint64_t position) {
  Recorder& r = recorder();
  Segment& segment = *r.segment;
  Node node{};
  node.op = Op::Input;
  node.type = buffer.type;
  node.mask = ~DerivativeMask{0};
  node.active = derivative ? derivative.graph()->nodes[derivative.node()].active : 0;
  node.origin = r.origin;
  node.attributes = static_cast<uint32_t>(segment.sources.size());
  if (buffer.storage->exposures.load(std::memory_order_relaxed) > 0) r.touched_exposed = true;
  r.pinned_bytes += dense_bytes(type_of(node.type));
  segment.sources.push_back({std::move(buffer), std::move(derivative), position, {}});
  segment.nodes.push_back(node);
  return {static_cast<uint32_t>(segment.nodes.size() - 1)};
}

Value append_linked(Value value, GraphRef derivative) {
  Recorder& r = recorder();
  Segment& segment = *r.segment;
  const TypeId type = segment.nodes[value.id].type;
  Node ghost{};  // an input that is only a place in the derivative graph: nothing reads a value
  ghost.op = Op::Input;
  ghost.type = type;
  ghost.mask = ~DerivativeMask{0};
  ghost.active = derivative.graph()->nodes[derivative.node()].active;
  ghost.origin = r.origin;
  ghost.attributes = static_cast<uint32_t>(segment.sources.size());
  segment.sources.push_back({Buffer{}, std::move(derivative)});
  segment.nodes.push_back(ghost);
  const Value operands[] = {value, {static_cast<uint32_t>(segment.nodes.size() - 1)}};
  const Value linked = append_masked(Op::Redirect, type, operands, {}, {}, ~DerivativeMask{0});
  segment.nodes[linked.id].flags |= Node::kLinked;
  return linked;
}

namespace {

void check_level(const Recorder& r, uint32_t level) {
  if (level == 0) return;
  for (const OpenVmap& open : r.vmaps) {
    if (open.instance == level) return;
  }
  fail(ErrorKind::Runtime,
       "{}: this tensor belongs to a vmap that has ended; return it from the mapped function "
       "instead of keeping it",
       current_operation());
}

// The value of a root cell in the open segment, before a leaf's alias.
NodeId resolve_value(Recorder& r, Cell& cell) {
  if (cell.segment) check_level(r, cell.segment->nodes[cell.node].level);
  if (cell.segment && cell.segment != r.segment.get()) settle(cell);
  if (cell.segment == r.segment.get()) return cell.node;
  if (cell.cached_sequence != r.segment->sequence) {
    Buffer buffer = cell.segment ? cell.segment->values.at(cell.node) : cell.buffer;
    check(static_cast<bool>(buffer.storage), ErrorKind::Internal, "a tensor without a value");
    buffer.type = cell.type;
    cell.cached_node = append_input(std::move(buffer), cell.derivative, cell.position).id;
    cell.cached_sequence = r.segment->sequence;
  } else if (r.segment->sources[r.segment->nodes[cell.cached_node].attributes]
                 .buffer.storage->exposures.load(std::memory_order_relaxed) > 0) {
    r.touched_exposed = true;
  }
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
  const DerivativeMask all = (DerivativeMask{2} << r.depth) - 1;
  const Value operand{value};
  const Value alias = append_masked(Op::Alias, cell.type, {&operand, 1}, {}, {},
                                    (all | (all << 16)) & ~reverse_bit(0));
  Node& node = segment.nodes[alias.id];
  node.flags |= Node::kLeaf;
  node.active |= reverse_bit(0);
  node.attributes = static_cast<uint32_t>(segment.leaves.size());
  if (!cell.anchor) {
    cell.anchor = make_ref<LeafAnchor>();
    cell.anchor->cell = &cell;
  }
  segment.leaves.push_back(cell.anchor);
  cell.leaf_sequence = segment.sequence;
  cell.leaf_node = alias.id;
  cell.leaf_of = value;
  cell.leaf_depth = r.depth;
  return alias.id;
}

bool is_view_current(const Recorder& r, const Cell& cell) {
  return cell.cached_sequence == r.segment->sequence &&
         cell.cached_version == cell.view->root->version && cell.leaf_depth == r.depth;
}

// A view's node carries the derivative mode in which the view was made, not that of its first use.
void emit_view(Recorder& r, Cell& cell, Value base) {
  const View& view = *cell.view;
  const DerivativeMask all = (DerivativeMask{2} << r.depth) - 1;
  const DerivativeMask mask =
      view.detached ? 0 : (all & ~DerivativeMask{view.blocked}) | (all << 16);
  Segment::unbind(cell);
  if (cell.cached_version != view.root->version) cell.derivative.reset();
  Value value;
  if (cell.derivative) {  // it was differentiated through before a cut: that place stays its own
    value = append_masked(view.op, cell.type, {&base, 1}, view.axes, view.sizes, 0);
    value = append_linked(value, cell.derivative);
  } else {
    value = append_masked(view.op, cell.type, {&base, 1}, view.axes, view.sizes, mask);
    const Node& node = r.segment->nodes[value.id];
    if (node.active & reverse_bit(0)) r.segment->bind(cell, value.id);
  }
  cell.cached_node = value.id;
  cell.cached_sequence = r.segment->sequence;
  cell.cached_version = view.root->version;
  cell.leaf_depth = r.depth;
}

}  // namespace

Value resolve(Cell& cell) {
  Recorder& r = recorder();
  if (!cell.view) {
    const NodeId value = resolve_value(r, cell);
    return {cell.requires_grad ? resolve_leaf(r, cell, value) : value};
  }
  if (is_view_current(r, cell)) {
    resolve_value(r, cell.root());  // its storage may be exposed
    return {cell.cached_node};
  }
  std::vector<Cell*> chain;  // views of views, innermost last
  Cell* at = &cell;
  for (; at->view && !is_view_current(r, *at); at = at->view->base.get()) chain.push_back(at);
  Value value = at->view ? Value{at->cached_node} : resolve(*at);
  for (size_t i = chain.size(); i-- > 0;) {
    emit_view(r, *chain[i], value);
    value = {chain[i]->cached_node};
  }
  return value;
}

bool is_dense(const Type& type) {
  if (type.canonical) return true;
  int64_t span = 1;
  for (int i = 0; i < type.rank; ++i) {
    if (type.dims()[i] == 0) return true;
    span += (type.dims()[i] - 1) * type.strides()[i];
  }
  return span == type.numel;
}

Ref<Cell> make_cell(Value value) {
  Recorder& r = recorder();
  const Type& type = type_of(value);
  if (!is_dense(type)) {  // a tensor that is no view owns a dense buffer
    value = append(Op::Alias, intern_contiguous(type.dtype, type.device, type.dims()), {&value, 1},
                   {}, {});
  }
  auto cell = make_ref<Cell>();
  cell->type = type_id_of(value);
  cell->level = r.vmaps.empty() ? 0 : r.vmaps.back().instance;
  r.segment->bind(*cell, value.id);
  return cell;
}

void rebind(Cell& cell, Value value) {
  Recorder& r = recorder();
  const uint32_t level = r.segment->nodes[value.id].level;
  if (level > cell.level) {
    fail(ErrorKind::Runtime,
         "{}: under vmap, a batched value can't be written in place to a tensor made outside the "
         "mapped function; use the out-of-place operation and return its result",
         current_operation());
  }
  Segment::unbind(cell);
  cell.buffer = {};
  cell.derivative.reset();
  cell.cached_sequence = 0;
  ++cell.version;
  r.segment->bind(cell, value.id);
}

}  // namespace tenon
