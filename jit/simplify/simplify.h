// Rewrites that keep every bit: fewer nodes, the same values.
//
// In and out: a Graph. What must hold: rewrites look at structure only, never at numbers of users
// (literals of the spec count as structure), and each remaining node keeps the program node that
// binds it.
#pragma once

#include "core/optimizations.h"
#include "jit/simplify/graph.h"

namespace tenon::jit {

// `off`: what of outer_products, cse, algebra and compose_movement is left out.
void simplify(Graph& graph, OptimizationSet off = 0);

// The layouts of what lies between convolutions.
void move_channels_last(Graph& graph);

// Its first part: products without a contraction become multiplications.
void multiply_outer_products(Graph& graph);

}  // namespace tenon::jit
