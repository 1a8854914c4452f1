// What it takes to compute a value again where it is used, rather than to store and load it.
#pragma once

#include <algorithm>

#include "jit/group/group.h"

namespace tenon::jit {

void add_once(auto& list, uint32_t value) {
  if (std::find(list.begin(), list.end(), value) == list.end()) list.push_back(value);
}

struct Chain {
  bool dear = false;  // never: too much work, or no expression at all
  uint32_t cost = 0;
  SmallVector<NodeIndex, 4> leaves;  // buffers it reads
};

// Of each node, found in order while groups are made.
class Chains {
 public:
  // wanted: nodes that must be stored; group_of: where each was placed so far.
  Chains(const Graph& graph, const std::vector<uint8_t>& wanted,
         const std::vector<uint32_t>& group_of)
      : graph_(graph), wanted_(wanted), group_of_(group_of), chains_(graph.nodes.size()) {}

  void find(NodeIndex n);
  // Of constants, indices, small values and one large buffer at most.
  bool reads_little(NodeIndex n) const;
  const Chain& operator[](NodeIndex n) const { return chains_[n]; }

 private:
  bool is_placed(NodeIndex n) const { return group_of_[n] != Grouping::kUnplaced; }
  void sum(NodeIndex n, bool read_spread);
  NodeIndex spread_by(NodeIndex operand, NodeIndex n) const;

  const Graph& graph_;
  const std::vector<uint8_t>& wanted_;
  const std::vector<uint32_t>& group_of_;
  std::vector<Chain> chains_;
};

}  // namespace tenon::jit
