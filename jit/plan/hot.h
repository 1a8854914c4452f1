// Kernels that turn out to cost are compiled again, better, in the background.
#pragma once

#include "jit/plan/kernel_table.h"

namespace tenon::jit {

// Counts the time that a kernel runs, while this lives. The run that exceeds what a second
// compilation is worth has it made by a thread of its own. Time and not work decides: the quick
// tier may be several times slower where vectors are masked or gathered.
class RunClock {
 public:
  // operations: times elements, of this run. A short run is not timed but estimated.
  RunClock(CompiledKernel& kernel, int64_t operations);
  ~RunClock();
  RunClock(const RunClock&) = delete;
  RunClock& operator=(const RunClock&) = delete;

 private:
  CompiledKernel& kernel_;
  int64_t estimate_ = 0;  // nanoseconds
  int64_t begin_ = 0;     // 0: not timed
  bool counts_ = false;
};

// Counts time that a kernel ran without a clock of its own, in nanoseconds.
void charge(CompiledKernel& kernel, int64_t time);

// Waits until nothing is being compiled in the background (tests).
void wait_for_hot_kernels();

}  // namespace tenon::jit
