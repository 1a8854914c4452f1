#include "jit/plan/early.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "core/allocator.h"
#include "core/fork.h"
#include "core/log.h"
#include "core/profile.h"
#include "jit/plan/describe.h"
#include "jit/plan/narrow.h"
#include "jit/plan/record.h"

namespace tenon::jit {
namespace {

std::atomic<int64_t> least_work{50'000};

// Of work, in nanoseconds: of a machine that is fast, so that little is never taken for much.
constexpr int64_t kOperationsANanosecond = 32;  // elementwise
constexpr int64_t kProductsANanosecond = 64;
constexpr int64_t kBytesANanosecond = 16;
constexpr int64_t kMostPoints = 8;

// visit(number) for each number that the step takes from the binding.
template <class Visit>
void for_each_poly(const Step& step, Visit visit) {
  const auto visit_all = [&](const std::vector<PolyId>& polys) {
    for (PolyId p : polys) visit(p);
  };
  const auto visit_operand = [&](const StridedOperand& operand) {
    visit(operand.offset);
    visit_all(operand.strides);
    visit_all(operand.extents);
  };
  const auto visit_kernel = [&](const KernelStep& kernel) {
    visit_all(kernel.ints);
    for (PolyId p : {kernel.range, kernel.work, kernel.row}) visit(p);
  };
  if (const auto* kernel = std::get_if<KernelStep>(&step.what)) {
    visit_kernel(*kernel);
    if (kernel->narrow) visit_kernel(kernel->narrow->step);
  } else if (const auto* gemm = std::get_if<GemmStep>(&step.what)) {
    visit_operand(gemm->a);
    visit_operand(gemm->b);
  } else if (const auto* attention = std::get_if<AttentionStep>(&step.what)) {
    for (const auto& operand : attention->operands) visit_operand(operand.view);
  } else if (const auto* sort = std::get_if<SortStep>(&step.what)) {
    visit_all(sort->extents);
  }
}

// When the process ends, static variables that a step uses are next to go. So what runs is
// interrupted and waited for, within limits: exit never hangs.
class RunningSteps {
 public:
  static RunningSteps& instance() {
    static RunningSteps steps;
    return steps;
  }
  ~RunningSteps() {
    constexpr auto kLongest = std::chrono::seconds(10);
    is_closed_ = true;
    const auto start = std::chrono::steady_clock::now();
    while (count_ > 0 && std::chrono::steady_clock::now() - start < kLongest) {
      request_interrupt();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  // False when the process ends.
  bool enter() {
    ++count_;
    if (!is_closed_) return true;
    --count_;
    return false;
  }
  void leave() { --count_; }

 private:
  std::atomic<int> count_{0};
  std::atomic<bool> is_closed_{false};
};

}  // namespace

void set_early_work(int64_t nanoseconds) { least_work = nanoseconds; }
int64_t early_work() { return least_work; }

// By step, how many of the program's nodes it and the steps before it need; kNone from the first on
// that has to wait for the program's own run.
std::vector<uint32_t> Plan::early_needs(const Program& program) const {
  std::vector<uint32_t> input_nodes;
  for (uint32_t n = 0; n < program.nodes.size(); ++n) {
    if (program.nodes[n].op == Op::Input) input_nodes.push_back(n);
  }
  std::vector<uint32_t> needs(steps_.size(), kNone);
  uint32_t need = 0;
  for (size_t s = 0; s < steps_.size(); ++s) {
    const Step& step = steps_[s];
    if (std::holds_alternative<RegionStep>(step.what)) return needs;
    const auto require = [&](uint32_t node) { need = std::max(need, node + 1); };
    bool waits = false;
    for_each_buffer(step, [&](uint32_t id, bool) {
      const PlanBuffer& buffer = buffers_[memory_of(id)];
      waits |= buffer.may_reuse != kNone;
      if (buffer.input != kNone) require(input_nodes[buffer.input]);
    });
    if (waits) return needs;
    for (uint32_t source : step.sources) require(source);
    if (const auto* kernel = std::get_if<KernelStep>(&step.what)) {
      for (uint32_t source : kernel->scalars) require(source);
      for (uint32_t source : kernel->sites) require(source);
      if (kernel->narrow) {
        for (uint32_t source : kernel->narrow->step.scalars) require(source);
      }
    }
    if (const auto* attention = std::get_if<AttentionStep>(&step.what)) {
      if (attention->scale_source != kNone) require(attention->scale_source);
    }
    for_each_poly(step, [&](PolyId p) {
      algebra_.for_each_param(p, [&](const Param& param) {
        if (param.kind == Param::Attribute) require(param.node);
        if (param.kind == Param::Stride) require(input_nodes[param.node]);
      });
    });
    needs[s] = need;
  }
  return needs;
}

// A step's least time, in nanoseconds.
int64_t Plan::estimate(const Step& step, const Program& program, const Binding& binding) const {
  int64_t bytes = 0, time = 0;
  for_each_buffer(step, [&](uint32_t buffer, bool) { bytes += binding.bytes[buffer]; });
  if (const auto* kernel = std::get_if<KernelStep>(&step.what)) {
    time = binding[kernel->work] * kernel->cost / kOperationsANanosecond;
  } else {
    for (uint32_t source : step.sources) {
      time += operations_of(program, source) / kProductsANanosecond;
    }
  }
  return std::max(time, bytes / kBytesANanosecond);
}

std::vector<uint32_t> Plan::early_points(const Program& program) {
  const std::shared_ptr<const Binding> binding = bind(program);
  const std::vector<uint32_t> needs = early_needs(program);
  std::vector<int64_t> times;
  int64_t total = 0;
  for (size_t s = 0; s < steps_.size() && needs[s] < program.nodes.size(); ++s) {
    times.push_back(estimate(steps_[s], program, *binding));
    total += times.back();
  }
  const int64_t least = std::max(early_work(), total / kMostPoints);
  std::vector<uint32_t> points;
  int64_t time = 0;
  for (size_t s = 0; s < times.size(); ++s) {
    time += times[s];
    const bool is_last = s + 1 == times.size() || needs[s + 1] > needs[s];
    if (time < least || !is_last || batch_ends_[s] != s + 1) continue;
    points.push_back(needs[s]);
    time = 0;
  }
  return points;
}

std::shared_ptr<EarlyRun> Plan::begin_early(Program known) {
  if (num_threads() == 1 || in_forked_child() || is_profiling()) return nullptr;
  // Half of the room is left to whoever else runs something meanwhile.
  const int64_t bytes = bind(known)->new_bytes;
  if (static_cast<size_t>(bytes) > memory_room() / 2) return nullptr;
  try {
    return std::make_shared<Early>(*this, std::move(known));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::OutOfMemory) throw;
    return nullptr;
  }
}

std::shared_ptr<Plan::Early> Plan::take_early(Program& program, const Binding& binding) const {
  auto early = std::static_pointer_cast<Early>(std::move(program.early));
  if (!early || early->serves(*this, program, binding)) return early;
  early->drop();
  return nullptr;
}

Plan::Early::Early(Plan& plan, Program known)
    : plan_(plan), generation_(fork_generation()), running_{program, nullptr, {}, {}, {}, {}} {
  program = std::move(known);
  RunningSteps::instance();  // made after, and so destroyed before, what compiled the steps
  binding_ = running_.binding = plan.bind(program);
  {
    const std::lock_guard lock(plan.binding_mutex_);
    if (plan.early_needs_.empty()) plan.early_needs_ = plan.early_needs(program);
  }
  outputs_.resize(plan.outputs_.size());
  plan.place_new(running_, outputs_, [](std::size_t bytes) { return allocate(bytes); });
  plan.place_shared(running_);
}

void Plan::Early::set_inputs() {
  for (size_t i = 0; i < plan_.buffers_.size(); ++i) {
    const PlanBuffer& buffer = plan_.buffers_[i];
    if (buffer.input == kNone || running_.pointers[i]) continue;
    const Buffer& input = program.inputs[buffer.input];
    if (!input.storage) continue;
    const auto item = static_cast<int64_t>(size_of(buffer.dtype));
    running_.pointers[i] = static_cast<std::byte*>(input.storage->data()) + input.offset * item;
  }
}

void Plan::Early::advance(size_t nodes) {
  if (fork_generation() != generation_ || is_cancelled_) return;
  const std::shared_ptr<const Binding> binding = plan_.bind(program);
  if (!binding->has_places_of(*binding_)) return cancel();
  const std::lock_guard lock(mutex_);
  binding_ = binding;
  set_inputs();
  known_ = nodes;
  const std::vector<uint32_t>& needs = plan_.early_needs_;
  while (limit_ < needs.size() && needs[limit_] <= nodes) ++limit_;
  if (is_active_ || next_ == limit_) return;
  is_active_ = background_.start([self = shared_from_this()] { self->work(); });
}

void Plan::Early::work() {
  while (true) {
    size_t begin = 0, end = 0;
    {
      const std::lock_guard lock(mutex_);
      begin = next_;
      end = begin < limit_ ? plan_.batch_ends_[begin] : kNone;
      if (end > limit_ || is_cancelled_ || num_threads() == 1) {
        is_active_ = false;
        return;
      }
      running_.binding = binding_;
    }
    const bool is_done = run(begin, end);
    const std::lock_guard lock(mutex_);
    if (is_done) next_ = end;
    if (is_done) continue;
    is_cancelled_ = true;
  }
}

// Busy a step at a time, so that who forks waits for no more.
bool Plan::Early::run(size_t begin, size_t end) {
  const BusySection busy;
  RunningSteps& steps = RunningSteps::instance();
  if (!steps.enter()) return false;
  struct Leave {
    RunningSteps& steps;
    ~Leave() { steps.leave(); }
  } const leave{steps};
  try {
    const bool records = is_recording_events();
    if (end - begin > 1 && !records) {
      plan_.run_batch(begin, end, running_);
      return true;
    }
    for (size_t s = begin; s < end; ++s) {
      const int64_t start = records ? event_clock() : 0;
      plan_.run_step(plan_.steps_[s], running_);
      if (records) plan_.record_of(plan_.steps_[s], program, *running_.binding, start);
    }
    return true;
  } catch (const std::exception& error) {  // the program's own run meets it again
    log(Category::Flush, "an early run stopped: {}", error.what());
    has_failed_ = true;
    return false;
  }
}

void Plan::Early::stop() {
  cancel();
  if (fork_generation() != generation_) {  // its worker stayed in the parent, maybe with the lock
    has_failed_ = true;
    return;
  }
  background_.wait();
  const std::lock_guard lock(mutex_);  // what the worker wrote is seen
}

void Plan::Early::drop() {
  has_failed_ = true;
  outputs_.clear();
  running_.slab.reset();
}

bool Plan::Early::serves(const Plan& plan, const Program& real, const Binding& binding) const {
  if (&plan != &plan_ || has_failed_ || fork_generation() != generation_) return false;
  const size_t words =
      known_ < real.nodes.size() ? real.nodes[known_].axes : real.attributes.size();
  return std::equal(real.attributes.begin(), real.attributes.begin() + words,
                    program.attributes.begin()) &&
         binding.has_places_of(*binding_);
}

size_t Plan::Early::hand_over(Running& running, std::vector<Buffer>& outputs) {
  is_used = true;
  count_early(next_);
  running.pointers = std::move(running_.pointers);
  running.slab = std::move(running_.slab);
  outputs = std::move(outputs_);
  return next_;
}

}  // namespace tenon::jit
