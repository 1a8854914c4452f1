// Generated kernels compiled for the host over an emulation of the device (emulation.h).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "jit/cuda/compiler.h"
#include "jit/loop/ir.h"

namespace tenon::test {

// Coroutines change stacks behind the back of sanitizers: their builds emulate nothing.
#if defined(__has_feature)
#define TENON_HAS_FEATURE(x) __has_feature(x)
#else
#define TENON_HAS_FEATURE(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    TENON_HAS_FEATURE(address_sanitizer) || TENON_HAS_FEATURE(thread_sanitizer)
inline constexpr bool kCanEmulate = false;
#else
inline constexpr bool kCanEmulate = true;
#endif

struct Emulated {
  std::vector<loop::KernelFunction> functions;  // each runs a small grid
  std::vector<cuda::CompiledKernel> cubins;     // what the fake driver loads in place of cubins
};
// All kernels in one translation unit, so that it stays quick.
Emulated emulate(std::span<const loop::Kernel* const> kernels);

// What went wrong in a launch since the last call, or nothing.
std::string emulation_failure();

}  // namespace tenon::test
