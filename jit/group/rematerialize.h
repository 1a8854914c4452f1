// Values computed again where they are read late, so that less is kept meanwhile.
//
// In: a graph and its groups. Out: the graph with clones of early nodes in front of their late
// readers. What must hold: clones are the same operations of the same operands, so no bit changes;
// an operation that can fail is not cloned.
//
// A training step keeps most at its turn from forward to backward. Which of the values that cross
// the turn are kept, and which computed from those, is a minimum cut: keeping a value costs its
// bytes, computing it again its operations (Chen et al., Training Deep Nets with Sublinear Memory
// Cost, 2016, pose the problem; a cut of the graph of values solves it for one turn).
#pragma once

#include "jit/group/group.h"
#include "jit/plan/counters.h"
#include "trace/program.h"

namespace tenon::jit {

struct RematerializeOptions {
  Recompute level = Recompute::Cheap;
  int64_t least_bytes = 0;  // below this nothing is worth a change
};

// Adds clones for the point where most is kept; false, with nothing changed, if that saves too
// little. Sizes are those of `program`; for other sizes the choice is as right, only less apt.
bool rematerialize(Graph& graph, const Grouping& grouping, const Program& program,
                   const RematerializeOptions& options);

// Bytes of the program's temporaries alive at once, at most: what rematerialize() lowers.
int64_t peak_of_temporaries(const Graph& graph, const Grouping& grouping, const Program& program);

}  // namespace tenon::jit
