// func.vjp, func.grad and func.jvp: one depth deeper, over the same trace.
#include <algorithm>
#include <utility>

#include "autograd/autograd.h"
#include "autograd/reverse.h"
#include "core/error.h"
#include "core/shape.h"

namespace tenon::autograd {
namespace {

int open_depth() {
  Recorder& r = recorder();
  check(r.depth < kMaxDepth, ErrorKind::Runtime,
        "transforms of derivatives are nested {} deep; at most {} are possible", r.depth + 1,
        kMaxDepth);
  ++r.transforms;
  return ++r.depth;
}

// What a walk sets for each node that it comes to.
struct Restored {
  const uint16_t blocked = recorder().blocked;
  const uint32_t origin = recorder().origin;
  const DeviceScope device;
  ~Restored() {
    recorder().blocked = blocked;
    recorder().origin = origin;
  }
};

void close_depth(int depth, uint16_t blocked) {
  Recorder& r = recorder();
  r.depth = depth - 1;
  r.blocked = blocked;
  --r.transforms;
}

// A fresh alias: what is computed from it is what this transform differentiates, and nothing else
// (two transforms over the same tensor never see each other's derivative).
Tensor enter_alias(const Tensor& primal, DerivativeMask bit) {
  OpScope scope("alias");
  const Value alias = ops::alias(scope.use(primal));
  Node& node = recorder().segment->nodes[alias.id];
  if (is_differentiable(primal.dtype())) node.active |= bit;
  return scope.result(alias);
}

}  // namespace

ReverseTransform::ReverseTransform() : blocked_(recorder().blocked) {
  TraceLock lock;
  depth_ = open_depth();
}

ReverseTransform::~ReverseTransform() { close(); }

void ReverseTransform::close() {
  if (!std::exchange(open_, false)) return;
  TraceLock lock;
  close_depth(depth_, blocked_);
}

Tensor ReverseTransform::enter(const Tensor& primal) {
  TraceLock lock;
  inputs_.push_back(enter_alias(primal, reverse_bit(depth_)));
  // The caller's handle is another cell, so that writes to it leave the place to watch alone.
  OpScope scope("alias");
  inputs_.back().cell()->keeps |= reverse_bit(depth_);
  return scope.result(scope.use(inputs_.back()));
}

std::vector<Tensor> ReverseTransform::exit(std::span<const Tensor> outputs) {
  OpScope scope("vjp");
  std::vector<Value> values;
  for (const Tensor& output : outputs) values.push_back(scope.use(output));
  for (Value value : values) {
    outputs_.push_back(scope.result(value));
    outputs_.back().cell()->keeps |= reverse_bit(depth_);
  }
  close_depth(depth_, blocked_);
  open_ = false;
  std::vector<Tensor> results;
  for (Value value : values) results.push_back(scope.result(ops::alias(value)));
  return results;
}

std::vector<Tensor> ReverseTransform::pull(std::span<const Tensor> cotangents) {
  OpScope scope("vjp");
  check(cotangents.size() == outputs_.size(), ErrorKind::Runtime,
        "vjp: got {} cotangents for {} outputs", cotangents.size(), outputs_.size());
  ReverseWalk walk(depth_, true);
  for (size_t i = 0; i < cotangents.size(); ++i) {
    const Tensor& output = outputs_[i];
    if (!cotangents[i].defined() || !is_differentiable(output.dtype())) continue;
    check(std::ranges::equal(cotangents[i].dims(), output.dims()), ErrorKind::Runtime,
          "vjp: the cotangent of output {} has size {}, the output {}", i,
          shown(cotangents[i].dims()), shown(output.dims()));
    walk.seed({nullptr, scope.use(output).id}, ops::cast(scope.use(cotangents[i]), output.dtype()));
  }
  std::vector<size_t> numbers;
  for (const Tensor& input : inputs_) numbers.push_back(walk.watch(place_of(*input.cell())));
  walk.run();
  std::vector<Tensor> results;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    Value gradient = walk.watched(numbers[i]);
    if (!gradient) {
      gradient = ops::full(inputs_[i].dims(), ops::literal(0, inputs_[i].dtype()));
    }
    results.push_back(scope.result(gradient));
  }
  return results;
}

ForwardTransform::ForwardTransform() : blocked_(recorder().blocked) {
  TraceLock lock;
  depth_ = open_depth();
}

ForwardTransform::~ForwardTransform() { close(); }

