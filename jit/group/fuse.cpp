#include "jit/group/fuse.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "jit/group/chain.h"
#include "jit/group/place.h"
#include "jit/group/stores.h"
#include "jit/schedule/access.h"
#include "jit/schedule/cost.h"

namespace tenon::jit {
namespace {

// A value that a node reads, through movement that is computed with it.
struct Use {
  NodeIndex node;
  bool same_place;  // whatever the node's index: its element is the node's, up to broadcasting
  SmallVector<uint8_t, 8> loops;  // same_place: for each atom of `node`, the reader's atom
};

// Of a map that a column reduction takes in: where columns are few, most lanes compute nothing, and
// only what is cheap costs less than to store it and load it.
constexpr uint32_t kMaxColumnMapCost = 24;
constexpr uint32_t kMaxMovementDepth = 12;
constexpr size_t kMaxSelectedParts = 4;  // operands of a concatenate that is computed by selects

class Fuser {
 public:
  Fuser(const Graph& graph, Algebra& algebra, const GroupOptions& options, Grouping grouping,
        std::vector<uint8_t> wanted)
      : graph_(graph),
        algebra_(algebra),
        options_(options),
        out_(std::move(grouping)),
        wanted_(std::move(wanted)),
        chains_(graph_, wanted_, out_.group_of),
        depth_(graph.nodes.size(), 0) {}

  Grouping run() {
    want_buffers();
    for (NodeIndex n = 0; n < graph_.nodes.size(); ++n) visit(n);
    choose_stores(graph_, chains_, wanted_, does(Optimization::Recompute), out_);
    return std::move(out_);
  }

 private:
  bool does(Optimization o) const { return !contains(options_.off, o); }
  bool may_fuse(GroupKind kind) const {
    switch (kind) {
      case GroupKind::Map:
        return does(Optimization::FuseMaps);
      case GroupKind::Row:
        return does(Optimization::FuseRows);
      case GroupKind::Column:
        return does(Optimization::FuseColumns);
      case GroupKind::Full:
        return does(Optimization::FuseFull);
      default:
        return true;
    }
  }
  static GroupKind kind_of(ReductionClass c) {
    return c == ReductionClass::Row      ? GroupKind::Row
           : c == ReductionClass::Column ? GroupKind::Column
                                         : GroupKind::Full;
  }
  bool is_placed(NodeIndex n) const { return out_.group_of[n] != Grouping::kUnplaced; }

  // Nodes that library calls and opaque reshapes read from memory.
  void want_buffers() {
    for (NodeIndex n = 0; n < graph_.nodes.size(); ++n) {
      const GraphNode& node = graph_[n];
      if (reads_dense(node.op) || info(node.op).group == PrimitiveClass::Region) {
        if (!reads_dense(node.op)) wanted_[n] = 1;
        for (NodeIndex operand : node.operands) wanted_[operand] = 1;
      }
      if (takes_strides(node.op)) {
        for (NodeIndex operand : node.operands) {
          wanted_[matrix_view(graph_, algebra_, operand).base] = 1;
        }
      }
      if (node.op == Op::Reshape) {
        // Its elements would need divisions: read it from memory, where it is the same buffer.
        if (node.atoms != graph_[node.operands[0]].atoms) wanted_[node.operands[0]] = 1;
      }
      const size_t selected = does(Optimization::SelectConcatenate) ? kMaxSelectedParts : 0;
      if (node.op == Op::Concatenate && node.operands.size() > selected) wanted_[n] = 1;
      if (is_movement(graph_, n) && !does(Optimization::InlineMovement)) wanted_[n] = 1;
    }
    for (NodeIndex n = 0; n < graph_.nodes.size(); ++n) {
      if (graph_[n].op == Op::Input) wanted_[n] = 0;
    }
  }

  // ---- recomputation ----

