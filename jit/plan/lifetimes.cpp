// How long a plan's buffers live, and which may lie where another one lay.
#include <algorithm>

#include "jit/plan/plan.h"

namespace tenon::jit {

void Plan::find_lifetimes() {
  const auto touch = [&](uint32_t buffer, size_t step) {
    PlanBuffer& b = buffers_[buffer];
    if (b.first == kNone) b.first = static_cast<uint32_t>(step);
    b.last = static_cast<uint32_t>(step);
  };
  for (size_t s = 0; s < steps_.size(); ++s) {
    for_each_buffer(steps_[s], [&](uint32_t buffer, bool) { touch(buffer, s); });
    if (steps_[s].can_fail) last_fallible_ = static_cast<uint32_t>(s);
  }
  if (does(Optimization::Donation)) find_reuse();
  if (does(Optimization::UpdateInPlace)) share_copies();
  if (!does(Optimization::SlabReuse)) {
    for (PlanBuffer& buffer : buffers_) {
      if (buffer.first == kNone || buffer.input != kNone || buffer.output != kNone) continue;
      buffer.first = 0;
      buffer.last = static_cast<uint32_t>(steps_.size());
    }
  }
}

uint32_t Plan::memory_of(uint32_t buffer) const {
  while (buffers_[buffer].shares != kNone) buffer = buffers_[buffer].shares;
  return buffer;
}

// A temporary that is only copied to be updated is updated where it lies.
void Plan::share_copies() {
  for (size_t s = 0; s < steps_.size(); ++s) {
    const auto* kernel = std::get_if<KernelStep>(&steps_[s].what);
    if (!kernel || kernel->copy_from == kNone) continue;
    const uint32_t in = memory_of(kernel->copy_from), out = kernel->copy_to;
    if (buffers_[kernel->copy_from].last != s || buffers_[out].first != s) continue;
    if (buffers_[in].input != kNone || buffers_[in].output != kNone ||
        buffers_[in].may_reuse != kNone || buffers_[in].elements != buffers_[out].elements) {
      continue;
    }
    if (buffers_[out].output == kNone) {
      buffers_[out].shares = in;
      buffers_[in].last = std::max(buffers_[in].last, buffers_[out].last);
    } else if (buffers_[out].may_reuse == kNone) {
      buffers_[in].shares = out;
      buffers_[out].first = std::min(buffers_[out].first, buffers_[in].first);
    }
  }
}

// An output that is written where an input of its kind is read for the last time, element by
// element, may take the input's memory if the program says nobody else wants it.
void Plan::find_reuse() {
  for (size_t s = 0; s < steps_.size(); ++s) {
    if (last_fallible_ != kNone && s <= last_fallible_) continue;
    const auto* kernel = std::get_if<KernelStep>(&steps_[s].what);
    if (!kernel) continue;
    std::vector<uint32_t> taken;
    for (uint32_t id : kernel->buffers) {
      PlanBuffer& out = buffers_[id];
      if (out.output == kNone || out.input != kNone || out.first != s) continue;
      const auto store = std::find_if(stores_[s].begin(), stores_[s].end(),
                                      [&](const auto& t) { return buffer_ids_[t.node * 2] == id; });
      if (store == stores_[s].end()) continue;
      for (uint32_t from : kernel->buffers) {
        const PlanBuffer& in = buffers_[from];
        if (in.input == kNone || in.last != s || in.dtype != out.dtype || in.output != kNone ||
            in.elements != out.elements ||
            std::find(taken.begin(), taken.end(), from) != taken.end()) {
          continue;
        }
        if (graph_[in.node].layout.kind == Layout::Strided) continue;
        bool same_place = true;
        for (const auto& load : loads_[s]) {
          if (load.node != in.node) continue;
          same_place = same_place && load.early && load.address == store->address;
        }
        if (!same_place) continue;
        out.may_reuse = from;
        taken.push_back(from);
        break;
      }
    }
  }
}

}  // namespace tenon::jit
