#include "jit/group/group.h"

#include "core/error.h"
#include "jit/group/fuse.h"
#include "jit/group/place.h"
#include "jit/schedule/access.h"

namespace tenon::jit {
namespace {

Grouping make_unfused(const Graph& graph, Grouping grouping, std::span<const uint8_t> wanted) {
  for (NodeIndex n = 0; n < graph.nodes.size(); ++n) {
    if (graph[n].op == Op::Input) continue;
    if (graph[n].op == Op::Constant && !wanted[n]) continue;
    place_alone(graph, grouping, n);
    grouping.stored[n] = 1;
  }
  return grouping;
}

}  // namespace

Grouping make_groups(const Graph& graph, Algebra& algebra, const GroupOptions& options) {
  const size_t count = graph.nodes.size();
  Grouping grouping;
  grouping.group_of.assign(count, Grouping::kUnplaced);
  grouping.loops_of.resize(count);
  grouping.operand_loops.resize(count);
  grouping.stored.assign(count, 0);
  std::vector<uint8_t> wanted(count, 0);
  for (NodeIndex output : graph.outputs) wanted[output] = 1;
  if (options.fuse) {
    grouping = fuse(graph, algebra, options, std::move(grouping), std::move(wanted));
  } else {
    for (NodeIndex n = 0; n < count; ++n) {
      if (!needs_buffers(graph, n)) continue;
      for (NodeIndex operand : graph[n].operands) {
        if (takes_strides(graph[n].op)) operand = matrix_view(graph, algebra, operand).base;
        wanted[operand] = 1;
      }
    }
    grouping = make_unfused(graph, std::move(grouping), wanted);
  }
  grouping.off = options.off;
  for (size_t g = 0; g < grouping.groups.size(); ++g) {
    Group& group = grouping.groups[g];
    if (!options.choices.empty()) {
      group.choice = options.choices[std::min(g, options.choices.size() - 1)];
    }
    for (NodeIndex n : group.members) {
      if (grouping.stored[n]) group.stores.push_back(n);
    }
  }
  return grouping;
}

std::string print(const Graph& graph, const Grouping& grouping) {
  std::string text;
  for (size_t g = 0; g < grouping.groups.size(); ++g) {
    const Group& group = grouping.groups[g];
    text += fmt::format("{} {} [", g, name_of(group.kind));
    for (size_t l = 0; l < group.loops.size(); ++l) {
      if (l) text += " ";
      if (l == group.kept) text += "| ";
      text += fmt::format("s{}", group.loops[l]);
    }
    text += "]:";
    for (NodeIndex n : group.members) {
      text += fmt::format(" %{}={}{}", n, name_of(graph[n].op), grouping.stored[n] ? "!" : "");
    }
    if (!group.note.empty()) text += " (" + group.note + ")";
    text += "\n";
  }
  return text;
}

}  // namespace tenon::jit
