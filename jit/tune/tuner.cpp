#include "jit/tune/tuner.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <mutex>

#include "core/env.h"
#include "core/error.h"
#include "core/log.h"
#include "core/threads.h"
#include "jit/llvm/compiler.h"
#include "jit/plan/plan.h"
#include "jit/tune/winners.h"

namespace tenon::jit {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr double kWorthwhile = 0.97;  // of the time: what is less may be noise
constexpr int kMostRuns = 40, kFewestRuns = 3;
constexpr size_t kNamedSteps = 3;

thread_local std::optional<double> own_seconds;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class Profiling {
 public:
  Profiling() : before_(is_profiling()) { set_profiling(true); }
  ~Profiling() { set_profiling(before_); }

 private:
  const bool before_;
};

// By step, and in all.
struct Times {
  double all = kNever;
  std::vector<double> steps;
};

class Tuner {
 public:
  Tuner(const Program& program, double budget) : program_(program), budget_(budget) {
    program_.prepared.reset();
    std::fill(program_.donatable.begin(), program_.donatable.end(), uint8_t{0});
    default_.off = disabled_optimizations();
    default_.hot = true;
    default_.recompute = recompute();
  }

  // Nothing if the budget is too small to measure the program at all.
  std::optional<Winner> run() {
    const auto plan = make(default_);
    best_ = default_;
    {
      const std::vector<Buffer> dropped = plan->run(program_);
    }
    if (seconds_since(start_) > budget_ / 2) return std::nullopt;
    best_time_ = time(*plan, false).all;
    best_kernels_ = plan->kernels();
    choose_groups();
    choose_kernels();
    Winner winner;
    compare(*plan, winner);
    describe_program(*plan, winner);
    winner.threads = num_threads();
    winner.trials = trials_;
    winner.seconds = seconds_since(start_);
    return winner;
  }

 private:
  std::unique_ptr<Plan> make(const Choices& choices) {
    return std::make_unique<Plan>(program_, Mode::Fused, choices);
  }

  // Room for one more plan that takes as long as the longest so far, and for the comparison.
  bool has_time() const {
    return seconds_since(start_) + longest_trial_ + 8 * best_time_ < budget_;
  }

  // The least of several runs.
  Times time(Plan& plan, bool by_step) {
    std::optional<Profiling> profiling;
    if (by_step) profiling.emplace();
    Times times;
    const double slice = std::min(budget_ / 30, 0.2);
    const auto start = Clock::now();
    for (int run = 0; run < kMostRuns; ++run) {
      const auto begin = Clock::now();
      {
        const std::vector<Buffer> dropped = plan.run(program_);
      }
      const double seconds = seconds_since(begin);
      if (run == 0) continue;  // binds the plan, touches new memory
      times.all = std::min(times.all, seconds);
      if (by_step) {
        const std::vector<StepRecord>& record = last_run();
        times.steps.resize(record.size(), kNever);
        for (size_t s = 0; s < record.size(); ++s) {
          times.steps[s] = std::min(times.steps[s], record[s].seconds);
        }
      }
      if (run >= kFewestRuns && seconds_since(start) > slice) break;
      if (seconds_since(start_) > budget_) break;
    }
    ++trials_;
    return times;
  }

  // What a plan takes with other choices; nothing if it can't be had, or is the best one again.
  std::optional<double> attempt(const Choices& choices) {
    const auto begin = Clock::now();
    std::optional<double> result;
    try {
      const auto plan = make(choices);
      if (plan->kernels() != best_kernels_) {
        result = time(*plan, false).all;
        log(Category::Plan, "tuning: {:.1f} us, {:.1f} until now: {}", *result * 1e6,
            best_time_ * 1e6, describe(choices));
        if (*result < best_time_ * kWorthwhile) {
          best_ = choices;
          best_time_ = *result;
          best_kernels_ = plan->kernels();
        }
      }
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::Interrupted) throw;  // no room, or too many loops: not so
    }
    longest_trial_ = std::max(longest_trial_, seconds_since(begin));
    return result;
  }

  void choose_groups() {
    using enum Optimization;
    for (uint16_t size : {uint16_t{400}, uint16_t{200}, uint16_t{50}, uint16_t{25}}) {
      if (!has_time()) return;
      Choices choices = best_;
      choices.kernel_size = size;
      attempt(choices);
    }
    for (Optimization o : {Recompute, FuseSiblings, KeepRows, FuseRows, FuseColumns, FuseFull,
                           SelectConcatenate, InlineMovement, Hoist, ChannelsLast}) {
      if (!has_time()) return;
      if (contains(default_.off, o)) continue;
      Choices choices = best_;
      choices.off |= bit_of(o);
      attempt(choices);
    }
  }

  // One property of kernels, by the value that each group runs fastest with.
  template <class Member>
  void choose(Member KernelChoice::* member, std::initializer_list<Member> values,
              const std::vector<double>& usual, std::vector<KernelChoice>& chosen) {
    std::vector<double> least = usual;
    for (Member value : values) {
      if (!has_time()) return;
      const auto begin = Clock::now();
      Choices choices = best_;
      KernelChoice one;
      one.*member = value;
      choices.kernels = {one};
      const auto plan = make(choices);
      const std::vector<double> times = by_group(*plan, time(*plan, true));
      for (size_t g = 0; g < least.size() && g < times.size(); ++g) {
        if (times[g] < usual[g] * kWorthwhile && times[g] < least[g]) {
          least[g] = times[g];
          chosen[g].*member = value;
        }
      }
      longest_trial_ = std::max(longest_trial_, seconds_since(begin));
      log(Category::Plan, "tuning: {} in all kernels: {}", describe(choices),
          written(times, usual));
    }
  }

