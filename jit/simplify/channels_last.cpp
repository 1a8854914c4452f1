// Where convolutions follow each other, what lies between them has its channels last in memory: a
// library multiplies them so without moving them, and normalizations read whole vectors of
// channels.
//
// Only the buffers of the plan's own values change. Values that reach something else than
// convolutions, elementwise operations and reductions over all positions of a channel stay as they
// were: other kernels read them along their last dimension.
#include "jit/simplify/simplify.h"

namespace tenon::jit {
namespace {

Layout channels_last(int rank) {
  Layout layout;
  layout.kind = Layout::Permuted;
  layout.order.push_back(0);
  for (int d = 2; d < rank; ++d) layout.order.push_back(static_cast<uint8_t>(d));
  layout.order.push_back(1);
  return layout;
}

class ChannelMover {
 public:
  explicit ChannelMover(Graph& graph)
      : graph_(graph), fixed_(graph.nodes.size(), 0), moved_(graph.nodes.size(), 0) {}

  void run() {
    for (NodeIndex output : graph_.outputs) fixed_[output] = 1;
    for (NodeIndex n = count(); n-- > 0;) fix_operands(n);
    for (NodeIndex n = 0; n < count(); ++n) {
      if (!is_convolution(n)) continue;
      for (int k = 0; k < 2; ++k) {
        GraphNode& node = graph_.nodes[n];
        if (is_weight(n, k)) continue;
        node.operands[k] = uncopied(node.operands[k]);
        if (is_pointwise(node.operands[k])) move(node.operands[k]);
      }
    }
    for (NodeIndex n = 0; n < count(); ++n) {
      if (is_convolution(n) && graph_[n].axes[0] != 1) move(n);
      if (is_pointwise(n) && reads_moved(n)) move(n);
    }
  }

 private:
  NodeIndex count() const { return static_cast<NodeIndex>(graph_.nodes.size()); }
  bool is_convolution(NodeIndex n) const { return graph_[n].op == Op::Convolution; }
  // Operand k of a convolution, which is solved for the input, the weight or the output.
  bool is_weight(NodeIndex n, int k) const {
    return graph_[n].axes[0] == 0 ? k == 0 : graph_[n].axes[0] == 2 && k == 1;
  }

  // Whether a node's elements come from the same channels and, but for shifts, positions of its
  // operands.
  bool is_pointwise(NodeIndex n) const {
    const GraphNode& node = graph_[n];
    switch (node.op) {
      case Op::Slice:
      case Op::Pad:
      case Op::Concatenate:
        return true;
      default:
        return is_elementwise(node.op);
    }
  }
  bool is_movement(NodeIndex n) const {
    const Op op = graph_[n].op;
    return op == Op::Expand || op == Op::Reshape || op == Op::Permute;
  }

  // A reduction, of its operand [batch, channels, positions...], to channels with or without the
  // batch.
  bool reduces_positions(NodeIndex n) const {
    const GraphNode& node = graph_[n];
    if (info(node.op).group != PrimitiveClass::Reduction) return false;
    const GraphNode& x = graph_[node.operands[0]];
    if (x.rank() < 3 || x.dims.back() == kOne) return false;
    uint64_t axes = 0;
    for (int64_t axis : node.axes) axes |= uint64_t{1} << axis;
    const uint64_t positions = ((uint64_t{1} << x.rank()) - 1) & ~uint64_t{3};
    return (axes & positions) == positions && !(axes & 2);
  }

  // What n asks of its operands: their place, unless it reads them in any.
  void fix_operands(NodeIndex n) {
    const GraphNode& node = graph_[n];
    const bool passes_on = is_pointwise(n) || is_movement(n);
    if (is_convolution(n) || node.op == Op::DotGeneral || reduces_positions(n)) return;
    if (passes_on && !fixed_[n]) return;
    for (NodeIndex operand : node.operands) fixed_[operand] = 1;
  }

  // A copy that only brings the operand's channels first.
  NodeIndex uncopied(NodeIndex n) const {
    const GraphNode& node = graph_[n];
    if (node.op != Op::Reshape) return n;
    const GraphNode& x = graph_[node.operands[0]];
    return x.dims == node.dims && has_channels_last(x) ? node.operands[0] : n;
  }

  bool reads_moved(NodeIndex n) const {
    for (NodeIndex operand : graph_[n].operands) {
      if (moved_[operand] && graph_[operand].rank() == graph_[n].rank()) return true;
    }
    return false;
  }

  void move(NodeIndex n) {
    GraphNode& node = graph_.nodes[n];
    const bool can =
        !fixed_[n] && !node.empty && node.rank() >= 3 && node.layout.kind == Layout::Contiguous &&
        (!is_convolution(n) || (is_floating(node.dtype) && node.dtype != DType::Float64));
    if (!can) return;
    node.layout = channels_last(node.rank());
    moved_[n] = 1;
  }

  Graph& graph_;
  std::vector<uint8_t> fixed_;  // by node: stays as it is
  std::vector<uint8_t> moved_;
};

}  // namespace

bool has_channels_last(const GraphNode& node) {
  return node.rank() >= 3 && node.layout == channels_last(node.rank());
}

void move_channels_last(Graph& graph) { ChannelMover(graph).run(); }

}  // namespace tenon::jit
