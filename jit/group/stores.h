// Which values groups store for later groups, and which those compute again.
#pragma once

#include "jit/group/chain.h"
#include "jit/group/group.h"

namespace tenon::jit {

// Fills grouping.stored. `wanted`: what must be stored; `recompute`: whether anything else may be
// computed again.
void choose_stores(const Graph& graph, const Chains& chains, const std::vector<uint8_t>& wanted,
                   bool recompute, Grouping& grouping);

}  // namespace tenon::jit
