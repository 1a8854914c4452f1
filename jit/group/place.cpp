#include "jit/group/place.h"

#include <algorithm>

#include "core/error.h"

namespace tenon::jit {

const char* name_of(GroupKind kind) {
  constexpr const char* kNames[] = {"map",     "row",         "column",       "full",
                                    "scan",    "scatter",     "update_slice", "concatenate",
                                    "gemm",    "convolution", "attention",    "sort",
                                    "routine", "region",      "region_output"};
  return kNames[static_cast<int>(kind)];
}

bool is_leaf(const Graph& graph, NodeIndex n) {
  return graph[n].op == Op::Input || graph[n].op == Op::Constant;
}

bool is_movement(const Graph& graph, NodeIndex n) {
  switch (graph[n].op) {
    case Op::Iota:
    case Op::Expand:
    case Op::Reshape:
    case Op::Permute:
    case Op::Slice:
    case Op::Pad:
    case Op::Concatenate:
    case Op::Gather:
    case Op::TakeAlong:
      return true;
    default:
      return false;
  }
}

bool is_pointwise(const Graph& graph, NodeIndex n) {
  return is_elementwise(graph[n].op) || is_movement(graph, n) || graph[n].op == Op::RandomBits;
}

bool needs_buffers(const Graph& graph, NodeIndex n) {
  return takes_strides(graph[n].op) || reads_dense(graph[n].op) ||
         info(graph[n].op).group == PrimitiveClass::Region;
}

ReductionClass reduction_class(const Graph& graph, NodeIndex n) {
  const GraphNode& node = graph[n];
  const GraphNode& x = graph[node.operands[0]];
  if (node.atoms.empty()) return ReductionClass::Full;
  int last = x.rank() - 1;
  while (last >= 0 && x.dims[last] == kOne) --last;
  const bool reduced =
      std::find(node.axes.begin(), node.axes.end(), int64_t{last}) != node.axes.end();
  return reduced ? ReductionClass::Row : ReductionClass::Column;
}

ReducedLoops reduced_loops(const Graph& graph, NodeIndex n) {
  const GraphNode& node = graph[n];
  const GraphNode& x = graph[node.operands[0]];
  ReducedLoops result;
  result.operand.resize(x.atoms.size());
  const bool one_axis = info(node.op).group != PrimitiveClass::Reduction;
  const auto is_reduced = [&](int d) {
    if (one_axis) return d == node.axes[0];
    return std::find(node.axes.begin(), node.axes.end(), int64_t{d}) != node.axes.end();
  };
  for (int reduced = 0; reduced < 2; ++reduced) {
    for (int d = 0; d < x.rank(); ++d) {
      if (is_reduced(d) != (reduced == 1)) continue;
      if (reduced && x.atoms_in(d) > 0) {
        result.inner_begin = static_cast<uint32_t>(result.loops.size());
      }
      for (int i = x.starts[d]; i < x.starts[d + 1]; ++i) {
        result.operand[i] = static_cast<uint8_t>(result.loops.size());
        result.loops.push_back(x.atoms[i]);
      }
    }
    if (!reduced) result.kept = static_cast<uint32_t>(result.loops.size());
  }
  return result;
}

void place_alone(const Graph& graph, Grouping& grouping, NodeIndex n) {
  const GraphNode& node = graph[n];
  Group group;
  const auto own_loops = [&] {
    group.loops = node.atoms;
    group.kept = static_cast<uint32_t>(node.atoms.size());
    grouping.loops_of[n].clear();
    for (size_t i = 0; i < node.atoms.size(); ++i) {
      grouping.loops_of[n].push_back(static_cast<uint8_t>(i));
    }
  };
  const auto reduce = [&] {
    const ReducedLoops loops = reduced_loops(graph, n);
    group.loops = loops.loops;
    group.kept = loops.kept;
    group.inner_begin = loops.inner_begin;
    grouping.operand_loops[n] = loops.operand;
    grouping.loops_of[n].clear();
    for (uint32_t i = 0; i < loops.kept; ++i) {
      grouping.loops_of[n].push_back(static_cast<uint8_t>(i));
    }
  };
  if (is_pointwise(graph, n) || node.op == Op::Constant) {
    group.kind = GroupKind::Map;
    own_loops();
    if (node.layout.kind == Layout::Permuted) {
      // Loops in the order of memory.
      group.loops.clear();
      for (uint8_t d : node.layout.order) {
        for (int i = node.starts[d]; i < node.starts[d + 1]; ++i) {
          grouping.loops_of[n][i] = static_cast<uint8_t>(group.loops.size());
          group.loops.push_back(node.atoms[i]);
        }
      }
    }
  } else {
    switch (info(node.op).group) {
      case PrimitiveClass::Reduction: {
        reduce();
        const ReductionClass c = reduction_class(graph, n);
        group.kind = c == ReductionClass::Row      ? GroupKind::Row
                     : c == ReductionClass::Column ? GroupKind::Column
                                                   : GroupKind::Full;
        break;
      }
      case PrimitiveClass::Argument:
        reduce();
        group.kind = GroupKind::Scan;
        break;
      case PrimitiveClass::Scan:
        reduce();
        group.kind = GroupKind::Scan;
        grouping.loops_of[n] = grouping.operand_loops[n];
        break;
      case PrimitiveClass::Contraction:
        group.kind = GroupKind::Gemm;
        own_loops();
        break;
      case PrimitiveClass::Convolution:
        group.kind = GroupKind::Convolution;
        own_loops();
        break;
      case PrimitiveClass::Attention:
        group.kind = GroupKind::Attention;
        own_loops();
        break;
      case PrimitiveClass::Sort:
        group.kind = GroupKind::Sort;
        own_loops();
        break;
      case PrimitiveClass::Routine:
        group.kind = GroupKind::Routine;
        own_loops();
        break;
      case PrimitiveClass::Region:
        group.kind = node.op == Op::RegionOutput ? GroupKind::RegionOutput : GroupKind::Region;
        own_loops();
        break;
      default:
        own_loops();
        group.kind = node.op == Op::UpdateSlice ? GroupKind::UpdateSlice : GroupKind::Scatter;
        check(node.op == Op::UpdateSlice || info(node.op).group == PrimitiveClass::Index,
              ErrorKind::Internal, "{} has no place in a kernel", name_of(node.op));
    }
  }
  group.members.push_back(n);
  grouping.group_of[n] = static_cast<uint32_t>(grouping.groups.size());
  grouping.groups.push_back(std::move(group));
}

}  // namespace tenon::jit
