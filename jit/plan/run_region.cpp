// Running regions: the plans of their bodies, bound once and launched in a loop. A step costs its
// launches and the setting of a few pointers; nothing is looked up or allocated.
#include <cstring>

#include "core/allocator.h"
#include "core/threads.h"
#include "jit/plan/running.h"
#include "trace/executor.h"
#include "trace/region.h"

namespace tenon::jit {

// A body ready to run, again and again. Inputs and outputs are row-major.
class Plan::Body {
 public:
  Body(Plan& plan, const Program& program)
      : plan_(plan), running_{program, plan.bind(program), {}, {}, {}, {}} {
    const Binding& binding = *running_.binding;
    running_.pointers.resize(plan.buffers_.size());
    if (binding.slab_bytes > 0) running_.slab = allocate(binding.slab_bytes);
    inputs_.assign(program.inputs.size(), kNone);
    for (uint32_t i = 0; i < plan.buffers_.size(); ++i) {
      const PlanBuffer& buffer = plan.buffers_[i];
      if (buffer.input != kNone) inputs_[buffer.input] = i;
      if (binding.homes[i] != kNone) {
        lodged_.push_back(i);
      } else if (binding.offsets[i] >= 0) {
        running_.pointers[i] = running_.slab->as<std::byte>() + binding.offsets[i];
      }
      if (buffer.shares != kNone) sharing_.push_back(i);
    }
    input_pointers_.resize(inputs_.size());
    output_pointers_.resize(program.outputs.size());
    for (size_t k = 0; k < program.outputs.size(); ++k) {
      bytes_.push_back(dense_bytes(type_of(program.nodes[program.outputs[k]].type)));
    }
  }

  // From input k on they are the same in every step.
  void keep_products_by_inputs_from(size_t k) {
    for (const Step& step : plan_.steps_) {
      const auto* gemm = std::get_if<GemmStep>(&step.what);
      if (!gemm) continue;
      const uint32_t input = plan_.buffers_[gemm->b.buffer].input;
      if (input != kNone && input >= k) running_.kept[gemm];
    }
  }

  int64_t input_bytes(size_t k) const {
    return dense_bytes(type_of(running_.program.inputs[k].type));
  }
  int64_t output_bytes(size_t k) const { return bytes_[k]; }
  size_t input_count() const { return inputs_.size(); }
  size_t output_count() const { return bytes_.size(); }

  void set_input(size_t k, void* memory) {
    input_pointers_[k] = memory;
    if (inputs_[k] != kNone) running_.pointers[inputs_[k]] = memory;
  }
  void set_output(size_t k, void* memory) {
    output_pointers_[k] = memory;
    const uint32_t b = plan_.outputs_[k].buffer;
    const PlanBuffer& buffer = plan_.buffers_[b];
    if (buffer.input == kNone && buffer.output == k) running_.pointers[b] = memory;
  }
  void run() {
    const Binding& binding = *running_.binding;
    for (uint32_t i : lodged_) {
      running_.pointers[i] =
          static_cast<std::byte*>(running_.pointers[binding.homes[i]]) + binding.offsets[i];
    }
    for (uint32_t i : sharing_) running_.pointers[i] = running_.pointers[plan_.memory_of(i)];
    for (const Step& step : plan_.steps_) plan_.run_step(step, running_);
    for (size_t k = 0; k < bytes_.size(); ++k) {  // an input handed on, or the same output again
      const PlanBuffer& buffer = plan_.buffers_[plan_.outputs_[k].buffer];
      if (bytes_[k] == 0 || (buffer.input == kNone && buffer.output == k)) continue;
      const void* from =
          buffer.input != kNone ? input_pointers_[buffer.input] : output_pointers_[buffer.output];
      if (from != output_pointers_[k]) {
        std::memcpy(output_pointers_[k], from, static_cast<size_t>(bytes_[k]));
      }
    }
  }

 private:
  Plan& plan_;
  Running running_;
  std::vector<uint32_t> inputs_;  // buffer of each input
  std::vector<uint32_t> sharing_, lodged_;
  std::vector<void*> input_pointers_, output_pointers_;
  std::vector<int64_t> bytes_;  // of the outputs
};

namespace {

// Memory for what a loop carries: the value of one step is read while the next is written.
class Carry {
 public:
  explicit Carry(std::span<const int64_t> bytes) {
    int64_t total = 0;
    for (int64_t b : bytes) {
      offsets_.push_back(total);
      total += (b + 63) / 64 * 64;
    }
    total_ = total;
    if (total > 0) memory_ = allocate(2 * total);
  }
  void* at(size_t k, int64_t step) const {
    return memory_ ? memory_->as<std::byte>() + (step & 1) * total_ + offsets_[k] : nullptr;
  }

