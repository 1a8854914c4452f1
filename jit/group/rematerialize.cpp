#include "jit/group/rematerialize.h"

#include <algorithm>
#include <cmath>

#include "jit/group/min_cut.h"
#include "jit/group/place.h"
#include "jit/schedule/cost.h"

namespace tenon::jit {
namespace {

// Capacities are in sixteenths of a byte.
constexpr int64_t kByte = 16;
constexpr size_t kMaxNodes = 50000;  // of a cut: larger programs are cut by the trace's caps

int64_t elements_in(const Program& program, const GraphNode& node) {
  return type_of(program.nodes[node.source].type).numel;
}
int64_t bytes_of(const Program& program, const GraphNode& node) {
  return elements_in(program, node) * static_cast<int64_t>(size_of(node.dtype));
}

// What groups read of each other, and how long values stay.
class Lifetimes {
 public:
  Lifetimes(const Graph& graph, const Grouping& grouping, const Program& program)
      : graph_(graph), grouping_(grouping), last_(graph.nodes.size(), 0) {
    std::vector<uint32_t> seen(graph.nodes.size(), kNone);
    std::vector<NodeIndex> stack;
    for (uint32_t g = 0; g < grouping.groups.size(); ++g) {
      for (NodeIndex n : grouping.groups[g].stores) stack.push_back(n);
      while (!stack.empty()) {
        const NodeIndex n = stack.back();
        stack.pop_back();
        for (NodeIndex operand : graph[n].operands) {
          if (seen[operand] == g) continue;
          seen[operand] = g;
          if (grouping.stored[operand] && grouping.group_of[operand] != g) {
            last_[operand] = g;
          } else {
            stack.push_back(operand);
          }
        }
      }
    }
    for (NodeIndex output : graph.outputs) last_[output] = kNone;
    const size_t count = grouping.groups.size();
    std::vector<int64_t> alive(count + 1, 0), crossing(count + 1, 0);
    for (NodeIndex n = 0; n < graph.nodes.size(); ++n) {
      if (!grouping.stored[n] || last_[n] == kNone) continue;
      const uint32_t first = grouping.group_of[n], last = std::max(first, last_[n]);
      const int64_t bytes = bytes_of(program, graph[n]);
      alive[first] += bytes;
      alive[last + 1] -= bytes;
      crossing[first] += bytes;
      crossing[last] -= bytes;
    }
    int64_t now = 0, across = 0;
    for (uint32_t g = 0; g < count; ++g) {
      now += alive[g];
      across += crossing[g];
      peak = std::max(peak, now);
      if (across < most_crossing) continue;  // the last: what the next group reads isn't late
      most_crossing = across;
      turn = g;
    }
  }

  int64_t peak = 0;           // bytes of temporaries alive at once
  int64_t most_crossing = 0;  // ... from one group to the next,
  uint32_t turn = 0;          // which is this

 private:
  const Graph& graph_;
  const Grouping& grouping_;
  std::vector<uint32_t> last_;  // by node: the last group that reads it; kNone: an output
};

class Rematerializer {
 public:
  Rematerializer(Graph& graph, const Grouping& grouping, const Program& program,
                 const RematerializeOptions& options, uint32_t turn)
      : graph_(graph),
        grouping_(grouping),
        program_(program),
        options_(options),
        turn_(turn),
        is_output_(graph.nodes.size(), 0),
        vertex_(graph.nodes.size(), kNone) {
    for (NodeIndex output : graph.outputs) is_output_[output] = 1;
  }

  // Bytes that cross the turn afterwards.
  int64_t choose() {
    if (options_.level == Recompute::All) place_checkpoints();
    source_ = network_.add_node();
    sink_ = network_.add_node();
    find_needs();
    while (!work_.empty() && vertices_.size() < kMaxNodes) {
      const NodeIndex n = work_.back();
      work_.pop_back();
      connect(n);
    }
    if (vertices_.size() >= kMaxNodes) return kNoGain;
    const std::vector<uint8_t> late = network_.sink_side(source_, sink_);
    again_.assign(graph_.nodes.size(), 0);
    int64_t kept = 0;
    for (NodeIndex n : vertices_) {
      again_[n] = late[vertex_[n]];
      if (!late[vertex_[n]] && late[vertex_[n] + 1]) kept += keeping(n) / kByte;
    }
    return kept;
  }

