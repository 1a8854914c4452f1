#include "trace/compact.h"

#include <algorithm>

#include "trace/recorder.h"
#include "trace/rules.h"

namespace tenon {
namespace {

// Movement and constants cost nothing to emit again, and keeping them could cost a whole tensor
// (an expanded scalar).
bool is_free_to_recompute(Op op) {
  switch (op) {
    case Op::Constant:
    case Op::Iota:
    case Op::Expand:
    case Op::Reshape:
    case Op::Permute:
    case Op::Slice:
      return true;
    default:
      return false;
  }
}

// An alias may show other strides than its operand (a write of a transposed value to a tensor that
// keeps its own): then it is a copy.
bool shares_operand(const Segment& segment, NodeId id) {
  const Node& node = segment.nodes[id];
  return node.op == Op::Alias && segment.nodes[segment.operands_of(node)[0]].type == node.type;
}

class Chooser {
 public:
  explicit Chooser(const Segment& segment) : segment_(segment) {
    result_.marks.resize(segment.nodes.size());
  }

  Residuals run() {
    for (const Cell* cell = segment_.cells; cell; cell = cell->next) result_.bits |= cell->keeps;
    for (const Cell* cell = segment_.cells; cell; cell = cell->next) {
      const Node& node = segment_.nodes[cell->node];
      if (node.level == 0 && (node.active & cell->wanted_derivatives()))
        mark(cell->node, Residuals::kDerivative);
    }
    while (!work_.empty()) {
      const NodeId node = work_.back();
      work_.pop_back();
      visit(node);
    }
    for (NodeId id = 0; id < result_.marks.size(); ++id) {
      if (result_.marks[id]) result_.kept.push_back(id);
    }
    std::ranges::sort(result_.must_store);
    return std::move(result_);
  }

 private:
  void mark(NodeId id, uint8_t flag) {
    if (result_.marks[id] & flag) return;
    result_.marks[id] |= flag;
    if (flag == Residuals::kDerivative) {
      work_.push_back(id);
    } else {
      need_value(id);
    }
  }

  void visit(NodeId id) {
    const Node& node = segment_.nodes[id];
    if (node.flags & (Node::kFreed | Node::kLeaf) || node.op == Op::Input) return;
    const auto operands = segment_.operands_of(node);
    bool active[256];
    for (size_t k = 0; k < operands.size(); ++k) {
      active[k] = segment_.nodes[operands[k]].active & node.mask & result_.bits;
      if (active[k]) mark(operands[k], Residuals::kDerivative);
    }
    if (node.flags & Node::kCustom) return;  // saves what it needs itself
    const uint8_t saved = saved_values(node.op, {active, operands.size()});
    if (info(node.op).group == PrimitiveClass::Region) {  // what its body reads; the token is none
      for (NodeId operand : operands) {
        if (saved != 0) mark(operand, Residuals::kValue);
      }
      return;
    }
    for (size_t k = 0; k < std::min<size_t>(operands.size(), 7); ++k) {
      if (saved & (1 << k)) mark(operands[k], Residuals::kValue);
    }
    if (saved & 0x80) mark(id, Residuals::kValue);
  }

  void need_value(NodeId id) {
    // An alias shares its operand's buffer, so that operand has to have one.
    const bool is_aliased = shares_operand(segment_, id);
    while (shares_operand(segment_, id) && !(segment_.nodes[id].flags & Node::kValued)) {
      result_.marks[id] |= Residuals::kValue | Residuals::kRecompute;
      id = segment_.operands_of(segment_.nodes[id])[0];
    }
    result_.marks[id] |= Residuals::kValue;
    const Node& node = segment_.nodes[id];
    if (node.op == Op::Input || (node.flags & Node::kValued)) return;
    if (result_.marks[id] & kStored) return;
    if (!is_aliased && (result_.marks[id] & Residuals::kRecompute)) return;
    if (!is_aliased && is_free_to_recompute(node.op)) {
      const auto operands = segment_.operands_of(node);
      // One level only: recomputing never becomes a long chain.
      const bool deep = !operands.empty() && is_free_to_recompute(segment_.nodes[operands[0]].op) &&
                        segment_.nodes[operands[0]].op != Op::Constant;
      if (!deep) {
        result_.marks[id] |= Residuals::kRecompute;
        for (NodeId operand : operands) mark(operand, Residuals::kValue);
        return;
      }
    }
    result_.marks[id] = (result_.marks[id] | kStored) & ~Residuals::kRecompute;
    result_.must_store.push_back(id);
  }

