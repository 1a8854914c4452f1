#include "jit/plan/executor.h"

#include <array>
#include <shared_mutex>
#include <unordered_map>

#include "core/env.h"
#include "core/log.h"
#include "jit/plan/key.h"
#include "jit/plan/record.h"

namespace tenon::jit {
namespace {

// Plans by key and mode. They are never dropped: programs hold no pointer into them, but running
// threads do.
struct Table {
  std::shared_mutex mutex;
  std::unordered_map<Hash128, std::unique_ptr<Plan>> plans[3];
};
Table& table() {
  static Table* const instance = new Table;  // outlives threads that still run at exit
  return *instance;
}

Mode mode_from_environment() {
  constexpr std::array<std::string_view, 3> kNames{"fused", "unfused", "interpret"};
  return static_cast<Mode>(env_choice("TENON_JIT", kNames, 0));
}
std::atomic<Mode>& current_mode() {
  static std::atomic<Mode> value{mode_from_environment()};
  return value;
}

class JitExecutor final : public Executor {
 public:
  std::vector<Buffer> run(Program& program) override {
    count_program();
    return plan_for(program).run(program);
  }
};

}  // namespace

void set_mode(Mode mode) { current_mode() = mode; }
Mode mode() { return current_mode(); }

Plan& plan_for(const Program& program) {
  const Mode how = mode();
  const Hash128 key = key_of(program);
  Table& t = table();
  auto& plans = t.plans[static_cast<int>(how)];
  {
    std::shared_lock lock(t.mutex);
    if (const auto it = plans.find(key); it != plans.end()) return *it->second;
  }
  auto plan = std::make_unique<Plan>(program, how);
  count_plan();
  log(Category::Plan, "plan {}: {} nodes, {} kernels, {} of {} outputs may take an input's memory",
      to_hex(key), program.nodes.size(), plan->kernel_count(), plan->reuse_count(),
      program.outputs.size());
  std::unique_lock lock(t.mutex);
  return *plans.try_emplace(key, std::move(plan)).first->second;
}

std::string explain(const Program& program) { return plan_for(program).explain(); }

void clear_plans() {
  Table& t = table();
  std::unique_lock lock(t.mutex);
  for (auto& plans : t.plans) plans.clear();
}

void install() {
  static JitExecutor executor;
  set_executor(&executor);
}

}  // namespace tenon::jit
