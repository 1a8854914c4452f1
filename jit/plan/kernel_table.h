// The kernels of this process, one for each canonical form: equal layers compile once.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "core/hash.h"
#include "jit/llvm/compiler.h"
#include "jit/loop/ir.h"

namespace tenon::jit {

struct CompiledKernel {
  loop::Kernel code;
  Hash128 hash;
  std::atomic<loop::KernelFunction> function{nullptr};    // none: interpreted, if not `later`
  bool later = false;                                     // compiled when hot, not to be run before
  std::vector<Ref<llvm_jit::CompiledCode>> machine_code;  // keeps what `function` may still run
  std::atomic<llvm_jit::Tier> tier{llvm_jit::Tier::Quick};  // of `function`
  std::atomic<int64_t> nanoseconds{0};                      // that it has run so far, see hot.h

  bool is_ready() const { return !later || function.load(std::memory_order_acquire); }
  void run(void* const* buffers, const int64_t* ints, const uint64_t* scalars, void* scratch,
           int64_t begin, int64_t end, loop::ErrorSlot* error) const {
    const loop::KernelFunction f = function.load(std::memory_order_acquire);
    if (f) {
      f(buffers, ints, scalars, scratch, begin, end, error);
    } else {
      loop::interpret(code, buffers, ints, scalars, scratch, begin, end, error);
    }
  }
};

enum class Compile : uint8_t {
  Now,
  Never,  // interpreted
  Later,  // see CompiledKernel::later
};
// Takes kernels into the table; those not met before are compiled, all at once. The results live as
// long as the process. Those wanted in the hot tier at once are apart from those that may become
// hot.
std::vector<CompiledKernel*> intern_kernels(std::vector<loop::Kernel> kernels, Compile when,
                                            llvm_jit::Tier tier = llvm_jit::Tier::Quick);

// All there are, in no order.
std::vector<CompiledKernel*> known_kernels();

}  // namespace tenon::jit
