#include "trace/recorder.h"

#include <pthread.h>

#include <atomic>
#include <thread>

#include "core/error.h"
#include "trace/capture.h"
#include "trace/early.h"
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
  const size_t at = segment.attributes.size();
  segment.attributes.resize(at + 2 + axes.size() + sizes.size());
  int64_t* to = segment.attributes.data() + at;
  *to++ = static_cast<int64_t>(axes.size());
  *to++ = static_cast<int64_t>(sizes.size());
  to = std::ranges::copy(axes, to).out;
  std::ranges::copy(sizes, to);
  return static_cast<uint32_t>(at);
}

}  // namespace

Recorder::Recorder() : segment(make_ref<Segment>(next_sequence++)) { segment->owner = this; }
Recorder::~Recorder() = default;

constinit thread_local Recorder* thread_recorder = nullptr;

// Nobody waits for anything while holding the lock but for those of core/, whose handlers were made
// when the library was loaded, and so run later.
static void before_fork() {
  if (lock_depth == 0) acquire();
}
static void after_fork() {
  if (lock_depth == 0) release();
}

Recorder& make_recorder() {
  static const int registered = pthread_atfork(before_fork, after_fork, after_fork);
  (void)registered;
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
  recorder.next_launch = kNoLaunch;
  recorder.reached_launch = 0;
  recorder.next_check = std::max(Recorder::kFirstCheck, 2 * segment->nodes.size());
  segment->owner = &recorder;
  segment->state = Segment::State::Open;
  segment->positions.clear();
  segment->units.clear();  // of a piece: its nodes have other numbers
  if (recorder.unit) segment->units.emplace_back(0, kNoNode);
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
  if (operands.size() >= 256) {
    fail(ErrorKind::Runtime, "{}: more than 255 operands", current_operation());
  }
  const uint32_t attributes = store_attributes(segment, axes, sizes);
  // Filled where it lies: copying what has just been written in pieces stalls on the pieces.
  Node& node = segment.nodes.emplace_back();
  node.op = op;
  node.type = type;
  node.mask = mask;
  node.origin = r.origin;
  node.attributes = attributes;
  node.operand_count = static_cast<uint8_t>(operands.size());
  DerivativeMask active = 0;
  uint32_t level = 0;
  for (Value operand : operands) {
    const Node& from = segment.nodes[operand.id];
    active |= from.active;
    level = std::max(level, from.level);
  }
  if (level < r.floor && !operands.empty()) level = r.floor;
  node.active = active & (is_differentiable(type_of(type).dtype) ? mask : 0);
  node.level = level;
  if (operands.size() <= Node::kInlineOperands) {
    for (size_t i = 0; i < operands.size(); ++i) node.operands[i] = operands[i].id;
  } else {
    node.operands[0] = static_cast<uint32_t>(segment.operand_pool.size());
    for (Value operand : operands) segment.operand_pool.push_back(operand.id);
  }
  return {static_cast<uint32_t>(segment.nodes.size() - 1)};
}

Value append_input(Buffer buffer, GraphRef derivative, uint64_t position) {
  Recorder& r = recorder();
  Segment& segment = *r.segment;
  if (buffer.storage->exposures.load(std::memory_order_relaxed) > 0) r.touched_exposed = true;
  r.pinned_bytes += dense_bytes(type_of(buffer.type));
  Node& node = segment.nodes.emplace_back();
  node.op = Op::Input;
  node.type = buffer.type;
  node.mask = ~DerivativeMask{0};
  node.active = derivative ? derivative.graph()->nodes[derivative.node()].active : 0;
  node.origin = r.origin;
  node.attributes = static_cast<uint32_t>(segment.sources.size());
  segment.sources.push_back({std::move(buffer), std::move(derivative), position, {}});
  return {static_cast<uint32_t>(segment.nodes.size() - 1)};
}

Value append_place(TypeId type, GraphRef derivative) {
  Recorder& r = recorder();
  Segment& segment = *r.segment;
  Node ghost{};  // an input that is only a place in the derivative graph: nothing reads a value
  ghost.op = Op::Input;
  ghost.type = type;
  ghost.mask = ~DerivativeMask{0};
  ghost.active = derivative.graph()->nodes[derivative.node()].active;
  ghost.origin = r.origin;
  ghost.attributes = static_cast<uint32_t>(segment.sources.size());
  segment.sources.push_back({Buffer{}, std::move(derivative)});
  segment.nodes.push_back(ghost);
  return {static_cast<uint32_t>(segment.nodes.size() - 1)};
}

Value append_linked(Value value, GraphRef derivative) {
  const TypeId type = type_id_of(value);
  const Value operands[] = {value, append_place(type, std::move(derivative))};
  const Value linked = append_masked(Op::Redirect, type, operands, {}, {}, ~DerivativeMask{0});
  recorder().segment->nodes[linked.id].flags |= Node::kLinked;
  return linked;
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
  if (r.unit) [[unlikely]] {
    for (const Unit* unit = r.unit; unit; unit = unit->outer()) unit->check_write(cell);
  }
  const uint32_t level = r.segment->nodes[value.id].level;
  const OpenVmap* region = nullptr;  // the innermost being recorded that the cell is older than
  for (const OpenVmap& open : r.vmaps) {
    if (open.region && cell.level < open.instance) region = &open;
  }
  check(
      !region, ErrorKind::Runtime,
      "{}: inside {}, a tensor made outside can't be written in place; make the value part of the "
      "carry, or return it",
      current_operation(), region ? region->region : "");
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
