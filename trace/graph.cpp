#include "trace/graph.h"

#include <utility>

namespace tenon {
namespace {

// Graphs whose last reference went while another is being torn down wait here, so that a chain of
// any length is released in a loop. Guarded by the lock that guards graphs. It is never destroyed:
// a thread's pending segments go when the thread ends, in whatever order its variables do, and
// tensors may even outlive static variables.
struct Pending {
  std::vector<std::pair<Ref<Graph>, uint32_t>> releases;
  bool draining = false;
};
Pending& pending() {
  static Pending* const instance = new Pending;
  return *instance;
}

void drain() {
  auto& [releases, draining] = pending();
  if (draining) return;
  draining = true;
  while (!releases.empty()) {
    auto [graph, at] = std::move(releases.back());
    releases.pop_back();
    GraphNode& node = graph->nodes[at];
    if (--node.references != 0) continue;
    node.value = {};
    node.leaf = nullptr;
    node.hooks = nullptr;
    node.custom = {};
    for (const GraphEdge& edge : graph->edges_of(node)) {
      if (edge.node != kNoNode) releases.emplace_back(graph, edge.node);
    }
    node.edge_count = 0;
    if (node.link) releases.emplace_back(std::move(node.link), node.link_node);
    node.link = nullptr;
  }
  draining = false;
}

}  // namespace

Graph::~Graph() {
  for (GraphNode& node : nodes) {
    if (node.link) pending().releases.emplace_back(std::move(node.link), node.link_node);
  }
  drain();
}

void Graph::release_node(Ref<Graph> graph, uint32_t node) {
  pending().releases.emplace_back(std::move(graph), node);
  drain();
}

void Graph::free_residuals(const Ref<Graph>& graph, uint32_t at) {
  GraphNode& node = graph->nodes[at];
  node.flags |= Node::kFreed;
  node.custom = {};
  for (GraphEdge& edge : graph->edges_of(node)) {
    if (edge.node == kNoNode) continue;
    pending().releases.emplace_back(graph, edge.node);
    edge.node = kNoNode;
  }
  drain();
}

}  // namespace tenon
