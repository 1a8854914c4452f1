// For those who look at traces: what is pending, and how well segments are predicted.
#pragma once

#include <cstdint>
#include <string>

#include "core/function_ref.h"
#include "trace/program.h"

namespace tenon {

// Of the calling thread: segments that repeated one seen before, and those that did not.
struct SegmentCounts {
  uint64_t matched = 0;
  uint64_t unmatched = 0;
};
SegmentCounts segment_counts();

// Text about the program that a flush would run now; empty when nothing is pending.
std::string explain_pending(FunctionRef<std::string(const Program&)> explain);

}  // namespace tenon
