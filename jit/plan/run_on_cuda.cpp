// A plan's kernels and matrix products on a CUDA device, queued on its stream. Other library calls
// and regions have no code for devices yet, and a plan with one is refused before anything runs.
#include <cstring>

#include "core/error.h"
#include "jit/cuda/runtime.h"
#include "jit/plan/executor.h"
#include "jit/plan/library.h"
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

// How many of the batches, from the first on, lie at equal distances, as all groups of so many do.
int64_t evenly_spaced(const kernels::GemmArgs& g) {
  const auto step = [](const int64_t* offsets, int64_t i) { return offsets[i] - offsets[i - 1]; };
  const auto is_even = [&](int64_t i, int64_t first) {
    return step(g.offsets_a, i) == step(g.offsets_a, first) &&
           step(g.offsets_b, i) == step(g.offsets_b, first);
  };
  int64_t run = 1;
  while (run < g.batch && is_even(run, 1)) ++run;
  if (g.batch % run != 0) return 1;
  for (int64_t i = run; i < g.batch; ++i) {
    if (i % run != 0 && !is_even(i, 1)) return 1;
  }
  return run;
}

class DeviceMatrices final : public MatrixLibrary {
 public:
  explicit DeviceMatrices(cuda::Runtime& device) : device_(device) {}

  bool orientation_matters(DType, const kernels::GemmShape&) const override { return true; }

  Ref<Storage> copy_densely(DType dtype, const void* data, std::span<const int64_t> extents,
                            std::span<const int64_t> strides) override {
    const tenon::Device where{tenon::Device::Kind::CUDA,
                              static_cast<int8_t>(device_.device().index())};
    int64_t last = 0;
    for (size_t d = 0; d < extents.size(); ++d) last += (extents[d] - 1) * strides[d];
    const auto bytes = static_cast<size_t>(last + 1) * size_of(dtype);
    Program program;
    program.nodes.resize(2);
    program.nodes[0].op = Op::Input;
    program.nodes[0].type = intern(dtype, where, extents, strides);
    program.nodes[1].op = Op::Alias;
    program.nodes[1].type = intern_contiguous(dtype, where, extents);
    program.nodes[1].operand_count = 1;
    program.operands = {0};
    program.outputs = {1};
    program.inputs = {
        {Storage::wrap(const_cast<void*>(data), bytes, where, {}), 0, program.nodes[0].type}};
    program.donatable = {0};
    return plan_for_device(program).run_on(device_, program)[0].storage;
  }

  void multiply(const kernels::GemmArgs& args) override {
    const auto item = static_cast<int64_t>(size_of(args.dtype));
    if (args.k == 0) {
      const auto bytes = static_cast<size_t>(args.batch * args.m * args.n * item);
      device_.stream().fill(reinterpret_cast<cuda::DeviceAddress>(args.c), 0, bytes);
      return;
    }
    if (!args.offsets_a) return device_.products().multiply(args);
    kernels::GemmArgs part = args;
    part.offsets_a = part.offsets_b = nullptr;
    part.batch = evenly_spaced(args);
    if (part.batch > 1) {
      part.stride_a = args.offsets_a[1] - args.offsets_a[0];
      part.stride_b = args.offsets_b[1] - args.offsets_b[0];
    }
    const auto at = [item](const void* data, int64_t elements) {
      return static_cast<const std::byte*>(data) + elements * item;
    };
    for (int64_t i = 0; i < args.batch; i += part.batch) {
      part.a = at(args.a, args.offsets_a[i]);
      part.b = at(args.b, args.offsets_b[i]);
      part.c = static_cast<std::byte*>(args.c) + i * args.stride_c * item;
      device_.products().multiply(part);
    }
  }

 private:
  cuda::Runtime& device_;
};

}  // namespace

std::vector<Buffer> Plan::run_on(cuda::Runtime& device, Program& program) {
  device.device().make_current();
  Running running{program, bind(program), {}, {}, {}, {}};
  std::vector<size_t> fallible;
  std::vector<cuda::Runtime::Code> codes;
  for (size_t s = 0; s < steps_.size(); ++s) {
    const auto* kernel = std::get_if<KernelStep>(&steps_[s].what);
    if (std::holds_alternative<GemmStep>(steps_[s].what)) {
      device.products();  // or the reason why there are none
      continue;
    }
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
  DeviceMatrices matrices(device);
  for (size_t s = 0; s < steps_.size(); ++s) {
    if (const auto* product = std::get_if<GemmStep>(&steps_[s].what)) {
      multiply_with(*product, running, matrices);
      continue;
    }
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