 private:
  Ref<Storage> memory_;
  std::vector<int64_t> offsets_;
  int64_t total_ = 0;
};

void copy(void* to, const void* from, int64_t bytes) {
  if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
}

}  // namespace

void Plan::run_region(const RegionStep& step, Running& running) {
  const ProgramNode& node = running.program.nodes[step.source];
  const auto axes = running.program.axes_of(node);
  if (node.op == Op::Call && step.bodies.empty()) return run_call(step, running);
  const auto ids = region_ids(node.op, axes);
  const auto operand = [&](size_t k) { return running.pointers[step.operands[k]]; };
  const auto result = [&](size_t k) {
    return step.results[k] == kNone ? nullptr : running.pointers[step.results[k]];
  };
  const auto body_of = [&](size_t which) {
    return Body(*step.bodies[which], region_of(ids[which]).program);
  };
  // What nobody reads is written somewhere all the same.
  const auto unread = [&](const Body& body, size_t first) {
    std::vector<int64_t> bytes;
    for (size_t k = first; k < body.output_count(); ++k) {
      bytes.push_back(result(k) ? 0 : body.output_bytes(k));
    }
    return Carry(bytes);
  };
  try {
    if (node.op == Op::Cond || node.op == Op::Call) {
      const size_t first = node.op == Op::Cond;  // of the operands
      const bool taken = first == 0 || *static_cast<const uint8_t*>(operand(0)) != 0;
      Body body = body_of(taken ? 0 : 1);
      const Carry nowhere = unread(body, 0);
      for (size_t k = 0; k < body.input_count(); ++k) body.set_input(k, operand(k + first));
      for (size_t k = 0; k < body.output_count(); ++k) {
        body.set_output(k, result(k) ? result(k) : nowhere.at(k, 0));
      }
      body.run();
      return;
    }
    const auto carried = static_cast<size_t>(axes[0]);
    Body body = body_of(ids.size() - 1);
    std::vector<int64_t> bytes;
    for (size_t k = 0; k < carried; ++k) bytes.push_back(body.output_bytes(k));
    const Carry carry(bytes);
    std::vector<void*> now(carried);
    for (size_t k = 0; k < carried; ++k) now[k] = operand(k);

    if (node.op == Op::While) {
      body.keep_products_by_inputs_from(carried);
      Body condition = body_of(0);
      uint8_t holds = 0;
      condition.set_output(0, &holds);
      for (size_t k = carried; k < body.input_count(); ++k) body.set_input(k, operand(k));
      for (size_t k = carried; k < condition.input_count(); ++k) condition.set_input(k, operand(k));
      for (int64_t t = 0;; ++t) {
        check_interrupt();
        for (size_t k = 0; k < carried; ++k) condition.set_input(k, now[k]);
        condition.run();
        if (!holds) break;
        for (size_t k = 0; k < carried; ++k) {
          body.set_input(k, now[k]);
          now[k] = carry.at(k, t);
          body.set_output(k, now[k]);
        }
        body.run();
      }
      for (size_t k = 0; k < carried; ++k) {
        if (result(k)) copy(result(k), now[k], bytes[k]);
      }
      return;
    }

    const int64_t length = running.program.sizes_of(node)[0];
    const auto xs = static_cast<size_t>(axes[1]);
    const bool reverse = axes[2] != 0;
    body.keep_products_by_inputs_from(carried + xs);
    const Carry nowhere = unread(body, carried);
    std::vector<int64_t> x_bytes;
    for (size_t k = 0; k < xs; ++k) x_bytes.push_back(body.input_bytes(carried + k));
    for (size_t k = carried + xs; k < body.input_count(); ++k) body.set_input(k, operand(k));
    for (int64_t t = 0; t < length; ++t) {
      check_interrupt();
      const int64_t at = reverse ? length - 1 - t : t;
      for (size_t k = 0; k < carried; ++k) {
        body.set_input(k, now[k]);
        now[k] = t == length - 1 && result(k) ? result(k) : carry.at(k, t);
        body.set_output(k, now[k]);
      }
      for (size_t k = carried; k < carried + xs; ++k) {
        body.set_input(k, static_cast<std::byte*>(operand(k)) + at * x_bytes[k - carried]);
      }
      for (size_t k = carried; k < body.output_count(); ++k) {
        std::byte* const stack = static_cast<std::byte*>(result(k));
        body.set_output(k, stack ? stack + at * body.output_bytes(k) : nowhere.at(k - carried, 0));
      }
      body.run();
    }
    for (size_t k = 0; k < carried && length == 0; ++k) {
      if (result(k)) copy(result(k), now[k], bytes[k]);
    }
  } catch (const DataError& error) {  // whoever asked knows the region alone
    throw DataError(error.kind(), error.what(), node.origin);
  }
}

}  // namespace tenon::jit
