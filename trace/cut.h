// Cutting a segment into pieces that run one after another.
#pragma once

#include <vector>

#include "trace/segment.h"

namespace tenon {

// Cuts before the given nodes (ascending). The first piece is the segment itself, shortened; the
// others are new. A value that a later piece uses becomes an input there, whose source is pending
// until the earlier piece has run; constants, inputs and movement are recorded again instead.
// Cells move to the piece that has their node. `positions` (see trace/period.h; may be empty) are
// dealt out to the pieces. The caller says what becomes of the pieces.
std::vector<Ref<Segment>> cut_segment(const Ref<Segment>& segment, std::span<const NodeId> cuts,
                                      std::vector<uint64_t> positions);

// Splits a failed segment: what `node` is computed from stays, the rest moves to a new segment,
// returned, that comes later. Null when there is no rest. Sequence numbers that are in use leave no
// place for it, so that both keep the segment's number and are told apart by their part.
Ref<Segment> split_off_rest(const Ref<Segment>& segment, NodeId node);

// Fetches the buffers and derivatives of pending sources from the pieces they come from, running
// those if need be. Nodes whose source failed are poisoned. May give up the lock meanwhile.
void resolve_sources(Segment& segment);

// Bytes of buffers that pending operations may keep from being freed; tests lower it.
extern int64_t pinned_bytes_cap;

}  // namespace tenon