  // Whether n can be had in group g: from memory or computed again.
  bool is_available(NodeIndex n, uint32_t g) const {
    if (graph_[n].op == Op::Input || graph_[n].op == Op::Constant) return true;
    if (is_placed(n) && out_.group_of[n] < g) return true;
    const Chain& chain = chains_[n];
    if (chain.dear || wanted_[n]) return false;
    return std::all_of(chain.leaves.begin(), chain.leaves.end(), [&](NodeIndex leaf) {
      return graph_[leaf].op == Op::Input ||
             (leaf != n && is_placed(leaf) && out_.group_of[leaf] < g);
    });
  }

  // ---- what a node reads ----

  void find_uses(NodeIndex n, Access at, size_t reader_atoms, std::vector<Use>& uses) {
    const uint64_t key = (uint64_t{n} << 32) ^ at.index ^ (uint64_t{at.condition} << 20);
    if (!seen_.insert(key).second) return;
    const GraphNode& node = graph_[n];
    if (node.op == Op::Constant) return;
    if (node.op == Op::Input || is_placed(n)) {
      Use use{n, at.condition == 0, {}};
      for (ExprId part : SmallVector<ExprId, 8>(algebra_.index(at.index))) {
        const uint32_t loop = algebra_.as_loop(part);
        use.same_place = use.same_place && loop < reader_atoms;
        use.loops.push_back(static_cast<uint8_t>(loop));
      }
      return uses.push_back(std::move(use));
    }
    for (size_t k = 0; k < node.operands.size(); ++k) {
      find_uses(node.operands[k], operand_access(graph_, algebra_, n, static_cast<int>(k), at),
                reader_atoms, uses);
    }
  }
  IndexId own_index(NodeIndex n) {
    SmallVector<ExprId, 8> parts;
    for (uint32_t l = 0; l < graph_[n].atoms.size(); ++l) parts.push_back(algebra_.loop(l));
    return algebra_.index(parts);
  }
  // Of a pointwise node by its own atoms, of a reduction by its operand's.
  std::vector<Use> uses_of(NodeIndex n) {
    std::vector<Use> uses;
    seen_.clear();
    const GraphNode& node = graph_[n];
    if (is_pointwise(graph_, n)) {
      const Access at{own_index(n), 0};
      for (size_t k = 0; k < node.operands.size(); ++k) {
        find_uses(node.operands[k], operand_access(graph_, algebra_, n, static_cast<int>(k), at),
                  node.atoms.size(), uses);
      }
    } else {
      const NodeIndex x = node.operands[0];
      find_uses(x, {own_index(x), 0}, graph_[x].atoms.size(), uses);
    }
    return uses;
  }

  // ---- joining ----

  // The loop of g for each of `atoms`, or nothing: through the uses that are in g, then by symbol.
  bool match_loops(uint32_t g, std::span<const Symbol> atoms, std::span<const Use> uses,
                   SmallVector<uint8_t, 8>& loops) const {
    const Group& group = out_.groups[g];
    constexpr uint8_t kOpen = 255;
    loops.assign(atoms.size(), kOpen);
    for (const Use& use : uses) {
      if (!is_placed(use.node) || out_.group_of[use.node] != g || !use.same_place) continue;
      const auto& theirs = out_.loops_of[use.node];
      for (size_t i = 0; i < use.loops.size(); ++i) {
        uint8_t& mine = loops[use.loops[i]];
        if (mine != kOpen && mine != theirs[i]) return false;
        mine = theirs[i];
      }
    }
    uint64_t used = 0;
    for (uint8_t l : loops) {
      if (l == kOpen) continue;
      if ((used >> l) & 1) return false;
      used |= uint64_t{1} << l;
    }
    uint32_t from = 0;
    for (size_t i = 0; i < atoms.size(); ++i) {
      if (loops[i] != kOpen) {
        if (group.loops[loops[i]] != atoms[i]) return false;
        continue;
      }
      uint32_t l = from;
      while (l < group.loops.size() && (((used >> l) & 1) || group.loops[l] != atoms[i])) ++l;
      if (l == group.loops.size()) {
        l = 0;
        while (l < group.loops.size() && (((used >> l) & 1) || group.loops[l] != atoms[i])) ++l;
        if (l == group.loops.size()) return false;
      }
      loops[i] = static_cast<uint8_t>(l);
      used |= uint64_t{1} << l;
      from = l + 1;
    }
    return true;
  }

