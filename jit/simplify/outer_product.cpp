// Products that contract nothing, or dimensions of 1, as multiplications: a loop that writes each
// element once, fused with what makes and reads it, where a library would pack its operands.
#include <algorithm>
#include <bit>
#include <utility>

#include "jit/simplify/simplify.h"

namespace tenon::jit {
namespace {

// The axes of a DotGeneral's operand k.
struct ProductAxes {
  SmallVector<int64_t, 6> batch, contract, free;
};

ProductAxes axes_of(const GraphNode& product, int k, int rank) {
  const std::span<const int64_t> axes(product.axes.begin(), product.axes.end());
  const size_t nb = axes[0], nc = axes[1 + 2 * nb];
  const auto batch = axes.subspan(1 + k * nb, nb);
  const auto contract = axes.subspan(2 + 2 * nb + k * nc, nc);
  ProductAxes result;
  result.batch.append(batch.begin(), batch.end());
  result.contract.append(contract.begin(), contract.end());
  for (int64_t d = 0; d < rank; ++d) {
    if (std::ranges::count(batch, d) == 0 && std::ranges::count(contract, d) == 0) {
      result.free.push_back(d);
    }
  }
  return result;
}

class OuterProducts {
 public:
  explicit OuterProducts(Graph& graph) : graph_(graph), place_(graph.nodes.size()) {}

  void run() {
    std::vector<GraphNode> before = std::exchange(graph_.nodes, {});
    graph_.nodes.reserve(before.size());
    for (NodeIndex n = 0; n < before.size(); ++n) {
      GraphNode& node = before[n];
      for (NodeIndex& operand : node.operands) operand = place_[operand];
      place_[n] = is_outer(node) ? multiply(node) : add(std::move(node));
    }
    for (NodeIndex& output : graph_.outputs) output = place_[output];
  }

 private:
  const GraphNode& at(NodeIndex n) const { return graph_.nodes[n]; }

  NodeIndex add(GraphNode node) {
    graph_.nodes.push_back(std::move(node));
    return static_cast<NodeIndex>(graph_.nodes.size() - 1);
  }

  bool is_outer(const GraphNode& node) const {
    if (node.op != Op::DotGeneral || node.empty || is_complex(node.dtype)) return false;
    if (node.dtype == DType::Bool) return false;
    for (int k = 0; k < 2; ++k) {
      const GraphNode& x = at(node.operands[k]);
      if (x.dtype != node.dtype) return false;
      const auto contract = axes_of(node, k, x.rank()).contract;
      if (std::ranges::any_of(contract, [&](int64_t d) { return x.dims[d] != kOne; })) {
        return false;
      }
    }
    return true;
  }

  // A node of x's elements, with no dimensions yet.
  static GraphNode moved(Op op, const GraphNode& x, NodeIndex operand) {
    GraphNode node;
    node.op = op;
    node.dtype = x.dtype;
    node.source = x.source;
    node.operands = {operand};
    node.starts.push_back(0);
    return node;
  }

  static void add_dim(GraphNode& node, const GraphNode& x, int64_t d) {
    node.dims.push_back(x.dims[d]);
    for (int i = x.starts[d]; i < x.starts[d + 1]; ++i) node.atoms.push_back(x.atoms[i]);
    node.starts.push_back(static_cast<uint8_t>(node.atoms.size()));
  }

  static void add_ones(GraphNode& node, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      node.dims.push_back(kOne);
      node.starts.push_back(node.starts.back());
    }
  }

  // Operand k with the product's dimensions, 1 where they are the other operand's.
  NodeIndex aligned(const GraphNode& product, int k) {
    NodeIndex n = product.operands[k];
    const int rank = at(n).rank();
    const ProductAxes axes = axes_of(product, k, rank);
    SmallVector<int64_t, 6> order = axes.batch;
    order.append(axes.free.begin(), axes.free.end());
    const auto kept = static_cast<int64_t>(order.size());
    order.append(axes.contract.begin(), axes.contract.end());
    if (!std::ranges::is_sorted(order)) {
      GraphNode permuted = moved(Op::Permute, at(n), n);
      permuted.axes = order;
      for (int64_t d : order) add_dim(permuted, at(n), d);
      n = add(std::move(permuted));
      for (int64_t d = 0; d < rank; ++d) order[d] = d;
    }
    GraphNode shaped = moved(Op::Reshape, at(n), n);
    const size_t others = product.dims.size() - kept;
    const auto batch = static_cast<int64_t>(axes.batch.size());
    for (int64_t i = 0; i < kept; ++i) {
      if (i == batch && k == 1) add_ones(shaped, others);
      add_dim(shaped, at(n), order[i]);
    }
    if (k == 0 || kept == batch) add_ones(shaped, others);
    for (Symbol s : shaped.dims) {
      if (s == kOne) continue;
      shaped.axes.push_back(1);
      shaped.axes.push_back(1);
    }
    return add(std::move(shaped));
  }

  // a * b, + 0 where the dtype has a -0, which a sum that begins with 0 never is.
  NodeIndex multiply(GraphNode& product) {
    const NodeIndex a = aligned(product, 0), b = aligned(product, 1);
    GraphNode result = std::move(product);
    result.op = Op::Mul;
    result.operands = {a, b};
    result.axes.clear();
    if (!is_floating(result.dtype)) return add(std::move(result));
    GraphNode sum = result;
    GraphNode zero = moved(Op::Constant, result, kNone);
    zero.operands.clear();
    zero.axes = {1, std::bit_cast<int64_t>(0.0)};
    const NodeIndex multiplied = add(std::move(result));
    sum.op = Op::Add;
    sum.operands = {multiplied, add(std::move(zero))};
    return add(std::move(sum));
  }

  Graph& graph_;
  std::vector<NodeIndex> place_;
};

}  // namespace

void multiply_outer_products(Graph& graph) { OuterProducts(graph).run(); }

}  // namespace tenon::jit
