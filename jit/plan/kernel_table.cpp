#include "jit/plan/kernel_table.h"

#include <mutex>
#include <unordered_map>

#include "core/error.h"
#include "core/optimizations.h"
#include "core/profile.h"
#include "jit/plan/record.h"

namespace tenon::jit {
namespace {

struct Table {
  std::mutex mutex;
  std::unordered_map<Hash128, std::unique_ptr<CompiledKernel>> kernels;
  uint64_t unshared = 0;
};
Table& table() {
  static Table* const instance = new Table;  // compiled code may run until the very end
  return *instance;
}

}  // namespace

std::vector<CompiledKernel*> intern_kernels(std::vector<loop::Kernel> kernels, Compile when,
                                            llvm_jit::Tier tier) {
  std::vector<CompiledKernel*> result;
  std::vector<CompiledKernel*> fresh;
  Table& t = table();
  std::lock_guard lock(t.mutex);
  for (loop::Kernel& kernel : kernels) {
    const std::vector<std::byte> form = loop::canonical_form(kernel);
    Hash128 hash = hash128(form);
    hash.high ^= static_cast<uint64_t>(when);  // they are apart
    hash.high ^= tier == llvm_jit::Tier::Hot ? 4 : 0;
    if (!is_enabled(Optimization::ShareKernels)) hash = combine(hash, {++t.unshared, 0});
    auto& slot = t.kernels[hash];
    if (!slot) {
      const std::string wrong = loop::verify(kernel);
      check(wrong.empty(), ErrorKind::Internal, "{}: {}\n{}", kernel.name, wrong,
            loop::print(kernel));
      slot = std::make_unique<CompiledKernel>();
      slot->code = std::move(kernel);
      slot->hash = hash;
      slot->later = when == Compile::Later;
      fresh.push_back(slot.get());
    }
    result.push_back(slot.get());
  }
  if (when == Compile::Later) return result;
  uint64_t compiled = 0, from_disk = 0;
  if (when == Compile::Now && !fresh.empty()) {
    std::vector<const loop::Kernel*> codes;
    for (const CompiledKernel* kernel : fresh) codes.push_back(&kernel->code);
    std::vector<Ref<llvm_jit::CompiledCode>> machine_code;
    ProfileSpan span(ProfileEvent::Kind::Compile, "compile kernels");
    try {
      machine_code = llvm_jit::compile(codes, tier);
    } catch (...) {
      for (const CompiledKernel* kernel : fresh) t.kernels.erase(kernel->hash);
      throw;
    }
    for (size_t i = 0; i < fresh.size(); ++i) {
      ++(machine_code[i]->from_disk ? from_disk : compiled);
      fresh[i]->tier.store(machine_code[i]->tier, std::memory_order_relaxed);
      fresh[i]->function.store(machine_code[i]->function, std::memory_order_release);
      fresh[i]->machine_code.push_back(std::move(machine_code[i]));
    }
  }
  count_kernels(fresh.size(), compiled, from_disk);
  return result;
}

std::vector<CompiledKernel*> known_kernels() {
  Table& t = table();
  std::lock_guard lock(t.mutex);
  std::vector<CompiledKernel*> result;
  for (const auto& [hash, kernel] : t.kernels) result.push_back(kernel.get());
  return result;
}

}  // namespace tenon::jit