  // Every use is in g at the same place, or can be had there.
  bool uses_fit(uint32_t g, std::span<const Use> uses, std::span<const uint8_t> loops) const {
    for (const Use& use : uses) {
      if (is_placed(use.node) && out_.group_of[use.node] == g && use.same_place) {
        const auto& theirs = out_.loops_of[use.node];
        bool same = true;
        for (size_t i = 0; i < use.loops.size(); ++i)
          same = same && loops[use.loops[i]] == theirs[i];
        if (same) continue;
      }
      if (!is_available(use.node, g)) return false;
    }
    return true;
  }

  bool has_room(uint32_t g, NodeIndex n) const {
    const Group& group = out_.groups[g];
    const bool few = does(Optimization::LargeKernels) && g < reads_.size() &&
                     reads_[g].size() <= options_.few_reads;
    return group.cost + cost_of(graph_[n].op) <=
               (few ? options_.max_cost_of_few : options_.max_cost) &&
           group.members.size() < (few ? options_.max_members_of_few : options_.max_members);
  }
  // Why a group refused, for explain().
  bool refuse(const char* why) {
    if (!refusal_) refusal_ = why;
    return false;
  }

  bool join_pointwise(uint32_t g, NodeIndex n, std::span<const Use> uses) {
    Group& group = out_.groups[g];
    if (!may_fuse(group.kind)) return refuse("switched off");
    if (!has_room(g, n)) return refuse("its kernel is large enough");
    const auto& atoms = graph_[n].atoms;
    SmallVector<uint8_t, 8> loops;
    if (!match_loops(g, atoms, uses, loops)) return refuse("other loops");
    const bool is_full = loops.size() == group.loops.size();
    const bool is_kept =
        loops.size() == group.kept &&
        std::all_of(loops.begin(), loops.end(), [&](uint8_t l) { return l < group.kept; });
    switch (group.kind) {
      case GroupKind::Map:
        if (!is_full) return refuse("other loops");
        break;
      case GroupKind::Row:
        if (!is_full && !is_kept) return refuse("neither a row nor one value a row");
        break;
      case GroupKind::Column:
      case GroupKind::Full:
        if (!is_kept) return refuse("reads a whole reduction that is not done yet");
        break;
      default:
        return refuse("a kernel of its own kind");
    }
    if (!uses_fit(g, uses, loops)) return refuse("reads at another place, or what comes later");
    out_.loops_of[n].assign(loops.size(), 0);
    std::copy(loops.begin(), loops.end(), out_.loops_of[n].begin());
    add(g, n);
    return true;
  }

