// From the nodes of a segment to a capture.
#include "trace/capture.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "trace/recorder.h"
#include "trace/region.h"

namespace tenon {

// The node that `resolve` gives for a cell, where it has given one in this segment.
static NodeId node_of(const Cell& cell, const Segment& segment) {
  if (cell.view) {
    const bool current =
        cell.cached_sequence == segment.sequence && cell.cached_version == cell.view->root->version;
    return current ? cell.cached_node : kNoNode;
  }
  if (cell.requires_grad) {
    return cell.leaf_sequence == segment.sequence ? cell.leaf_node : kNoNode;
  }
  if (cell.segment == &segment) return cell.node;
  return cell.cached_sequence == segment.sequence ? cell.cached_node : kNoNode;
}

class CaptureBuilder {
 public:
  CaptureBuilder(const Unit& unit, const Segment& segment)
      : unit_(unit), segment_(segment), out_(make_ref<Capture>()) {}

  Ref<Capture> run(std::span<const Tensor> results) {
    out_->obstacle = unit_.obstacle_;
    out_->obstacle_origin = unit_.obstacle_origin_;
    out_->blocked = recorder().blocked;
    for (const Unit::Given& given : unit_.given_) out_->given.push_back(given.type);
    for (const auto& [node, buffer] : unit_.known_) know(node, buffer);
    check_given();
    if (segment_.sequence != unit_.sequence_) {
      block("what it records is run in pieces", 0);
      return std::move(out_);
    }
    out_->recorded = segment_.nodes.size() - unit_.first_;
    map_given();
    out_->asked = results.size();
    out_->results.resize(results.size());
    for (size_t i = 0; i < results.size(); ++i) {
      result_of_cell_.try_emplace(results[i].cell().get(), static_cast<uint32_t>(i));
    }
    for (size_t i = 0; i < results.size(); ++i) {
      Cell& cell = *results[i].cell();
      Capture::Result result{};
      if (const uint32_t first = result_of_cell_.at(&cell); first != i) {
        result.kind = Capture::Result::Kind::Same;
        result.source = first;
      } else {
        result = describe(cell);
      }
      out_->results[i] = std::move(result);
    }
    find_live();
    emit();
    if (unit_.following_) follow();
    for (Capture::Result& result : out_->results) {
      if (result.kind == Capture::Result::Kind::Computed) result.source = value(result.source);
    }
    return std::move(out_);
  }

 private:
  void know(NodeId node, const Buffer& buffer) {
    slot_of_node_.emplace(node, Capture::kFirstKept + static_cast<uint32_t>(out_->kept.size()));
    out_->kept.push_back(buffer);
  }

  void block(const std::string& why, uint32_t origin) {
    if (!out_->obstacle.empty()) return;
    out_->obstacle = why;
    out_->obstacle_origin = origin;
  }

  void check_given() {
    for (size_t k = 0; k < unit_.given_.size(); ++k) {
      const Unit::Given& given = unit_.given_[k];
      Cell& cell = *given.cell;
      if (cell.root().version != given.version || cell.type != given.type) {
        block("writes to a tensor that it was given", 0);
      }
      if (cell.requires_grad != given.requires_grad || cell.grad.get() != given.grad) {
        block("changes requires_grad or .grad of a tensor that it was given", 0);
      }
      slot_of_cell_.emplace(&cell, static_cast<uint32_t>(k));
    }
  }

  void map_given() {
    for (uint32_t slot = 0; slot < unit_.given_.size(); ++slot) {
      const Cell& cell = *unit_.given_[slot].cell;
      if (slot_of_cell_.at(&cell) != slot) continue;  // given twice
      const NodeId node = node_of(cell, segment_);
      if (node == kNoNode) continue;
      // Of what was made here the first will do: they are one value.
      if (!slot_of_node_.emplace(node, slot).second && slot < unit_.asked_) {
        block("was given two tensors that name one pending value", 0);
      }
    }
  }

