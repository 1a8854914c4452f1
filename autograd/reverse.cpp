#include "autograd/reverse.h"

#include <algorithm>
#include <bit>

#include "core/error.h"
#include "trace/cut.h"

namespace tenon::autograd {

FreshDepth::FreshDepth(DerivativeMask bit)
    : saved_(recorder().depth), blocked_(recorder().blocked) {
  Recorder& r = recorder();
  const int outer = std::max(r.depth, std::countr_zero(bit) % 16);
  r.depth = outer + 1;
  // What is blocked is so at the depths there were.
  r.blocked &= static_cast<uint16_t>((DerivativeMask{2} << outer) - 1);
  check(r.depth <= kMaxDepth, ErrorKind::Runtime,
        "derivatives inside of derivatives' rules are nested {} deep; at most {} are possible",
        r.depth, kMaxDepth);
  ++r.transforms;
}

FreshDepth::~FreshDepth() {
  recorder().depth = saved_;
  recorder().blocked = blocked_;
  --recorder().transforms;
}

// What a rule sees of a node, wherever the node lives. Attributes are copied: recording moves the
// arrays they lie in.
class ReverseWalk::Context final : public RuleContext {
 public:
  Context(Level& level, uint32_t node, DerivativeMask for_bit) : level_(level), node_(node) {
    bit = for_bit;
    if (level.graph) {
      const GraphNode& from = level.graph->nodes[node];
      load(from.op, from.type, from.mask & bit,
           {level.graph->attributes.data() + from.axes, from.axes_count},
           {level.graph->attributes.data() + from.sizes, from.sizes_count});
      for (const GraphEdge& edge : level.graph->edges_of(from)) {
        const bool active =
            edge.node != kNoNode && (level.graph->nodes[edge.node].active & from.mask & bit);
        add_operand(edge.node, edge.type, active);
      }
    } else {
      const Segment& segment = *recorder().segment;
      const Node& from = segment.nodes[node];
      load(from.op, from.type, from.mask & bit, segment.axes_of(from), segment.sizes_of(from));
      for (NodeId operand : segment.operands_of(from)) {
        const Node& other = segment.nodes[operand];
        add_operand(operand, other.type, other.active & from.mask & bit);
      }
    }
    operand_types = types_;
  }

  Value operand(int k) override { return fetch(operands_[k]); }
  Value result() override { return fetch(node_); }
  Value node() override { return level_.graph ? Value{} : Value{node_}; }

  std::span<const Value> output_cotangents() override { return of_outputs_; }
  void set_output_cotangents(std::span<const Value> cotangents) { of_outputs_ = cotangents; }

  size_t operand_count() const { return operands_.size(); }
  uint32_t operand_node(size_t k) const { return operands_[k]; }
  std::span<const bool> needs() const { return {needs_.data(), operands_.size()}; }

 private:
  void load(Op from_op, TypeId from_type, DerivativeMask, std::span<const int64_t> from_axes,
            std::span<const int64_t> from_sizes) {
    op = from_op;
    type = from_type;
    axes_ = Dims(from_axes);
    sizes_ = Dims(from_sizes);
    axes = axes_;
    sizes = sizes_;
  }
  void add_operand(uint32_t node, TypeId operand_type, bool active) {
    needs_[operands_.size()] = active;
    operands_.push_back(node);
    types_.push_back(operand_type);
  }
  Value fetch(uint32_t node) {
    if (!level_.graph) return {node};
    check(node != kNoNode, ErrorKind::Internal,
          "the derivative of {} reads a value it did not save", name_of(op));
    return import(level_, node);
  }

