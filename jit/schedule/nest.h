// The loops of a kernel: which of a group's loops run as one, and how a parallel range is cut into
// rows and vectors.
#pragma once

#include "jit/schedule/emitter.h"

namespace tenon::jit {

// Loops [begin, end) as runs, outermost first; a run is one loop, whose variable is its last.
using Runs = std::vector<std::vector<uint32_t>>;

class Nest {
 public:
  explicit Nest(Emitter& e);

  // Index of a member, or of the operand of a reducing member, in the loops as they are now.
  IndexId index_of(NodeIndex member) const;
  IndexId operand_index_of(NodeIndex member) const;
  IndexId index_of(std::span<const uint8_t> loops) const;

  // Merges loops [begin, end) where every one of `exprs` allows it.
  Runs merge(uint32_t begin, uint32_t end, std::span<const ExprId> exprs);
  // As merge, but always gives one run: digits of one variable where they can't be merged.
  Runs merge_into_one(uint32_t begin, uint32_t end, std::span<const ExprId> exprs);

  PolyId extent_of(const std::vector<uint32_t>& run) const;
  PolyId extent_of(uint32_t begin, uint32_t end) const;

  // body(i) for i in [begin, end) of the product of `runs`, whose loop variables it sets: divided
  // once at the beginning, then counted like an odometer.
  void for_each(const Runs& runs, loop::Pack begin, loop::Pack end,
                const std::function<void(loop::Pack)>& body);

 private:
  Emitter& e_;
  std::vector<ExprId> loops_;  // each loop as an expression
};

// Runs body(i, end of the mask or no pack) over [lo, hi): blocks of `unroll` vectors, then single
// masked ones.
void for_vectors(Emitter& e, uint32_t loop, loop::Pack lo, loop::Pack hi, int unroll,
                 const std::function<void()>& body);

// The kernel's range counts elements of rows of n, one for each value of the loops `outer`: calls
// row(lo, hi) for the part of each row that is in the range. Without outer loops row() is called
// once with the range itself. With `begin` and `end` it is another range than the kernel's.
void for_rows(Emitter& e, Nest& nest, const Runs& outer, PolyId n,
              const std::function<void(loop::Pack lo, loop::Pack hi)>& row);
void for_rows(Emitter& e, Nest& nest, const Runs& outer, PolyId n, loop::Pack begin, loop::Pack end,
              const std::function<void(loop::Pack lo, loop::Pack hi)>& row);

// Kept loops in parallel, in vectors along the last of `runs` if `vectorise`; body() is called
// inside, for each vector (or scalar), and runs the loops `serial`.
void for_kept(Emitter& e, Nest& nest, const Runs& runs, bool vectorise, uint32_t cost,
              std::span<const Root> roots, std::span<const ExprId> exprs, uint64_t serial,
              const std::function<void()>& body);

// How many of the addresses are not one vector where the lanes lie along `loop`.
int gathers_along(Algebra& algebra, std::span<const ExprId> exprs, uint32_t loop);

// Vectors in flight in a loop without accumulators.
int unroll_for(uint32_t cost);
// The same, as far as the group's choice and the switches leave it to the cost.
int unroll_for(const Emitter& e, uint32_t cost);
// Accumulators of a column are live all along: fewer vectors than a map has.
int column_unroll(const Emitter& e, uint32_t cost);

}  // namespace tenon::jit
