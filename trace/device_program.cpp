#include "trace/device_program.h"

#include <algorithm>
#include <cmath>

#include "trace/attention.h"
#include "trace/convolution_products.h"
#include "trace/recorder.h"

namespace tenon {
namespace {

using Operands = std::span<const Value>;

bool lacks_kernel(const ProgramNode& node) {
  if (type_of(node.type).device.is_cpu()) return false;
  return node.op == Op::Convolution || node.op == Op::Attention ||
         node.op == Op::AttentionNormalizer || node.op == Op::AttentionGradient;
}

// Records into a trace of its own for a while.
class OwnTrace {
 public:
  OwnTrace() : outer_(&recorder()) { thread_recorder = &own_; }
  ~OwnTrace() { thread_recorder = outer_; }
  const Segment& segment() const { return *own_.segment; }

 private:
  TraceLock lock_;
  Recorder* outer_;
  Recorder own_;
};

ops::Attention attention_of(Operands x, size_t first, bool causal) {
  ops::Attention a{x[0], x[1], x[2], x[3], {}, causal};
  if (x.size() > first) a.mask = x[first];
  return a;
}

// log of the sum of exp(scores) of each row; -inf in rows without keys.
Value normalizer(const ops::Attention& a) {
  const Value scores = ops::attention_scores(a);
  const int64_t last = rank(scores) - 1;
  const Value highest = ops::reduce(Op::ReduceMax, scores, {&last, 1}, true);
  const Value is_dead = ops::binary(Op::Eq, highest, ops::literal_like(highest, -HUGE_VAL));
  const Value shift = ops::select(is_dead, ops::literal_like(highest, 0), highest);
  const Value sum = ops::reduce(Op::ReduceSum, ops::unary(Op::Exp, scores - shift), {&last, 1});
  const auto extents = dims(sum);
  return ops::unary(Op::Log, sum) + ops::reshape(shift, Dims(extents));
}

// dQ, dK or dV (see autograd/attention.cpp), with the weights as the forward pass has them.
Value gradient(const ops::Attention& a, int64_t which, Value out, Value g) {
  const Value weights = ops::attention_weights(a);
  if (which == 2) return ops::batched_transposed_product(weights, g);
  const int64_t last = rank(weights) - 1;
  const Value mean = ops::reduce(Op::ReduceSum, g * out, {&last, 1}, true);
  const Value scores = weights * (ops::batched_product_transposed(g, a.value) - mean);
  const Value product = which == 0 ? ops::batched_product(scores, a.key)
                                   : ops::batched_transposed_product(scores, a.query);
  return product * ops::cast(a.scale, dtype(product));
}

Value convolution(const Type& result, Operands x, ops::ConvolutionRole role,
                  std::span<const int64_t> from) {
  const auto spatial = static_cast<size_t>(result.rank) - 2;
  const auto part = [&](size_t k) { return Dims(from.subspan(1 + k * spatial, spatial)); };
  const ops::ConvolutionSizes sizes{from[0], part(0), part(1), part(2)};
  const auto is_empty = [](const Type& type) { return type.numel == 0; };
  if (is_empty(result) || is_empty(type_of(x[0])) || is_empty(type_of(x[1]))) {
    return ops::full(result.dims(), ops::literal(0, result.dtype));
  }
  return ops::convolution_by_products(role, x[0], x[1], sizes, part(3));
}

Value in_products(const Program& program, const ProgramNode& node, Operands x) {
  const auto axes = program.axes_of(node);
  switch (node.op) {
    case Op::Convolution:
      return convolution(type_of(node.type), x, static_cast<ops::ConvolutionRole>(axes[0]),
                         program.sizes_of(node));
    case Op::Attention: {
      const ops::Attention a = attention_of(x, 4, axes[0] != 0);
      return ops::batched_product(ops::attention_weights(a), a.value);
    }
    case Op::AttentionNormalizer:
      return normalizer(attention_of(x, 4, axes[0] != 0));
    default:
      return gradient(attention_of(x, 7, axes[0] != 0), axes[1], x[4], x[6]);
  }
}

// The trace as a program. Returned are the places of attributes, by node.
std::vector<uint32_t> take(const Segment& segment, Program& program) {
  std::vector<uint32_t> places;
  for (const Node& from : segment.nodes) {
    ProgramNode node{};
    node.op = from.op;
    node.type = from.type;
    node.origin = from.origin;
    node.operand_count = from.operand_count;
    node.operands = static_cast<uint32_t>(program.operands.size());
    node.axes = static_cast<uint32_t>(program.attributes.size());
    for (const uint32_t operand : segment.operands_of(from)) program.operands.push_back(operand);
    if (from.op != Op::Input) {
      const auto axes = segment.axes_of(from), sizes = segment.sizes_of(from);
      node.axes_count = static_cast<uint32_t>(axes.size());
      node.sizes_count = static_cast<uint32_t>(sizes.size());
      program.attributes.insert(program.attributes.end(), axes.begin(), axes.end());
      program.attributes.insert(program.attributes.end(), sizes.begin(), sizes.end());
    }
    node.sizes = node.axes + node.axes_count;
    places.push_back(node.axes);
    program.nodes.push_back(node);
  }
  return places;
}

}  // namespace

bool needs_products(const Program& program) {
  return std::ranges::any_of(program.nodes, lacks_kernel);
}

ProductProgram with_products(const Program& program) {
  ProductProgram result;
  OwnTrace trace;
  Recorder& r = recorder();
  const DeviceScope restored;
  std::vector<Value> values, operands;
  for (const ProgramNode& node : program.nodes) {
    r.origin = node.origin;
    DeviceScope::follow(node.type);
    operands.clear();
    for (const uint32_t operand : program.operands_of(node)) operands.push_back(values[operand]);
    if (node.op == Op::Input) {
      Node& input = r.segment->nodes.emplace_back();
      input.op = Op::Input;
      input.type = node.type;
      input.origin = node.origin;
      values.push_back({static_cast<uint32_t>(r.segment->nodes.size() - 1)});
    } else if (lacks_kernel(node)) {
      values.push_back(in_products(program, node, operands));
      for (uint32_t i = 0; i < node.sizes_count; ++i) {
        result.sizes.emplace_back(node.sizes + i, program.attributes[node.sizes + i]);
      }
    } else {
      values.push_back(
          append(node.op, node.type, operands, program.axes_of(node), program.sizes_of(node)));
    }
  }
  const std::vector<uint32_t> places = take(trace.segment(), result.program);
  for (size_t n = 0; n < program.nodes.size(); ++n) {
    const ProgramNode& node = program.nodes[n];
    const uint32_t count = node.axes_count + node.sizes_count;
    if (count > 0 && !lacks_kernel(node)) {
      result.kept.push_back({node.axes, places[values[n].id], count});
    }
  }
  for (const uint32_t output : program.outputs) {
    ProgramNode& node = result.program.nodes[values[output].id];
    node.type = dense_type(node.type);
    result.program.outputs.push_back(values[output].id);
  }
  return result;
}

}  // namespace tenon
