// The key of a plan: everything about a program that a plan depends on, as one hash. Holds no
// extent, offset or scalar (see structure_of for what of them is structure).
#pragma once

#include "core/hash.h"
#include "trace/program.h"

namespace tenon::jit {

Hash128 key_of(const Program& program);

// Whether a node's sizes have a part in the key (see structure_of).
constexpr bool is_keyed_by_sizes(Op op) {
  return op == Op::Reshape || op == Op::Slice || op == Op::Pad || op == Op::UpdateSlice;
}

}  // namespace tenon::jit
