// What remains of a segment once it has run: the part that derivatives of live tensors need.
//
// A graph's nodes are counted references: by cells, by edges of later nodes, and by links from
// later graphs. What nothing refers to any more gives back its residual buffers at once, so a
// program that records for days keeps only what its live tensors need.
#pragma once

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "core/ref.h"
#include "trace/node.h"
#include "trace/program.h"

namespace tenon {

struct Cell;
class Tensor;

// Functions of the user's that are called with a gradient once it is complete, in the order in
// which they were added. What one returns, if anything, takes the gradient's place.
struct GradientHooks : RefCounted {
  using Function = std::function<Tensor(const Tensor&)>;
  std::vector<std::pair<int64_t, Function>> functions;  // by number

  void add(int64_t number, Function function);
  void remove(int64_t number);
};

// The derivative of a function that the user gives one (autograd.Function). In the trace a call of
// the function is
//
//   call = redirect(0, inputs...)             a place where the gradients of all outputs meet
//   output = redirect(value, call)            for each output
//
// both with Node::kCustom. `value` was computed without derivative.
struct CustomDerivative : RefCounted {
  // From the outputs' gradients (undefined: none arrived) and the saved outputs, which are again
  // outputs of this call, to the inputs' gradients (undefined: zero).
  using Function = std::function<std::vector<Tensor>(const std::vector<Tensor>& gradients,
                                                     const std::vector<Tensor>& saved_outputs)>;
  Function function;
  // From the inputs' tangents (undefined: zero) and the outputs to the outputs' tangents; none:
  // reverse mode alone.
  Function forward;
  size_t output_count = 0;
  std::vector<std::pair<int, Tensor>> saved_outputs;  // values without derivative
  bool saves = false;  // anything: then a backward pass uses it up, unless told to retain

  CustomDerivative();
  ~CustomDerivative() override;
};

// What a node with kCustom is: the call, or one of its outputs.
struct CustomPlace {
  static constexpr int kCall = -1;
  Ref<CustomDerivative> derivative;  // the call's
  int output = kCall;
};

// The weak way from a recorded leaf back to the cell whose `.grad` it feeds.
struct LeafAnchor : RefCounted {
  Cell* cell = nullptr;            // null once the cell is gone
  Ref<GradientHooks> hooks;        // before the gradient is accumulated
  Ref<GradientHooks> after_hooks;  // after; they are called with the leaf
};

class Graph;

struct GraphEdge {
  uint32_t node = kNoNode;  // kNoNode: only the type is known (a ghost)
  TypeId type = 0;
};

struct GraphNode {
  Op op = Op::Input;
  uint8_t flags = 0;
  TypeId type = 0;
  uint32_t edges = 0;  // offset into Graph::edges
  uint32_t edge_count = 0;
  uint32_t axes = 0, axes_count = 0, sizes = 0, sizes_count = 0;  // into Graph::attributes
  DerivativeMask mask = 0;
  DerivativeMask active = 0;
  uint32_t origin = 0;
  uint32_t references = 0;
  Buffer value;          // when it is a residual, or a live tensor's
  Ref<LeafAnchor> leaf;  // when it is a leaf's alias
  Ref<Graph> link;       // an input: the node of an earlier graph that it continues
  uint32_t link_node = kNoNode;
  Ref<GradientHooks> hooks;
  CustomPlace custom;  // with Node::kCustom
};

class Graph : public RefCounted {
 public:
  Graph(uint64_t sequence, uint64_t part) : sequence(sequence), part(part) {}
  ~Graph();

  // Those of the segment it came from: later graphs only see earlier ones.
  const uint64_t sequence, part;
  std::vector<GraphNode> nodes;
  std::vector<GraphEdge> edges;
  std::vector<int64_t> attributes;

  std::span<GraphEdge> edges_of(const GraphNode& node) {
    return {edges.data() + node.edges, node.edge_count};
  }
  void retain_node(uint32_t node) { ++nodes[node].references; }
  // Gives back one reference; iterative, since graphs can be very deep.
  static void release_node(Ref<Graph> graph, uint32_t node);
  // Backward without retain_graph has used this node: its residuals go.
  static void free_residuals(const Ref<Graph>& graph, uint32_t node);
};

// A counted reference to one node of a graph.
class GraphRef {
 public:
  GraphRef() = default;
  GraphRef(Ref<Graph> graph, uint32_t node) : graph_(std::move(graph)), node_(node) {
    if (graph_) graph_->retain_node(node_);
  }
  GraphRef(const GraphRef& other) : GraphRef(other.graph_, other.node_) {}
  GraphRef(GraphRef&& other) noexcept : graph_(std::move(other.graph_)), node_(other.node_) {
    other.graph_ = nullptr;
  }
  GraphRef& operator=(GraphRef other) noexcept {
    std::swap(graph_, other.graph_);
    std::swap(node_, other.node_);
    return *this;
  }
  ~GraphRef() { reset(); }
  void reset() {
    if (graph_) Graph::release_node(std::exchange(graph_, nullptr), node_);
  }
  explicit operator bool() const { return static_cast<bool>(graph_); }
  const Ref<Graph>& graph() const { return graph_; }
  uint32_t node() const { return node_; }

 private:
  Ref<Graph> graph_;
  uint32_t node_ = kNoNode;
};

}  // namespace tenon
