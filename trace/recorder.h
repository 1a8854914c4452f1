// The recorder: a thread's open segment and the modes under which it records.
// Internal to trace/ and autograd/.
//
// One lock guards every recorder, cell and graph. It is taken once a public operation, held for
// tens of nanoseconds and never while a program compiles or runs, so threads meet only to record.
// (Per-thread traces without a lock would have to stop their owner to publish a pending tensor.)
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "core/device_memory.h"
#include "trace/match.h"
#include "trace/segment.h"
#include "trace/tensor.h"
#include "trace/vmap.h"

namespace tenon {

class Unit;

struct OpenVmap {
  uint32_t instance;
  int64_t extent;
  NodeId index;  // the node of the example's index
  Randomness randomness;
  const char* region = nullptr;  // no vmap but the recording of a region (see trace/region.h)
};
// The level of nodes that depend on the example of a vmap, or a region's parameters, that is done.
inline constexpr uint32_t kFinishedLevel = ~uint32_t{0};

struct Recorder {
  Recorder();
  ~Recorder();

  // Inference on operand types already seen is one look-up (see infer.cpp).
  struct Inferred {
    TypeId a = kNoType, b = kNoType;
    DType dtype = DType::Bool;
    TypeId result = kNoType;
  };
  std::array<Inferred, 512> inferred;

  Ref<Segment> segment;
  Predictor predictor;
  int depth = 0;                // of nested grad and jvp
  uint16_t blocked = 0;         // depths whose reverse mode no_grad blocks
  std::vector<OpenVmap> vmaps;  // being recorded, outermost first
  uint32_t floor = 0;           // the least level: of the branch of a cond being recorded
  Device default_device;
  Device device;                    // where what has no operands is made
  bool is_device_known = false;     // by an operand or the caller, as opposed to the default
  int scopes = 0;                   // nesting of OpScope
  const char* operation = "tenon";  // name of the innermost one
  int transforms = 0;               // nesting of transforms: while any is open nothing is compacted
  Unit* unit = nullptr;             // innermost unit that is recorded (see trace/capture.h)
  bool touched_exposed = false;     // this operation used a storage that is known outside
  bool sync_errors = false;         // every operation runs at once
  // Roots in memory known outside that this operation wrote, and where they live.
  std::vector<std::pair<Ref<Cell>, Buffer>> homes;
  uint32_t origin = 0;              // of the operation being recorded
  size_t next_check = kFirstCheck;  // nodes in the segment when caps are checked again
  size_t next_launch = ~size_t{0};  // ... and when some of them may run (see early.h)
  int64_t reached_launch = 0;       // when the segment came to its first launch; 0: it hasn't
  size_t next_look() const { return std::min(next_check, next_launch); }
  int64_t pinned_bytes = 0;  // that the segment's inputs hold
  static constexpr size_t kFirstCheck = 4096;

  DerivativeMask mask() const {
    const DerivativeMask all = (DerivativeMask{2} << depth) - 1;
    return (all & ~DerivativeMask{blocked}) | (all << 16);
  }
};

// The calling thread's. Every node passes through here, so the pointer lies in the thread's static
// block and is read with one instruction.
extern constinit thread_local Recorder* thread_recorder
    __attribute__((tls_model("initial-exec"), visibility("hidden")));
Recorder& make_recorder();
inline Recorder& recorder() { return thread_recorder ? *thread_recorder : make_recorder(); }

// What has no operands is made there, for a while: in a walk over nodes, where each node is.
class DeviceScope {
 public:
  DeviceScope() : device_(recorder().device), is_known_(recorder().is_device_known) {}
  explicit DeviceScope(std::optional<Device> device) : DeviceScope() {
    if (device) move_to(*device);
  }
  ~DeviceScope() {
    recorder().device = device_;
    recorder().is_device_known = is_known_;
  }
  DeviceScope(const DeviceScope&) = delete;

  static void move_to(Device device) {
    note_device(device);
    recorder().device = device;
    recorder().is_device_known = true;
  }
  static void follow(TypeId type) {  // of the node that the walk has come to
    if (uses_devices()) [[unlikely]]
      move_to(type_of(type).device);
  }

 private:
  const Device device_;
  const bool is_known_;
};

uint32_t new_instance(const Recorder& recorder);  // of a vmap or a region

// Gives the lock up altogether for a while (the caller waits for, or runs, a program).
class TraceUnlock {
 public:
  TraceUnlock();
  ~TraceUnlock();

 private:
  int depth_;
};

// All below want the lock held.

// Appends a node whose type is known.
Value append_masked(Op op, TypeId type, std::span<const Value> operands,
                    std::span<const int64_t> axes, std::span<const int64_t> sizes,
                    DerivativeMask mask);
// Under `blocked`, reverse edges of those depths are cut.
inline Value append(Op op, TypeId type, std::span<const Value> operands,
                    std::span<const int64_t> axes, std::span<const int64_t> sizes) {
  return append_masked(op, type, operands, axes, sizes, recorder().mask());
}
Value append_input(Buffer buffer, GraphRef derivative, uint64_t position = 0);
// `value`, recorded without derivative, with the derivative of a node of an earlier graph. What is
// recorded again after a cut must not become a second place where cotangents gather: gradients
// would be summed in another order, and their bits depend on the cut.
Value append_place(TypeId type, GraphRef derivative);  // of an earlier graph, without a value
Value append_linked(Value value, GraphRef derivative);

// The node that stands for the cell now.
Value resolve(Cell& cell);
Ref<Cell> make_cell(Value value);
void rebind(Cell& cell, Value value);  // a root cell; counts a version
// Moves a cell that names another segment's node to a concrete buffer, or its segment's value.
void settle(Cell& cell);
Ref<Segment> next_segment(Recorder& recorder);  // seals the open segment, opens another
void open_segment(Recorder& recorder, Ref<Segment> segment);
uint64_t reserve_sequences(size_t count);    // numbers of segments to come; the first
void start_sequences_at(uint64_t sequence);  // so that tests needn't count that far
// Runs what the cell needs; afterwards its root has a buffer (or its segment has its value).
Buffer evaluate(Cell& cell);
void copy_buffer(const Buffer& from, const Buffer& into);  // same extents, each in its own layout
Buffer copy_storage(const Buffer& from);  // the same layout, in a copy of the whole storage
Buffer make_private(Buffer buffer);       // a copy, if its storage is known outside
void seal_and_run(Recorder& recorder);    // the whole open segment, then compact
void bring_home(Recorder& recorder);      // copies written values into memory known outside
// Inside transforms: values, without compaction. After a failure, that of `wanted` alone.
void run_in_place(Recorder& recorder, NodeId wanted = kNoNode);
bool needs_run(const Segment& segment, NodeId node);  // it has to be computed, and can be
// A value is read, or the trace run: tells the units that are open.
void note_read(Recorder& recorder);
void cut_if_large(Recorder& recorder);  // caps, between public operations

// A leaf's, made when it is first asked for.
const Ref<LeafAnchor>& anchor_of(Cell& leaf);

// Non-leaves that retain_grad was called on.
std::vector<Ref<LeafAnchor>>& retaining_cells();

// Residuals which the derivative of `op` for the active operands reads.
uint8_t saved_values(Op op, std::span<const bool> active);

}  // namespace tenon
