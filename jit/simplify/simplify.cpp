#include "jit/simplify/simplify.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>
#include <unordered_map>

namespace tenon::jit {
namespace {

template <class T>
void append(std::string& bytes, const T& value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

class Simplifier {
 public:
  Simplifier(Graph& graph, OptimizationSet off)
      : graph_(graph), off_(off), same_as_(graph.nodes.size()), is_output_(graph.nodes.size(), 0) {}

  void run() {
    for (NodeIndex output : graph_.outputs) is_output_[output] = 1;
    for (NodeIndex n = 0; n < graph_.nodes.size(); ++n) {
      GraphNode& node = graph_.nodes[n];
      for (NodeIndex& operand : node.operands) operand = same_as_[operand];
      same_as_[n] = n;
      drop_trivial_reduction(node);
      if (does(Optimization::ComposeMovement)) compose(node);
      NodeIndex other = does(Optimization::Algebra) ? identity(node) : kNone;
      if (is_output_[n]) {  // has a buffer and layout of its own
        if (other == kNone || !become_output(other, n)) know(n);
        continue;
      }
      if (other == kNone) other = know(n);
      if (other != kNone) same_as_[n] = other;
    }
    drop_dead();
  }

 private:
  const GraphNode& at(NodeIndex n) const { return graph_.nodes[n]; }
  bool does(Optimization o) const { return !contains(off_, o); }

  // The node that an output is equal to takes its place, unless it has another already.
  bool become_output(NodeIndex other, NodeIndex output) {
    if (is_output_[other] || at(other).op == Op::Input) return false;
    is_output_[other] = 1;
    is_output_[output] = 0;
    same_as_[output] = other;
    std::ranges::replace(graph_.outputs, output, other);
    return true;
  }

  // Reductions over dimensions that are all 1 combine nothing.
  void drop_trivial_reduction(GraphNode& node) {
    if (info(node.op).group != PrimitiveClass::Reduction) return;
    const GraphNode& x = at(node.operands[0]);
    if (x.atoms != node.atoms || x.dtype != node.dtype || x.empty) return;
    node.op = Op::Reshape;
    node.axes.clear();  // equal atoms need no pattern
  }

  // Chains of movement become one.
  void compose(GraphNode& node) {
    if (node.operands.empty()) return;
    const GraphNode& x = at(node.operands[0]);
    if (node.op != x.op) return;
    if (node.op == Op::Permute) {
      for (int64_t& axis : node.axes) axis = x.axes[axis];
      node.operands[0] = x.operands[0];
    } else if (node.op == Op::Reshape && at(x.operands[0]).atoms == node.atoms) {
      node.operands[0] = x.operands[0];
    } else if (node.op == Op::Expand) {
      node.operands[0] = x.operands[0];
    }
  }

  // The value of a literal, also behind broadcasts.
  bool is_literal(NodeIndex n, double value) const {
    while (at(n).op == Op::Expand || at(n).op == Op::Reshape) n = at(n).operands[0];
    const GraphNode& node = at(n);
    if (node.op != Op::Constant || node.axes[0] != 1 || node.empty) return false;
    const double literal = is_floating(node.dtype) ? std::bit_cast<double>(node.axes[1])
                                                   : static_cast<double>(node.axes[1]);
    return literal == value && std::signbit(literal) == std::signbit(value);
  }

  // The operand that a node is equal to in every bit.
  NodeIndex identity(const GraphNode& node) const {
    const auto operand = [&](int k) {
      const GraphNode& x = at(node.operands[k]);
      return x.dims == node.dims && x.dtype == node.dtype && x.layout == node.layout
                 ? node.operands[k]
                 : kNone;
    };
    const bool floating = is_floating(node.dtype);
    switch (node.op) {
      case Op::Cast:
      case Op::Expand:
      case Op::Reshape:
        return operand(0);
      case Op::Permute:
        for (size_t d = 0; d < node.axes.size(); ++d) {
          if (node.axes[d] != static_cast<int64_t>(d)) return kNone;
        }
        return operand(0);
      case Op::Slice:
      case Op::Pad: {
        const uint64_t all = node.rank() == 64 ? ~uint64_t{0} : (uint64_t{1} << node.rank()) - 1;
        return (static_cast<uint64_t>(node.axes[0]) & all) == all ? operand(0) : kNone;
      }
      case Op::Neg:
      case Op::BitwiseNot: {
        const GraphNode& x = at(node.operands[0]);
        return x.op == node.op ? x.operands[0] : kNone;
      }
      case Op::Mul:
        if (node.dtype == DType::Bool) return kNone;
        if (is_literal(node.operands[1], 1)) return operand(0);
        return is_literal(node.operands[0], 1) ? operand(1) : kNone;
      case Op::Div:
        return is_literal(node.operands[1], 1) ? operand(0) : kNone;
      case Op::Add:
        if (node.dtype == DType::Bool) return kNone;
        if (is_literal(node.operands[1], floating ? -0.0 : 0.0)) return operand(0);
        return is_literal(node.operands[0], floating ? -0.0 : 0.0) ? operand(1) : kNone;
      case Op::Sub:
        return is_literal(node.operands[1], 0) ? operand(0) : kNone;
      case Op::Select:
        return node.operands[1] == node.operands[2] ? operand(1) : kNone;
      default:
        return kNone;
    }
  }

  // Remembers n, or finds the node that computed the same. What takes dynamic sizes beyond its
  // extents, or a user's number, is never the same.
  NodeIndex know(NodeIndex n) {
    if (!does(Optimization::Cse)) return kNone;
    const GraphNode& node = at(n);
    switch (node.op) {
      case Op::Input:
      case Op::Slice:
      case Op::Pad:
      case Op::UpdateSlice:
      case Op::RandomBits:
      case Op::Scan:  // equal bodies may have other numbers in another program of this structure
      case Op::While:
      case Op::Cond:
      case Op::Call:  // its attributes are sizes
        return kNone;
      case Op::Constant:
        if (node.axes[0] != 1) return kNone;
        break;
      default:
        break;
    }
    std::string key;
    append(key, node.op);
    append(key, node.dtype);
    append(key, static_cast<uint32_t>(node.operands.size()));
    for (NodeIndex operand : node.operands) append(key, operand);
    append(key, static_cast<uint32_t>(node.axes.size()));
    for (int64_t axis : node.axes) append(key, axis);
    for (Symbol s : node.dims) append(key, s);
    append(key, node.layout.kind);
    for (uint8_t d : node.layout.order) append(key, d);
    const auto [it, is_new] = known_.try_emplace(std::move(key), n);
    return is_new ? kNone : it->second;
  }

  void drop_dead() {
    std::vector<uint8_t> live(graph_.nodes.size(), 0);
    for (NodeIndex output : graph_.outputs) live[output] = 1;
    for (NodeIndex n = static_cast<NodeIndex>(graph_.nodes.size()); n-- > 0;) {
      if (!live[n]) continue;
      for (NodeIndex operand : at(n).operands) live[operand] = 1;
    }
    std::vector<NodeIndex> place(graph_.nodes.size(), kNone);
    NodeIndex count = 0;
    for (NodeIndex n = 0; n < graph_.nodes.size(); ++n) {
      if (!live[n]) continue;
      place[n] = count;
      if (n != count) graph_.nodes[count] = std::move(graph_.nodes[n]);
      for (NodeIndex& operand : graph_.nodes[count].operands) operand = place[operand];
      ++count;
    }
    graph_.nodes.resize(count);
    for (NodeIndex& output : graph_.outputs) output = place[output];
  }

  Graph& graph_;
  const OptimizationSet off_;
  std::vector<NodeIndex> same_as_;
  std::vector<uint8_t> is_output_;
  std::unordered_map<std::string, NodeIndex> known_;
};

}  // namespace

void simplify(Graph& graph, OptimizationSet off) {
  if (!contains(off, Optimization::OuterProducts)) multiply_outer_products(graph);
  Simplifier(graph, off).run();
}

}  // namespace tenon::jit
