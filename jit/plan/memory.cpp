// Plans that need less memory: what is computed again, and which plan runs where memory is short.
#include "core/allocator.h"
#include "core/log.h"
#include "jit/group/rematerialize.h"
#include "jit/plan/executor.h"

namespace tenon::jit {

// Each round moves the point where most is kept.
void Plan::lower_peak(const Program& program, const GroupOptions& options) {
  constexpr int kRounds = 4;
  RematerializeOptions how;
  how.level = level_;
  for (int round = 0; round < kRounds; ++round) {
    Graph graph = graph_;
    if (!rematerialize(graph, grouping_, program, how)) return;
    Grouping grouping = make_groups(graph, algebra_, options);
    const int64_t before = peak_of_temporaries(graph_, grouping_, program);
    const int64_t after = peak_of_temporaries(graph, grouping, program);
    if (after > before - before / 32) return;
    log(Category::Memory, "recomputing {} nodes: temporaries of {} bytes instead of {}",
        graph.nodes.size() - std::min(graph.nodes.size(), graph_.nodes.size()), after, before);
    graph_ = std::move(graph);
    grouping_ = std::move(grouping);
  }
}

}  // namespace tenon::jit
