// Running plans: memory, library calls, errors. Kernels are launched in launch.cpp.
#include <algorithm>

#include "core/allocator.h"
#include "core/error.h"
#include "core/profile.h"
#include "core/threads.h"
#include "jit/plan/bind.h"
#include "jit/plan/describe.h"
#include "jit/plan/early.h"
#include "jit/plan/library.h"
#include "jit/plan/record.h"
#include "jit/plan/running.h"
#include "trace/executor.h"
#include "trace/origin.h"

namespace tenon::jit {

void Plan::fail_at(const KernelStep& step, const Running& running) const {
  const uint32_t source = step.sites[running.error.site];
  const ProgramNode& node = running.program.nodes[source];
  std::string where = describe_origin(node.origin);
  if (!where.empty()) where = " (recorded at " + where + ")";
  const auto code = static_cast<loop::CheckCode>(running.error.code);
  if (code == loop::CheckCode::IndexOutOfRange) {
    const Type& type = type_of(running.program.nodes[running.program.operands[node.operands]].type);
    const int64_t axis = running.program.axes_of(node)[0];
    throw DataError(
        ErrorKind::IndexOutOfRange,
        fmt::format("{}: index {} is out of bounds for dimension {} with size {}{}",
                    tenon::name_of(node.op), running.error.value, axis, type.dims()[axis], where),
        node.origin);
  }
  throw DataError(ErrorKind::ZeroDivision,
                  fmt::format("{}: integer division by zero{}", tenon::name_of(node.op), where),
                  node.origin);
}

MatrixOperand Plan::bound(const StridedOperand& from, const Running& running) const {
  const Binding& binding = *running.binding;
  const auto item = static_cast<int64_t>(size_of(buffers_[from.buffer].dtype));
  MatrixOperand x = view_of(from, binding);
  x.data =
      static_cast<const std::byte*>(running.pointers[from.buffer]) + binding[from.offset] * item;
  return x;
}

void Plan::set_roles(const GemmStep& step, MatrixOperand& a, MatrixOperand& b) {
  a.batch = step.batch_a, a.free = step.free_a, a.contract = step.contract_a;
  b.batch = step.batch_b, b.free = step.free_b, b.contract = step.contract_b;
  a.recorded = step.recorded_a, b.recorded = step.recorded_b;
}

void Plan::run_gemm(const GemmStep& step, Running& running) {
  multiply_with(step, running, matrices_on_host());
}

void Plan::multiply_with(const GemmStep& step, Running& running, MatrixLibrary& library) const {
  MatrixOperand a = bound(step.a, running), b = bound(step.b, running);
  set_roles(step, a, b);
  const auto kept = running.kept.find(&step);
  multiply(step.dtype, a, b, running.pointers[step.result],
           kept == running.kept.end() ? nullptr : &kept->second, library);
}

void Plan::run_convolution(const ConvolutionStep& step, Running& running) {
  const Program& program = running.program;
  const ProgramNode& node = program.nodes[step.source];
  const auto operands = program.operands_of(node);
  convolve(type_of(program.nodes[operands[0]].type), type_of(program.nodes[operands[1]].type),
           type_of(node.type), program.axes_of(node)[0], program.sizes_of(node), step.layout,
           running.pointers[step.a], running.pointers[step.b], running.pointers[step.result]);
}

void Plan::run_sort(const SortStep& step, Running& running) {
  SmallVector<int64_t, 8> dims;
  for (PolyId p : step.extents) dims.push_back((*running.binding)[p]);
  sort_along(step.dtype, running.pointers[step.values],
             static_cast<int64_t*>(running.pointers[step.result]), dims, step.axis,
             step.descending);
}

StepRecord Plan::record_of(const Step& step, const Program& program, const Binding& binding,
                           int64_t start) const {
  StepRecord entry;
  const int64_t end = event_clock();
  entry.name = step.name;
  entry.seconds = static_cast<double>(end - start) * 1e-9;
  for_each_buffer(step, [&](uint32_t buffer, bool) { entry.bytes += binding.bytes[buffer]; });
  for (uint32_t source : step.sources) {
    entry.origins.push_back(program.nodes[source].origin);
    entry.operations += operations_of(program, source);
  }
  if (is_recording_events()) {
    const bool is_kernel = std::holds_alternative<KernelStep>(step.what);
    add_event({is_kernel ? ProfileEvent::Kind::Kernel : ProfileEvent::Kind::Library, entry.name,
               start, end, 0, entry.bytes, entry.operations, entry.origins});
  }
  return entry;
}

void Plan::run_step(const Step& step, Running& running) {
  if (const auto* kernel = std::get_if<KernelStep>(&step.what)) {
    run_kernel(*kernel, step, running);
  } else if (const auto* gemm = std::get_if<GemmStep>(&step.what)) {
    run_gemm(*gemm, running);
  } else if (const auto* convolution = std::get_if<ConvolutionStep>(&step.what)) {
    run_convolution(*convolution, running);
  } else if (const auto* attention = std::get_if<AttentionStep>(&step.what)) {
    run_attention(*attention, running);
  } else if (const auto* sort = std::get_if<SortStep>(&step.what)) {
    run_sort(*sort, running);
  } else if (const auto* routine = std::get_if<RoutineStep>(&step.what)) {
    run_routine(*routine, running);
  } else {
    run_region(std::get<RegionStep>(step.what), running);
  }
}

namespace {

// Memory for what libraries allocate after something that outlives the run has been written: had
// before, so that a run fails for want of it while nothing has changed.
class ScratchReserve {
 public:
  explicit ScratchReserve(const std::vector<int64_t>& scratch) : scratch_(scratch) {}
  // For the steps from s on.
  void hold_from(size_t s) {
    const auto most = std::max_element(scratch_.begin() + s, scratch_.end());
    if (most != scratch_.end() && *most > 0) memory_ = allocate(static_cast<size_t>(*most));
  }
  // Step s is about to run, or has.
  void lend_to(size_t s) {
    if (scratch_[s] > 0) memory_.reset();
  }
  void take_back_from(size_t s) {
    if (scratch_[s] == 0) return;
    try {
      hold_from(s + 1);
    } catch (const Error&) {  // another thread was faster; a later step may still find its own
    }
  }

