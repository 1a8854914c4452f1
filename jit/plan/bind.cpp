// Binding: from extents to numbers, and where temporaries lie.
#include "jit/plan/bind.h"

#include <algorithm>

#include "core/error.h"

namespace tenon::jit {
namespace {

constexpr int64_t kAlign = 64;
int64_t round_up(int64_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

}  // namespace

// Where temporaries lie in one piece of memory, by offset.
class Plan::Occupancy {
 public:
  Occupancy(const std::vector<PlanBuffer>& buffers, Binding& binding)
      : buffers_(&buffers), binding_(&binding) {}

  // The lowest offset that is free while the buffer lives.
  int64_t first_fit(uint32_t id) const {
    const int64_t bytes = extent(id);
    int64_t offset = 0;
    for (uint32_t other : placed_) {
      if ((*buffers_)[other].last < (*buffers_)[id].first ||
          (*buffers_)[id].last < (*buffers_)[other].first) {
        continue;
      }
      if (offset + bytes <= binding_->offsets[other]) break;
      offset = std::max(offset, binding_->offsets[other] + extent(other));
    }
    return offset;
  }
  void place(uint32_t id, int64_t offset) {
    binding_->offsets[id] = offset;
    const auto after = [&](uint32_t a, uint32_t b) {
      return binding_->offsets[a] < binding_->offsets[b];
    };
    placed_.insert(std::upper_bound(placed_.begin(), placed_.end(), id, after), id);
  }
  void forget_before(uint32_t step) {
    std::erase_if(placed_, [&](uint32_t other) { return (*buffers_)[other].last < step; });
  }
  int64_t extent(uint32_t id) const { return round_up(std::max<int64_t>(binding_->bytes[id], 1)); }

 private:
  const std::vector<PlanBuffer>* buffers_;
  Binding* binding_;
  std::vector<uint32_t> placed_;
};

// An output owns its memory from the start, and is written late: a gradient, say. Until then what
// is large and kept long lies there.
void Plan::lodge_in_outputs(std::span<const uint32_t> order, Binding& binding) const {
  const bool takes_all = recompute_threshold() == 0;  // for tests
  const int64_t least_bytes = takes_all ? 1 : 256 << 10;
  const uint32_t least_steps = takes_all ? 1 : 8;
  struct Home {
    uint32_t output;
    int64_t bytes;
    Occupancy occupancy;
  };
  std::vector<Home> homes;
  for (uint32_t i = 0; i < buffers_.size(); ++i) {
    const PlanBuffer& buffer = buffers_[i];
    if (buffer.output == kNone || buffer.input != kNone || buffer.may_reuse != kNone ||
        buffer.shares != kNone || buffer.first == kNone || buffer.first < least_steps ||
        binding.bytes[i] < least_bytes) {
      continue;
    }
    homes.push_back({i, binding.bytes[i], Occupancy(buffers_, binding)});
  }
  if (homes.empty()) return;
  // Of those that are large enough the smallest first, written early before late.
  std::stable_sort(homes.begin(), homes.end(), [&](const Home& a, const Home& b) {
    return std::pair(a.bytes, buffers_[a.output].first) <
           std::pair(b.bytes, buffers_[b.output].first);
  });
  for (uint32_t id : order) {
    const PlanBuffer& buffer = buffers_[id];
    if (binding.bytes[id] < least_bytes || buffer.last - buffer.first < least_steps) continue;
    for (Home& home : homes) {
      if (binding.bytes[id] > home.bytes || buffers_[home.output].first <= buffer.last) continue;
      const int64_t offset = home.occupancy.first_fit(id);
      if (offset + binding.bytes[id] > home.bytes) continue;
      home.occupancy.place(id, offset);
      binding.homes[id] = home.output;
      break;
    }
  }
}

// The other temporaries, by first fit, in the order in which they come to life.
void Plan::fill_slab(std::span<const uint32_t> order, Binding& binding) const {
  Occupancy slab(buffers_, binding);
  for (uint32_t id : order) {
    if (binding.homes[id] != kNone) continue;
    slab.forget_before(buffers_[id].first);
    slab.place(id, slab.first_fit(id));
    binding.slab_bytes = std::max(binding.slab_bytes, binding.offsets[id] + slab.extent(id));
  }
}

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
  std::shared_ptr<const Binding> known;
  if (does(Optimization::BindingCache)) {
    const std::lock_guard lock(binding_mutex_);
    known = binding_;
  }
  if (known && known->params == numbers) return known;
  auto binding = std::make_shared<Binding>();
  binding->params = numbers;
  binding->values.resize(algebra_.poly_count());
  for (PolyId p = 0; p < binding->values.size(); ++p) {
    binding->values[p] = algebra_.evaluate(p, numbers);
  }

  binding->bytes.resize(buffers_.size());
  binding->offsets.assign(buffers_.size(), -1);
  binding->homes.assign(buffers_.size(), kNone);
  std::vector<uint32_t> order;
  for (uint32_t i = 0; i < buffers_.size(); ++i) {
    const PlanBuffer& buffer = buffers_[i];
    int64_t elements = binding->values[buffer.elements];
    if (buffer.partial) elements = (elements + kFullChunk - 1) / kFullChunk;
    binding->bytes[i] = elements * static_cast<int64_t>(size_of(buffer.dtype));
    if (buffer.output != kNone) {
      binding->output_bytes += binding->bytes[i];
      const bool is_new = buffer.input == kNone && buffer.may_reuse == kNone;
      if (is_new) binding->new_bytes += binding->bytes[i];
    }
    const bool is_temporary = buffer.input == kNone && buffer.output == kNone &&
                              buffer.shares == kNone && buffer.first != kNone;
    if (is_temporary) order.push_back(i);
  }
  if (known && known->bytes == binding->bytes) {  // just offsets or random numbers are others
    binding->offsets = known->offsets;
    binding->homes = known->homes;
    binding->slab_bytes = known->slab_bytes;
  } else {
    std::stable_sort(order.begin(), order.end(),
                     [&](uint32_t a, uint32_t b) { return buffers_[a].first < buffers_[b].first; });
    lodge_in_outputs(order, *binding);
    fill_slab(order, *binding);
  }
  for (const Step& step : steps_) {
    binding->scratch.push_back(scratch_of(step, program, *binding));
    binding->scratch_bytes = std::max(binding->scratch_bytes, binding->scratch.back());
  }
  binding->new_bytes += binding->slab_bytes + binding->scratch_bytes;
  std::lock_guard lock(binding_mutex_);
  binding_ = binding;
  return binding;
}

int64_t Plan::peak_bytes() const {
  std::lock_guard lock(binding_mutex_);
  if (!binding_) return 0;
  return binding_->slab_bytes + binding_->scratch_bytes + binding_->output_bytes;
}

}  // namespace tenon::jit
