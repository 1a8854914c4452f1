// Fusion by list scheduling: groups are made in execution order, and each node, in topological
// order, joins the latest group that can compute it at the place where its operands are.
#pragma once

#include "jit/group/group.h"

namespace tenon::jit {

// `wanted`: nodes that must be stored (outputs).
Grouping fuse(const Graph& graph, Algebra& algebra, const GroupOptions& options, Grouping grouping,
              std::vector<uint8_t> wanted);

}  // namespace tenon::jit
