// Kernels that turn out to cost are compiled again, better, in the background.
#pragma once

#include "jit/plan/kernel_table.h"

namespace tenon::jit {

// Counts work (operations times elements) done by a kernel; the call that exceeds what a second
// compilation is worth has it made by a thread of its own.
void note_work(CompiledKernel& kernel, int64_t operations);

// Waits until nothing is being compiled in the background (tests).
void wait_for_hot_kernels();

}  // namespace tenon::jit
