#include "jit/group/chain.h"

#include "jit/group/place.h"
#include "jit/schedule/cost.h"

namespace tenon::jit {
namespace {

constexpr uint32_t kMaxChainCost = 10;
constexpr uint32_t kMaxBroadcastCost = 4;  // of a value that is spread over a larger one
constexpr uint32_t kMaxHoistedCost = 200;  // of a scalar, computed once a launch
constexpr size_t kMaxLeaves = 3;

}  // namespace

void Chains::find(NodeIndex n) {
  const GraphNode& node = graph_[n];
  Chain& chain = chains_[n];
  if (node.op == Op::Constant) return;
  if (node.op == Op::Input || wanted_[n] || !is_pointwise(graph_, n)) {
    chain.dear = node.op != Op::Input;
    chain.leaves.push_back(n);
    return;
  }
  sum(n, false);
  if (chain.dear && !node.atoms.empty()) sum(n, true);
  if (chain.dear && is_movement(graph_, n) && !is_placed(n)) {
    // Movement is computed with its reader; what is dear is behind it.
    chain.dear = chain.leaves.size() > 8;
  }
}

// `read_spread`: smaller operands that n spreads are read, rather than computed again for each
// of its elements.
void Chains::sum(NodeIndex n, bool read_spread) {
  const GraphNode& node = graph_[n];
  Chain& chain = chains_[n];
  chain = {false, cost_of(node.op), {}};
  for (NodeIndex operand : node.operands) {
    const Chain& from = chains_[operand];
    const NodeIndex source = from.dear ? operand : read_spread ? spread_by(operand, n) : n;
    if (source != n) {
      add_once(chain.leaves, source);
      continue;
    }
    chain.cost += from.cost;
    for (NodeIndex leaf : from.leaves) add_once(chain.leaves, leaf);
  }
  const uint32_t limit = node.atoms.empty() ? kMaxHoistedCost : kMaxChainCost;
  const auto large = [&](NodeIndex leaf) {
    return !read_spread || graph_[leaf].atoms.size() >= node.atoms.size();
  };
  const auto leaves = std::count_if(chain.leaves.begin(), chain.leaves.end(), large);
  chain.dear = chain.cost > limit || static_cast<size_t>(leaves) > kMaxLeaves;
}

// The placed value behind `operand` if n spreads it and it costs something; else n.
NodeIndex Chains::spread_by(NodeIndex operand, NodeIndex n) const {
  if (chains_[operand].cost <= kMaxBroadcastCost) return n;
  while (!is_placed(operand) && graph_[operand].operands.size() == 1 &&
         is_movement(graph_, operand)) {
    operand = graph_[operand].operands[0];
  }
  const size_t atoms = graph_[operand].atoms.size();
  return is_placed(operand) && atoms > 0 && atoms < graph_[n].atoms.size() ? operand : n;
}

bool Chains::reads_little(NodeIndex n) const {
  const Chain& chain = chains_[n];
  if (chain.dear) return false;
  size_t large = 0;
  for (NodeIndex leaf : chain.leaves) {
    // What this program computes may come from the very kernel that the consumer joins.
    if (graph_[leaf].op != Op::Input) return false;
    large += graph_[leaf].atoms.size() >= graph_[n].atoms.size();
  }
  return large <= 1;
}

}  // namespace tenon::jit
