// Minimum cuts of directed graphs with integer capacities.
#pragma once

#include <cstdint>
#include <vector>

namespace tenon::jit {

// Dinic's algorithm (1970): shortest augmenting paths by levels.
class FlowNetwork {
 public:
  static constexpr int64_t kInfinite = int64_t{1} << 60;

  uint32_t add_node();
  void add_edge(uint32_t from, uint32_t to, int64_t capacity);
  // For each node, whether it lies on the side of `sink`; of all minimum cuts the nearest to it.
  std::vector<uint8_t> sink_side(uint32_t source, uint32_t sink);

 private:
  struct Edge {
    uint32_t to;
    int64_t capacity;
  };
  bool find_levels(uint32_t source, uint32_t sink);
  int64_t augment(uint32_t source, uint32_t sink);

  std::vector<Edge> edges_;  // edge e and its reverse e ^ 1
  std::vector<std::vector<uint32_t>> out_;
  std::vector<uint32_t> level_, next_;
};

}  // namespace tenon::jit