  static std::string written(const std::vector<double>& times, const std::vector<double>& usual) {
    std::string text;
    for (size_t g = 0; g < times.size() && g < usual.size(); ++g) {
      text += fmt::format(" {:.1f}/{:.1f}", times[g] * 1e6, usual[g] * 1e6);
    }
    return text + " us";
  }

  static std::vector<double> by_group(const Plan& plan, const Times& times) {
    std::vector<double> groups(plan.group_count(), 0.0);
    for (size_t s = 0; s < times.steps.size(); ++s) groups[plan.group_of(s)] += times.steps[s];
    return groups;
  }

  void choose_kernels() {
    if (!has_time()) return;
    const auto plan = make(best_);
    const std::vector<double> usual = by_group(*plan, time(*plan, true));
    std::vector<KernelChoice> chosen(usual.size());
    if (!contains(best_.off, Optimization::Unroll)) {
      choose<uint8_t>(&KernelChoice::unroll, {1, 2, 4}, usual, chosen);
    }
    if (llvm_jit::host_description().find("+avx512f") != std::string::npos) {
      choose<uint16_t>(&KernelChoice::vector_bits, {256}, usual, chosen);
    }
    if (num_threads() > 1) {
      choose<int8_t>(&KernelChoice::grain_shift, {-2, 2, 30}, usual, chosen);
    }
    const bool any = std::any_of(chosen.begin(), chosen.end(),
                                 [](const KernelChoice& k) { return k != KernelChoice{}; });
    if (!any) return;
    Choices choices = best_;
    choices.kernels = chosen;
    attempt_chunks(choices);
  }

  // As attempt(), also where the code is the same and only its chunks differ.
  void attempt_chunks(const Choices& choices) {
    best_kernels_.clear();
    attempt(choices);
  }

  // The best against the default, in turns; the default where it is as good.
  void compare(Plan& usual, Winner& winner) {
    winner.choices = default_;
    winner.before = winner.after = best_time_;
    if (best_ == default_) return;
    const auto plan = make(best_);
    double before = kNever, after = kNever;
    for (int round = 0; round < 3; ++round) {
      before = std::min(before, time(usual, false).all);
      after = std::min(after, time(*plan, false).all);
      if (!has_time()) break;
    }
    winner.before = before;
    winner.after = before;
    if (after >= before * kWorthwhile) return;
    winner.choices = best_;
    winner.after = after;
  }

  void describe_program(Plan& plan, Winner& winner) {
    {
      const Profiling profiling;
      const std::vector<Buffer> dropped = plan.run(program_);
    }
    std::vector<StepRecord> steps = last_run();
    std::sort(steps.begin(), steps.end(),
              [](const StepRecord& a, const StepRecord& b) { return a.seconds > b.seconds; });
    for (size_t s = 0; s < steps.size() && s < kNamedSteps; ++s) {
      winner.what += (s ? " + " : "") + steps[s].name;
    }
    if (steps.size() > kNamedSteps) {
      winner.what += fmt::format(" and {} more", steps.size() - kNamedSteps);
    }
    const Type* largest = nullptr;
    for (const ProgramNode& node : program_.nodes) {
      const Type& type = type_of(node.type);
      if (!largest || type.numel >= largest->numel) largest = &type;
    }
    if (largest) {
      winner.sizes =
          fmt::format("{}[{}]", name_of(largest->dtype), fmt::join(largest->dims(), ", "));
    }
  }

  Program program_;
  const double budget_;
  const Clock::time_point start_ = Clock::now();
  Choices default_, best_;
  double best_time_ = kNever, longest_trial_ = 0;
  std::vector<const CompiledKernel*> best_kernels_;
  int trials_ = 0;
};

}  // namespace

double tuning_seconds() {
  if (own_seconds) return *own_seconds;
  static const double always = env_flag("TENON_AUTOTUNE", false) ? usual_tuning_seconds() : 0.0;
  return always;
}

double usual_tuning_seconds() {
  static const auto seconds = env_int("TENON_AUTOTUNE_SECONDS", 5, 1, 86'400);
  return static_cast<double>(seconds);
}

std::optional<double> set_tuning_seconds(std::optional<double> seconds) {
  return std::exchange(own_seconds, seconds);
}

void tune(const Program& program) {
  if (!is_enabled(Optimization::TunedPlans) || find_winner(program)) return;
  static std::mutex one_at_a_time;  // or they would measure each other
  const std::lock_guard lock(one_at_a_time);
  if (find_winner(program)) return;
  try {
    std::optional<Winner> found = Tuner(program, tuning_seconds()).run();
    if (!found) {
      log(Category::Plan, "not tuned: it takes longer than half of {} s", tuning_seconds());
      return;
    }
    Winner& winner = *found;
    log(Category::Plan, "tuned {} in {:.2f} s: {:.1f} us, {:.1f} us by default ({})", winner.what,
        winner.seconds, winner.after * 1e6, winner.before * 1e6, describe(winner.choices));
    keep_winner(program, std::move(winner));
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::Interrupted) throw;
    log(Category::Plan, "not tuned: {}", error.what());
  }
}

}  // namespace tenon::jit
