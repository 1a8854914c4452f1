#include "trace/vmap.h"

#include <algorithm>
#include <atomic>

#include "core/error.h"
#include "core/shape.h"
#include "trace/batch.h"
#include "trace/recorder.h"

namespace tenon {
namespace {

// Grows, so that the innermost of several vmaps on which a node depends has the greatest number.
std::atomic<uint32_t> next_instance{1};

int64_t wrap_dim(const char* what, int64_t dim, int64_t rank) {
  check(dim >= -rank && dim < rank, ErrorKind::Index,
        "vmap: got {}={} for a tensor with {} dimensions; expected {} to {}", what, dim, rank,
        -rank, rank - 1);
  return dim < 0 ? dim + rank : dim;
}

// Replaces the nodes of one instance by batched ones, from the index of the example to the outputs.
class Batcher {
 public:
  Batcher(uint32_t instance, NodeId index, int64_t extent)
      : segment_(*recorder().segment), instance_(instance), index_(index), extent_(extent) {}

  void run(std::span<const Value> outputs) {
    end_ = static_cast<NodeId>(segment_.nodes.size());
    batched_.resize(end_ - index_);
    const std::vector<bool> needed = find_needed(outputs);
    Recorder& r = recorder();
    const uint32_t origin = r.origin;
    const DeviceScope restored;
    for (NodeId id = index_; id < end_; ++id) {
      if (needed[id - index_]) batch(r, id);
    }
    r.origin = origin;
  }

  bool is_batched(Value value) const {
    const uint32_t level = segment_.nodes[value.id].level;
    return level == instance_ || level == kFinishedLevel;  // the latter once this vmap has ended
  }
  // With the batch at axis 0.
  Value batched(Value value) const {
    if (is_batched(value)) return batched_[value.id - index_];
    return ops::expand(value, batched_dims(extent_, type_of(value).dims()));
  }

 private:
  std::vector<bool> find_needed(std::span<const Value> outputs) const {
    std::vector<bool> needed(end_ - index_);
    for (Value output : outputs) {
      if (is_batched(output)) needed[output.id - index_] = true;
    }
    for (NodeId id = end_; id-- > index_;) {
      if (!needed[id - index_]) continue;
      for (NodeId operand : segment_.operands_of(segment_.nodes[id])) {
        if (is_batched({operand})) needed[operand - index_] = true;
      }
    }
    return needed;
  }

  void batch(Recorder& r, NodeId id) {
    const Node node = segment_.nodes[id];  // copies: rules append to the segment's arrays
    const NodeId first = static_cast<NodeId>(segment_.nodes.size());
    r.origin = node.origin;
    DeviceScope::follow(node.type);
    batched_[id - index_] = id == index_ ? ops::iota({{extent_}}, 0) : apply_rule(node);
    inherit(node, first);
  }

  Value apply_rule(const Node& node) const {
    const Dims axes(segment_.axes_of(node)), sizes(segment_.sizes_of(node));
    std::vector<TypeId> types;
    std::vector<Value> operands;
    const auto is_batched_operand = std::make_unique<bool[]>(node.operand_count);
    for (NodeId operand : segment_.operands_of(node)) {
      const bool is = is_batched({operand});
      is_batched_operand[operands.size()] = is;
      types.push_back(segment_.nodes[operand].type);
      operands.push_back(is ? batched_[operand - index_] : Value{operand});
    }
    if (node.flags & Node::kCustom) return batch_custom(node, operands, is_batched_operand[0]);
    if (node.op == Op::Gather && !is_batched_operand[0] &&
        segment_.operands_of(node)[1] == index_) {
      return ops::alias(ops::move_axis(operands[0], axes[0], 0));  // x[i] for every i is x
    }
    const BatchContext context{
        node.op, node.type, types,  operands, {is_batched_operand.get(), operands.size()},
        axes,    sizes,     extent_};
    return batch_rule(node.op)(context);
  }

  // A function with a derivative of its own, which is for one example: the values are batched like
  // any. Transforms that began inside vmap have taken their derivative.
  Value batch_custom(const Node& node, std::span<const Value> operands,
                     bool is_value_batched) const {
    DerivativeMask active = 0;
    for (Value operand : operands) active |= segment_.nodes[operand.id].active;
    check((active & node.mask) == 0, ErrorKind::NotImplemented,
          "vmap: an autograd.Function whose derivative is asked for outside of vmap. Take the "
          "derivative inside, as in vmap(grad(f)), or compose the function of operations");
    if (is_value_batched) return ops::alias(operands[0]);
    return ops::expand(operands[0], batched_dims(extent_, type_of(operands[0]).dims()));
  }

  // What was recorded under no_grad, or detached, stays so; marks of transforms that began inside
  // the function have done their work and are not carried over.
  void inherit(const Node& from, NodeId first) const {
    for (NodeId id = first; id < segment_.nodes.size(); ++id) {
      Node& node = segment_.nodes[id];
      node.mask = from.mask;
      node.active = 0;
      for (NodeId operand : segment_.operands_of(node)) {
        node.active |= segment_.nodes[operand].active;
      }
      node.active &= is_differentiable(type_of(node.type).dtype) ? node.mask : 0;
    }
  }

