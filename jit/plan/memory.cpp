// Plans that need less memory: what is computed again, and which plan runs where memory is short.
#include "core/allocator.h"
#include "core/error.h"
#include "core/log.h"
#include "jit/group/rematerialize.h"
#include "jit/plan/bind.h"
#include "jit/plan/early.h"
#include "jit/plan/executor.h"

namespace tenon::jit {

// Each round moves the point where most is kept.
void Plan::lower_peak(const Program& program, const GroupOptions& options) {
  constexpr int kRounds = 4;
  RematerializeOptions how;
  how.level = choices_.recompute;
  how.least_bytes = recompute_threshold();
  for (int round = 0; round < kRounds; ++round) {
    Graph graph = graph_;
    if (!rematerialize(graph, grouping_, program, how)) return;
    Grouping grouping = make_groups(graph, algebra_, options);
    const int64_t before = peak_of_temporaries(graph_, grouping_, program);
    const int64_t after = peak_of_temporaries(graph, grouping, program);
    if (after > before - before / 32 && how.least_bytes > 0) return;
    log(Category::Memory, "recomputing {} nodes: temporaries of {} bytes instead of {}",
        graph.nodes.size() - std::min(graph.nodes.size(), graph_.nodes.size()), after, before);
    graph_ = std::move(graph);
    grouping_ = std::move(grouping);
  }
}

// The plan of the same program that computes everything again, if that takes less memory.
Plan* Plan::leaner(const Program& program) {
  if (mode_ != Mode::Fused || choices_.recompute != Recompute::Cheap) return nullptr;
  Choices choices = choices_;
  choices.recompute = Recompute::All;
  Plan& plan = plan_with(program, choices);
  if (plan.mode_ != mode_) return nullptr;  // switched meanwhile
  return plan.bind(program)->slab_bytes < bind(program)->slab_bytes ? &plan : nullptr;
}

std::vector<Buffer> Plan::run(Program& program) {
  constexpr int64_t kSmall = int64_t{1} << 20;  // below, nothing is gained by asking
  std::shared_ptr<const Binding> binding = bind(program);
  std::shared_ptr<Early> early = take_early(program, *binding);
  const bool fits = early || binding->new_bytes < kSmall ||
                    static_cast<size_t>(binding->new_bytes) <= memory_room();
  Plan* plan = fits ? nullptr : leaner(program);
  if (!plan) {
    bool has_written = false;
    try {
      return run_here(program, std::move(binding), has_written, std::move(early));
    } catch (Error& error) {
      if (error.kind() != ErrorKind::OutOfMemory || has_written) throw;
      plan = leaner(program);
      if (!plan) {
        say_needs(program, error);
        throw;
      }
      log(Category::Memory, "out of memory: planned again, to compute more again");
    }
  }
  bool has_written = false;
  try {
    return plan->run_here(program, plan->bind(program), has_written);
  } catch (Error& error) {
    if (error.kind() == ErrorKind::OutOfMemory) plan->say_needs(program, error);
    throw;
  }
}

void Plan::say_needs(const Program& program, Error& error) {
  error.append(fmt::format(
      ". This program takes {} bytes of temporaries and new results{}", bind(program)->new_bytes,
      choices_.recompute == Recompute::All ? ", whatever can be computed again" : ""));
}

}  // namespace tenon::jit
