// Where nodes can stand: what needs a kernel of its own, and the loops such a kernel has.
#pragma once

#include "jit/group/group.h"

namespace tenon::jit {

// Nodes with no values of their own: inputs and constants, and the identities of the trace.
bool is_leaf(const Graph& graph, NodeIndex n);
// Sources, movement and indexing that a consumer can compute element by element.
bool is_movement(const Graph& graph, NodeIndex n);
// Computed element by element from its operands.
bool is_pointwise(const Graph& graph, NodeIndex n);
// Reads its operands as whole buffers: a library's work.
bool needs_buffers(const Graph& graph, NodeIndex n);

// Begins a group of n alone at the end of grouping.groups.
void place_alone(const Graph& graph, Grouping& grouping, NodeIndex n);

// Loops of a reduction or scan of operand atoms: kept ones first. Fills loops_of and operand_loops
// of n in `grouping`.
struct ReducedLoops {
  Symbols loops;
  uint32_t kept = 0;
  uint32_t inner_begin = 0;
  SmallVector<uint8_t, 6> operand;  // loop of each operand atom
};
ReducedLoops reduced_loops(const Graph& graph, NodeIndex n);

}  // namespace tenon::jit
