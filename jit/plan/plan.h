// Plans: a program's structure turned into steps that run for any extents.
//
// In: a Program on a miss of the plan table. Out: a Plan, run for each program with that key.
// Running binds the extents, offsets and scalars of the program at hand (kept while extents stay
// the same), lays temporaries out in one slab, and launches the steps. What must hold: outputs own
// their storage; no input is written unless it is donatable and dies there, and not before
// everything that can fail on data has run.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <mutex>
#include <optional>
#include <variant>

#include "core/error.h"
#include "core/function_ref.h"
#include "jit/plan/counters.h"
#include "jit/plan/kernel_table.h"
#include "jit/schedule/schedule.h"
#include "jit/tune/choices.h"
#include "kernels/convolution.h"

namespace tenon::cuda {
class Runtime;
}

namespace tenon::jit {

class MatrixLibrary;  // library.h
struct MatrixOperand;
struct StepInfo;

// A value in memory while a plan runs.
struct PlanBuffer {
  NodeIndex node;
  bool partial;  // of a full reduction
  DType dtype;
  PolyId elements;
  uint32_t input = kNone;      // it is this input's memory
  uint32_t output = kNone;     // it is this output's storage (the first output of its node)
  uint32_t first = kNone;      // step that writes it first
  uint32_t last = 0;           // last step that touches it
  uint32_t may_reuse = kNone;  // an input that dies where this one is written, element by element
  uint32_t shares = kNone;     // lies in that buffer's memory: an update in place
};

struct NarrowStep;  // narrow.h
struct Variant;

struct KernelStep {
  CompiledKernel* kernel;
  std::vector<uint32_t> buffers;  // positions in Plan::buffers
  std::vector<PolyId> ints;
  std::vector<uint32_t> scalars;  // program nodes
  std::vector<uint32_t> sites;    // program nodes
  PolyId range, work, row;
  int64_t divide_range;
  uint32_t cost;
  int8_t grain_shift;
  bool unit_elements;
  uint32_t copy_from = kNone, copy_to = kNone;  // does nothing when these are the same memory
  std::shared_ptr<NarrowStep> narrow;           // see KernelCode::narrow
};

// An operand of a library call as a strided view of a buffer.
struct StridedOperand {
  uint32_t buffer;
  PolyId offset = 0;
  std::vector<PolyId> strides, extents;  // by atom
};
struct GemmStep {
  StridedOperand a, b;
  // Positions of atoms in a and b, by role and in the order of the result.
  std::vector<uint8_t> batch_a, batch_b, free_a, free_b, contract_a, contract_b;
  Orientation recorded_a, recorded_b;
  uint32_t result;
  DType dtype;
};
struct ConvolutionStep {
  uint32_t a, b, result;
  kernels::ConvolutionLayout layout;
  uint32_t source;  // program node, for its extents and sizes
};
// Attention or its gradients: what of them is asked for, computed together.
struct AttentionStep {
  struct Operand {
    StridedOperand view;
    uint8_t rows = 0, columns = 0;  // its atoms before rows, and before columns
  };
  std::vector<Operand> operands;        // as the primitive's, without the scale
  uint32_t scale_source, scale_buffer;  // a constant's program node, or where it lies
  std::array<uint32_t, 3> results{kNone, kNone, kNone};  // attention, normalizer; or by operand
  DType dtype;
  bool is_gradient, is_causal, has_bool_mask;
};
struct SortStep {
  uint32_t values, result;
  DType dtype;
  std::vector<PolyId> extents;  // by dimension
  int axis;
  bool descending;
};

// A routine of kernels/, for those of its results that are asked for.
struct RoutineStep {
  static constexpr size_t kMostResults = 4;
  Op op;
  uint32_t source;  // program node, for its extents and axes
  std::vector<uint32_t> operands;
  std::array<uint32_t, kMostResults> results;  // by `which`
};

// A scan, while or cond: the plans of its bodies, run in a loop here (see run_region.cpp). Or a
// call of a user's operation: its body or, without any, its kernel (run_call.cpp).
class Plan;
struct RegionStep {
  uint32_t source;  // the program's node, which names the bodies at hand
  std::vector<Plan*> bodies;
  std::vector<uint32_t> operands;
  std::vector<uint32_t> results;  // by output of the body; kNone where nobody reads it
};

struct Step {
  std::variant<KernelStep, GemmStep, ConvolutionStep, AttentionStep, SortStep, RoutineStep,
               RegionStep>
      what;
  std::string name;
  std::vector<uint32_t> sources;  // program nodes it computes
  uint32_t group = 0;
  bool can_fail = false;
};

// visit(buffer, whether a library call or region gives it) for each buffer that the step touches.
template <class Visit>
void for_each_buffer(const Step& step, Visit visit) {
  if (const auto* kernel = std::get_if<KernelStep>(&step.what)) {
    for (uint32_t buffer : kernel->buffers) visit(buffer, false);
  } else if (const auto* gemm = std::get_if<GemmStep>(&step.what)) {
    visit(gemm->a.buffer, false);
    visit(gemm->b.buffer, false);
    visit(gemm->result, true);
  } else if (const auto* convolution = std::get_if<ConvolutionStep>(&step.what)) {
    visit(convolution->a, false);
    visit(convolution->b, false);
    visit(convolution->result, true);
  } else if (const auto* attention = std::get_if<AttentionStep>(&step.what)) {
    for (const auto& operand : attention->operands) visit(operand.view.buffer, false);
    if (attention->scale_buffer != kNone) visit(attention->scale_buffer, false);
    for (uint32_t buffer : attention->results) {
      if (buffer != kNone) visit(buffer, true);
    }
  } else if (const auto* sort = std::get_if<SortStep>(&step.what)) {
    visit(sort->values, false);
    visit(sort->result, true);
  } else if (const auto* routine = std::get_if<RoutineStep>(&step.what)) {
    for (uint32_t buffer : routine->operands) visit(buffer, false);
    for (uint32_t buffer : routine->results) {
      if (buffer != kNone) visit(buffer, true);
    }
  } else {
    const auto& region = std::get<RegionStep>(step.what);
    for (uint32_t buffer : region.operands) visit(buffer, false);
    for (uint32_t buffer : region.results) {
      if (buffer != kNone) visit(buffer, true);
    }
  }
}

class Plan {
 public:
  Plan(const Program& program, Mode mode, Choices choices = {});
  // Where memory is short, by a plan that computes more again.
  std::vector<Buffer> run(Program& program);
  // The same with inputs and outputs in a CUDA device's memory, for a plan made in Mode::Device.
  // Returns when all is queued. NotImplemented where a step has no code for devices.
  std::vector<Buffer> run_on(cuda::Runtime& device, Program& program);
  // See Executor::early_points and begin_early.
  std::vector<uint32_t> early_points(const Program& program);
  std::shared_ptr<EarlyRun> begin_early(Program known);
  std::string explain() const;
  std::vector<StepInfo> describe(const Program& program);  // see jit/plan/describe.h
  size_t kernel_count() const;
  std::vector<const CompiledKernel*> kernels() const;  // by step; none for a library call
  bool uses_libraries() const {
    return std::ranges::any_of(
        steps_, [](const Step& step) { return !std::holds_alternative<KernelStep>(step.what); });
  }
  uint32_t group_of(size_t step) const { return steps_[step].group; }
  size_t group_count() const { return grouping_.groups.size(); }
  size_t reuse_count() const;  // outputs that may take an input's memory
  const Graph& graph() const { return graph_; }
  const Grouping& grouping() const { return grouping_; }
  // Of the last binding: bytes of the slab, of what libraries take while they run, and of outputs.
  int64_t peak_bytes() const;