  Level& level_;
  const uint32_t node_;
  std::span<const Value> of_outputs_;
  Dims axes_, sizes_;
  SmallVector<uint32_t, 4> operands_;
  SmallVector<TypeId, 4> types_;
  std::array<bool, 256> needs_{};
};

Place place_of(Cell& cell) {
  Place place{nullptr, resolve(cell).id};
  const Segment& segment = *recorder().segment;
  if (segment.nodes[place.node].flags & Node::kLinked) {
    place.node = segment.nodes[place.node].operands[1];
  }
  const Node& node = segment.nodes[place.node];
  if (node.op != Op::Input) return place;
  // A value from an earlier segment: its cotangent gathers where it was computed.
  const GraphRef& derivative = segment.sources[node.attributes].derivative;
  if (!derivative) return place;
  place = {derivative.graph(), derivative.node()};
  while (const Ref<Graph> link = place.graph->nodes[place.node].link) {
    place = {link, place.graph->nodes[place.node].link_node};
  }
  return place;
}

ReverseWalk::ReverseWalk(int depth, bool retain, DerivativeMask stands_for)
    : bit_(reverse_bit(depth)),
      recorded_bit_(stands_for != 0 ? stands_for : bit_),
      retain_(retain) {
  resolve_sources(*recorder().segment);  // a cut whose run failed left the way back open
}

ReverseWalk::Level& ReverseWalk::level_of(const Place& place) {
  const Segment& open = *recorder().segment;
  Level& level = levels_[place.graph ? Order(place.graph->sequence, place.graph->part)
                                     : Order(open.sequence, open.part)];
  if (level.cotangents.empty()) {
    level.graph = place.graph;
    level.cotangents.resize(place.graph ? place.graph->nodes.size()
                                        : recorder().segment->nodes.size());
  }
  return level;
}

// Cotangents are summed where the value was computed (for a leaf: at the leaf), however many
// segments it was used in since: so the order of summation, and with it the bits of a gradient,
// don't depend on where the trace was cut.
void ReverseWalk::add(Level& level, uint32_t node, Value cotangent) {
  if (!level.graph) {
    const Segment& segment = *recorder().segment;
    const Node& to = segment.nodes[node];
    if (to.op == Op::Input) {
      const GraphRef& derivative = segment.sources[to.attributes].derivative;
      if (derivative) seed({derivative.graph(), derivative.node()}, cotangent);
      return;
    }
    if ((to.flags & Node::kLeaf) && bit_ == reverse_bit(0)) {
      return arrive_at_leaf(segment.leaves[to.attributes], cotangent);
    }
    if (to.flags & Node::kLinked) return add(level, to.operands[1], cotangent);
  } else {
    const GraphNode& to = level.graph->nodes[node];
    if (to.op == Op::Input) {
      if (to.link) seed({to.link, to.link_node}, cotangent);
      return;
    }
    if (to.leaf && bit_ == reverse_bit(0)) return arrive_at_leaf(to.leaf, cotangent);
    if ((to.flags & Node::kLinked) && !(to.flags & Node::kFreed)) {
      const uint32_t old = level.graph->edges_of(to)[1].node;
      if (old != kNoNode && level.graph->nodes[old].op == Op::Input) {
        return add(level, old, cotangent);
      }
    }
  }
  if (node >= level.cotangents.size()) level.cotangents.resize(node + 1);
  Value& sum = level.cotangents[node];
  sum = sum ? sum + cotangent : cotangent;
  level.highest = std::max(level.highest, node);
}

void ReverseWalk::seed(const Place& place, Value cotangent) {
  add(level_of(place), place.node, cotangent);
}

size_t ReverseWalk::watch(const Place& place) {
  level_of(place).watches[place.node].push_back(watched_.size());
  watched_.emplace_back();
  return watched_.size() - 1;
}

void ReverseWalk::run() {
  Recorder& r = recorder();
  const uint32_t origin = r.origin;
  const DeviceScope restored;
  while (!levels_.empty()) {
    Level& level = levels_.begin()->second;
    for (uint32_t node = level.highest + 1; node-- > 0;) {
      if (level.cotangents[node]) visit(level, node);
    }
    levels_.erase(levels_.begin());
  }
  r.origin = origin;
  for (auto& [graph, node] : to_free_) Graph::free_residuals(graph, node);
}

void ReverseWalk::arrive_at_leaf(const Ref<LeafAnchor>& leaf, Value cotangent) {
  const auto [at, is_new] = leaf_index_.try_emplace(leaf.get(), leaves_.size());
  if (is_new) {
    leaves_.emplace_back(leaf, cotangent);
  } else {
    Value& sum = leaves_[at->second].second;
    sum = sum + cotangent;
  }
}

void ReverseWalk::visit(Level& level, uint32_t node) {
  const Value cotangent = after_hooks(level, node, level.cotangents[node]);
  if (const auto found = level.watches.find(node); found != level.watches.end()) {
    for (size_t number : found->second) watched_[number] = cotangent;
  }
  Recorder& r = recorder();
  uint8_t flags;
  if (level.graph) {
    const GraphNode& from = level.graph->nodes[node];
    flags = from.flags;
    r.origin = from.origin;
  } else {
    const Node& from = r.segment->nodes[node];
    flags = from.flags;
    r.origin = from.origin;
  }
  check(!(flags & Node::kFreed), ErrorKind::Runtime,
        "Trying to backward through the graph a second time: the values that {} saved were freed "
        "by the first pass. Specify retain_graph=True if you need to backward through the graph a "
        "second time.",
        level.graph ? name_of(level.graph->nodes[node].op) : name_of(r.segment->nodes[node].op));

  Context context(level, node, bit_);
  DeviceScope::follow(context.type);
  context.recorded_bit = recorded_bit_;
  const auto needs = context.needs();
  if (std::ranges::none_of(needs, [](bool need) { return need; })) return;
  std::vector<Value> cotangents(context.operand_count());
  bool saves;
  if (flags & Node::kCustom) {
    const CustomPlace custom = custom_of(level, node);
    if (custom.output != CustomPlace::kCall) {
      return deliver(level, context.operand_node(1), custom.output, cotangent);
    }
    if (!is_on_the_way(level, node)) return;
    call_custom(level, node, *custom.derivative, context.operand_types, cotangents);
    saves = custom.derivative->saves;
  } else if (context.op == Op::RegionOutput) {
    return gather_at_region(level, context.operand_node(0), context.axes[0], cotangent);
  } else {
    const auto of_outputs = of_outputs_.find({level.graph.get(), node});
    if (of_outputs != of_outputs_.end()) context.set_output_cotangents(of_outputs->second);
    transpose(context, cotangent, needs, cotangents);
    saves = saved_values(context.op, needs) != 0;
  }
  for (size_t k = 0; k < cotangents.size(); ++k) {
    if (needs[k] && cotangents[k]) add(level, context.operand_node(k), cotangents[k]);
  }
  if (retain_ || !saves) return;
  if (level.graph) {
    to_free_.emplace_back(level.graph, node);
  } else {
    r.segment->nodes[node].flags |= Node::kFreed;
  }
}

// A region's outputs have their cotangents in one place, and it is visited once.
void ReverseWalk::gather_at_region(Level& level, uint32_t region, int64_t output, Value cotangent) {
  std::vector<Value>& sums = of_outputs_[{level.graph.get(), region}];
  const auto at = static_cast<size_t>(output);
  if (sums.size() <= at) sums.resize(at + 1);
  sums[at] = sums[at] ? sums[at] + cotangent : cotangent;
  level.cotangents[region] = cotangent;  // any: so that the region is visited
}

Value ReverseWalk::import(Level& level, uint32_t node) {
  if (const auto found = level.imported.find(node); found != level.imported.end()) {
    return found->second;
  }
  GraphNode& from = level.graph->nodes[node];
  Value value;
  if (from.value) {
    Buffer buffer = from.value;
    const DerivativeMask active = from.active;
    value = append_input(std::move(buffer), active != 0 ? GraphRef(level.graph, node) : GraphRef());
  } else {
    // Movement and constants are recorded again; their operands were kept, or are such themselves.
    SmallVector<uint32_t, 4> edges;
    for (const GraphEdge& edge : level.graph->edges_of(from)) edges.push_back(edge.node);
    check(info(from.op).operands == 0 || !edges.empty(), ErrorKind::Internal,
          "a residual of {} is missing", name_of(from.op));
    std::vector<Value> operands;
    for (uint32_t edge : edges) operands.push_back(import(level, edge));
    const GraphNode& again = level.graph->nodes[node];
    const Dims axes(
        std::span<const int64_t>(level.graph->attributes.data() + again.axes, again.axes_count));
    const Dims sizes(
        std::span<const int64_t>(level.graph->attributes.data() + again.sizes, again.sizes_count));
    if (again.active != 0) {
      value = append_masked(again.op, again.type, operands, axes, sizes, 0);
      value = append_linked(value, GraphRef(level.graph, node));
    } else {
      value = append_masked(again.op, again.type, operands, axes, sizes, again.mask);
    }
  }
  level.imported.emplace(node, value);
  return value;
}

}  // namespace tenon::autograd
