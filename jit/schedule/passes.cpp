#include "jit/schedule/passes.h"

#include <algorithm>
#include <array>
#include <tuple>

namespace tenon::jit {

namespace {

// The pass over the row in which each value can first be computed.
class PassOf {
 public:
  explicit PassOf(const Emitter& e) : e_(e) {}
  int operator()(NodeIndex n) {
    if (const auto it = known_.find(n); it != known_.end()) return it->second;
    int pass = 0;
    if (!e_.is_loaded(n)) {
      for (NodeIndex operand : e_.graph[n].operands) pass = std::max(pass, (*this)(operand));
      if (is_reduction(e_.graph, n)) ++pass;
    }
    return known_[n] = pass;
  }

 private:
  const Emitter& e_;
  std::unordered_map<NodeIndex, int> known_;
};

class Keeper {
 public:
  Keeper(Emitter& e, uint64_t row_loops) : e_(e), row_loops_(row_loops) {}

  void plan(const std::vector<std::vector<Root>>& passes, std::span<const Root> stored,
            const std::vector<int>& stored_pass, PolyId row_elements) {
    for (size_t i = 0; i < stored.size(); ++i) {
      const AccessKey key{stored[i].node, stored[i].access.index, 0};
      e_.kept[key] = {stored_pass[i], false, 0};
    }
    for (size_t p = 0; p < passes.size(); ++p) {
      pass_ = static_cast<int>(p);
      for (const Root& root : passes[p]) visit(root.node, root.access);
    }
    // Rows of scratch, eight bytes an element whatever the type.
    PolyId offset = 0;
    std::vector<AccessKey> keys;
    for (const auto& [key, keep] : e_.kept) {
      if (keep.in_scratch) keys.push_back(key);
    }
    std::sort(keys.begin(), keys.end(), [](const AccessKey& a, const AccessKey& b) {
      return std::tie(a.node, a.index) < std::tie(b.node, b.index);
    });
    const PolyId bytes = e_.algebra.mul(row_elements, e_.algebra.constant(8));
    for (const AccessKey& key : keys) {
      e_.kept[key].offset = offset;
      offset = e_.algebra.add(offset, bytes);
    }
    if (!keys.empty()) {
      e_.int_param(row_elements);
      const uint32_t index = static_cast<uint32_t>(
          std::find(e_.code.ints.begin(), e_.code.ints.end(), row_elements) - e_.code.ints.begin());
      if (index == e_.code.ints.size()) {
        int64_t number = 0;
        e_.algebra.is_constant(row_elements, &number);
        e_.code.kernel.scratch.constant = number * 8 * static_cast<int64_t>(keys.size());
      } else {
        e_.code.kernel.scratch.terms.push_back({8 * static_cast<int64_t>(keys.size()), index});
      }
    }
  }

 private:
  static constexpr uint32_t kDear = 8;

  // Cost of computing it again, stopping at what is kept.
  uint32_t cost(NodeIndex n, Access at) {
    const AccessKey key{n, at.index, at.condition};
    if (e_.is_loaded(n) || !counted_.insert(key).second) return 0;
    if (const auto it = e_.kept.find(key); it != e_.kept.end() && it->second.pass < pass_) return 0;
    if (((e_.algebra.index_loops(at.index) | e_.algebra.condition_loops(at.condition)) &
         row_loops_) == 0) {
      return 0;
    }
    const GraphNode& node = e_.graph[n];
    uint32_t sum = cost_of(node.op);
    for (size_t k = 0; k < node.operands.size() && sum <= kDear; ++k) {
      sum +=
          cost(node.operands[k], operand_access(e_.graph, e_.algebra, n, static_cast<int>(k), at));
    }
    return sum;
  }

  void visit(NodeIndex n, Access at) {
    const AccessKey key{n, at.index, at.condition};
    if (e_.is_loaded(n)) return;
    if (((e_.algebra.index_loops(at.index) | e_.algebra.condition_loops(at.condition)) &
         row_loops_) == 0) {
      return;
    }
    if (const auto it = e_.kept.find(key); it != e_.kept.end() && it->second.pass < pass_) return;
    const int first = first_.try_emplace(key, pass_).first->second;
    if (const auto [last, is_new] = last_.try_emplace(key, pass_); !is_new) {
      if (last->second == pass_) return;
      last->second = pass_;
    }
    if (first < pass_ && at.condition == 0 && cost_of(e_.graph[n].op) > 0) {
      counted_.clear();
      if (cost(n, at) > kDear && is_dear_itself(n, at)) {
        e_.kept[key] = {first, true, 0};
        return;
      }
    }
    const GraphNode& node = e_.graph[n];
    for (size_t k = 0; k < node.operands.size(); ++k) {
      visit(node.operands[k], operand_access(e_.graph, e_.algebra, n, static_cast<int>(k), at));
    }
  }