 private:
  struct Binding;
  struct Running;
  class Body;
  class Early;
  class Occupancy;
  void lower_peak(const Program& program, const GroupOptions& options);
  // `has_written`: set before memory that outlives the run is written.
  // What has run early is not run again.
  std::vector<Buffer> run_here(Program& program, std::shared_ptr<const Binding> binding,
                               bool& has_written, std::shared_ptr<Early> early = nullptr);
  std::shared_ptr<Early> take_early(Program& program, const Binding& binding) const;
  // Gives every buffer that has none its memory, and the outputs. `first_write` becomes the first
  // step that writes memory which outlives the run, if one does.
  using Allocate = FunctionRef<Ref<Storage>(std::size_t)>;
  void place(Running& running, std::vector<Buffer>& outputs, Allocate allocate,
             uint32_t& first_write) const;
  void place_new(Running& running, std::vector<Buffer>& outputs, Allocate allocate) const;
  void place_shared(Running& running) const;
  std::vector<uint32_t> early_needs(const Program& program) const;
  int64_t estimate(const Step& step, const Program& program, const Binding& binding) const;
  Plan* leaner(const Program& program);
  void say_needs(const Program& program, Error& error);
  void make_steps(const Program& program);
  KernelStep kernel_step(const KernelCode& code);
  void add_narrow(KernelCode& code, KernelStep& step);
  Variant variant_of(const KernelStep& step, const Binding& binding) const;
  void add_gemm(uint32_t group);
  void add_convolution(uint32_t group);
  void add_attention(uint32_t group, std::vector<uint8_t>& is_done);
  // Adds the results of nodes of entry.group's kind that its step computes, too: place_of(node) is
  // where in `results`, or nothing for a node of another step.
  void take_siblings(Step& entry, std::span<uint32_t> results, std::vector<uint8_t>& is_done,
                     FunctionRef<std::optional<size_t>(const GraphNode&)> place_of);
  void add_sort(uint32_t group);
  void add_routine(uint32_t group, std::vector<uint8_t>& is_done);
  void add_region(const Program& program, uint32_t group);
  uint32_t buffer_of(NodeIndex n, bool partial);
  StridedOperand strided(NodeIndex n);
  void find_lifetimes();
  void find_reuse();
  void find_batches();
  void share_copies();
  uint32_t memory_of(uint32_t buffer) const;
  std::shared_ptr<const Binding> bind(const Program& program);
  void lodge_in_outputs(std::span<const uint32_t> order, Binding& binding) const;
  void fill_slab(std::span<const uint32_t> order, Binding& binding) const;
  StepRecord record_of(const Step& step, const Program& program, const Binding& binding,
                       int64_t start) const;
  struct Launch;
  bool prepare(const KernelStep& step, const Running& running, Launch& launch) const;
  void run_kernel(const KernelStep& step, const Step& info, Running& running);
  void run_batch(size_t begin, size_t end, Running& running);
  MatrixOperand view_of(const StridedOperand& from, const Binding& binding) const;  // no data
  static void set_roles(const GemmStep& step, MatrixOperand& a, MatrixOperand& b);
  int64_t scratch_of(const Step& step, const Program& program, const Binding& binding) const;
  int64_t attention_scratch(const AttentionStep& step, const Binding& binding) const;
  MatrixOperand bound(const StridedOperand& from, const Running& running) const;
  void run_gemm(const GemmStep& step, Running& running);
  void multiply_with(const GemmStep& step, Running& running, MatrixLibrary& library) const;
  void run_convolution(const ConvolutionStep& step, Running& running);
  void run_attention(const AttentionStep& step, Running& running);
  void run_sort(const SortStep& step, Running& running);
  void run_routine(const RoutineStep& step, Running& running);
  void run_region(const RegionStep& step, Running& running);
  void run_call(const RegionStep& step, Running& running);
  void run_step(const Step& step, Running& running);
  [[noreturn]] void fail_at(const KernelStep& step, const Running& running) const;

  struct OutputPlace {
    uint32_t buffer;
  };

  bool does(Optimization o) const { return !contains(choices_.off, o); }

  bool fuses() const { return mode_ == Mode::Fused || mode_ == Mode::Device; }
  bool is_interpreted() const { return mode_ == Mode::Interpret || mode_ == Mode::Device; }

  Mode mode_;
  Choices choices_;
  Graph graph_;
  Algebra algebra_;
  Grouping grouping_;
  std::vector<PlanBuffer> buffers_;
  std::vector<uint32_t> buffer_ids_;  // node * 2 + partial -> position
  std::vector<Step> steps_;
  std::vector<std::vector<KernelCode::Touch>> loads_, stores_;  // by step
  std::vector<size_t> batch_ends_;  // by step: past the last one that is launched with it
  std::vector<OutputPlace> outputs_;
  std::vector<Param> params_;
  uint32_t last_fallible_ = kNone;
  mutable std::mutex binding_mutex_;
  std::shared_ptr<const Binding> binding_;
  std::vector<uint32_t> early_needs_;  // see early.cpp
};

}  // namespace tenon::jit
