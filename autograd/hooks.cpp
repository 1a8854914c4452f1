// Hooks: the user's functions that see, and may replace, a gradient on its way.
#include <algorithm>

#include "autograd/autograd.h"
#include "autograd/reverse.h"
#include "core/error.h"
#include "core/shape.h"

namespace tenon::autograd {

static uint64_t asked_for = 0;  // under the trace lock
uint64_t hooks_asked_for() {
  TraceLock lock;
  return asked_for;
}

Ref<GradientHooks> gradient_hooks(const Tensor& x) {
  OpScope scope("register_hook");
  ++asked_for;
  check(x.requires_grad(), ErrorKind::Runtime,
        "cannot register a hook on a tensor that doesn't require gradient");
  Ref<GradientHooks>* hooks = nullptr;
  if (x.cell()->requires_grad) {
    hooks = &anchor_of(*x.cell())->hooks;
  } else {
    const Place place = place_of(*x.cell());
    Segment& open = *recorder().segment;
    check(place.graph || open.nodes[place.node].level == 0, ErrorKind::NotImplemented,
          "register_hook: a tensor inside vmap, which stands for all examples at once");
    hooks = place.graph ? &place.graph->nodes[place.node].hooks : &open.hooks[place.node];
  }
  if (!*hooks) *hooks = make_ref<GradientHooks>();
  return *hooks;
}

Ref<GradientHooks> accumulation_hooks(const Tensor& x) {
  TraceLock lock;
  ++asked_for;
  check(x.cell()->requires_grad, ErrorKind::Runtime,
        "post accumulate grad hooks cannot be registered on non-leaf tensors");
  Ref<GradientHooks>& hooks = anchor_of(*x.cell())->after_hooks;
  if (!hooks) hooks = make_ref<GradientHooks>();
  return hooks;
}

Value run_hooks(const Ref<GradientHooks>& hooks, Value gradient) {
  if (!hooks) return gradient;
  const Type& type = type_of(gradient);
  for (const auto& [number, function] : std::vector(hooks->functions)) {  // they may remove some
    const Tensor given(make_cell(gradient));
    Tensor result;
    {
      TraceUnlock unlock;  // other threads of the user's program may go on meanwhile
      result = function(given);
    }
    if (!result.defined()) continue;
    check(std::ranges::equal(result.dims(), type.dims()), ErrorKind::Runtime,
          "a gradient's hook has changed its size from {} to {}", shown(type.dims()),
          shown(result.dims()));
    check(result.dtype() == type.dtype, ErrorKind::Runtime,
          "a gradient's hook has changed its dtype from {} to {}", name_of(type.dtype),
          name_of(result.dtype()));
    gradient = resolve(*result.cell());
  }
  return gradient;
}

void ReverseWalk::head_for(const Tensor& input) {
  if (input.cell()->requires_grad) {
    leaf_goals_.insert(anchor_of(*input.cell()).get());
  } else {
    const Place place = place_of(*input.cell());
    goals_.emplace(place.graph.get(), place.node);
  }
}

bool ReverseWalk::is_on_the_way(const Level& from, uint32_t from_node) const {
  if (goals_.empty() && leaf_goals_.empty()) return true;
  using Step = std::pair<Graph*, uint32_t>;  // no graph: the open segment
  std::set<Step> seen;
  std::vector<Step> work;
  const auto go = [&](Graph* graph, uint32_t node) {
    if (node != kNoNode && seen.emplace(graph, node).second) work.emplace_back(graph, node);
  };
  go(from.graph.get(), from_node);
  const Segment& open = *recorder().segment;
  while (!work.empty()) {
    const auto [graph, at] = work.back();
    work.pop_back();
    if (goals_.contains({graph, at})) return true;
    if (graph) {
      const GraphNode& node = graph->nodes[at];
      if (node.leaf && leaf_goals_.contains(node.leaf.get())) return true;
      if (node.link) go(node.link.get(), node.link_node);
      if (node.leaf) continue;
      for (const GraphEdge& edge : graph->edges_of(node)) {
        if (edge.node == kNoNode) continue;
        if (graph->nodes[edge.node].active & node.mask & bit_) go(graph, edge.node);
      }
      continue;
    }
    const Node& node = open.nodes[at];
    if (node.op == Op::Input) {
      const GraphRef& derivative = open.sources[node.attributes].derivative;
      if (derivative) go(derivative.graph().get(), derivative.node());
    } else if (node.flags & Node::kLeaf) {
      if (leaf_goals_.contains(open.leaves[node.attributes].get())) return true;
    } else {
      for (NodeId operand : open.operands_of(node)) {
        if (open.nodes[operand].active & node.mask & bit_) go(nullptr, operand);
      }
    }
  }
  return false;
}

Value ReverseWalk::after_hooks(const Level& level, uint32_t node, Value cotangent) const {
  if (bit_ != reverse_bit(0)) return cotangent;
  Ref<GradientHooks> hooks;
  if (level.graph) {
    hooks = level.graph->nodes[node].hooks;
  } else if (const auto& open = recorder().segment->hooks; !open.empty()) {
    if (const auto found = open.find(node); found != open.end()) hooks = found->second;
  }
  if (!hooks || hooks->functions.empty() || !is_on_the_way(level, node)) return cotangent;
  return run_hooks(hooks, cotangent);
}

}  // namespace tenon::autograd
