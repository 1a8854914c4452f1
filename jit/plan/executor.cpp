#include "jit/plan/executor.h"

#include <algorithm>
#include <array>
#include <shared_mutex>
#include <unordered_map>

#include "core/env.h"
#include "core/fork.h"
#include "core/log.h"
#include "core/profile.h"
#include "jit/plan/key.h"
#include "jit/plan/record.h"

namespace tenon::jit {
namespace {

// Plans by key and mode. They are never dropped: programs and running threads point to them.
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

// The plan of a program that comes again, as long as what enters its key is what it was.
struct Prepared {
  Mode mode;
  Plan* plan;
  std::vector<TypeId> input_types;
  std::vector<std::pair<uint32_t, uint32_t>> keyed;  // parts of the attributes: offset, count
  std::vector<int64_t> words;                        // their values, in order

  Prepared(const Program& program, Mode mode, Plan& plan) : mode(mode), plan(&plan) {
    for (const Buffer& input : program.inputs) input_types.push_back(input.type);
    for (const ProgramNode& node : program.nodes) {
      if (node.sizes_count == 0 || !is_keyed_by_sizes(node.op)) continue;
      keyed.emplace_back(node.sizes, node.sizes_count);
      const auto sizes = program.sizes_of(node);
      words.insert(words.end(), sizes.begin(), sizes.end());
    }
  }

  bool serves(const Program& program, Mode wanted) const {
    if (wanted != mode) return false;
    for (size_t i = 0; i < input_types.size(); ++i) {
      if (program.inputs[i].type != input_types[i]) return false;
    }
    const int64_t* word = words.data();
    for (const auto& [offset, count] : keyed) {
      const int64_t* sizes = program.attributes.data() + offset;
      if (!std::equal(sizes, sizes + count, word)) return false;
      word += count;
    }
    return true;
  }
};

class JitExecutor final : public Executor {
 public:
  std::vector<Buffer> run(Program& program) override {
    const BusySection busy;
    count_program();
    const auto* prepared = static_cast<const Prepared*>(program.prepared.get());
    const Mode how = mode();
    if (!prepared || !prepared->serves(program, how)) {
      auto made = std::make_shared<Prepared>(program, how, plan_for(program));
      prepared = made.get();
      program.prepared = std::move(made);
    }
    return prepared->plan->run(program);
  }
};

}  // namespace

void set_mode(Mode mode) { current_mode() = mode; }
Mode mode() { return current_mode(); }

Plan& plan_for(const Program& program) {
  const BusySection busy;
  const Mode how = mode();
  const Hash128 key = key_of(program);
  Table& t = table();
  auto& plans = t.plans[static_cast<int>(how)];
  {
    std::shared_lock lock(t.mutex);
    if (const auto it = plans.find(key); it != plans.end()) return *it->second;
  }
  std::unique_ptr<Plan> plan;
  {
    ProfileSpan span(ProfileEvent::Kind::Plan, "make a plan");
    plan = std::make_unique<Plan>(program, how);
  }
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