  static constexpr uint8_t kStored = 8;

  const Segment& segment_;
  Residuals result_;
  std::vector<NodeId> work_;
};

}  // namespace

uint8_t saved_values(Op op, std::span<const bool> active) {
  uint8_t saved = 0;
  for (size_t k = 0; k < active.size(); ++k) {
    if (active[k]) saved |= saves(op, static_cast<int>(k));
  }
  return saved;
}

Residuals choose_residuals(const Segment& segment) { return Chooser(segment).run(); }

Buffer StoredValues::find(NodeId node) const {
  const Node& definition = segment->nodes[node];
  if (definition.op == Op::Input) return segment->sources[definition.attributes].buffer;
  if (definition.flags & Node::kValued) return segment->values.at(node);
  const auto found =
      std::ranges::lower_bound(outputs, node, {}, [](const auto& o) { return o.first; });
  return found != outputs.end() && found->first == node ? found->second : Buffer{};
}

Ref<Graph> build_graph(Segment& segment, const Residuals& residuals, const StoredValues& stored,
                       std::vector<uint32_t>& index) {
  if (residuals.kept.empty()) return nullptr;
  index.assign(segment.nodes.size(), kNoNode);
  for (size_t i = 0; i < residuals.kept.size(); ++i) {
    index[residuals.kept[i]] = static_cast<uint32_t>(i);
  }
  auto graph = make_ref<Graph>(segment.sequence, segment.part);
  graph->nodes.resize(residuals.kept.size());
  for (size_t i = 0; i < residuals.kept.size(); ++i) {
    const NodeId id = residuals.kept[i];
    const Node& from = segment.nodes[id];
    const uint8_t marks = residuals.marks[id];
    GraphNode& node = graph->nodes[i];
    node.op = from.op;
    node.flags = from.flags;
    node.type = from.type;
    node.mask = from.mask & residuals.bits;
    node.active = from.active & residuals.bits;
    node.origin = from.origin;
    node.references += 1;  // the builder's own
    if (const auto hooks = segment.hooks.find(id); hooks != segment.hooks.end()) {
      node.hooks = hooks->second;
    }
    if ((marks & Residuals::kValue) && !(marks & Residuals::kRecompute)) {
      node.value = make_private(stored.find(id));  // or it would change with that memory
    }
    if (from.op == Op::Input) {
      Source& source = segment.sources[from.attributes];
      if ((marks & Residuals::kDerivative) && source.derivative) {
        node.link = source.derivative.graph();
        node.link_node = source.derivative.node();
        node.link->retain_node(node.link_node);
      }
      continue;
    }
    if (shares_operand(segment, id) && (marks & Residuals::kValue) && !node.value) {
      const uint32_t of = index[segment.operands_of(from)[0]];
      node.value = graph->nodes[of].value;  // an alias keeps its operand's
      node.value.type = from.type;
    }
    if (from.flags & Node::kLeaf) {
      node.leaf = segment.leaves[from.attributes];
      continue;
    }
    if (from.flags & Node::kCustom) node.custom = segment.customs[from.attributes];
    const auto axes = segment.axes_of(from), sizes = segment.sizes_of(from);
    node.axes = static_cast<uint32_t>(graph->attributes.size());
    node.axes_count = static_cast<uint32_t>(axes.size());
    graph->attributes.insert(graph->attributes.end(), axes.begin(), axes.end());
    node.sizes = static_cast<uint32_t>(graph->attributes.size());
    node.sizes_count = static_cast<uint32_t>(sizes.size());
    graph->attributes.insert(graph->attributes.end(), sizes.begin(), sizes.end());
    const auto operands = segment.operands_of(from);
    node.edges = static_cast<uint32_t>(graph->edges.size());
    node.edge_count = static_cast<uint32_t>(operands.size());
    const bool keeps_edges =
        !(from.flags & Node::kFreed) && (marks & (Residuals::kDerivative | Residuals::kRecompute));
    for (NodeId operand : operands) {
      const uint32_t at = keeps_edges ? index[operand] : kNoNode;
      graph->edges.push_back({at, segment.nodes[operand].type});
      if (at != kNoNode) ++graph->nodes[at].references;
    }
  }
  return graph;
}

void drop_unreferenced(const Ref<Graph>& graph) {
  if (!graph) return;
  for (uint32_t i = static_cast<uint32_t>(graph->nodes.size()); i-- > 0;) {
    Graph::release_node(graph, i);
  }
}

}  // namespace tenon
