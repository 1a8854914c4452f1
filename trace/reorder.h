// Another order of a segment's nodes.
#pragma once

#include "trace/segment.h"

namespace tenon {

// Moves what `node` is computed from, and the node itself, in front of all others, each in its
// order. Returns how many these are. Cells go on naming their nodes. Not for an open segment, whose
// ids the recorder remembers.
NodeId bring_forward(Segment& segment, NodeId node);

}  // namespace tenon
