#include "jit/plan/executor.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>

#include "core/env.h"
#include "core/fork.h"
#include "core/log.h"
#include "core/profile.h"
#include "jit/cuda/backend.h"
#include "jit/plan/by_device.h"
#include "jit/plan/key.h"
#include "jit/plan/record.h"
#include "jit/tune/tuner.h"
#include "jit/tune/winners.h"

namespace tenon::jit {
namespace {

// Plans by key, choices and mode. They are never dropped: programs and running threads point to
// them.
struct Table {
  std::shared_mutex mutex;
  std::unordered_map<Hash128, std::unique_ptr<Plan>> plans[4];  // by mode
  std::vector<std::unique_ptr<Plan>> unshared;                  // with the plan cache switched off
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

Recompute recompute_from_environment() {
  constexpr std::array<std::string_view, 3> kNames{"none", "cheap", "all"};
  return static_cast<Recompute>(env_choice("TENON_RECOMPUTE", kNames, 1));
}
std::atomic<Recompute>& current_recompute() {
  static std::atomic<Recompute> value{recompute_from_environment()};
  return value;
}

std::atomic<int64_t> threshold{int64_t{4} << 20};

// Choices forced upon all plans, and how often they changed.
struct Forced {
  std::mutex mutex;
  std::optional<Choices> choices;
  std::atomic<uint32_t> version{0};
};
Forced& forced() {
  static Forced value;
  return value;
}

// The plan of a program that comes again, as long as what enters its key is what it was.
struct Prepared {
  Mode mode;
  OptimizationSet off = disabled_optimizations();
  uint32_t forced_version = forced().version;
  Recompute level = recompute();
  int64_t threshold = recompute_threshold();
  bool tuned;  // or not to be
  Plan* plan = nullptr;
  std::unique_ptr<ProgramByDevice> by_device;  // in its place where not all is on the host
  std::vector<TypeId> input_types;
  std::vector<std::pair<uint32_t, uint32_t>> keyed;  // parts of the attributes: offset, count
  std::vector<int64_t> words;                        // their values, in order

  Prepared(const Program& program, Mode mode, bool tuned) : mode(mode), tuned(tuned) {
    if (ProgramByDevice::is_needed(program)) {
      by_device = std::make_unique<ProgramByDevice>(program);
    } else {
      plan = &plan_for(program);
    }
    for (const Buffer& input : program.inputs) input_types.push_back(input.type);
    for (const ProgramNode& node : program.nodes) {
      if (node.sizes_count == 0 || !is_keyed_by_sizes(node.op)) continue;
      keyed.emplace_back(node.sizes, node.sizes_count);
      const auto sizes = program.sizes_of(node);
      words.insert(words.end(), sizes.begin(), sizes.end());
    }
  }

