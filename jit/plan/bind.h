// What a plan knows once extents are known.
#pragma once

#include "jit/plan/plan.h"

namespace tenon::jit {

struct Plan::Binding {
  std::vector<int64_t> params;   // by Algebra::params(): the identity of a binding
  std::vector<int64_t> values;   // by PolyId
  std::vector<int64_t> bytes;    // by buffer
  std::vector<int64_t> offsets;  // by buffer: into the slab, or -1
  int64_t slab_bytes = 0;
  int64_t output_bytes = 0;

  int64_t operator[](PolyId p) const { return values[p]; }
};

}  // namespace tenon::jit
