#include "jit/plan/by_device.h"

#include <algorithm>

#include "core/device_memory.h"
#include "core/error.h"
#include "jit/cuda/backend.h"
#include "jit/plan/executor.h"

namespace tenon::jit {

bool ProgramByDevice::is_needed(const Program& program) {
  return uses_devices() && std::ranges::any_of(program.nodes, [](const ProgramNode& node) {
           return !type_of(node.type).device.is_cpu();
         });
}

ProgramByDevice::ProgramByDevice(const Program& program) {
  make_copied_dense(program);
  find_stages();
  make_steps();
  find_last_uses();
}

// A number is no copy: every device can have it.
bool ProgramByDevice::is_copy(uint32_t node) const {
  if (nodes_[node].op != Op::ToDevice) return false;
  const uint32_t from = operands_of(node)[0];
  return !is_number(from) && device_of(from) != device_of(node);
}

// Puts an alias in the result's layout before each copy whose operand has another.
void ProgramByDevice::make_copied_dense(const Program& program) {
  std::vector<uint32_t> placed;
  for (const ProgramNode& from : program.nodes) {
    ProgramNode node = from;
    node.operands = static_cast<uint32_t>(operands_.size());
    for (const uint32_t operand : program.operands_of(from)) operands_.push_back(placed[operand]);
    if (node.op == Op::ToDevice) {
      const uint32_t source = operands_.back();
      node.type = dense_type(node.type);
      const Type &to = type_of(node.type), &operand = type_of(nodes_[source].type);
      if (!std::ranges::equal(to.strides(), operand.strides())) {
        ProgramNode alias{};
        alias.op = Op::Alias;
        alias.type = intern(to.dtype, operand.device, to.dims(), to.strides());
        alias.origin = node.origin;
        alias.operand_count = 1;
        alias.operands = static_cast<uint32_t>(operands_.size());
        operands_.push_back(source);
        operands_[node.operands] = static_cast<uint32_t>(nodes_.size());
        nodes_.push_back(alias);
      }
    }
    placed.push_back(static_cast<uint32_t>(nodes_.size()));
    if (node.op == Op::Input) inputs_.push_back(placed.back());
    nodes_.push_back(node);
  }
  is_output_.resize(nodes_.size());
  for (const uint32_t output : program.outputs) {
    outputs_.push_back(placed[output]);
    is_output_[placed[output]] = true;
  }
}

// A stage has a part on each device, and what must have been copied before it. Nodes are as late as
// their users allow, so that there are few values to keep between parts.
void ProgramByDevice::find_stages() {
  const auto count = static_cast<uint32_t>(nodes_.size());
  std::vector<uint32_t> earliest(count, 0);
  for (uint32_t n = 0; n < count; ++n) {
    for (const uint32_t operand : operands_of(n)) {
      const bool waits = is_copy(n) && nodes_[operand].op != Op::Input;
      earliest[n] = std::max(earliest[n], earliest[operand] + (waits ? 1 : 0));
    }
  }
  const uint32_t last = count == 0 ? 0 : std::ranges::max(earliest);
  stages_.assign(count, last);
  for (uint32_t n = count; n-- > 0;) {
    for (const uint32_t operand : operands_of(n)) {
      const bool waits = is_copy(n) && nodes_[operand].op != Op::Input;
      stages_[operand] = std::min(stages_[operand], stages_[n] - (waits ? 1 : 0));
    }
  }
  for (uint32_t n = 0; n < count; ++n) {  // in the part of its region
    if (nodes_[n].op == Op::RegionOutput) stages_[n] = stages_[operands_of(n)[0]];
  }
}

void ProgramByDevice::make_steps() {
  std::vector<Device> devices;
  for (uint32_t n = 0; n < nodes_.size(); ++n) {
    if (std::ranges::find(devices, device_of(n)) == devices.end()) devices.push_back(device_of(n));
  }
  const uint32_t last = stages_.empty() ? 0 : std::ranges::max(stages_);
  for (uint32_t stage = 0; stage <= last; ++stage) {
    for (uint32_t n = 0; n < nodes_.size(); ++n) {
      if (is_copy(n) && stages_[n] == stage) steps_.push_back({Copy{operands_of(n)[0], n}, {}});
    }
    for (const Device device : devices) {
      Part part;
      part.device = device;
      fill(part, stage);
      if (part.outputs.empty()) continue;
      last_part_ = steps_.size();
      steps_.push_back({std::move(part), {}});
    }
  }
}

// The nodes of one device and stage as a program; what they use from elsewhere becomes its inputs.
void ProgramByDevice::fill(Part& part, uint32_t stage) {
  const auto belongs = [&](uint32_t n) {
    return stages_[n] == stage && device_of(n) == part.device && nodes_[n].op != Op::Input &&
           !is_copy(n) && (!is_number(n) || is_output_[n]);
  };
  std::vector<uint8_t> is_needed(is_output_);
  for (uint32_t n = 0; n < nodes_.size(); ++n) {
    if (belongs(n)) continue;
    for (const uint32_t operand : operands_of(n)) is_needed[operand] = true;
  }
  Program& program = part.program;
  std::vector<uint32_t> placed(nodes_.size(), ~uint32_t{0});
  const auto add = [&](uint32_t n, ProgramNode node) {
    placed[n] = static_cast<uint32_t>(program.nodes.size());
    program.nodes.push_back(node);
  };
  const auto find = [&](uint32_t n) {
    if (placed[n] != ~uint32_t{0}) return placed[n];
    ProgramNode node = nodes_[n];
    if (!is_number(n)) {
      if (node.op != Op::Input) node.type = dense_type(node.type);
      node.op = Op::Input;
      node.operand_count = 0;
      node.axes_count = node.sizes_count = 0;
      part.inputs.push_back(n);
    }
    add(n, node);
    return placed[n];
  };
  for (uint32_t n = 0; n < nodes_.size(); ++n) {
    if (!belongs(n) || placed[n] != ~uint32_t{0}) continue;
    ProgramNode node = nodes_[n];
    std::vector<uint32_t> operands;
    for (const uint32_t operand : operands_of(n)) operands.push_back(find(operand));
    node.operands = static_cast<uint32_t>(program.operands.size());
    program.operands.insert(program.operands.end(), operands.begin(), operands.end());
    if (node.op == Op::ToDevice) {  // of a number, or of what is there
      node.op = Op::Alias;
      node.axes_count = 0;
    }
    const bool is_result = is_needed[n] && node.op != Op::Scan && node.op != Op::While &&
                           node.op != Op::Cond && node.op != Op::Call;
    if (is_result) node.type = dense_type(node.type);
    add(n, node);
    if (!is_result) continue;
    part.outputs.push_back(n);
    program.outputs.push_back(placed[n]);
  }
}

void ProgramByDevice::find_last_uses() {
  std::vector<size_t> last(nodes_.size(), steps_.size());
  const auto note = [&](uint32_t n, size_t step) {
    if (!is_output_[n]) last[n] = step;
  };
  for (size_t s = 0; s < steps_.size(); ++s) {
    if (const auto* copy = std::get_if<Copy>(&steps_[s].what)) {
      note(copy->from, s);
    } else {
      const Part& part = std::get<Part>(steps_[s].what);
      for (const uint32_t n : part.outputs) note(n, s);
      for (const uint32_t n : part.inputs) note(n, s);
    }
  }
  for (uint32_t n = 0; n < nodes_.size(); ++n) {
    if (last[n] < steps_.size()) steps_[last[n]].last_used.push_back(n);
  }
}

void ProgramByDevice::run_part(Step& step, const Program& program, std::vector<Buffer>& values,
                               RunOnHost run_on_host) {
  Part& part = std::get<Part>(step.what);
  Program& own = part.program;
  own.attributes = program.attributes;
  own.inputs.clear();
  own.donatable.clear();
  for (const uint32_t n : part.inputs) {
    const bool dies = std::ranges::find(step.last_used, n) != step.last_used.end();
    own.inputs.push_back(values[n]);
    if (dies) values[n] = {};
    const auto given = std::ranges::find(inputs_, n);
    const Storage& storage = *own.inputs.back().storage;
    const bool is_free = given == inputs_.end() ? storage.use_count() == 1 && storage.is_owned()
                                                : program.donatable[given - inputs_.begin()] &&
                                                      &step == &steps_[last_part_];
    own.donatable.push_back(dies && is_free);
  }
  std::vector<Buffer> results;
  if (part.device.is_cpu()) {
    results = run_on_host(own);
  } else {
    if (!part.plan) part.plan = &plan_for_device(own);
    results = part.plan->run_on(cuda::runtime(part.device.index), own);
  }
  own.inputs.clear();
  for (size_t k = 0; k < part.outputs.size(); ++k) values[part.outputs[k]] = std::move(results[k]);
}

std::vector<Buffer> ProgramByDevice::run(const Program& program, RunOnHost run_on_host) {
  std::vector<Buffer> values(nodes_.size());
  for (size_t i = 0; i < inputs_.size(); ++i) values[inputs_[i]] = program.inputs[i];
  for (Step& step : steps_) {
    if (const auto* copy = std::get_if<Copy>(&step.what)) {
      const Buffer& from = values[copy->from];
      const TypeId id = nodes_[copy->to].type;
      const auto width = static_cast<int64_t>(size_of(type_of(id).dtype));
      const auto bytes = static_cast<size_t>(dense_bytes(type_of(id)));
      Buffer to{allocate_on(type_of(id).device, bytes), 0, id};
      copy_bytes(*to.storage, 0, *from.storage, static_cast<size_t>(from.offset * width), bytes);
      values[copy->to] = std::move(to);
    } else {
      run_part(step, program, values, run_on_host);
    }
    for (const uint32_t n : step.last_used) values[n] = {};
  }
  std::vector<Buffer> outputs;
  for (const uint32_t n : outputs_) outputs.push_back(values[n]);
  return outputs;
}

}  // namespace tenon::jit