  Capture::Result describe(Cell& cell) {
    Capture::Result result{};
    if (const auto given = slot_of_cell_.find(&cell); given != slot_of_cell_.end()) {
      result.kind = Capture::Result::Kind::Given;
      result.source = given->second;
      return result;
    }
    if (cell.requires_grad || cell.anchor || cell.grad || cell.is_parameter || cell.level != 0) {
      block("makes a tensor that requires grad or has hooks", 0);
    }
    if (!cell.view) {
      result.kind = Capture::Result::Kind::Computed;
      result.version = cell.version;
      if (cell.segment != &segment_) {
        block("returns a tensor that it didn't compute", 0);
        result.kind = Capture::Result::Kind::Given;
        result.source = Capture::kUnknown;
        return result;
      }
      result.source = cell.node;
      roots_.push_back(cell.node);
      return result;
    }
    const View& view = *cell.view;
    if (view.blocked != out_->blocked) block("makes a view under another grad mode", 0);
    const auto dims = type_of(cell.type).dims();
    result.kind = Capture::Result::Kind::View;
    result.op = view.op;
    result.axes = view.axes;
    result.sizes = view.sizes;
    result.dims = Dims(dims);
    result.detached = view.detached;
    const auto known = result_of_cell_.find(view.base.get());
    if (known != result_of_cell_.end()) {
      result.source = known->second;
    } else {
      Capture::Result base = describe(*view.base);
      result.source = static_cast<uint32_t>(out_->results.size());
      result_of_cell_.emplace(view.base.get(), result.source);
      out_->results.push_back(std::move(base));
    }
    return result;
  }

  void find_live() {
    live_.assign(segment_.nodes.size() - unit_.first_, false);
    const auto mark = [&](NodeId id) {
      if (id >= unit_.first_ && !slot_of_node_.contains(id)) live_[id - unit_.first_] = true;
    };
    for (NodeId root : roots_) mark(root);
    for (NodeId id = static_cast<NodeId>(segment_.nodes.size()); id-- > unit_.first_;) {
      const Node& node = segment_.nodes[id];
      if (node.op == Op::RandomBits) {  // a call of the generator, whoever wants it
        live_[id - unit_.first_] = true;
        out_->draws = true;
      }
      if (!live_[id - unit_.first_] || node.op == Op::Input) continue;
      for (NodeId operand : segment_.operands_of(node)) mark(operand);
    }
  }

  void follow() {
    std::unordered_map<NodeId, uint32_t> place;
    for (NodeId id = unit_.first_; id < segment_.nodes.size(); ++id) {
      const Node& node = segment_.nodes[id];
      if (node.op == Op::Input || node.flags & Node::kLeaf) continue;
      if (node.op == Op::Constant && segment_.axes_of(node)[0] == 0) {
        place.emplace(id, static_cast<uint32_t>(out_->stream.size()));
        if (const auto at = values_.find(id); at != values_.end()) {
          out_->numbers.emplace_back(static_cast<uint32_t>(out_->stream.size()), at->second);
        }
      }
      out_->stream.push_back(print_of(node));
      out_->has_regions |= is_region(node.op);
    }
    out_->symbols = unit_.symbols_;
    for (auto& [symbol, node] : out_->symbols.recorded) node = place.at(node);
  }

  // Of what it is: no two calls that record alike differ in it, draws of random numbers aside.
  uint64_t print_of(const Node& node) const {
    uint64_t print = 0xcbf29ce484222325;
    const auto mix = [&](uint64_t word) {
      print = (print ^ word) * 0x9e3779b97f4a7c15;
      print ^= print >> 29;
    };
    mix(static_cast<uint64_t>(node.op));
    mix(node.type);
    for (NodeId operand : segment_.operands_of(node)) mix(segment_.nodes[operand].type);
    if (node.flags & Node::kCustom) return print;  // its attributes are no numbers
    for (int64_t axis : segment_.axes_of(node)) mix(static_cast<uint64_t>(axis));
    auto sizes = segment_.sizes_of(node);
    if (node.op == Op::RandomBits) sizes = sizes.first(sizes.size() - 2);  // seed, number of call
    for (int64_t size : sizes) mix(static_cast<uint64_t>(size));
    return print;
  }

  void emit() {
    size_t next = 0;
    const auto catch_up = [&](NodeId id) {
      for (; next < unit_.resolved_.size() && unit_.resolved_[next].first <= id; ++next) {
        const auto slot = slot_of_cell_.find(unit_.resolved_[next].second);
        if (slot != slot_of_cell_.end()) read_slot(slot->second);
      }
    };
    for (NodeId id = unit_.first_; id < segment_.nodes.size(); ++id) {
      catch_up(id);
      if (live_[id - unit_.first_]) copy(id);
    }
    catch_up(kNoNode);
  }