  bool serves(const Program& program, Mode wanted) const {
    if (wanted != mode || off != disabled_optimizations()) return false;
    if (forced_version != forced().version.load(std::memory_order_relaxed)) return false;
    if (level != recompute() || threshold != recompute_threshold()) return false;
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

Hash128 key_with(const Program& program, const Choices& choices) {
  Hash128 key = key_of(program);
  if (const Hash128 chosen = hash_of(choices); chosen != Hash128{}) key = combine(key, chosen);
  return combine(key, {static_cast<uint64_t>(recompute_threshold()), 0});
}

Plan* find_plan(Hash128 key, Mode how) {
  Table& t = table();
  const auto& plans = t.plans[static_cast<int>(how)];
  const std::shared_lock lock(t.mutex);
  const auto it = plans.find(key);
  return it == plans.end() ? nullptr : it->second.get();
}

// What is forced upon all plans, was tuned, or else the default.
Choices choices_for(const Program& program) {
  Choices choices;
  choices.off = disabled_optimizations();
  const auto find_forced = [&] {
    if (forced().version == 0) return false;
    const std::lock_guard lock(forced().mutex);
    if (!forced().choices) return false;
    const OptimizationSet off = choices.off;
    choices = *forced().choices;
    choices.off |= off;
    return true;
  };
  if (!find_forced() && mode() == Mode::Fused && is_enabled(Optimization::TunedPlans)) {
    if (auto winner = find_winner(program)) choices = std::move(winner->choices);
  }
  choices.recompute = recompute();
  return choices;
}

class JitExecutor final : public Executor {
 public:
  std::vector<Buffer> run(Program& program) override {
    const BusySection busy;
    count_program();
    auto* prepared = static_cast<Prepared*>(program.prepared.get());
    const Mode how = mode();
    const bool tunes = how == Mode::Fused && tuning_seconds() > 0;
    if (!prepared || !prepared->serves(program, how) || (tunes && !prepared->tuned) ||
        !is_enabled(Optimization::PlanCache)) {
      if (tunes && !ProgramByDevice::is_needed(program)) tune(program);
      auto made = std::make_shared<Prepared>(program, how, tunes);
      prepared = made.get();
      program.prepared = std::move(made);
    }
    if (!prepared->by_device) return prepared->plan->run(program);
    if (!prepared->by_device->serves(program)) {
      prepared->by_device = std::make_unique<ProgramByDevice>(program);
    }
    return prepared->by_device->run(program, [this](Program& part) { return run(part); });
  }

  std::optional<std::vector<uint32_t>> early_points(const Program& program) override {
    if (ProgramByDevice::is_needed(program)) return std::vector<uint32_t>{};
    Plan* plan = known_plan(program);
    if (!plan) return std::nullopt;
    return plan->early_points(program);
  }
  std::shared_ptr<EarlyRun> begin_early(Program program) override {
    Plan* plan = known_plan(program);
    return plan ? plan->begin_early(std::move(program)) : nullptr;
  }

 private:
  // By which a program on the host would run, if it has been made.
  static Plan* known_plan(const Program& program) {
    if (!is_enabled(Optimization::PlanCache)) return nullptr;
    const auto* prepared = static_cast<const Prepared*>(program.prepared.get());
    if (prepared && prepared->serves(program, mode())) return prepared->plan;
    return find_plan(key_with(program, choices_for(program)), mode());
  }
};

}  // namespace

void set_mode(Mode mode) { current_mode() = mode; }
Mode mode() { return current_mode(); }
void set_recompute(Recompute level) { current_recompute() = level; }
Recompute recompute() { return current_recompute(); }
void set_recompute_threshold(int64_t bytes) { threshold = bytes; }
int64_t recompute_threshold() { return threshold; }

Plan& plan_for(const Program& program) {
  const BusySection busy;
  return plan_with(program, choices_for(program));
}

void force_choices(std::optional<Choices> choices) {
  const std::lock_guard lock(forced().mutex);
  forced().choices = std::move(choices);
  ++forced().version;
}

static Plan& plan_in(const Program& program, const Choices& choices, Mode how) {
  const BusySection busy;
  const Hash128 key = key_with(program, choices);
  const bool is_shared = !contains(choices.off, Optimization::PlanCache);
  if (is_shared) {
    if (Plan* plan = find_plan(key, how)) return *plan;
  }
  std::unique_ptr<Plan> plan;
  {
    ProfileSpan span(ProfileEvent::Kind::Plan, "make a plan");
    plan = std::make_unique<Plan>(program, how, choices);
  }
  count_plan();
  log(Category::Plan, "plan {}: {} nodes, {} kernels, {} of {} outputs may take an input's memory",
      to_hex(key), program.nodes.size(), plan->kernel_count(), plan->reuse_count(),
      program.outputs.size());
  Table& t = table();
  auto& plans = t.plans[static_cast<int>(how)];
  std::unique_lock lock(t.mutex);
  if (!is_shared) return *t.unshared.emplace_back(std::move(plan));
  return *plans.try_emplace(key, std::move(plan)).first->second;
}

Plan& plan_with(const Program& program, const Choices& choices) {
  return plan_in(program, choices, mode());
}

Plan& plan_for_device(const Program& program) {
  return plan_in(program, choices_for(program), Mode::Device);
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
  cuda::install_backend();
}

}  // namespace tenon::jit