  // Keep the dear value itself rather than something cheap made of it.
  bool is_dear_itself(NodeIndex n, Access at) {
    if (cost_of(e_.graph[n].op) > kDear) return true;
    const GraphNode& node = e_.graph[n];
    for (size_t k = 0; k < node.operands.size(); ++k) {
      const Access from = operand_access(e_.graph, e_.algebra, n, static_cast<int>(k), at);
      const AccessKey key{node.operands[k], from.index, from.condition};
      const auto it = first_.find(key);
      if (it == first_.end() || it->second >= pass_) continue;
      counted_.clear();
      if (cost(node.operands[k], from) > kDear) return false;
    }
    return true;
  }

  Emitter& e_;
  const uint64_t row_loops_;
  int pass_ = 0;
  std::unordered_map<AccessKey, int, AccessKeyHash> first_, last_;  // passes that compute it
  std::unordered_set<AccessKey, AccessKeyHash> counted_;
};

}  // namespace

RowPasses passes_of_row(const Emitter& e) {
  RowPasses result;
  PassOf pass_of(e);
  const auto pass_at = [&](int p) -> Pass& {
    if (result.passes.size() <= static_cast<size_t>(p)) result.passes.resize(p + 1);
    return result.passes[p];
  };
  for (NodeIndex n : e.group.members) {
    if (is_reduction(e.graph, n)) pass_at(pass_of(e.graph[n].operands[0])).reductions.push_back(n);
  }
  for (NodeIndex n : e.group.stores) {
    const auto& loops = e.grouping.loops_of[n];
    const bool is_full =
        std::any_of(loops.begin(), loops.end(), [&](uint8_t l) { return l >= e.group.kept; });
    (is_full ? pass_at(pass_of(n)).stores : result.row_stores).push_back(n);
  }
  return result;
}

std::vector<Root> roots_of_pass(const Emitter& e, const Nest& nest, const Pass& pass) {
  std::vector<Root> roots;
  for (NodeIndex r : pass.reductions) {
    roots.push_back({e.graph[r].operands[0], {nest.operand_index_of(r), 0}});
  }
  for (NodeIndex n : pass.stores) roots.push_back({n, {nest.index_of(n), 0}});
  return roots;
}

std::vector<ExprId> addresses_of(Emitter& e, const Nest& nest, std::span<const NodeIndex> stores) {
  std::vector<ExprId> addresses;
  for (NodeIndex n : stores) {
    addresses.push_back(address_of(e.algebra, e.graph[n], nest.index_of(n)));
  }
  return addresses;
}

loop::Builder::Packs identities_of(loop::Builder& b, std::span<const Reducer> reducers,
                                   int vectors) {
  loop::Builder::Packs identities;
  for (const Reducer& reducer : reducers) {
    const loop::Pack one = identity_of(b, reducer, loop::kLanes);
    std::array<loop::Value, loop::kMaxUnroll> members;
    members.fill(one[0]);
    identities.push_back(b.pack(std::span<const loop::Value>(members.data(), vectors)));
  }
  return identities;
}

loop::Builder::Packs combined(loop::Builder& b, std::span<const Reducer> reducers,
                              const loop::Builder::Packs& first,
                              const loop::Builder::Packs& second) {
  loop::Builder::Packs next;
  for (size_t i = 0; i < reducers.size(); ++i) {
    next.push_back(b.binary(reducers[i].combine, first[i], second[i]));
  }
  return next;
}

void keep_dear_values(Emitter& e, uint64_t row_loops, const std::vector<std::vector<Root>>& passes,
                      std::span<const Root> stored, const std::vector<int>& stored_pass,
                      PolyId row_elements) {
  if (!e.does(Optimization::KeepRows)) return;
  Keeper(e, row_loops).plan(passes, stored, stored_pass, row_elements);
}

}  // namespace tenon::jit
