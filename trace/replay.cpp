// Captures recorded again, as programs, and launched.
#include <algorithm>
#include <utility>

#include "trace/capture.h"
#include "trace/executor.h"
#include "trace/recorder.h"

namespace tenon {

bool is_outside_transforms() {
  const Recorder& r = recorder();
  return r.depth == 0 && r.transforms == 0 && r.scopes == 0 && r.vmaps.empty() && !r.sync_errors;
}
bool can_replay(const Capture& capture) {
  return is_outside_transforms() && recorder().blocked == capture.blocked;
}

static int64_t payload_of(const Scalar& number, DType dtype) {
  return number.is_integral() ? ops::payload(number.to_int(), dtype)
                              : ops::payload(number.to_double(), dtype);
}

std::vector<Tensor> replay(const Capture& capture, std::span<const Tensor> given,
                           std::span<const Scalar> numbers) {
  OpScope scope("compile");
  Recorder& r = recorder();
  SmallVector<Value, 32> values, operands;
  SmallVector<int64_t, 8> sizes;
  for (const Capture::Node& node : capture.nodes) {
    if (node.op == Op::Input) {
      values.push_back(scope.use(given[node.slot]));
      continue;
    }
    r.origin = node.origin;
    operands.clear();
    for (uint32_t operand : capture.operands_of(node)) operands.push_back(values[operand]);
    sizes = SmallVector<int64_t, 8>(capture.sizes_of(node));
    if (node.op == Op::RandomBits) {
      Generator& generator = default_generator();
      sizes[sizes.size() - 2] = static_cast<int64_t>(generator.seed);
      sizes[sizes.size() - 1] = static_cast<int64_t>(generator.calls++);
    } else if (node.symbol != 0) {
      sizes[0] = payload_of(numbers[node.symbol - 1], type_of(node.type).dtype);
    }
    values.push_back(
        append_masked(node.op, node.type, operands, capture.axes_of(node), sizes, node.mask));
  }
  std::vector<Tensor> results(capture.results.size());
  const auto make = [&](auto&& self, size_t i) -> const Tensor& {
    Tensor& made = results[i];
    if (made.defined()) return made;
    const Capture::Result& result = capture.results[i];
    switch (result.kind) {
      case Capture::Result::Kind::Given:
        made = given[result.source];
        break;
      case Capture::Result::Kind::Computed:
        made = scope.result(values[result.source]);
        made.cell()->version = result.version;
        break;
      case Capture::Result::Kind::View:
        made =
            make_view(self(self, result.source), result.op, result.axes, result.sizes, result.dims);
        made.cell()->view->detached = result.detached;
        break;
      case Capture::Result::Kind::Same:
        made = self(self, result.source);
        break;
      case Capture::Result::Kind::Unused:
        break;
    }
    return made;
  };
  for (size_t i = 0; i < results.size(); ++i) make(make, i);
  results.resize(capture.asked);
  return results;
}

// Leaves the nodes that results in use need.
static void drop_dead(Capture& capture) {
  std::vector<bool> live(capture.nodes.size());
  for (const Capture::Result& result : capture.results) {
    if (result.kind == Capture::Result::Kind::Computed) live[result.source] = true;
  }
  for (size_t i = capture.nodes.size(); i-- > 0;) {
    if (capture.nodes[i].op == Op::RandomBits) live[i] = true;
    if (!live[i]) continue;
    for (uint32_t operand : capture.operands_of(capture.nodes[i])) live[operand] = true;
  }
  std::vector<uint32_t> index(capture.nodes.size());
  uint32_t count = 0;
  for (size_t i = 0; i < capture.nodes.size(); ++i) {
    if (!live[i]) continue;
    for (uint32_t k = 0; k < capture.nodes[i].operand_count; ++k) {
      uint32_t& operand = capture.operands[capture.nodes[i].operands + k];
      operand = index[operand];
    }
    index[i] = count;
    capture.nodes[count++] = capture.nodes[i];
  }
  capture.nodes.resize(count);
  std::erase_if(capture.numbers, [&](const auto& number) { return !live[number.second]; });
  for (auto& [place, node] : capture.numbers) node = index[node];
  for (Capture::Result& result : capture.results) {
    if (result.kind == Capture::Result::Kind::Computed) result.source = index[result.source];
  }
}

void prune(Capture& last) {
  std::vector<bool> used(last.given.size());
  const auto note = [&](const Capture& capture) {
    for (const Capture::Node& node : capture.nodes) {
      if (node.op == Op::Input && node.slot < used.size()) used[node.slot] = true;
    }
    for (const Capture::Result& result : capture.results) {
      if (result.kind == Capture::Result::Kind::Given) used[result.source] = true;
    }
  };
  note(last);
  for (size_t k = last.before.size(); k-- > 0;) {
    const Capture::Part& part = last.before[k];
    if (part.root != Capture::kUnknown) used[part.root] = true;
    Capture& capture = *part.capture;
    for (size_t i = 0; i < capture.asked; ++i) {
      if (!used[capture.given.size() + i]) capture.results[i].kind = Capture::Result::Kind::Unused;
    }
    drop_dead(capture);
    note(capture);
  }
}

Program program_of(const Capture& capture, std::vector<uint32_t>* slots,
                   std::vector<SymbolPlace>* symbols) {
  Program program;
  constexpr uint32_t kDead = ~uint32_t{0}, kLive = kDead - 1;
  std::vector<uint32_t> index(capture.nodes.size(), kDead);
  for (const Capture::Result& result : capture.results) {
    if (result.kind == Capture::Result::Kind::Computed) index[result.source] = kLive;
  }
  for (size_t i = capture.nodes.size(); i-- > 0;) {
    if (index[i] != kLive) continue;
    const auto operands = capture.operands_of(capture.nodes[i]);
    const bool is_redirect = capture.nodes[i].op == Op::Redirect;  // reads its first operand
    for (uint32_t operand : is_redirect ? operands.first(1) : operands) index[operand] = kLive;
  }
  for (size_t i = 0; i < capture.nodes.size(); ++i) {
    if (index[i] != kLive) continue;
    const Capture::Node& node = capture.nodes[i];
    index[i] = static_cast<uint32_t>(program.nodes.size());
    ProgramNode out{};
    out.op = node.op;
    out.type = node.type;
    out.origin = node.origin;
    out.operands = static_cast<uint32_t>(program.operands.size());
    auto operands = capture.operands_of(node);
    if (node.op == Op::Redirect) {
      out.op = Op::Alias;
      operands = operands.first(1);
    }
    out.operand_count = static_cast<uint8_t>(operands.size());
    for (uint32_t operand : operands) program.operands.push_back(index[operand]);
    out.axes = static_cast<uint32_t>(program.attributes.size());
    out.axes_count = node.axes_count;
    const auto axes = capture.axes_of(node), sizes = capture.sizes_of(node);
    program.attributes.insert(program.attributes.end(), axes.begin(), axes.end());
    out.sizes = static_cast<uint32_t>(program.attributes.size());
    out.sizes_count = node.sizes_count;
    if (node.symbol != 0 && symbols) {
      symbols->push_back({node.symbol, out.sizes, type_of(node.type).dtype});
    }
    program.attributes.insert(program.attributes.end(), sizes.begin(), sizes.end());
    if (node.op == Op::Input) {
      program.inputs.push_back(Buffer{{}, 0, node.type});
      program.donatable.push_back(0);
      if (slots) slots->push_back(node.slot);
    }
    program.nodes.push_back(out);
  }
  for (const Capture::Result& result : capture.results) {
    if (result.kind != Capture::Result::Kind::Computed) continue;
    const uint32_t node = index[result.source];
    program.nodes[node].type = dense_type(program.nodes[node].type);
    const bool known = std::ranges::find(program.outputs, node) != program.outputs.end();
    if (!known) program.outputs.push_back(node);
  }
  return program;
}

Launch::Launch(const Capture& capture) {
  if (capture.draws || capture.nodes.empty() || !capture.before.empty()) return;
  for (const Capture::Result& result : capture.results) {
    if (result.kind == Capture::Result::Kind::View || result.kind == Capture::Result::Kind::Same) {
      return;
    }
  }
  program_ = program_of(capture, &slots_, &symbols_);
  // A value that is an input, or returned twice, needs the trace's care.
  size_t computed = 0;
  for (const Capture::Result& result : capture.results) {
    if (result.kind != Capture::Result::Kind::Computed) continue;
    if (capture.nodes[result.source].op == Op::Input) return;
    ++computed;
  }
  possible_ = computed > 0 && computed == program_.outputs.size();
}

std::vector<Tensor> Launch::run(const Capture& capture, std::span<const Tensor> given,
                                std::span<const Scalar> numbers) {
  if (!possible_ || busy_ || recorder().unit) return {};
  {
    TraceLock lock;
    const Recorder& r = recorder();
    const bool records_derivatives = !(r.blocked & reverse_bit(0));
    for (size_t i = 0; i < slots_.size(); ++i) {
      const Cell& cell = *given[slots_[i]].cell();
      if (cell.view || cell.segment || !cell.buffer.storage ||
          (records_derivatives && (cell.requires_grad || cell.derivative)) ||
          cell.buffer.storage->exposures.load(std::memory_order_relaxed) > 0) {
        return {};
      }
      program_.inputs[i] = cell.buffer;
      program_.inputs[i].type = cell.type;
    }
  }
  for (const SymbolPlace& at : symbols_) {
    program_.attributes[at.attribute] = payload_of(numbers[at.symbol - 1], at.dtype);
  }
  busy_ = true;
  struct Done {
    Launch& launch;
    ~Done() {
      for (Buffer& input : launch.program_.inputs) input.storage = nullptr;
      launch.busy_ = false;
    }
  } done{*this};
  std::vector<Buffer> buffers;
  try {
    buffers = run_at_once(program_);
  } catch (const DataError&) {  // recorded, it fails when it is read
    return {};
  }
  std::vector<Tensor> results;
  size_t next = 0;
  for (size_t i = 0; i < capture.asked; ++i) {
    const Capture::Result& result = capture.results[i];
    if (result.kind == Capture::Result::Kind::Given) {
      results.push_back(given[result.source]);
      continue;
    }
    const TypeId type = capture.nodes[result.source].type;
    results.push_back(from_buffer(std::move(buffers[next++])));
    results.back().cell()->type = type;
    results.back().cell()->version = result.version;
  }
  return results;
}

}  // namespace tenon
