// Counting and recording what runs; the public side is counters.h.
#pragma once

#include "jit/plan/counters.h"

namespace tenon::jit {

void count_launch();
void count_plan();
void count_program();
void count_early(uint64_t steps);
void count_kernels(uint64_t different, uint64_t compiled, uint64_t from_disk);
void reset_counters();
// The calling thread's list of steps, emptied.
std::vector<StepRecord>& begin_record(size_t steps);

}  // namespace tenon::jit
