#include "jit/plan/narrow.h"

#include "jit/plan/bind.h"

namespace tenon::jit {
namespace {

std::atomic<bool> compiles_at_once{false};

}  // namespace

void set_narrow_at_once(bool on) { compiles_at_once = on; }

Variant Plan::variant_of(const KernelStep& step, const Binding& binding) const {
  const Variant standard{&step, step.kernel, step.kernel};
  NarrowStep* const narrow = step.narrow.get();
  if (!narrow || binding[narrow->extent] > kNarrow || binding[narrow->along] < loop::kLanes) {
    return standard;
  }
  const bool at_once =
      choices_.hot || is_interpreted() || compiles_at_once.load(std::memory_order_relaxed);
  std::atomic<CompiledKernel*>& slot = narrow->kernels[at_once];
  CompiledKernel* kernel = slot.load(std::memory_order_acquire);
  if (!kernel) {  // by two threads at once: the table gives both the same
    const Compile when = is_interpreted() ? Compile::Never
                         : at_once        ? Compile::Now
                                          : Compile::Later;
    kernel = intern_kernels({narrow->code}, when,
                            choices_.hot ? llvm_jit::Tier::Hot : llvm_jit::Tier::Quick)[0];
    slot.store(kernel, std::memory_order_release);
  }
  if (!kernel->is_ready()) return {&step, step.kernel, kernel};
  return {&narrow->step, kernel, kernel};
}

}  // namespace tenon::jit