  bool join_reduction(uint32_t g, NodeIndex n, std::span<const Use> uses) {
    Group& group = out_.groups[g];
    if (!has_room(g, n)) return refuse("its kernel is large enough");
    const ReductionClass c = reduction_class(graph_, n);
    if (!may_fuse(kind_of(c))) return refuse("switched off");
    const GraphNode& x = graph_[graph_[n].operands[0]];
    SmallVector<uint8_t, 8> loops;
    if (x.atoms.size() != group.loops.size() || !match_loops(g, x.atoms, uses, loops)) {
      return refuse("other loops");
    }
    const ReducedLoops shape = reduced_loops(graph_, n);
    // For each loop of the reduction as it would be alone, the group's loop.
    SmallVector<uint8_t, 8> order(shape.loops.size());
    for (size_t i = 0; i < loops.size(); ++i) order[shape.operand[i]] = loops[i];
    if (c != ReductionClass::Row && group.kind == GroupKind::Map) {
      if (c == ReductionClass::Column && group.cost > kMaxColumnMapCost) {
        return refuse("too dear for few columns");
      }
      if (!is_read_only_by(n, group)) return refuse("others read what it computes");
      if (!uses_fit(g, uses, loops)) return refuse("reads at another place, or what comes later");
      absorb(g, n);
      return true;
    }
    if (c == ReductionClass::Row && group.kind == GroupKind::Map) {
      if (!uses_fit(g, uses, loops)) return refuse("reads at another place, or what comes later");
      make_row(group, order, shape);
      for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<uint8_t>(i);
      for (size_t i = 0; i < loops.size(); ++i) loops[i] = shape.operand[i];
    } else {
      const GroupKind wanted = kind_of(c);
      if (group.kind != wanted || group.kept != shape.kept ||
          (c == ReductionClass::Row && group.inner_begin != shape.inner_begin)) {
        return refuse("reduces other loops");
      }
      // A row has passes; here nothing a reduction reads can come after one of the same kernel.
      const bool reads_result = std::any_of(uses.begin(), uses.end(), [&](const Use& use) {
        return is_placed(use.node) && out_.group_of[use.node] == g;
      });
      if (c != ReductionClass::Row && reads_result)
        return refuse("reads a whole reduction that is not done yet");
      // Reduced loops run in order; kept ones may be anyhow.
      for (uint32_t i = 0; i < order.size(); ++i) {
        if (i < shape.kept ? order[i] >= group.kept : order[i] != i) {
          return refuse("reduces in another order");
        }
      }
      if (!uses_fit(g, uses, loops)) return refuse("reads at another place, or what comes later");
    }
    out_.operand_loops[n].assign(loops.size(), 0);
    std::copy(loops.begin(), loops.end(), out_.operand_loops[n].begin());
    out_.loops_of[n].assign(shape.kept, 0);
    for (uint32_t i = 0; i < shape.kept; ++i) out_.loops_of[n][i] = order[i];
    add(g, n);
    return true;
  }

  // Whether nobody but n reads what the group computes, through whatever is computed on the way.
  bool is_read_only_by(NodeIndex n, const Group& group) {
    if (readers_of_.empty()) {
      readers_of_.resize(graph_.nodes.size());
      for (NodeIndex reader = 0; reader < graph_.nodes.size(); ++reader) {
        for (NodeIndex operand : graph_[reader].operands) add_once(readers_of_[operand], reader);
      }
    }
    std::vector<NodeIndex> stack(group.members.begin(), group.members.end());
    while (!stack.empty()) {
      const NodeIndex m = stack.back();
      stack.pop_back();
      if (wanted_[m]) return false;
      for (NodeIndex reader : readers_of_[m]) {
        if (reader == n || (is_placed(reader) && out_.group_of[reader] == out_.group_of[m])) {
          continue;
        }
        if (reader > n || is_placed(reader)) return false;
        stack.push_back(reader);
      }
    }
    return true;
  }

  // A map that one reduction reads is computed inside that, each element once as before.
  void absorb(uint32_t g, NodeIndex n) {
    const Group map = std::move(out_.groups[g]);
    for (NodeIndex m : map.members) out_.group_of[m] = Grouping::kUnplaced;
    place_alone(graph_, out_, n);
    Group& group = out_.groups[g] = std::move(out_.groups.back());
    out_.groups.pop_back();
    out_.group_of[n] = g;
    group.cost = map.cost + cost_of(graph_[n].op);
    group.note = map.note;
  }

  // Loops of a map in the order that a row reduction wants.
  void make_row(Group& group, std::span<const uint8_t> order, const ReducedLoops& shape) {
    SmallVector<uint8_t, 8> place(order.size());
    Symbols loops;
    for (size_t i = 0; i < order.size(); ++i) {
      place[order[i]] = static_cast<uint8_t>(i);
      loops.push_back(group.loops[order[i]]);
    }
    for (NodeIndex member : group.members) {
      for (uint8_t& l : out_.loops_of[member]) l = place[l];
    }
    group.kind = GroupKind::Row;
    group.loops = loops;
    group.kept = shape.kept;
    group.inner_begin = shape.inner_begin;
  }

