// Binding: from extents to numbers, and where temporaries lie.
#include "jit/plan/bind.h"

#include <algorithm>

#include "core/error.h"

namespace tenon::jit {
namespace {

constexpr int64_t kAlign = 64;
int64_t round_up(int64_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

}  // namespace

std::shared_ptr<const Plan::Binding> Plan::bind(const Program& program) {
  const std::vector<Param>& params = algebra_.params();
  thread_local std::vector<int64_t> numbers;
  numbers.resize(params.size());
  for (size_t i = 0; i < params.size(); ++i) {
    const Param& p = params[i];
    switch (p.kind) {
      case Param::Extent: {
        const SymbolInfo& symbol = graph_.symbols[p.node];
        numbers[i] = type_of(program.nodes[symbol.source].type).dims_[symbol.dim];
        break;
      }
      case Param::Attribute:
        numbers[i] = program.attributes[program.nodes[p.node].sizes + p.at];
        break;
      case Param::Stride:
        numbers[i] = type_of(program.inputs[p.node].type).strides_[p.at];
        break;
    }
  }
  {
    std::lock_guard lock(binding_mutex_);
    if (binding_ && binding_->params == numbers && does(Optimization::BindingCache)) {
      return binding_;
    }
  }
  auto binding = std::make_shared<Binding>();
  binding->params = numbers;
  binding->values.resize(algebra_.poly_count());
  for (PolyId p = 0; p < binding->values.size(); ++p) {
    binding->values[p] = algebra_.evaluate(p, numbers);
  }

  // Temporaries by first fit over their lifetimes, in the order in which they come to life.
  binding->bytes.resize(buffers_.size());
  binding->offsets.assign(buffers_.size(), -1);
  std::vector<uint32_t> order;
  for (uint32_t i = 0; i < buffers_.size(); ++i) {
    const PlanBuffer& buffer = buffers_[i];
    int64_t elements = binding->values[buffer.elements];
    if (buffer.partial) elements = (elements + kFullChunk - 1) / kFullChunk;
    binding->bytes[i] = elements * static_cast<int64_t>(size_of(buffer.dtype));
    if (buffer.output != kNone) binding->output_bytes += binding->bytes[i];
    const bool is_temporary = buffer.input == kNone && buffer.output == kNone &&
                              buffer.shares == kNone && buffer.first != kNone;
    if (is_temporary) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return buffers_[a].first < buffers_[b].first; });
  std::vector<uint32_t> live;  // placed and not dead, by offset
  for (uint32_t id : order) {
    std::erase_if(live, [&](uint32_t other) { return buffers_[other].last < buffers_[id].first; });
    const int64_t bytes = round_up(std::max<int64_t>(binding->bytes[id], 1));
    int64_t offset = 0;
    size_t at = 0;
    for (; at < live.size(); ++at) {
      if (offset + bytes <= binding->offsets[live[at]]) break;
      offset = std::max(offset, binding->offsets[live[at]] +
                                    round_up(std::max<int64_t>(binding->bytes[live[at]], 1)));
    }
    binding->offsets[id] = offset;
    live.insert(std::upper_bound(live.begin(), live.end(), id,
                                 [&](uint32_t a, uint32_t b) {
                                   return binding->offsets[a] < binding->offsets[b];
                                 }),
                id);
    binding->slab_bytes = std::max(binding->slab_bytes, offset + bytes);
  }
  std::lock_guard lock(binding_mutex_);
  binding_ = binding;
  return binding;
}

int64_t Plan::peak_bytes() const {
  std::lock_guard lock(binding_mutex_);
  return binding_ ? binding_->slab_bytes + binding_->output_bytes : 0;
}

}  // namespace tenon::jit
