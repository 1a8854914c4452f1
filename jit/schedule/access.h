// Which element of an operand an element of a result reads, as expressions of loop variables.
#pragma once

#include <optional>

#include "jit/group/algebra.h"

namespace tenon::jit {

struct Access {
  IndexId index = 0;
  ConditionId condition = 0;  // under which the element exists
};

// The element of operand k that element `at.index` of node n reads, for elementwise, movement and
// indexing nodes. For Pad, operand 0; for Concatenate under the condition that it is operand k's.
Access operand_access(const Graph& graph, Algebra& algebra, NodeIndex n, int k, Access at);

// Offset in elements of an element in a buffer laid out so.
ExprId address_of(Algebra& algebra, const GraphNode& node, const Layout& layout, IndexId index);

// Dimension d of an index as one expression.
ExprId dim_of(Algebra& algebra, const GraphNode& node, IndexId index, int d);

// A node as a strided view of a buffer: its own, or that of the node it is a view of through
// movement that strides can express. `has_buffer` says which nodes have one.
struct StridedView {
  NodeIndex base;
  PolyId offset = 0;
  std::vector<PolyId> strides;  // by atom
};
std::optional<StridedView> strided_view(const Graph& graph, Algebra& algebra,
                                        const std::function<bool(NodeIndex)>& has_buffer,
                                        NodeIndex n);

// Number of elements.
PolyId elements_of(Algebra& algebra, const GraphNode& node);

}  // namespace tenon::jit
