// Reverse mode: a walk over what was recorded, from outputs back to leaves or to the aliases of a
// transform, that records cotangents into the open segment.
//
// In: seeds (values with cotangents) and the depth whose edges count. Out: one cotangent for each
// watched value and each leaf reached. The walk goes from the open segment through the graphs that
// earlier segments left behind; values it needs from those come in as inputs.
#pragma once

#include <map>
#include <set>
#include <unordered_map>
#include <vector>

#include "trace/recorder.h"
#include "trace/rules.h"

namespace tenon::autograd {

// A node of the open segment (graph null) or of a graph.
struct Place {
  Ref<Graph> graph;
  uint32_t node = kNoNode;
};
// Where a cell's derivative starts; node is kNoNode when it depends on nothing differentiated.
Place place_of(Cell& cell);

class ReverseWalk {
 public:
  // `retain` keeps what nodes save, so that another walk may follow.
  // `stands_for`: the bit in the masks of regions, where it isn't the depth's own.
  ReverseWalk(int depth, bool retain, DerivativeMask stands_for = 0);

  void seed(const Place& place, Value cotangent);
  // Asks for the cotangent that arrives at a place; returns a number for `watched`.
  size_t watch(const Place& place);
  // Hooks are called only on the way to this tensor, and to others given so. Without any: always.
  void head_for(const Tensor& input);
  void run();

  Value watched(size_t number) const { return watched_[number]; }  // none: nothing arrived
  // Leaves in the order reached.
  const std::vector<std::pair<Ref<LeafAnchor>, Value>>& leaves() const { return leaves_; }

 private:
  struct Level {
    Ref<Graph> graph;
    std::vector<Value> cotangents;
    std::unordered_map<uint32_t, std::vector<size_t>> watches;
    std::unordered_map<uint32_t, Value> imported;  // residuals already brought in
    uint32_t highest = 0;
  };
  class Context;

  Level& level_of(const Place& place);
  void add(Level& level, uint32_t node, Value cotangent);
  void visit(Level& level, uint32_t node);
  bool is_on_the_way(const Level& level, uint32_t node) const;
  Value after_hooks(const Level& level, uint32_t node, Value cotangent) const;
  static CustomPlace custom_of(const Level& level, uint32_t node);
  void call_custom(const Level& level, uint32_t node, const CustomDerivative& derivative,
                   std::span<const TypeId> types, std::span<Value> cotangents);
  void gather_at_region(Level& level, uint32_t region, int64_t output, Value cotangent);
  void deliver(Level& level, uint32_t call, int output, Value cotangent);
  void arrive_at_leaf(const Ref<LeafAnchor>& leaf, Value cotangent);
  static Value import(Level& level, uint32_t node);

  const DerivativeMask bit_, recorded_bit_;
  const bool retain_;
  using Order = std::pair<uint64_t, uint64_t>;     // a segment's number and part
  std::map<Order, Level, std::greater<>> levels_;  // latest segment first
  std::vector<Value> watched_;
  std::vector<std::pair<Ref<LeafAnchor>, Value>> leaves_;
  std::unordered_map<LeafAnchor*, size_t> leaf_index_;
  std::vector<std::pair<Ref<Graph>, uint32_t>> to_free_;
  std::set<std::pair<const Graph*, uint32_t>> goals_;
  std::set<const LeafAnchor*> leaf_goals_;
  // Of regions, and calls of functions with derivatives of their own: the outputs' gradients so
  // far.
  std::map<std::pair<const Graph*, uint32_t>, std::vector<Value>> of_outputs_;
};

// A depth that nothing recorded so far is differentiated at: for transforms that a rule itself
// uses.
class FreshDepth {
 public:
  explicit FreshDepth(DerivativeMask bit);
  ~FreshDepth();
  FreshDepth(const FreshDepth&) = delete;
  DerivativeMask bit() const { return reverse_bit(recorder().depth); }

 private:
  const int saved_;
  const uint16_t blocked_;
};

// What a rule sees of a node of the open segment.
class NodeContext final : public RuleContext {
 public:
  NodeContext(NodeId id, DerivativeMask bit);
  Value operand(int k) override { return {operands_[k]}; }
  Value result() override { return {id_}; }
  Value node() override { return {id_}; }
  const std::vector<NodeId>& operands() const { return operands_; }

 private:
  NodeId id_;
  Dims axes_, sizes_;
  std::vector<NodeId> operands_;
  std::vector<TypeId> types_;
};

// The gradient as hooks leave it.
Value run_hooks(const Ref<GradientHooks>& hooks, Value gradient);

// What a user's function gave for the gradient of an operand, in the operand's type. As PyTorch:
// another dtype is converted, broadcast dimensions are summed; else an error that names `function`.
Value fit_gradient(Value gradient, const Type& operand, size_t number, std::string_view function);

// The cotangents of a node's operands, by its rule or its partial derivatives.
void transpose(RuleContext& context, Value cotangent, std::span<const bool> needs,
               std::span<Value> cotangents);
// The tangent of a call of a function with a derivative of its own, or of one of its outputs.
Value push_custom(NodeId node, std::span<const Value> tangents, DerivativeMask bit);
// The tangent of a node's result.
Value push_forward(RuleContext& context, std::span<const Value> tangents);

}  // namespace tenon::autograd