  Segment& segment_;
  const uint32_t instance_;
  const NodeId index_;
  const int64_t extent_;
  NodeId end_ = 0;
  std::vector<Value> batched_;  // of the nodes from index_ on
};

}  // namespace

uint32_t new_instance(const Recorder& r) {
  // After four billion vmaps: start over where no comparison with an open one can go wrong.
  constexpr uint32_t kAlmostFull = 0xffff0000u;
  if (r.vmaps.empty() && next_instance.load(std::memory_order_relaxed) > kAlmostFull) {
    next_instance = 1;
  }
  return next_instance++;
}

Vmap::Vmap(int64_t extent, Randomness randomness) : extent_(extent) {
  TraceLock lock;
  Recorder& r = recorder();
  instance_ = new_instance(r);
  index_ = ops::alias(ops::literal(0, DType::Int64)).id;
  r.segment->nodes[index_].level = instance_;
  r.vmaps.push_back({instance_, extent, index_, randomness, nullptr});
  ++r.transforms;
}

Vmap::~Vmap() { close(); }

void Vmap::close() {
  if (!std::exchange(open_, false)) return;
  TraceLock lock;
  Recorder& r = recorder();
  --r.transforms;
  // All finished vmaps look alike, so that a program with a vmap records the same nodes each time.
  for (NodeId id = index_; id < r.segment->nodes.size(); ++id) {
    Node& node = r.segment->nodes[id];
    if (node.level == instance_) node.level = kFinishedLevel;
  }
  std::erase_if(r.vmaps, [&](const OpenVmap& open) { return open.instance == instance_; });
}

Tensor Vmap::enter(const Tensor& x, int64_t in_dim) {
  OpScope scope("vmap");
  const Value value = scope.use(x);
  in_dim = wrap_dim("in_dim", in_dim, x.rank());
  check(x.dims()[in_dim] == extent_, ErrorKind::Value,
        "vmap: expected all tensors to have the same size in the mapped dimension, got sizes {} "
        "and {}",
        extent_, x.dims()[in_dim]);
  const Tensor example = scope.result(ops::gather(value, {index_}, in_dim));
  entered_.push_back({x, example, in_dim});
  return example;
}

std::vector<Tensor> Vmap::exit(std::span<const Tensor> outputs,
                               std::span<const std::optional<int64_t>> out_dims) {
  OpScope scope("vmap");
  check(open_, ErrorKind::Runtime, "vmap: this instance has ended");
  check(outputs.size() == out_dims.size(), ErrorKind::Value, "vmap: {} outputs and {} out_dims",
        outputs.size(), out_dims.size());
  std::erase_if(entered_, [](const Entered& entered) { return entered.example.version() == 0; });
  std::vector<Value> values;
  for (const Tensor& output : outputs) values.push_back(scope.use(output));
  for (const Entered& written : entered_) values.push_back(scope.use(written.example));
  Batcher batcher(instance_, index_, extent_);
  batcher.run(values);
  close();
  std::vector<Tensor> results;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!out_dims[i]) {
      check(!batcher.is_batched(values[i]), ErrorKind::Value,
            "vmap: output {} depends on the example, so it needs an out_dim", i);
      results.push_back(scope.result(ops::alias(values[i])));
      continue;
    }
    const int64_t out_dim = wrap_dim("out_dim", *out_dims[i], rank(values[i]) + 1);
    results.push_back(scope.result(ops::move_axis(batcher.batched(values[i]), 0, out_dim)));
  }
  for (size_t i = 0; i < entered_.size(); ++i) {
    const Value written = batcher.batched(values[outputs.size() + i]);
    scope.write(entered_[i].outer, ops::move_axis(written, 0, entered_[i].in_dim));
  }
  entered_.clear();
  return results;
}

std::vector<Tensor> vmap(const TensorFunction& function,
                         std::span<const std::optional<int64_t>> in_dims, int64_t out_dim,
                         std::span<const Tensor> inputs, Randomness randomness) {
  check(in_dims.size() == inputs.size(), ErrorKind::Value, "vmap: {} inputs and {} in_dims",
        inputs.size(), in_dims.size());
  std::optional<int64_t> extent;
  for (size_t i = 0; i < inputs.size() && !extent; ++i) {
    if (in_dims[i]) extent = inputs[i].dims()[wrap_dim("in_dim", *in_dims[i], inputs[i].rank())];
  }
  check(extent.has_value(), ErrorKind::Value, "vmap: at least one input must be mapped");
  Vmap map(*extent, randomness);
  std::vector<Tensor> examples;
  for (size_t i = 0; i < inputs.size(); ++i) {
    examples.push_back(in_dims[i] ? map.enter(inputs[i], *in_dims[i]) : inputs[i]);
  }
  const std::vector<Tensor> outputs = function(examples);
  const std::vector<std::optional<int64_t>> out_dims(outputs.size(), out_dim);
  return map.exit(outputs, out_dims);
}

namespace ops {

// A draw under vmap: with the batch in front where examples differ, and then each example's own.
Value random_bits(Ints dims, int64_t seed, int64_t call) {
  const Recorder& r = recorder();
  Dims sizes;
  for (const OpenVmap& open : r.vmaps) {
    check(!open.region || open.randomness != Randomness::Error, ErrorKind::Runtime,
          "{}: a random operation inside {}, which may run any number of times: use scan, whose "
          "steps have numbers of their own, or draw them outside",
          current_operation(), open.region);
    check(open.randomness != Randomness::Error, ErrorKind::Runtime,
          "{}: a random operation inside vmap. Pass randomness=\"different\" for numbers of each "
          "example's own, randomness=\"same\" for the same ones in all, or draw them outside",
          current_operation());
    if (open.randomness == Randomness::Different) sizes.push_back(open.extent);
  }
  sizes.append(dims.begin(), dims.end());
  sizes.push_back(seed);
  sizes.push_back(call);
  Value bits = primitive(Op::RandomBits, {}, {}, sizes);
  for (const OpenVmap& open : r.vmaps) {
    if (open.randomness == Randomness::Different) bits = gather(bits, {open.index}, 0);
  }
  return bits;
}

}  // namespace ops
}  // namespace tenon