  // The graph with the clones, without what nobody needs any more.
  void rewrite() {
    const NodeIndex boundary = grouping_.groups[turn_ + 1].members[0];
    place_.assign(graph_.nodes.size(), kNone);
    late_.assign(graph_.nodes.size(), kNone);
    for (NodeIndex n = 0; n < graph_.nodes.size(); ++n) {
      if (n == boundary) not_before_ = static_cast<NodeIndex>(nodes_.size());
      GraphNode node = graph_[n];
      for (NodeIndex& operand : node.operands)
        operand = is_late(n) ? late(operand) : place_[operand];
      place_[n] = static_cast<NodeIndex>(nodes_.size());
      nodes_.push_back(std::move(node));
    }
    graph_.nodes = std::move(nodes_);
    for (NodeIndex& output : graph_.outputs) output = place_[output];
    drop_dead();
  }

  static constexpr int64_t kNoGain = FlowNetwork::kInfinite;

 private:
  bool is_free(NodeIndex n) const {
    return graph_[n].op == Op::Input || graph_[n].op == Op::Constant;
  }
  bool is_placed(NodeIndex n) const { return grouping_.group_of[n] != Grouping::kUnplaced; }
  bool is_early(NodeIndex n) const { return is_placed(n) && grouping_.group_of[n] <= turn_; }
  bool is_late(NodeIndex n) const { return is_placed(n) && grouping_.group_of[n] > turn_; }

  bool is_attention(NodeIndex n) const {
    return graph_[n].op == Op::Attention || graph_[n].op == Op::AttentionNormalizer;
  }
  bool is_library(NodeIndex n) const {
    return graph_[n].op == Op::DotGeneral || graph_[n].op == Op::Convolution || is_attention(n);
  }

  // Values at some depths, counted in library calls, are kept rather than computed again. Else all
  // would be computed from the first value on and kept until its last reader: as much as before.
  void place_checkpoints() {
    const auto count = static_cast<NodeIndex>(graph_.nodes.size());
    std::vector<uint32_t> depth(count, 0);
    uint32_t deepest = 0;
    for (NodeIndex n = 0; n < count; ++n) {
      if (is_late(n)) continue;
      for (NodeIndex operand : graph_[n].operands) depth[n] = std::max(depth[n], depth[operand]);
      depth[n] += is_library(n);
      deepest = std::max(deepest, depth[n]);
    }
    // Bytes that go from each depth to deeper ones.
    std::vector<uint32_t> reach(depth);
    std::vector<int64_t> crossing(deepest + 1, 0);
    for (NodeIndex n = count; n-- > 0;) {
      if (is_late(n)) continue;
      for (NodeIndex operand : graph_[n].operands) {
        reach[operand] = std::max(reach[operand], is_placed(n) ? depth[n] : reach[n]);
      }
      if (!grouping_.stored[n]) continue;
      crossing[depth[n]] += bytes_of(program_, graph_[n]);
      crossing[reach[n]] -= bytes_of(program_, graph_[n]);
    }
    for (uint32_t d = 1; d <= deepest; ++d) crossing[d] += crossing[d - 1];
    // Intervals of the square root of the depth, each ending where least crosses.
    std::vector<uint32_t> ends(deepest + 2, 0);  // how many end at a smaller depth
    const auto interval = std::max(2u, static_cast<uint32_t>(std::sqrt(deepest)));
    for (uint32_t begin = 0; begin + interval <= deepest;) {
      uint32_t best = begin + 1;
      for (uint32_t d = begin + 2; d <= begin + interval; ++d) {
        if (crossing[d] <= crossing[best]) best = d;
      }
      ends[best + 1] = 1;
      begin = best;
    }
    for (uint32_t d = 1; d < ends.size(); ++d) ends[d] += ends[d - 1];
    // What is read beyond the end of its interval, unless that follows from another such value.
    std::vector<uint8_t> leaves(count, 0), follows(count, 0);
    for (NodeIndex n = count; n-- > 0;) {
      if (is_late(n)) continue;
      for (NodeIndex operand : graph_[n].operands) {
        if (ends[depth[operand]] < ends[depth[n]] || (leaves[n] && !is_placed(n))) {
          leaves[operand] = 1;
        }
      }
    }
    is_checkpoint_.assign(count, 0);
    for (NodeIndex n = 0; n < count; ++n) {
      if (is_late(n)) continue;
      for (NodeIndex operand : graph_[n].operands) {
        follows[n] |= depth[operand] == depth[n] && (is_checkpoint_[operand] || follows[operand]);
      }
      is_checkpoint_[n] = is_placed(n) && leaves[n] && !follows[n];
    }
  }

