// Regions: programs that a node of the trace owns, as the body of a `scan` or the branch of a
// `cond`, and how they are recorded.
//
// A body is recorded once, into the one trace, on parameters that stand for what differs between
// steps. Like what depends on the example of a vmap, whatever depends on a parameter carries the
// recording's instance as its level. What doesn't is computed once, outside, and is an operand of
// the region's node: constants of the body need no words from the user, and nothing invariant is
// computed in the loop.
//
// A region's node has a 0-d token for its result. What it computes are the `region_output` nodes
// that follow it. Regions are interned: equal bodies have one number, which is structure.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "core/hash.h"
#include "trace/node.h"
#include "trace/program.h"
#include "trace/value.h"

namespace tenon {

using RegionId = int64_t;

// Inputs, in order: carry, xs (one step's), constants. Outputs: carry, ys (one step's). Both are
// row-major. What derivatives go through a node's edges is as it was recorded.
struct Region {
  Program program;
  std::vector<DerivativeMask> masks;  // of the program's nodes
  // Where this is the body of a region's tangents: for each output of the original, the output that
  // is its tangent, or -1.
  std::vector<int32_t> tangents;
  // Equal where outputs of two regions are the same function of the same inputs.
  std::vector<Hash128> output_hashes;

  TypeId input_type(size_t k) const { return program.inputs[k].type; }
  TypeId output_type(size_t k) const { return program.nodes[program.outputs[k]].type; }
};

RegionId intern_region(Region region);
const Region& region_of(RegionId id);  // lives as long as the process; callable from any thread

bool is_region(Op op);    // scan, while, cond, call
bool owns_bodies(Op op);  // a call may have one: of what isn't a kernel (trace/library.h)
std::span<const int64_t> region_ids(Op op, std::span<const int64_t> axes);
TypeId token_type();
TypeId row_major(TypeId type);
TypeId stacked(TypeId type, int64_t length);  // of one step's type
TypeId step_of(TypeId stacked);

// The recording of one region. Parameters are made, the body is recorded, and finish() gives its
// program; close() (idempotent; the destructor calls it) forgets what an exception left.
class RegionRecording {
 public:
  // A length of kNoSteps: random numbers can't be drawn, since nobody knows how many; kOnce: they
  // are the same whenever the region runs.
  static constexpr int64_t kNoSteps = -1, kOnce = -2;
  RegionRecording(const char* name, int64_t length);
  ~RegionRecording();
  RegionRecording(const RegionRecording&) = delete;

  Value parameter(TypeId type);  // row-major
  // Ends the recording with the body's outputs; finds what it needs.
  void finish(std::span<const Value> outputs);
  void close();

  bool is_used(Value parameter) const;
  bool is_parameter(Value value) const;
  bool is_inside(Value value) const { return is_inside(value.id); }  // before it is finished
  // Nodes outside that the body reads, ascending; and stacks of which it reads one element a step
  // (draws of random numbers).
  const std::vector<NodeId>& constants() const { return constants_; }
  const std::vector<Value>& elements() const { return elements_; }
  // The program with these inputs; elements() belong between parameters and constants.
  Region build(std::span<const Value> parameters, std::span<const NodeId> constants) const;

 private:
  bool is_inside(NodeId id) const;
  bool is_cheap(NodeId id) const;

  const char* name_;
  uint32_t instance_ = 0;
  NodeId index_ = kNoNode;
  int64_t length_;
  bool open_ = true;
  std::vector<NodeId> parameters_;
  std::vector<Value> outputs_;
  std::vector<NodeId> nodes_;  // the body's, ascending
  std::vector<NodeId> used_;   // parameters that it reads
  std::vector<NodeId> constants_;
  std::vector<Value> elements_;
  std::vector<NodeId> reads_;  // for each of elements_, the node that stands for the element
};

// Appends a region's node into the open segment (or the region being recorded) and gives its
// outputs. `operands` as the primitive says.
struct ScanOperands {
  std::vector<Value> carry, xs, constants;
};
std::vector<Value> append_scan(RegionId body, const ScanOperands& operands, int64_t length,
                               bool reverse);
std::vector<Value> append_while(RegionId condition, RegionId body, std::span<const Value> carry,
                                std::span<const Value> constants);
std::vector<Value> append_cond(RegionId if_true, RegionId if_false, Value predicate,
                               std::span<const Value> operands);

// From finished recordings to the node. `parameters` are those of the body for carry and xs, in
// order, and `carry` and `xs` what they begin with; xs that the body doesn't read are left out.
std::vector<Value> record_scan(const RegionRecording& body, std::span<const Value> parameters,
                               std::span<const Value> carry, std::span<const Value> xs,
                               int64_t length, bool reverse, std::vector<int32_t> tangents = {});
std::vector<Value> record_while(const RegionRecording& condition,
                                std::span<const Value> condition_parameters,
                                const RegionRecording& body, std::span<const Value> parameters,
                                std::span<const Value> carry, std::vector<int32_t> tangents = {});
std::vector<Value> record_cond(const RegionRecording& if_true, const RegionRecording& if_false,
                               Value predicate, std::vector<int32_t> tangents = {});

// A program's nodes into the open segment, with other operands; where `rewrite` gives a value, that
// one stands for the node. Returns the values of all nodes.
using Rewrite = std::function<Value(uint32_t node, std::span<const Value> operands)>;
std::vector<Value> replay(const Region& region, std::span<const Value> inputs,
                          const std::function<DerivativeMask(DerivativeMask)>& mask_of,
                          const Rewrite& rewrite = {});
// For each node, whether it depends on the given inputs through edges that `passes` lets through.
std::vector<uint8_t> reached(const Region& region, std::span<const uint8_t> inputs,
                             const std::function<bool(uint32_t node)>& passes);
// For each node, whether a derivative of that bit passes to it from the given inputs.
std::vector<uint8_t> active_nodes(const Region& region, std::span<const uint8_t> inputs,
                                  DerivativeMask bit);
// Of a loop whose first inputs and outputs are carried: a value that gets a derivative on the way
// has one from the beginning.
std::vector<uint8_t> with_carried(const Region& region, std::vector<uint8_t> inputs, size_t carried,
                                  DerivativeMask bit);

}  // namespace tenon
