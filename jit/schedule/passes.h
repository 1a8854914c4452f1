// What a row kernel of several passes computes when, and what it keeps between them.
#pragma once

#include "jit/schedule/emitter.h"

namespace tenon::jit {

inline bool is_reduction(const Graph& graph, NodeIndex n) {
  return info(graph[n].op).group == PrimitiveClass::Reduction;
}

// The pass over the row in which each value can first be computed.
class Passes {
 public:
  explicit Passes(Emitter& e) : e_(e) {}
  int of(NodeIndex n) {
    if (const auto it = known_.find(n); it != known_.end()) return it->second;
    int pass = 0;
    if (!e_.is_loaded(n)) {
      for (NodeIndex operand : e_.graph[n].operands) pass = std::max(pass, of(operand));
      if (is_reduction(e_.graph, n)) ++pass;
    }
    return known_[n] = pass;
  }

 private:
  Emitter& e_;
  std::unordered_map<NodeIndex, int> known_;
};

// Finds values of the row that a later pass needs again and that are dear to compute: the first
// pass keeps them in scratch (`row_elements` of each), or they are read back from the output they
// are stored to. passes: what each computes; stored: values with an output, by the pass that
// stores them. Fills e.kept.
void keep_dear_values(Emitter& e, uint64_t row_loops, const std::vector<std::vector<Root>>& passes,
                      std::span<const Root> stored, const std::vector<int>& stored_pass,
                      PolyId row_elements);

}  // namespace tenon::jit
