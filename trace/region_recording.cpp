// From what was recorded on a region's parameters to its program.
#include <algorithm>
#include <iterator>

#include "core/error.h"
#include "trace/recorder.h"
#include "trace/region.h"

namespace tenon {
namespace {

// What the branch of a cond computes belongs to it, whatever it depends on: it runs only where the
// branch is taken.
void set_floor(Recorder& r) {
  r.floor = 0;
  for (const OpenVmap& open : r.vmaps) {
    if (open.region && open.extent == RegionRecording::kOnce) r.floor = open.instance;
  }
}

}  // namespace

RegionRecording::RegionRecording(const char* name, int64_t length) : name_(name), length_(length) {
  TraceLock lock;
  Recorder& r = recorder();
  instance_ = new_instance(r);
  index_ = ops::alias(ops::literal(0, DType::Int64)).id;
  r.segment->nodes[index_].level = instance_;
  const Randomness randomness = length == kNoSteps ? Randomness::Error
                                : length == kOnce  ? Randomness::Same
                                                   : Randomness::Different;
  r.vmaps.push_back({instance_, length, index_, randomness, name});
  ++r.transforms;
  set_floor(r);
}

RegionRecording::~RegionRecording() { close(); }

void RegionRecording::close() {
  if (!std::exchange(open_, false)) return;
  TraceLock lock;
  Recorder& r = recorder();
  --r.transforms;
  for (NodeId id = index_; id < r.segment->nodes.size(); ++id) {
    Node& node = r.segment->nodes[id];
    if (node.level == instance_) node.level = kFinishedLevel;
  }
  std::erase_if(r.vmaps, [&](const OpenVmap& open) { return open.instance == instance_; });
  set_floor(r);
}

// A value that nobody will ask for: what the body computes from it is rewritten or dropped.
Value RegionRecording::parameter(TypeId type) {
  const TypeId dense = row_major(type);
  const Type& t = type_of(dense);
  const Value parameter =
      append(Op::Alias, dense, {{ops::full(t.dims(), ops::literal(0, t.dtype))}}, {}, {});
  recorder().segment->nodes[parameter.id].level = instance_;
  parameters_.push_back(parameter.id);
  return parameter;
}

bool RegionRecording::is_inside(NodeId id) const {
  return recorder().segment->nodes[id].level == instance_;
}

// What costs less to compute again in the body than to hand in.
bool RegionRecording::is_cheap(NodeId id) const {
  const Segment& segment = *recorder().segment;
  const Node& node = segment.nodes[id];
  if (node.flags & Node::kValued) return false;
  switch (node.op) {
    case Op::Constant:
      return segment.axes_of(node)[0] == 1;
    case Op::Iota:
    case Op::Expand:
    case Op::Reshape:
      return true;
    case Op::Permute:  // in a loop a product may want it laid out: once, then, and not each time
      return length_ == kOnce;
    default:
      return false;
  }
}

void RegionRecording::finish(std::span<const Value> outputs) {
  outputs_.assign(outputs.begin(), outputs.end());
  const Segment& segment = *recorder().segment;
  std::vector<uint8_t> seen(segment.nodes.size());
  std::vector<NodeId> work;
  const auto visit = [&](NodeId id) {
    if (!std::exchange(seen[id], uint8_t{1})) work.push_back(id);
  };
  bool reads_index = false;
  for (Value output : outputs) visit(output.id);
  while (!work.empty()) {
    const NodeId id = work.back();
    work.pop_back();
    const Node& node = segment.nodes[id];
    if (std::ranges::find(parameters_, id) != parameters_.end()) {
      used_.push_back(id);
      continue;
    }
    if (id == index_) {
      reads_index = true;
      continue;
    }
    if (!is_inside(id) && !is_cheap(id)) {
      constants_.push_back(id);
      continue;
    }
    check(!(node.flags & Node::kCustom), ErrorKind::NotImplemented,
          "{}: an autograd.Function inside of it would lose its own derivative; compose it of "
          "operations, or call it outside",
          name_);
    const auto operands = segment.operands_of(node);
    if (node.op == Op::Gather && operands[1] == index_ && !is_inside(operands[0]) &&
        segment.axes_of(node)[0] == 0) {
      reads_.push_back(id);
      continue;
    }
    nodes_.push_back(id);
    for (NodeId operand : operands) visit(operand);
  }
  std::ranges::sort(nodes_);
  std::ranges::sort(used_);
  std::ranges::sort(constants_);
  std::ranges::sort(reads_);
  for (NodeId id : reads_) elements_.push_back({segment.operands_of(segment.nodes[id])[0]});
  if (reads_index) {
    reads_.push_back(index_);
    elements_.push_back(ops::iota({{length_}}, 0));
  }
  close();
}

bool RegionRecording::is_parameter(Value value) const {
  return std::ranges::find(parameters_, value.id) != parameters_.end();
}

bool RegionRecording::is_used(Value parameter) const {
  return std::ranges::binary_search(used_, parameter.id);
}

Region RegionRecording::build(std::span<const Value> parameters,
                              std::span<const NodeId> constants) const {
  const Segment& segment = *recorder().segment;
  Region region;
  Program& program = region.program;
  std::vector<uint32_t> place(segment.nodes.size(), kNoNode);
  const auto add = [&](Op op, TypeId type, std::span<const uint32_t> operands, Dims axes,
                       Dims sizes, uint32_t origin, DerivativeMask mask) {
    ProgramNode node{};
    node.op = op;
    node.type = type;
    node.origin = origin;
    node.operand_count = static_cast<uint8_t>(operands.size());
    node.operands = static_cast<uint32_t>(program.operands.size());
    program.operands.insert(program.operands.end(), operands.begin(), operands.end());
    node.axes = static_cast<uint32_t>(program.attributes.size());
    node.axes_count = static_cast<uint32_t>(axes.size());
    program.attributes.insert(program.attributes.end(), axes.begin(), axes.end());
    node.sizes = static_cast<uint32_t>(program.attributes.size());
    node.sizes_count = static_cast<uint32_t>(sizes.size());
    program.attributes.insert(program.attributes.end(), sizes.begin(), sizes.end());
    program.nodes.push_back(node);
    region.masks.push_back(mask);
    return static_cast<uint32_t>(program.nodes.size() - 1);
  };
  const auto add_input = [&](NodeId id) {
    const TypeId type = row_major(segment.nodes[id].type);
    place[id] = add(Op::Input, type, {}, {}, {}, 0, ~DerivativeMask{0});
    program.inputs.push_back({nullptr, 0, type});
  };
  for (Value parameter : parameters) add_input(parameter.id);
  for (NodeId id : reads_) add_input(id);
  for (NodeId id : constants) add_input(id);
  std::vector<uint32_t> operands;
  for (NodeId id : nodes_) {
    const Node& node = segment.nodes[id];
    operands.clear();
    for (NodeId operand : segment.operands_of(node)) operands.push_back(place[operand]);
    place[id] = add(node.op, node.type, operands, Dims(segment.axes_of(node)),
                    Dims(segment.sizes_of(node)), node.origin, node.mask);
  }
  for (Value output : outputs_) {
    uint32_t at = place[output.id];
    const TypeId type = segment.nodes[output.id].type;
    if (!type_of(type).canonical) {
      at = add(Op::Alias, row_major(type), {&at, 1}, {}, {}, segment.nodes[output.id].origin,
               ~DerivativeMask{0});
    }
    program.outputs.push_back(at);
  }
  program.donatable.assign(program.inputs.size(), 0);
  return region;
}

namespace {

std::vector<Value> as_values(std::span<const NodeId> ids) {
  std::vector<Value> values;
  for (NodeId id : ids) values.push_back({id});
  return values;
}

std::vector<NodeId> merged(std::span<const NodeId> a, std::span<const NodeId> b) {
  std::vector<NodeId> both;
  std::ranges::set_union(a, b, std::back_inserter(both));
  return both;
}

}  // namespace

std::vector<Value> record_scan(const RegionRecording& body, std::span<const Value> parameters,
                               std::span<const Value> carry, std::span<const Value> xs,
                               int64_t length, bool reverse, std::vector<int32_t> tangents) {
  ScanOperands operands;
  operands.carry.assign(carry.begin(), carry.end());
  std::vector<Value> read(parameters.begin(), parameters.begin() + carry.size());
  for (size_t k = 0; k < xs.size(); ++k) {
    if (!body.is_used(parameters[carry.size() + k])) continue;
    read.push_back(parameters[carry.size() + k]);
    operands.xs.push_back(xs[k]);
  }
  operands.xs.insert(operands.xs.end(), body.elements().begin(), body.elements().end());
  operands.constants = as_values(body.constants());
  Region region = body.build(read, body.constants());
  region.tangents = std::move(tangents);
  return append_scan(intern_region(std::move(region)), operands, length, reverse);
}

std::vector<Value> record_while(const RegionRecording& condition,
                                std::span<const Value> condition_parameters,
                                const RegionRecording& body, std::span<const Value> parameters,
                                std::span<const Value> carry, std::vector<int32_t> tangents) {
  const std::vector<NodeId> constants = merged(condition.constants(), body.constants());
  Region region = body.build(parameters, constants);
  region.tangents = std::move(tangents);
  return append_while(intern_region(condition.build(condition_parameters, constants)),
                      intern_region(std::move(region)), carry, as_values(constants));
}

std::vector<Value> record_cond(const RegionRecording& if_true, const RegionRecording& if_false,
                               Value predicate, std::vector<int32_t> tangents) {
  const std::vector<NodeId> constants = merged(if_true.constants(), if_false.constants());
  Region regions[] = {if_true.build({}, constants), if_false.build({}, constants)};
  for (Region& region : regions) region.tangents = tangents;
  return append_cond(intern_region(std::move(regions[0])), intern_region(std::move(regions[1])),
                     predicate, as_values(constants));
}

}  // namespace tenon