  // ---- the cut ----

  // What later groups take from earlier ones, through whatever they compute on the way.
  void find_needs() {
    std::vector<uint8_t> seen(graph_.nodes.size(), 0);
    std::vector<NodeIndex> stack;
    for (NodeIndex n = 0; n < graph_.nodes.size(); ++n) {
      if (is_late(n)) stack.push_back(n);
    }
    while (!stack.empty()) {
      const NodeIndex n = stack.back();
      stack.pop_back();
      const bool pins = !is_placed(n) && info(graph_[n].op).fallible;
      for (NodeIndex operand : graph_[n].operands) {
        if (is_free(operand)) continue;
        if (is_early(operand)) {
          if (vertex_[operand] == kNone) visit(operand);
          network_.add_edge(vertex_[operand] + 1, sink_, FlowNetwork::kInfinite);
          if (pins) network_.add_edge(source_, vertex_[operand], FlowNetwork::kInfinite);
        } else if (!seen[operand]) {
          seen[operand] = 1;
          if (!is_late(operand)) stack.push_back(operand);
        }
      }
    }
  }

  // A value is two vertices: computed again if the first is on the sink's side, kept if only the
  // second is.
  void visit(NodeIndex n) {
    vertex_[n] = network_.add_node();
    network_.add_node();
    vertices_.push_back(n);
    work_.push_back(n);
  }

  void connect(NodeIndex n) {
    network_.add_edge(vertex_[n], vertex_[n] + 1, keeping(n));
    const int64_t cost = computing(n);
    network_.add_edge(source_, vertex_[n], cost);
    if (cost >= FlowNetwork::kInfinite) return;
    for (NodeIndex operand : graph_[n].operands) {
      if (is_free(operand)) continue;
      if (vertex_[operand] == kNone) visit(operand);
      network_.add_edge(vertex_[operand] + 1, vertex_[n], FlowNetwork::kInfinite);
    }
  }

  int64_t keeping(NodeIndex n) const {
    if (is_output_[n]) return 0;
    if (!is_placed(n)) return FlowNetwork::kInfinite;  // it has no buffer
    return kByte * bytes_of(program_, graph_[n]);
  }

  int64_t computing(NodeIndex n) const {
    const GraphNode& node = graph_[n];
    if (info(node.op).fallible || (!is_checkpoint_.empty() && is_checkpoint_[n])) {
      return FlowNetwork::kInfinite;
    }
    const int64_t elements = elements_in(program_, node);
    if (is_pointwise(graph_, n)) {
      if (!is_placed(n)) return 0;
      const int64_t cost = elements * cost_of(node.op);
      return options_.level == Recompute::Cheap ? 2 * cost : 1 + cost / 8;
    }
    if (options_.level != Recompute::All) return FlowNetwork::kInfinite;
    if (info(node.op).group == PrimitiveClass::Reduction) {
      return 1 + elements_in(program_, graph_[node.operands[0]]) / 8;
    }
    if (is_attention(n)) {  // each query by all keys, and all values by that
      const GraphNode& keys = graph_[node.operands[1]];
      const auto extents = type_of(program_.nodes[keys.source].type).dims();
      return 1 + elements_in(program_, graph_[node.operands[0]]) * extents[keys.rank() - 2] / 32;
    }
    if (is_library(n)) {
      const double a = static_cast<double>(elements_in(program_, graph_[node.operands[0]]));
      const double b = static_cast<double>(elements_in(program_, graph_[node.operands[1]]));
      const double products = std::sqrt(a * b * static_cast<double>(elements));
      return 1 + static_cast<int64_t>(products / 64);
    }
    return FlowNetwork::kInfinite;
  }

