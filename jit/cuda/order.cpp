// Where the threads of a group meet.
//
// One thread runs its own accesses in order, so only what different lanes do to one element needs
// care. Two accesses are taken to conflict where one of them stores and, in
// - one buffer, or scratch: one has one lane and the other 16, or a load and a store have different
//   indices. Two stores of vectors don't: a kernel gives an element to one lane only.
// - different buffers: a load comes before a store and one of them has one lane. An output may lie
//   in the memory of an input that is read element by element where the output is written; then
//   a thread that is ahead must not store what another has still to read.
#include <algorithm>
#include <vector>

#include "jit/cuda/lower.h"

namespace tenon::cuda {

using loop::Node;
using loop::Op;
using loop::Value;

namespace {

constexpr int64_t kScratch = -1;

struct MemoryAccess {
  int64_t memory;  // number of the buffer, or kScratch
  bool is_store;
  uint8_t lanes;
  Value index;
  bool operator==(const MemoryAccess&) const = default;
};

class OrderAnalysis {
 public:
  explicit OrderAnalysis(const loop::Kernel& kernel)
      : kernel_(kernel), end_of_(kernel.nodes.size()) {
    std::vector<Value> open;
    for (Value v = 0; v < kernel.nodes.size(); ++v) {
      const Op op = kernel.nodes[v].op;
      if (op == Op::For) open.push_back(v);
      if (op != Op::EndFor) continue;
      end_of_[open.back()] = v;
      open.pop_back();
    }
  }

  Order run() {
    const Value count = static_cast<Value>(kernel_.nodes.size());
    order_.meets_before.resize(count);
    order_.meets_at_start.resize(count);
    order_.kernel_meets_at_start = has_carried_conflict(0, count);
    std::vector<std::vector<MemoryAccess>> branches;  // pending on the other way through a bracket
    for (Value v = 0; v < count; ++v) {
      const Node& node = kernel_.nodes[v];
      switch (node.op) {
        case Op::For:
          if (conflicts_with_body(v)) meet_before(v);
          order_.meets_at_start[v] = has_carried_conflict(v + 1, end_of_[v]);
          branches.push_back(pending_);  // the body may not run at all
          break;
        case Op::If:
          branches.push_back(pending_);
          break;
        case Op::Else:
          std::swap(branches.back(), pending_);
          break;
        case Op::EndFor:
        case Op::EndIf:
          for (const MemoryAccess& access : branches.back()) add_pending(access);
          branches.pop_back();
          break;
        default:
          if (const auto access = access_of(node); access.lanes != 0) {
            for (const MemoryAccess& before : pending_) {
              if (!conflict(before, access)) continue;
              meet_before(v);
              break;
            }
            add_pending(access);
          }
      }
    }
    return std::move(order_);
  }

 private:
  MemoryAccess access_of(const Node& node) const {
    const auto operands = kernel_.operands_of(node);
    switch (node.op) {
      case Op::Load:
        return {node.index, false, node.lanes, operands[0]};
      case Op::ScratchLoad:
        return {kScratch, false, node.lanes, operands[1]};
      case Op::Store:
        return {node.index, true, kernel_[operands[1]].lanes, operands[0]};
      case Op::ScratchStore:
        return {kScratch, true, kernel_[operands[2]].lanes, operands[1]};
      default:
        return {0, false, 0, 0};
    }
  }

  bool conflict(const MemoryAccess& first, const MemoryAccess& second) const {
    if (!first.is_store && !second.is_store) return false;
    const bool both_vectors = first.lanes != 1 && second.lanes != 1;
    if (first.memory != second.memory) {
      if (first.memory == kScratch || second.memory == kScratch || first.is_store) return false;
      return !both_vectors &&
             kernel_.buffers[first.memory].type == kernel_.buffers[second.memory].type;
    }
    if (first.is_store && second.is_store) return first.lanes != second.lanes;
    return !both_vectors || first.index != second.index;
  }

  // Between an iteration and the next one, of nodes [begin, end).
  bool has_carried_conflict(Value begin, Value end) const {
    std::vector<MemoryAccess> all;
    for (Value v = begin; v < end; ++v) {
      if (const auto access = access_of(kernel_.nodes[v]); access.lanes != 0) all.push_back(access);
    }
    for (const MemoryAccess& first : all) {
      for (const MemoryAccess& second : all) {
        if (first.memory != second.memory || !first.is_store) continue;
        if (!second.is_store || first.lanes != second.lanes) return true;
      }
    }
    return false;
  }

  bool conflicts_with_body(Value loop) const {
    for (Value v = loop + 1; v < end_of_[loop]; ++v) {
      const auto access = access_of(kernel_.nodes[v]);
      if (access.lanes == 0) continue;
      for (const MemoryAccess& before : pending_) {
        if (conflict(before, access)) return true;
      }
    }
    return false;
  }

  void add_pending(const MemoryAccess& access) {
    if (std::ranges::find(pending_, access) == pending_.end()) pending_.push_back(access);
  }

  void meet_before(Value v) {
    order_.meets_before[v] = true;
    pending_.clear();
  }

  const loop::Kernel& kernel_;
  std::vector<Value> end_of_;
  std::vector<MemoryAccess> pending_;  // since the threads met
  Order order_;
};

}  // namespace

Order order_of(const loop::Kernel& kernel) { return OrderAnalysis(kernel).run(); }

}  // namespace tenon::cuda
