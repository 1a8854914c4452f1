#include "jit/group/stores.h"

#include "jit/group/place.h"

namespace tenon::jit {
namespace {

using Groups = SmallVector<uint32_t, 4>;

class StoreChooser {
 public:
  StoreChooser(const Graph& graph, const Chains& chains, const std::vector<uint8_t>& wanted,
               bool recompute, Grouping& grouping)
      : graph_(graph),
        chains_(chains),
        wanted_(wanted),
        recompute_(recompute),
        out_(grouping),
        demand_(graph.nodes.size()) {}

  // From the last node back: which groups compute each value, and which load it.
  void run() {
    for (NodeIndex n = static_cast<NodeIndex>(graph_.nodes.size()); n-- > 0;) {
      if (graph_[n].op == Op::Input || (graph_[n].op == Op::Constant && !is_placed(n))) continue;
      const Groups computing = is_placed(n) ? store_or_compute(n) : demand_[n];
      if (needs_buffers(graph_, n)) continue;  // their operands are wanted already
      for (NodeIndex operand : graph_[n].operands) {
        for (uint32_t g : computing) add_once(demand_[operand], g);
      }
    }
  }

 private:
  bool is_placed(NodeIndex n) const { return out_.group_of[n] != Grouping::kUnplaced; }

  // The groups that compute n.
  Groups store_or_compute(NodeIndex n) {
    const uint32_t own = out_.group_of[n];
    Groups computing, others;
    bool own_needs = false;
    for (uint32_t g : demand_[n]) {
      if (g == own)
        own_needs = true;
      else if (g < own)
        add_once(computing, g);  // it runs earlier: computes its own
      else
        add_once(others, g);
    }
    if (wanted_[n] || (!others.empty() && !is_worth_computing_again(n, others.size()))) {
      out_.stored[n] = 1;
      own_needs = true;
    } else {
      for (uint32_t g : others) add_once(computing, g);
    }
    if (own_needs) add_once(computing, own);
    return computing;
  }

  // Bytes read by each reader and written for it, against those of storing the value itself.
  bool is_worth_computing_again(NodeIndex n, size_t readers) const {
    const Chain& chain = chains_[n];
    if (chain.dear || !is_pointwise(graph_, n) || !recompute_) return false;
    size_t read = 0, written = 0;
    bool stores_more = false;
    for (NodeIndex leaf : chain.leaves) {
      const bool large =
          graph_[leaf].atoms.size() >= graph_[n].atoms.size() && !graph_[n].atoms.empty();
      const bool has_buffer = graph_[leaf].op == Op::Input || wanted_[leaf] ||
                              std::any_of(demand_[leaf].begin(), demand_[leaf].end(),
                                          [&](uint32_t g) { return g != out_.group_of[leaf]; });
      if (large) read += readers;
      if (!has_buffer) {
        stores_more = true;
        written += large;
      }
    }
    const size_t again = read + written, stored = 1 + readers;
    return stores_more ? again < stored : again <= stored;
  }

  const Graph& graph_;
  const Chains& chains_;
  const std::vector<uint8_t>& wanted_;
  const bool recompute_;
  Grouping& out_;
  std::vector<Groups> demand_;  // by node: the groups that read it
};

}  // namespace

void choose_stores(const Graph& graph, const Chains& chains, const std::vector<uint8_t>& wanted,
                   bool recompute, Grouping& grouping) {
  StoreChooser(graph, chains, wanted, recompute, grouping).run();
}

}  // namespace tenon::jit