  void add(uint32_t g, NodeIndex n) {
    Group& group = out_.groups[g];
    group.members.push_back(n);
    group.cost += cost_of(graph_[n].op);
    out_.group_of[n] = g;
  }

  // ---- the schedule ----

  void visit(NodeIndex n) {
    const GraphNode& node = graph_[n];
    if (node.op == Op::Input || (node.op == Op::Constant && !wanted_[n])) return chains_.find(n);
    if (is_movement(graph_, n) && !wanted_[n]) {
      uint32_t depth = 0;
      for (NodeIndex operand : node.operands) depth = std::max(depth, depth_[operand]);
      depth_[n] = depth + 1;
      if (depth_[n] <= kMaxMovementDepth) return chains_.find(n);
      wanted_[n] = 1;
      depth_[n] = 0;
    }
    chains_.find(n);
    const bool is_reduction = info(node.op).group == PrimitiveClass::Reduction;
    if (!wanted_[n] && does(Optimization::Recompute) && chains_.reads_little(n)) {
      depth_[n] = 1;  // computed wherever it is used, for no more than reading it would take
      return;
    }
    std::vector<Use> uses;
    std::string note;
    if (is_reduction || is_pointwise(graph_, n)) {
      uses = uses_of(n);
      SmallVector<uint32_t, 8> candidates;
      for (const Use& use : uses) {
        if (is_placed(use.node)) candidates.push_back(out_.group_of[use.node]);
        if (const auto it = readers_.find(use.node);
            it != readers_.end() && does(Optimization::FuseSiblings)) {
          candidates.push_back(it->second);
        }
      }
      std::sort(candidates.begin(), candidates.end(), std::greater<>());
      const auto end = std::unique(candidates.begin(), candidates.end());
      for (auto it = candidates.begin(); it != end; ++it) {
        refusal_ = nullptr;
        if (out_.groups[*it].members[0] < node.not_before) continue;
        if (is_reduction ? join_reduction(*it, n, uses) : join_pointwise(*it, n, uses)) {
          note_readers(n, uses_of(n));  // anew: a map may have been taken in
          return;
        }
        if (it == candidates.begin() && refusal_)
          note = fmt::format("not in {}: {}", *it, refusal_);
      }
    }
    place_alone(graph_, out_, n);
    out_.groups.back().note = std::move(note);
    out_.groups.back().cost = cost_of(node.op);
    note_readers(n, uses);
  }

  void note_readers(NodeIndex n, std::span<const Use> uses) {
    reads_.resize(out_.groups.size());
    auto& reads = reads_[out_.group_of[n]];
    for (const Use& use : uses) {
      if (out_.group_of[use.node] != out_.group_of[n]) add_once(reads, use.node);
      readers_[use.node] = out_.group_of[n];
      if (chains_[use.node].dear || out_.group_of[use.node] == out_.group_of[n]) continue;
      for (NodeIndex leaf : chains_[use.node].leaves) readers_[leaf] = out_.group_of[n];
    }
  }

  const Graph& graph_;
  Algebra& algebra_;
  const GroupOptions& options_;
  Grouping out_;
  std::vector<uint8_t> wanted_;
  Chains chains_;
  std::vector<uint32_t> depth_;
  std::unordered_map<NodeIndex, uint32_t> readers_;    // last group that reads a value
  std::vector<SmallVector<NodeIndex, 8>> reads_;       // by group: what it reads of others
  std::vector<SmallVector<NodeIndex, 4>> readers_of_;  // by node; made when first asked for
  std::unordered_set<uint64_t> seen_;
  const char* refusal_ = nullptr;
};

}  // namespace

Grouping fuse(const Graph& graph, Algebra& algebra, const GroupOptions& options, Grouping grouping,
              std::vector<uint8_t> wanted) {
  return Fuser(graph, algebra, options, std::move(grouping), std::move(wanted)).run();
}

}  // namespace tenon::jit
