// What a plan knows once extents are known.
#pragma once

#include "jit/plan/plan.h"

namespace tenon::jit {

struct Plan::Binding {
  std::vector<int64_t> params;   // by Algebra::params(): the identity of a binding
  std::vector<int64_t> values;   // by PolyId
  std::vector<int64_t> bytes;    // by buffer
  std::vector<int64_t> offsets;  // by buffer: into its home, or -1
  std::vector<uint32_t> homes;   // by buffer: the output in whose memory it lies; kNone: the slab
  std::vector<int64_t> scratch;  // by step: bytes that a library allocates while it runs
  int64_t scratch_bytes = 0;     // the most of these
  int64_t slab_bytes = 0;
  int64_t output_bytes = 0;
  int64_t new_bytes = 0;  // of slab, scratch, and outputs that can take no input's memory

  bool has_places_of(const Binding& other) const {
    return this == &other ||
           (bytes == other.bytes && offsets == other.offsets && homes == other.homes);
  }
  int64_t operator[](PolyId p) const { return values[p]; }
};

}  // namespace tenon::jit
