// One recorded operation. Plain data: a trace is an array of these.
#pragma once

#include <cstdint>

#include "core/types.h"
#include "generated/primitives.h"

namespace tenon {

using NodeId = uint32_t;
inline constexpr NodeId kNoNode = ~NodeId{0};

// Reverse mode (low half) and forward mode (high half), a bit for each depth of nested
// transforms; bit 0 of the low half is `.backward()`'s.
using DerivativeMask = uint32_t;
inline constexpr DerivativeMask reverse_bit(int depth) { return DerivativeMask{1} << depth; }
inline constexpr DerivativeMask forward_bit(int depth) { return DerivativeMask{1} << (depth + 16); }
inline constexpr int kMaxDepth = 15;

struct Node {
  static constexpr int kInlineOperands = 3;
  enum Flag : uint8_t {
    kLeaf = 1,     // an alias standing for a cell that requires grad; `attributes` indexes leaves
    kFreed = 2,    // backward has passed and released what this node saves
    kValued = 4,   // evaluated while its segment stays open: Segment::values has its buffer
    kCustom = 8,   // a redirect of a function with a derivative of its own (see CustomDerivative);
                   // `attributes` indexes Segment::customs
    kLinked = 16,  // a redirect by append_linked: cotangents gather at its second operand's place
  };

  Op op;
  uint8_t operand_count;
  uint8_t flags;
  TypeId type;
  // The operands, or, beyond three, where they start in Segment::operand_pool.
  uint32_t operands[kInlineOperands];
  // Offset into Segment::attributes (0: none), or see kLeaf, kCustom and Op::Input.
  uint32_t attributes;
  // Why derivatives may not pass: blocks are on the edges to the operands, never on the node,
  // so that a value recorded under no_grad can still be differentiated with respect to.
  DerivativeMask mask;
  DerivativeMask active;  // for which transforms it depends on what they differentiate
  uint32_t level;         // instance of the innermost vmap whose example it depends on; 0: none
  uint32_t origin;        // where the user's program recorded it
};
static_assert(sizeof(Node) == 40);

}  // namespace tenon