void ForwardTransform::close() {
  if (!std::exchange(open_, false)) return;
  TraceLock lock;
  close_depth(depth_, blocked_);
}

Tensor ForwardTransform::enter(const Tensor& primal, const Tensor& tangent) {
  TraceLock lock;
  check(std::ranges::equal(primal.dims(), tangent.dims()), ErrorKind::Runtime,
        "jvp: the tangent has size {}, its primal {}", shown(tangent.dims()), shown(primal.dims()));
  inputs_.emplace_back(enter_alias(primal, forward_bit(depth_)), tangent);
  OpScope scope("alias");
  return scope.result(scope.use(inputs_.back().first));
}

NodeContext::NodeContext(NodeId id, DerivativeMask for_bit) : id_(id) {
  const Segment& segment = *recorder().segment;
  const Node& node = segment.nodes[id];
  op = node.op;
  type = node.type;
  bit = recorded_bit = for_bit;
  axes_ = Dims(segment.axes_of(node));
  sizes_ = Dims(segment.sizes_of(node));
  axes = axes_;
  sizes = sizes_;
  for (NodeId operand : segment.operands_of(node)) {
    operands_.push_back(operand);
    types_.push_back(segment.nodes[operand].type);
  }
  operand_types = types_;
}

ForwardTransform::Result ForwardTransform::exit(std::span<const Tensor> outputs) {
  OpScope scope("jvp");
  Recorder& r = recorder();
  std::vector<Value> values;
  for (const Tensor& output : outputs) values.push_back(scope.use(output));
  const size_t end = r.segment->nodes.size();
  std::vector<Value> tangents(end);
  std::vector<bool> needed(end);
  size_t first = end;
  std::vector<NodeId> places;
  for (const auto& [primal, tangent] : inputs_) {
    places.push_back(scope.use(primal).id);
    first = std::min<size_t>(first, places.back());
  }
  close_depth(depth_, blocked_);
  open_ = false;
  tangents.resize(std::max(end, r.segment->nodes.size()));
  needed.resize(tangents.size());
  for (size_t i = 0; i < inputs_.size(); ++i) {
    tangents[places[i]] = ops::cast(scope.use(inputs_[i].second), inputs_[i].first.dtype());
  }
  // Backwards: what the outputs need. Forwards: its tangents.
  const DerivativeMask bit = forward_bit(depth_);
  for (Value value : values) needed[value.id] = true;
  for (size_t id = end; id-- > first;) {
    if (!needed[id]) continue;
    const Node& node = r.segment->nodes[id];
    if (node.op == Op::Input) continue;
    for (NodeId operand : r.segment->operands_of(node)) {
      if (r.segment->nodes[operand].active & node.mask & bit) needed[operand] = true;
    }
  }
  const Restored restored;  // also when a user's rule raises
  const uint16_t blocked = r.blocked;
  for (size_t id = first; id < end; ++id) {
    if (!needed[id] || tangents[id]) continue;
    const Node node = r.segment->nodes[id];
    if (node.op == Op::Input || !(node.active & bit)) continue;
    NodeContext context(static_cast<NodeId>(id), bit);
    std::vector<Value> operand_tangents;
    bool any = false;
    for (NodeId operand : context.operands()) {
      const bool active = r.segment->nodes[operand].active & node.mask & bit;
      operand_tangents.push_back(active ? tangents[operand] : Value{});
      any = any || operand_tangents.back();
    }
    if (!any) continue;
    // A tangent inherits its primal's reverse mask: no_grad code stays without gradient.
    r.blocked = static_cast<uint16_t>(blocked | ~node.mask);
    r.origin = node.origin;
    DeviceScope::follow(node.type);
    tangents[id] = node.flags & Node::kCustom
                       ? push_custom(static_cast<NodeId>(id), operand_tangents, bit)
                       : push_forward(context, operand_tangents);
  }
  r.blocked = blocked;
  r.origin = restored.origin;
  Result result;
  for (size_t i = 0; i < values.size(); ++i) {
    const Value value = values[i];
    result.primals.push_back(scope.result(ops::alias(value)));
    Value tangent = tangents[value.id];
    if (!tangent) {
      tangent = ops::full(outputs[i].dims(), ops::literal(0, outputs[i].dtype()));
    }
    result.tangents.push_back(scope.result(tangent));
  }
  return result;
}

}  // namespace tenon::autograd
