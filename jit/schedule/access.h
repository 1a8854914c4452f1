// Which element of an operand an element of a result reads, as expressions of loop variables.
#pragma once

#include "jit/group/algebra.h"

namespace tenon::jit {

struct Access {
  IndexId index = 0;
  ConditionId condition = 0;  // under which the element exists
};

// The element of operand k that element `at.index` of node n reads, for elementwise, movement and
// indexing nodes. For Pad, operand 0; for Concatenate under the condition that it is operand k's.
Access operand_access(const Graph& graph, Algebra& algebra, NodeIndex n, int k, Access at);

// Offset in elements of an element in the node's buffer.
ExprId address_of(Algebra& algebra, const GraphNode& node, IndexId index);

// Dimension d of an index as one expression.
ExprId dim_of(Algebra& algebra, const GraphNode& node, IndexId index, int d);

// A node as a strided view of a buffer.
struct StridedView {
  NodeIndex base;
  PolyId offset = 0;
  std::vector<PolyId> strides;  // by atom
};
// How a library call reads node n: through the movement that strides can express, from what is
// moved, else from n's own buffer. The same however the program is grouped, for a library's bits
// depend on which operands are transposed.
StridedView matrix_view(const Graph& graph, Algebra& algebra, NodeIndex n);

// Number of elements.
PolyId elements_of(Algebra& algebra, const GraphNode& node);

}  // namespace tenon::jit
