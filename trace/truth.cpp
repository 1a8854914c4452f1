// The booleans that a proof reads.
#include <algorithm>

#include "trace/capture.h"
#include "trace/executor.h"
#include "trace/recorder.h"

namespace tenon {

static bool is_nonzero(const Buffer& buffer) {
  // Nothing of the trace is read: a tensor of its own, whose value there is.
  const Tensor x = from_buffer(buffer);
  const DType dtype = x.dtype();
  if (is_complex(dtype)) return x.item<bool>();
  return is_integral(dtype, true) ? x.item_int() != 0 : x.item_double() != 0;
}

std::optional<bool> Unit::truth_of(const Tensor& x) {
  struct Pause {  // what is computed here is no part of what the unit watches
    int& effects;
    explicit Pause(int& count) : effects(++count) {}
    ~Pause() { --effects; }
  } pause(effects_);
  std::vector<Tensor> wanted{x};
  std::vector<uint32_t> sources;  // of the program's outputs
  Ref<Capture> recorded;
  Program program;
  {
    TraceLock lock;
    const Segment& segment = *recorder().segment;
    const Cell& cell = *x.cell();
    if (x.numel() != 1 || cell.view || cell.segment != &segment) return std::nullopt;
    if (const auto at = known_.find(cell.node); at != known_.end()) return is_nonzero(at->second);
    for (Tensor& made : made_since_begin()) {
      const NodeId node = made.cell()->node;
      const bool is_new = segment.nodes[node].op != Op::Input && !known_.contains(node);
      if (is_new && !made.same(x)) wanted.push_back(std::move(made));
    }
    recorded = capture(wanted);
    if (recorded->results.size() != wanted.size()) return std::nullopt;
    for (const Capture::Result& result : recorded->results) {
      if (result.kind != Capture::Result::Kind::Computed) return std::nullopt;
      if (recorded->nodes[result.source].op == Op::Input) return std::nullopt;
      const bool is_first = std::ranges::find(sources, result.source) == sources.end();
      if (is_first) sources.push_back(result.source);
    }
    std::vector<uint32_t> slots;
    program = program_of(*recorded, &slots);
    for (size_t i = 0; i < slots.size(); ++i) {
      if (slots[i] < Capture::kFirstKept || slots[i] == Capture::kUnknown) return std::nullopt;
      program.inputs[i] = recorded->kept[slots[i] - Capture::kFirstKept];
      if (!program.inputs[i].storage) return std::nullopt;
    }
  }
  const std::vector<Buffer> values = run_at_once(program);
  for (size_t i = 0; i < wanted.size(); ++i) {
    const auto at = std::ranges::find(sources, recorded->results[i].source) - sources.begin();
    known_.emplace(wanted[i].cell()->node, values[static_cast<size_t>(at)]);
  }
  return is_nonzero(values[0]);
}

}  // namespace tenon
