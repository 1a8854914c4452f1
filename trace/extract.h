// From a segment's nodes to a Program: what the roots need, and nothing else.
#pragma once

#include <vector>

#include "trace/segment.h"

namespace tenon {

// `roots` ascending and unique; none is an input or a valued node.
// With `may_donate`, an input whose storage nobody but the segment holds is marked donatable.
Program extract_program(Segment& segment, std::span<const NodeId> roots, bool may_donate);

}  // namespace tenon
