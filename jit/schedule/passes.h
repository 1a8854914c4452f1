// What a row kernel of several passes computes when, and what it keeps between them.
#pragma once

#include "jit/schedule/nest.h"

namespace tenon::jit {

inline bool is_reduction(const Graph& graph, NodeIndex n) {
  return info(graph[n].op).group == PrimitiveClass::Reduction;
}

// What one pass over the row computes.
struct Pass {
  std::vector<NodeIndex> reductions;
  std::vector<NodeIndex> stores;
};
// Passes in order; row_stores: what is stored once a row, after them.
struct RowPasses {
  std::vector<Pass> passes;
  std::vector<NodeIndex> row_stores;
};
RowPasses passes_of_row(const Emitter& e);

// What a pass asks for: operands of its reductions, then its stores.
std::vector<Root> roots_of_pass(const Emitter& e, const Nest& nest, const Pass& pass);

std::vector<ExprId> addresses_of(Emitter& e, const Nest& nest, std::span<const NodeIndex> stores);

// Sums and products depend on the order: along a row they go in chunks, and other reductions, which
// give the same bits, beside them.
inline bool goes_in_chunks(const Reducer& reducer) {
  return reducer.combine == loop::BinaryOp::Add || reducer.combine == loop::BinaryOp::Mul;
}

// What is emitted once more, for short loops, may cost this at most.
inline constexpr uint32_t kMaxNarrowCost = 200;
// Of several reductions at once, in vectors: what they begin with, and what two parts make.
loop::Builder::Packs identities_of(loop::Builder& b, std::span<const Reducer> reducers,
                                   int vectors);
loop::Builder::Packs combined(loop::Builder& b, std::span<const Reducer> reducers,
                              const loop::Builder::Packs& first,
                              const loop::Builder::Packs& second);

// Finds values of the row that a later pass needs again and that are dear to compute: the first
// pass keeps them in scratch (`row_elements` of each), or they are read back from the output they
// are stored to. passes: what each computes; stored: values with an output, by the pass that
// stores them. Fills e.kept.
void keep_dear_values(Emitter& e, uint64_t row_loops, const std::vector<std::vector<Root>>& passes,
                      std::span<const Root> stored, const std::vector<int>& stored_pass,
                      PolyId row_elements);

}  // namespace tenon::jit
