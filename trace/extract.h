// From a segment's nodes to a Program: what the roots need, and nothing else.
#pragma once

#include "trace/match.h"

namespace tenon {

// Fills the recipe's program, inputs and attributes from its roots (ascending and unique; none is
// an input or a valued node).
void extract_program(const Segment& segment, RunRecipe& recipe);

}  // namespace tenon
