// The CUDA devices of the process: one Runtime each, made when the device is first used.
#pragma once

#include "jit/cuda/runtime.h"

namespace tenon::cuda {

// Errors: Runtime, with the reason, where there is no such device or the process is a fork of one
// that has used CUDA.
Runtime& runtime(int index);
// Whether runtime(index) has been called.
bool is_in_use(int index);

// Makes memory of these devices what core/device_memory.h hands out.
void install_backend();

}  // namespace tenon::cuda
