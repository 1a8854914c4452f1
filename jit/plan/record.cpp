#include "jit/plan/record.h"

#include <atomic>

#include "core/env.h"
#include "kernels/gemm.h"

namespace tenon::jit {
namespace {

std::atomic<uint64_t> programs, plans, kernels, compiled, from_disk, launches, early_steps;
std::atomic<bool> profiling{false};
thread_local std::vector<StepRecord> record;

}  // namespace

void count_launch() { launches.fetch_add(1, std::memory_order_relaxed); }
void count_plan() { plans.fetch_add(1, std::memory_order_relaxed); }
void count_program() { programs.fetch_add(1, std::memory_order_relaxed); }
void count_early(uint64_t steps) { early_steps.fetch_add(steps, std::memory_order_relaxed); }
void count_kernels(uint64_t different, uint64_t newly_compiled, uint64_t disk) {
  kernels.fetch_add(different, std::memory_order_relaxed);
  compiled.fetch_add(newly_compiled, std::memory_order_relaxed);
  from_disk.fetch_add(disk, std::memory_order_relaxed);
}

Counters counters() {
  Counters c;
  c.programs = programs;
  c.plans = plans;
  c.kernels = kernels;
  c.compiled = compiled;
  c.from_disk = from_disk;
  c.launches = launches;
  c.early_steps = early_steps;
  const kernels::Counters library = kernels::counters();
  c.library_calls = library.gemm_calls;
  c.library_primitives = library.library_primitives;
  return c;
}

std::vector<StepRecord>& begin_record(size_t steps) {
  record.clear();
  if (is_profiling()) record.reserve(steps);
  return record;
}
const std::vector<StepRecord>& last_run() { return record; }
void set_profiling(bool on) { profiling = on; }
bool is_profiling() { return profiling.load(std::memory_order_relaxed); }

}  // namespace tenon::jit
