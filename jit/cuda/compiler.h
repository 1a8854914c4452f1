// From kernels of the loop IR to machine code of a device, through NVRTC.
//
// In: verified kernels and an architecture. Out: cubins with one function each, kept in memory by
// their owner and on disk by jit/cache. Needs NVRTC and no device.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "jit/cuda/cubin.h"
#include "jit/loop/ir.h"

namespace tenon::cuda {

struct CompiledKernel {
  std::vector<std::byte> cubin;
  CubinInfo info;
  std::string log;  // of the compiler; empty if it came from the disk
  bool from_disk = false;
};

// Compiles all kernels, on every core. Errors as compile_text (nvrtc.h).
std::vector<CompiledKernel> compile(std::span<const loop::Kernel* const> kernels, int architecture);

// The text that is compiled for a kernel.
std::string kernel_text(const loop::Kernel& kernel);

// Uses another cache folder than the environment names; nothing: no cache.
void set_cache_folder(const std::optional<std::filesystem::path>& folder);

}  // namespace tenon::cuda
