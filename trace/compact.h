// What a segment leaves behind when it has run.
//
// Which derivatives: `.backward()`'s, and those of depths whose pullback somebody still holds.
//
// In: a segment about to run. First `choose_residuals` walks from the cells that are alive along
// active edges and finds the derivative nodes to keep and the values their rules read; those join
// the program's outputs. After the run `build_graph` makes the Graph, and every cell moves from its
// node to its buffer.
#pragma once

#include <vector>

#include "trace/segment.h"

namespace tenon {

struct Residuals {
  enum Mark : uint8_t {
    kDerivative = 1,  // a node of the derivative graph
    kValue = 2,       // its value is read by a kept node's rule
    kRecompute = 4,   // ... and is emitted again from its operands instead of being kept
  };
  std::vector<uint8_t> marks;            // of the segment's nodes
  std::vector<NodeId> kept;              // marked nodes, ascending
  DerivativeMask bits = reverse_bit(0);  // the depths that count
  std::vector<NodeId> must_store;        // those whose buffers the run has to give
};

Residuals choose_residuals(const Segment& segment);

// `stored` maps a node to its buffer (outputs of the run, inputs, values).
struct StoredValues {
  const Segment* segment;
  std::vector<std::pair<NodeId, Buffer>> outputs;  // ascending ids
  Buffer find(NodeId node) const;
};

// Null when nothing is kept. `index` receives each kept node's place in the graph.
Ref<Graph> build_graph(Segment& segment, const Residuals& residuals, const StoredValues& stored,
                       std::vector<uint32_t>& index);
// Gives back the reference that build_graph holds on each node, once the cells have theirs.
void drop_unreferenced(const Ref<Graph>& graph);

}  // namespace tenon
