// Generated kernels compiled for the host over an emulation of the device (emulation.h).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "jit/cuda/compiler.h"
#include "jit/loop/ir.h"

namespace tenon::test {

// All in one translation unit, so that it stays quick. What each function runs is a small grid.
std::vector<loop::KernelFunction> emulate(std::span<const loop::Kernel* const> kernels);

// What the fake driver loads in place of cubins of these kernels.
std::vector<cuda::CompiledKernel> emulated_cubins(std::span<const loop::Kernel* const> kernels);

// What went wrong in a launch since the last call, or nothing.
std::string emulation_failure();

}  // namespace tenon::test
