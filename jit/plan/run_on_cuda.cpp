// A plan's kernels on a CUDA device, queued on its stream. Library calls and regions have no code
// for devices yet, and a plan with one is refused before anything runs.
#include <cstring>

#include "core/error.h"
#include "jit/cuda/runtime.h"
#include "jit/plan/narrow.h"
#include "jit/plan/record.h"
#include "jit/plan/running.h"

namespace tenon::jit {

namespace {

// One ErrorSlot a step that can fail, on the device.
class ErrorSlots {
 public:
  ErrorSlots(cuda::Runtime& device, size_t count) : device_(device), slots_(count) {
    if (count == 0) return;
    storage_ = device.allocate(bytes());
    device.stream().fill(address(0), 0, bytes());
  }

  cuda::DeviceAddress address(size_t slot) const {
    return reinterpret_cast<cuda::DeviceAddress>(storage_->data()) + slot * sizeof(loop::ErrorSlot);
  }
  // Waits for what is queued.
  const std::vector<loop::ErrorSlot>& read() {
    device_.to_host(slots_.data(), *storage_, 0, bytes());
    return slots_;
  }

 private:
  size_t bytes() const { return slots_.size() * sizeof(loop::ErrorSlot); }

  cuda::Runtime& device_;
  std::vector<loop::ErrorSlot> slots_;
  Ref<Storage> storage_;
};

}  // namespace

std::vector<Buffer> Plan::run_on(cuda::Runtime& device, Program& program) {
  device.device().make_current();
  Running running{program, bind(program), {}, {}, {}, {}};
  std::vector<size_t> fallible;
  std::vector<cuda::Runtime::Code> codes;
  for (size_t s = 0; s < steps_.size(); ++s) {
    const auto* kernel = std::get_if<KernelStep>(&steps_[s].what);
    check(kernel != nullptr, ErrorKind::NotImplemented,
          "{} is not computed on CUDA devices yet; move its operands to the CPU", steps_[s].name);
    if (steps_[s].can_fail) fallible.push_back(s);
    const CompiledKernel* code = variant_of(*kernel, *running.binding).kernel;
    codes.push_back({code->hash, &code->code});
  }
  device.load(codes);
  uint32_t first_write = kNone;
  std::vector<Buffer> outputs;
  place(running, outputs, [&](size_t bytes) { return device.allocate(bytes); }, first_write);
  ErrorSlots errors(device, fallible.size());
  size_t next_slot = 0;
  for (size_t s = 0; s < steps_.size(); ++s) {
    const auto& step = std::get<KernelStep>(steps_[s].what);
    Launch launch;
    if (prepare(step, running, launch)) {
      count_launch();
      cuda::Runtime::Arguments arguments;
      arguments.buffers = {launch.buffers.data(), launch.buffers.size()};
      arguments.ints = {launch.ints.data(), launch.ints.size()};
      arguments.scalars = {launch.scalars.data(), launch.scalars.size()};
      arguments.range = launch.range;
      const KernelStep& chosen = *variant_of(step, *running.binding).step;
      arguments.unit_elements = chosen.unit_elements;
      arguments.row = (*running.binding)[chosen.row];
      if (steps_[s].can_fail) arguments.error = errors.address(next_slot);
      device.launch(launch.kernel->hash, arguments);
    }
    next_slot += steps_[s].can_fail;
    // All that can fail has been queued, and nothing that outlives the run been written.
    if (s != last_fallible_) continue;
    const auto& slots = errors.read();
    for (size_t k = 0; k < slots.size(); ++k) {
      if (!slots[k].failed()) continue;
      running.error = slots[k];
      fail_at(std::get<KernelStep>(steps_[fallible[k]].what), running);
    }
  }
  return outputs;
}

}  // namespace tenon::jit
