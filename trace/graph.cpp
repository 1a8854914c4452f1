#include "trace/graph.h"

#include <utility>

namespace tenon {
namespace {

// Graphs whose last reference went while another is being torn down wait here, so that a chain of
// any length is released in a loop.
struct Pending {
  std::vector<std::pair<Ref<Graph>, uint32_t>> releases;
  bool draining = false;
};
thread_local Pending pending;

void drain() {
  if (pending.draining) return;
  pending.draining = true;
  while (!pending.releases.empty()) {
    auto [graph, at] = std::move(pending.releases.back());
    pending.releases.pop_back();
    GraphNode& node = graph->nodes[at];
    if (--node.references != 0) continue;
    node.value = {};
    node.leaf = nullptr;
    for (const GraphEdge& edge : graph->edges_of(node)) {
      if (edge.node != kNoNode) pending.releases.emplace_back(graph, edge.node);
    }
    node.edge_count = 0;
    if (node.link) pending.releases.emplace_back(std::move(node.link), node.link_node);
    node.link = nullptr;
  }
  pending.draining = false;
}

}  // namespace

Graph::~Graph() {
  for (GraphNode& node : nodes) {
    if (node.link) pending.releases.emplace_back(std::move(node.link), node.link_node);
  }
  drain();
}

void Graph::release_node(Ref<Graph> graph, uint32_t node) {
  pending.releases.emplace_back(std::move(graph), node);
  drain();
}

void Graph::free_residuals(const Ref<Graph>& graph, uint32_t at) {
  GraphNode& node = graph->nodes[at];
  node.flags |= Node::kFreed;
  for (GraphEdge& edge : graph->edges_of(node)) {
    if (edge.node == kNoNode) continue;
    pending.releases.emplace_back(graph, edge.node);
    edge.node = kNoNode;
  }
  drain();
}

}  // namespace tenon
