// Groups: which nodes one kernel computes, and over which loops.
//
// In: a Graph. Out: groups in an order in which they can run. What must hold: a group reads only
// inputs and values that earlier groups store, or recomputes them; every value that another group
// loads, and every output, is stored by exactly one group; with `fuse` off each node that computes
// something is its own group. Grouping asks whether the values of a node have their place in a
// group's loops, and counts bytes; it knows operations only by their class.
#pragma once

#include <string>
#include <vector>

#include "core/optimizations.h"
#include "jit/group/algebra.h"
#include "jit/simplify/graph.h"

namespace tenon::jit {

enum class GroupKind : uint8_t {
  Map,          // parallel loops only
  Row,          // parallel loops, then reduced loops that end with the vectorised one
  Column,       // reduced loops inside vectorised kept ones
  Full,         // every loop reduced: partial results of chunks, then their reduction
  Scan,         // cumulative operations and argmax: serial along the last loop
  Scatter,      // a copy of the base, then stores at loaded indices, serial along the indices
  UpdateSlice,  // a copy of the base, then a box of it
  Concatenate,  // one kernel an operand
  Gemm,
  Convolution,
  Attention,
  Sort,
  Routine,       // a call of a library, with its siblings of other results
  Region,        // a scan, while or cond: a plan of its own a body
  RegionOutput,  // stored by the region
};
const char* name_of(GroupKind kind);

// How a group's kernels are made; 0: as their cost says.
struct KernelChoice {
  uint8_t unroll = 0;        // vectors in flight: 1, 2 or 4
  uint16_t vector_bits = 0;  // widest vector registers
  int8_t grain_shift = 0;    // chunks of a launch are 2^this times as large
  bool operator==(const KernelChoice&) const = default;
};

struct Group {
  GroupKind kind = GroupKind::Map;
  Symbols loops;             // atoms; kept ones first, then reduced ones
  uint32_t kept = 0;         // how many are kept
  uint32_t inner_begin = 0;  // Row: first loop of the innermost reduced axis
  std::vector<NodeIndex> members;
  std::vector<NodeIndex> stores;  // members whose values are stored
  uint32_t cost = 0;              // operations, for the cap on a kernel's size
  KernelChoice choice;
  std::string note;  // why it was begun, for explain()
};

struct Grouping {
  static constexpr uint32_t kUnplaced = ~uint32_t{0};
  OptimizationSet off = 0;  // for the schedules
  std::vector<Group> groups;
  std::vector<uint32_t> group_of;                 // by node; kUnplaced: inlined where it is used
  std::vector<SmallVector<uint8_t, 6>> loops_of;  // by node: the loop of each atom, in its group
  // By node, for reductions and scans: the loop of each atom of the operand.
  std::vector<SmallVector<uint8_t, 6>> operand_loops;
  std::vector<uint8_t> stored;  // by node: its group stores it; a later group loads it
};

struct GroupOptions {
  bool fuse = true;
  uint32_t max_cost = 300;
  uint32_t max_members = 80;
  // A kernel that reads few buffers may be longer: cut, it would store and load what it is at.
  uint32_t few_reads = 8;
  uint32_t max_cost_of_few = 1200;
  uint32_t max_members_of_few = 320;
  OptimizationSet off = 0;
  std::vector<KernelChoice> choices;  // by group; the last one for all that follow
};

Grouping make_groups(const Graph& graph, Algebra& algebra, const GroupOptions& options);

std::string print(const Graph& graph, const Grouping& grouping);

// How a reduction runs (see the definition of their bits in docs): by the place of its axes.
enum class ReductionClass : uint8_t { Row, Column, Full };
ReductionClass reduction_class(const Graph& graph, NodeIndex n);

}  // namespace tenon::jit
