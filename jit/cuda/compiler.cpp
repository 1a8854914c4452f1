#include "jit/cuda/compiler.h"

#include <cctype>
#include <chrono>
#include <memory>

#include "core/hash.h"
#include "core/log.h"
#include "core/optimizations.h"
#include "core/threads.h"
#include "jit/cache/disk_cache.h"
#include "jit/cuda/generator_hash_cuda.h"
#include "jit/cuda/lower.h"
#include "jit/cuda/nvrtc.h"

namespace tenon::cuda {

namespace {

// What objects depend on besides the kernel and the architecture.
Hash128 maker() { return hash128("nvrtc " + compiler_version() + " " TENON_GENERATOR_HASH_CUDA); }

jit::ProcessCache& cache() {
  static auto* const instance = new jit::ProcessCache("cuda", maker);
  return *instance;
}

// Kernels are named by the program's operations; profilers show the name.
std::string symbol_of(const loop::Kernel& kernel) {
  std::string symbol = "tenon_";
  for (const char c : kernel.name) symbol += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return symbol;
}

CompiledKernel compile_one(const loop::Kernel& kernel, int architecture) {
  const auto begin = std::chrono::steady_clock::now();
  const auto disk = is_enabled(Optimization::KernelCache) ? cache().get() : nullptr;
  Hash128 key = combine(hash128(loop::canonical_form(kernel)), maker());
  key.low ^= static_cast<uint64_t>(architecture);
  CompiledKernel result;
  if (auto kept = disk ? disk->load(key) : std::nullopt) {
    if (const auto info = read_cubin(*kept)) {
      result.cubin = std::move(*kept);
      result.info = *info;
      result.from_disk = true;
    }
  }
  if (!result.from_disk) {
    Compilation compilation = compile_text(kernel_text(kernel), kernel.name, architecture);
    const auto info = read_cubin(compilation.cubin);
    check(info.has_value(), ErrorKind::Internal, "{}: NVRTC {} gave a cubin that can't be read",
          kernel.name, compiler_version());
    result.cubin = std::move(compilation.cubin);
    result.log = std::move(compilation.log);
    result.info = *info;
    if (disk) disk->store(key, result.cubin);
  }
  log(result.from_disk ? Category::Cache : Category::Kernels,
      "{} {} for sm_{} in {:.2f} ms: {} registers, {} bytes of shared memory, {} of stack",
      result.from_disk ? "loaded" : "compiled", kernel.name, architecture,
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count(),
      result.info.registers, result.info.shared_bytes, result.info.stack_bytes);
  return result;
}

}  // namespace

std::vector<CompiledKernel> compile(std::span<const loop::Kernel* const> kernels,
                                    int architecture) {
  std::vector<CompiledKernel> result(kernels.size());
  parallel_for(static_cast<int64_t>(kernels.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) result[i] = compile_one(*kernels[i], architecture);
  });
  return result;
}

std::string kernel_text(const loop::Kernel& kernel) {
  return prelude() + lower(kernel, symbol_of(kernel));
}

void set_cache_folder(const std::optional<std::filesystem::path>& folder) {
  cache().set_folder(folder);
}

}  // namespace tenon::cuda
