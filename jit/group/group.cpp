#include "jit/group/group.h"

#include "core/error.h"
#include "jit/group/place.h"

namespace tenon::jit {
namespace {

Grouping make_unfused(const Graph& graph) {
  Grouping grouping;
  const size_t count = graph.nodes.size();
  grouping.group_of.assign(count, Grouping::kUnplaced);
  grouping.loops_of.resize(count);
  grouping.operand_loops.resize(count);
  grouping.stored.assign(count, 0);
  grouping.inlined.assign(count, 0);
  std::vector<uint8_t> is_output(count, 0), needs_buffers(count, 0);
  for (NodeIndex output : graph.outputs) is_output[output] = 1;
  for (NodeIndex n = 0; n < count; ++n) {
    for (size_t k = 0; k < graph[n].operands.size(); ++k) {
      if (needs_buffer(graph, n, static_cast<int>(k))) needs_buffers[graph[n].operands[k]] = 1;
    }
  }
  for (NodeIndex n = 0; n < count; ++n) {
    if (graph[n].op == Op::Input) continue;
    if (graph[n].op == Op::Constant && !is_output[n] && !needs_buffers[n]) continue;
    place_alone(graph, grouping, n);
    grouping.stored[n] = 1;
    grouping.groups.back().stores.push_back(n);
  }
  return grouping;
}

}  // namespace

Grouping make_groups(const Graph& graph, Algebra& algebra, const GroupOptions& options) {
  (void)algebra;
  (void)options;
  return make_unfused(graph);
}

std::string print(const Graph& graph, const Grouping& grouping) {
  std::string text;
  for (size_t g = 0; g < grouping.groups.size(); ++g) {
    const Group& group = grouping.groups[g];
    text += fmt::format("{} {} [", g, name_of(group.kind));
    for (size_t l = 0; l < group.loops.size(); ++l) {
      if (l == group.kept) text += l ? " | " : "| ";
      else if (l) text += " ";
      text += fmt::format("s{}", group.loops[l]);
    }
    text += "]:";
    for (NodeIndex n : group.members) {
      text += fmt::format(" {}%{}", name_of(graph[n].op), n);
      if (grouping.stored[n]) text += "!";
    }
    if (!group.note.empty()) text += " (" + group.note + ")";
    text += "\n";
  }
  return text;
}

}  // namespace tenon::jit