 private:
  const std::vector<int64_t>& scratch_;
  Ref<Storage> memory_;
};

// Which inputs share their storage with another one; worked out when first asked.
class InputStorages {
 public:
  explicit InputStorages(const Program& program) : program_(program) {}
  bool is_alone(const Buffer& input) {
    if (all_.empty()) {
      for (const Buffer& each : program_.inputs) all_.push_back(each.storage.get());
      std::ranges::sort(all_);
    }
    return std::ranges::equal_range(all_, input.storage.get()).size() == 1;
  }

 private:
  const Program& program_;
  std::vector<const Storage*> all_;
};

}  // namespace

// The slab, and outputs that take no input's memory.
void Plan::place_new(Running& running, std::vector<Buffer>& outputs, Allocate allocate) const {
  const Program& program = running.program;
  const Binding& binding = *running.binding;
  running.pointers.resize(buffers_.size());
  if (binding.slab_bytes > 0 && !running.slab) running.slab = allocate(binding.slab_bytes);
  for (size_t i = 0; i < buffers_.size(); ++i) {
    const PlanBuffer& buffer = buffers_[i];
    if (buffer.input != kNone) continue;
    if (buffer.output == kNone) {
      if (binding.offsets[i] < 0 || binding.homes[i] != kNone) continue;
      running.pointers[i] = running.slab->as<std::byte>() + binding.offsets[i];
    } else if (buffer.may_reuse == kNone) {
      Buffer& output = outputs[buffer.output];
      output.type = program.nodes[program.outputs[buffer.output]].type;
      if (!output.storage) output.storage = allocate(binding.bytes[i]);
      running.pointers[i] = output.storage->data();
    }
  }
}

// What lies in the memory of what has been placed.
void Plan::place_shared(Running& running) const {
  const Binding& binding = *running.binding;
  for (size_t i = 0; i < buffers_.size(); ++i) {
    if (binding.homes[i] == kNone) continue;
    running.pointers[i] =
        static_cast<std::byte*>(running.pointers[binding.homes[i]]) + binding.offsets[i];
  }
  for (uint32_t i = 0; i < buffers_.size(); ++i) {
    if (buffers_[i].shares != kNone) running.pointers[i] = running.pointers[memory_of(i)];
  }
}

void Plan::place(Running& running, std::vector<Buffer>& outputs, Allocate allocate,
                 uint32_t& first_write) const {
  const Program& program = running.program;
  outputs.resize(outputs_.size());
  place_new(running, outputs, allocate);
  InputStorages storages(program);
  for (size_t i = 0; i < buffers_.size(); ++i) {
    const PlanBuffer& buffer = buffers_[i];
    const int64_t item = static_cast<int64_t>(size_of(buffer.dtype));
    if (buffer.input != kNone) {
      const Buffer& input = program.inputs[buffer.input];
      running.pointers[i] = static_cast<std::byte*>(input.storage->data()) + input.offset * item;
      if (buffer.output != kNone) outputs[buffer.output] = input;
    } else if (buffer.output != kNone && buffer.may_reuse != kNone) {
      Buffer& output = outputs[buffer.output];
      output.type = program.nodes[program.outputs[buffer.output]].type;
      const uint32_t from = buffers_[buffer.may_reuse].input;
      const Buffer& input = program.inputs[from];
      if (program.donatable[from] && storages.is_alone(input) &&
          type_of(input.type).numel == type_of(output.type).numel) {
        output.storage = input.storage;
        output.offset = input.offset;
        first_write = std::min(first_write, buffer.first);
      } else {
        output.storage = allocate(running.binding->bytes[i]);
      }
      running.pointers[i] = static_cast<std::byte*>(output.storage->data()) + output.offset * item;
    }
  }
  place_shared(running);
  for (size_t k = 0; k < outputs_.size(); ++k) {
    if (outputs[k].storage) continue;
    const uint32_t first = buffers_[outputs_[k].buffer].output;
    outputs[k] = outputs[first];
    outputs[k].type = program.nodes[program.outputs[k]].type;
  }
}

std::vector<Buffer> Plan::run_here(Program& program, std::shared_ptr<const Binding> bound,
                                   bool& has_written, std::shared_ptr<Early> early) {
  Running running{program, std::move(bound), {}, {}, {}, {}};
  const Binding& binding = *running.binding;
  std::vector<Buffer> outputs;
  const size_t first_step = early ? early->hand_over(running, outputs) : 0;
  uint32_t first_write = kNone;
  place(running, outputs, [](std::size_t bytes) { return allocate(bytes); }, first_write);

  ScratchReserve reserve(binding.scratch);

  const bool profiling = is_profiling() || is_recording_events();
  std::vector<StepRecord>& record = begin_record(steps_.size());
  std::optional<InterruptGuard> guard;
  for (size_t s = first_step, end = 0; s < steps_.size(); s = end) {
    end = profiling ? s + 1 : batch_ends_[s];  // each by itself where its time is asked for
    if (!guard && end > first_write) {
      reserve.hold_from(s);
      guard.emplace();
      has_written = true;
    }
    if (!guard) check_interrupt();
    if (end - s > 1) {
      run_batch(s, end, running);
      continue;
    }
    const int64_t start = profiling ? event_clock() : 0;
    if (guard) reserve.lend_to(s);
    run_step(steps_[s], running);
    if (guard) reserve.take_back_from(s);
    if (profiling) record.push_back(record_of(steps_[s], program, binding, start));
  }
  return outputs;
}

}  // namespace tenon::jit