  // ---- the graph ----

  // What late readers read in place of n.
  NodeIndex late(NodeIndex root) {
    std::vector<NodeIndex> stack{root};
    while (!stack.empty()) {
      const NodeIndex n = stack.back();
      if (late_[n] != kNone) {
        stack.pop_back();
        continue;
      }
      if (is_free(n) || is_late(n) || (is_early(n) && !again_[n])) {
        late_[n] = place_[n];
        stack.pop_back();
        continue;
      }
      bool ready = true, changes = is_early(n);
      for (NodeIndex operand : graph_[n].operands) {
        if (late_[operand] == kNone) {
          stack.push_back(operand);
          ready = false;
        } else {
          changes = changes || late_[operand] != place_[operand];
        }
      }
      if (!ready) continue;
      stack.pop_back();
      if (!changes) {
        late_[n] = place_[n];
        continue;
      }
      GraphNode clone = graph_[n];
      for (NodeIndex& operand : clone.operands) operand = late_[operand];
      clone.not_before = not_before_;
      late_[n] = static_cast<NodeIndex>(nodes_.size());
      nodes_.push_back(std::move(clone));
    }
    return late_[root];
  }

  void drop_dead() {
    auto& nodes = graph_.nodes;
    std::vector<uint8_t> live(nodes.size(), 0);
    for (NodeIndex output : graph_.outputs) live[output] = 1;
    for (NodeIndex n = static_cast<NodeIndex>(nodes.size()); n-- > 0;) {
      if (!live[n]) continue;
      for (NodeIndex operand : nodes[n].operands) live[operand] = 1;
    }
    std::vector<NodeIndex> place(nodes.size() + 1, 0);
    for (NodeIndex n = 0; n < nodes.size(); ++n) place[n + 1] = place[n] + live[n];
    for (NodeIndex n = 0; n < nodes.size(); ++n) {
      if (!live[n]) continue;
      GraphNode node = std::move(nodes[n]);
      for (NodeIndex& operand : node.operands) operand = place[operand];
      node.not_before = place[node.not_before];
      nodes[place[n]] = std::move(node);
    }
    nodes.resize(place.back());
    for (NodeIndex& output : graph_.outputs) output = place[output];
  }

  Graph& graph_;
  const Grouping& grouping_;
  const Program& program_;
  const RematerializeOptions& options_;
  const uint32_t turn_;
  std::vector<uint8_t> is_output_;
  std::vector<uint8_t> is_checkpoint_;  // by node, if all is computed again: never this
  FlowNetwork network_;
  uint32_t source_ = 0, sink_ = 0;
  std::vector<uint32_t> vertex_;     // by node: the first of its two
  std::vector<NodeIndex> vertices_;  // the nodes that have some
  std::vector<NodeIndex> work_;
  std::vector<uint8_t> again_;  // by node: whether late readers get a clone
  std::vector<GraphNode> nodes_;
  std::vector<NodeIndex> place_, late_;
  NodeIndex not_before_ = 0;
};

}  // namespace

bool rematerialize(Graph& graph, const Grouping& grouping, const Program& program,
                   const RematerializeOptions& options) {
  if (options.level == Recompute::None) return false;
  const Lifetimes lifetimes(graph, grouping, program);
  const int64_t crossing = lifetimes.most_crossing;
  if (crossing < options.least_bytes) return false;
  Rematerializer pass(graph, grouping, program, options, lifetimes.turn);
  const int64_t kept = pass.choose();
  if (kept == Rematerializer::kNoGain) return false;
  // A few bytes saved aren't worth the work; tests, which ask for all, get all.
  const int64_t least = options.least_bytes == 0 ? 1 : crossing / 16;
  if (crossing - kept < std::max(options.least_bytes / 4, least)) return false;
  pass.rewrite();
  return true;
}

int64_t peak_of_temporaries(const Graph& graph, const Grouping& grouping, const Program& program) {
  return Lifetimes(graph, grouping, program).peak;
}

}  // namespace tenon::jit