  uint32_t read_slot(uint32_t slot) {
    const auto [at, is_new] =
        node_of_slot_.emplace(slot, static_cast<uint32_t>(out_->nodes.size()));
    if (is_new) {
      const bool is_kept = slot >= Capture::kFirstKept;
      add_input(is_kept ? out_->kept[slot - Capture::kFirstKept].type : out_->given[slot], slot);
    }
    return at->second;
  }
  void add_input(TypeId type, uint32_t slot) {
    Capture::Node node{};
    node.op = Op::Input;
    node.type = type;
    node.slot = slot;
    out_->nodes.push_back(node);
  }

  // The capture's node for one of the segment's.
  uint32_t value(NodeId id) {
    if (const auto slot = slot_of_node_.find(id); slot != slot_of_node_.end()) {
      return read_slot(slot->second);
    }
    const auto [at, is_new] = values_.emplace(id, static_cast<uint32_t>(out_->nodes.size()));
    if (!is_new) return at->second;
    const Node& node = segment_.nodes[id];  // of before, or a buffer
    block("uses a tensor that is neither an argument, nor a global or attribute that it reads",
          node.origin);
    uint32_t slot = Capture::kUnknown;
    if (unit_.keeps_ && node.op == Op::Input) {
      slot = Capture::kFirstKept + static_cast<uint32_t>(out_->kept.size());
      out_->kept.push_back(segment_.sources[node.attributes].buffer);
    }
    add_input(node.type, slot);
    return at->second;
  }

  void copy(NodeId id) {
    const Node& from = segment_.nodes[id];
    if (from.op == Op::Input) {
      value(id);
      return;
    }
    if (from.flags & Node::kLeaf) block("makes a tensor that requires grad", from.origin);
    if (from.flags & Node::kCustom) block("calls an autograd.Function", from.origin);
    if (from.flags & (Node::kLinked | Node::kValued) || from.level != 0) {
      block("is recorded inside a transform, or over a cut", from.origin);
    }
    Capture::Node node{};
    node.op = from.op;
    node.type = from.type;
    node.mask = from.mask;
    node.origin = from.origin;
    SmallVector<uint32_t, 8> operands;
    for (NodeId operand : segment_.operands_of(from)) operands.push_back(value(operand));
    node.operands = static_cast<uint32_t>(out_->operands.size());
    node.operand_count = static_cast<uint32_t>(operands.size());
    out_->operands.insert(out_->operands.end(), operands.begin(), operands.end());
    const auto axes = segment_.axes_of(from), sizes = segment_.sizes_of(from);
    node.axes = static_cast<uint32_t>(out_->attributes.size());
    node.axes_count = static_cast<uint32_t>(axes.size());
    out_->attributes.insert(out_->attributes.end(), axes.begin(), axes.end());
    node.sizes = static_cast<uint32_t>(out_->attributes.size());
    node.sizes_count = static_cast<uint32_t>(sizes.size());
    out_->attributes.insert(out_->attributes.end(), sizes.begin(), sizes.end());
    values_[id] = static_cast<uint32_t>(out_->nodes.size());
    out_->nodes.push_back(node);
  }

  const Unit& unit_;
  const Segment& segment_;
  Ref<Capture> out_;
  std::unordered_map<const Cell*, uint32_t> slot_of_cell_;
  std::unordered_map<const Cell*, uint32_t> result_of_cell_;  // bases of views
  std::unordered_map<NodeId, uint32_t> slot_of_node_;
  std::unordered_map<uint32_t, uint32_t> node_of_slot_;
  std::unordered_map<NodeId, uint32_t> values_;
  std::vector<NodeId> roots_;
  std::vector<bool> live_;
};

Ref<Capture> Unit::capture(std::span<const Tensor> results) const {
  return CaptureBuilder(*this, *recorder().segment).run(results);
}

Ref<Capture> Unit::finish(std::span<const Tensor> results) {
  TraceLock lock;
  Ref<Capture> last = capture(results);
  for (const Capture::Part& part : parts_) last->recorded += part.capture->recorded;
  last->before = std::move(parts_);
  if (last->obstacle.empty()) prune(*last);
  close();
  return last;
}

}  // namespace tenon
