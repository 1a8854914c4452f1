#include "jit/simplify/simplify.h"

namespace tenon::jit {
namespace {

// Reductions over dimensions that are all 1 combine nothing: a reshape.
void drop_trivial_reductions(Graph& graph) {
  for (GraphNode& node : graph.nodes) {
    if (info(node.op).group != PrimitiveClass::Reduction) continue;
    const GraphNode& x = graph.nodes[node.operands[0]];
    if (x.atoms != node.atoms || x.dtype != node.dtype || x.empty) continue;
    node.op = Op::Reshape;
    node.axes.clear();
    for (Symbol s : x.dims) {
      if (s == kOne) continue;
      node.axes.push_back(1);
      node.axes.push_back(1);
    }
  }
}

}  // namespace

void simplify(Graph& graph) { drop_trivial_reductions(graph); }

}  // namespace tenon::jit
