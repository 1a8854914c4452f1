// Groups to loop IR.
//
// In: a Graph and its Grouping. Out: for each group the kernels that compute it, each with the list
// of what to pass: buffers by node, integers as polynomials, scalars by program node. What must
// hold: a kernel depends on structure only, so that equal groups give equal kernels; the bits of a
// value depend on its operation, operands and extents, not on which kernel computes it.
#pragma once

#include <memory>
#include <vector>

#include "jit/group/group.h"
#include "jit/loop/ir.h"

namespace tenon::jit {

struct BufferUse {
  NodeIndex node;
  bool partial;  // the partial results of a full reduction, not its value
  bool operator==(const BufferUse&) const = default;
};

struct KernelCode {
  loop::Kernel kernel;
  std::vector<BufferUse> buffers;  // by parameter
  std::vector<PolyId> ints;        // by parameter
  std::vector<uint32_t> scalars;   // by parameter: the program node of a user's number
  std::vector<NodeIndex> sites;    // by check site: the node that fails
  PolyId range = 1;                // extent of the parallel range
  int64_t divide_range = 1;        // the range is ceil(range / this)
  PolyId work = 1;                 // elements visited, for choosing the grain
  uint32_t cost = 1;               // operations an element
  PolyId row = 0;                  // elements of a row of the range; 0: it is one row
  bool unit_elements = true;       // range counts elements (chunks begin at multiples of 64)
  bool initialises = false;        // a copy of a base that is skipped when done in place
  // Where it reads and writes, to know what may be done in place. Only loads that come before every
  // store of their iteration are `early`.
  struct Touch {
    NodeIndex node;
    ExprId address;
    bool early;
  };
  std::vector<Touch> loads, stores;
  // The same values, bit for bit, for extents where the loop that this kernel vectorises is short:
  // vectors lie along another loop. It reads and writes no other nodes.
  std::shared_ptr<KernelCode> narrow;
  PolyId narrow_extent = 1;  // narrow is used where this is at most kNarrow
  PolyId narrow_along = 1;   // and this at least kLanes
};

struct Placement {
  const Graph& graph;
  const Grouping& grouping;
};

inline constexpr int64_t kFullChunk = 4096;  // elements of a chunk of a full reduction
inline constexpr int64_t kRowChunk = 4096;   // elements of a chunk of a row
inline constexpr int64_t kColumnChunks[] = {4096, 256, 16};  // rows, of chunks within chunks

inline constexpr int64_t kNarrow = 8;

std::vector<KernelCode> schedule(const Placement& placement, Algebra& algebra, uint32_t group);

loop::Scalar scalar_of(DType dtype);

}  // namespace tenon::jit
