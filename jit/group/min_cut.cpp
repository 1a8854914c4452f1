#include "jit/group/min_cut.h"

#include <algorithm>

namespace tenon::jit {
namespace {
constexpr uint32_t kUnreached = ~uint32_t{0};
}

uint32_t FlowNetwork::add_node() {
  out_.emplace_back();
  return static_cast<uint32_t>(out_.size() - 1);
}

void FlowNetwork::add_edge(uint32_t from, uint32_t to, int64_t capacity) {
  out_[from].push_back(static_cast<uint32_t>(edges_.size()));
  edges_.push_back({to, capacity});
  out_[to].push_back(static_cast<uint32_t>(edges_.size()));
  edges_.push_back({from, 0});
}

bool FlowNetwork::find_levels(uint32_t source, uint32_t sink) {
  level_.assign(out_.size(), kUnreached);
  level_[source] = 0;
  std::vector<uint32_t> queue{source};
  for (size_t at = 0; at < queue.size(); ++at) {
    for (uint32_t e : out_[queue[at]]) {
      if (edges_[e].capacity == 0 || level_[edges_[e].to] != kUnreached) continue;
      level_[edges_[e].to] = level_[queue[at]] + 1;
      queue.push_back(edges_[e].to);
    }
  }
  return level_[sink] != kUnreached;
}

// One path along the levels; 0 if there is none left. The path is kept here, not on the stack: it
// is as long as a program may be.
int64_t FlowNetwork::augment(uint32_t source, uint32_t sink) {
  std::vector<uint32_t> path;  // edges
  uint32_t at = source;
  while (at != sink) {
    uint32_t& next = next_[at];
    while (next < out_[at].size()) {
      const Edge& edge = edges_[out_[at][next]];
      if (edge.capacity > 0 && level_[edge.to] == level_[at] + 1) break;
      ++next;
    }
    if (next < out_[at].size()) {
      path.push_back(out_[at][next]);
      at = edges_[path.back()].to;
    } else if (path.empty()) {
      return 0;
    } else {
      at = edges_[path.back() ^ 1].to;
      path.pop_back();
      ++next_[at];
    }
  }
  int64_t flow = kInfinite;
  for (uint32_t e : path) flow = std::min(flow, edges_[e].capacity);
  for (uint32_t e : path) {
    edges_[e].capacity -= flow;
    edges_[e ^ 1].capacity += flow;
  }
  return flow;
}

std::vector<uint8_t> FlowNetwork::sink_side(uint32_t source, uint32_t sink) {
  while (find_levels(source, sink)) {
    next_.assign(out_.size(), 0);
    while (augment(source, sink) > 0) {
    }
  }
  // Who can still send something to the sink.
  std::vector<uint8_t> reaches(out_.size(), 0);
  reaches[sink] = 1;
  std::vector<uint32_t> stack{sink};
  while (!stack.empty()) {
    const uint32_t at = stack.back();
    stack.pop_back();
    for (uint32_t e : out_[at]) {
      const uint32_t from = edges_[e].to;
      if (reaches[from] || edges_[e ^ 1].capacity == 0) continue;
      reaches[from] = 1;
      stack.push_back(from);
    }
  }
  return reaches;
}

}  // namespace tenon::jit
