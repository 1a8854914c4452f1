#include "trace/cut.h"

#include <algorithm>
#include <unordered_map>

#include "trace/recorder.h"
#include "trace/region.h"
#include "trace/reorder.h"
#include "trace/rules.h"

namespace tenon {
namespace {

// Moves the nodes from `cut` on to a new segment.
class Split {
 public:
  Split(Segment& from, NodeId cut, uint64_t sequence)
      : from_(from), cut_(cut), into_(make_ref<Segment>(sequence)) {}

  Ref<Segment> run(std::vector<uint64_t>& positions) {
    positions_ = &positions;
    find_live();
    moved_.assign(from_.nodes.size() - cut_, kNoNode);
    for (NodeId id = cut_; id < from_.nodes.size(); ++id) move(id);
    move_cells();
    truncate();
    into_->failed = from_.failed;
    into_->failure = from_.failure;
    into_->failure_kind = from_.failure_kind;
    return into_;
  }

 private:
  static constexpr int kLongestMovement = 4;

  void find_live() {
    live_.assign(from_.nodes.size(), false);
    for (const Cell* cell = from_.cells; cell; cell = cell->next) {
      if (cell->node >= cut_ && from_.nodes[cell->node].level == 0) {
        live_[cell->node] = true;
        keeps_ |= cell->keeps;
      }
    }
    wanted_.assign(cut_, 0);
    for (NodeId id = static_cast<NodeId>(from_.nodes.size()); id-- > cut_;) {
      const Node& node = from_.nodes[id];
      if (!live_[id] || node.op == Op::Input) continue;
      for (NodeId operand : from_.operands_of(node)) {
        live_[operand] = true;
        if (operand < cut_) want(operand, node.mask & node.active);
        if (operand >= cut_ || !is_region(from_.nodes[operand].op)) continue;
        const Node& region = from_.nodes[operand];  // runs again
        for (NodeId read : from_.operands_of(region)) want(read, region.mask & region.active);
      }
    }
  }

  // Which derivatives pass through a value that crosses the cut; what movement is recorded again
  // from passes them on.
  void want(NodeId id, DerivativeMask mask) {
    for (int depth = 0; depth <= kLongestMovement; ++depth) {
      const Node& node = from_.nodes[id];
      mask &= node.active;
      wanted_[id] |= mask;
      mask &= node.mask;
      if (node.op == Op::Input || node.operand_count != 1) return;
      id = from_.operands_of(node)[0];
    }
  }

  NodeId push(Node node, uint64_t position) {
    into_->nodes.push_back(node);
    if (!positions_->empty()) into_->positions.push_back(position);
    return static_cast<NodeId>(into_->nodes.size() - 1);
  }
  uint64_t position_of(NodeId id) const { return positions_->empty() ? 0 : (*positions_)[id]; }

  // Copies what a node has in the segment's arrays; operands are the new segment's.
  NodeId copy(NodeId id, std::span<const NodeId> operands) {
    Node node = from_.nodes[id];
    if (node.op == Op::Input) {
      into_->sources.push_back(from_.sources[node.attributes]);
      node.attributes = static_cast<uint32_t>(into_->sources.size() - 1);
    } else if (node.flags & Node::kLeaf) {
      into_->leaves.push_back(from_.leaves[node.attributes]);
      node.attributes = static_cast<uint32_t>(into_->leaves.size() - 1);
    } else if (node.flags & Node::kCustom) {
      into_->customs.push_back(from_.customs[node.attributes]);
      node.attributes = static_cast<uint32_t>(into_->customs.size() - 1);
    } else if (node.attributes != 0) {
      const int64_t* at = from_.attributes.data() + node.attributes;
      node.attributes = static_cast<uint32_t>(into_->attributes.size());
      into_->attributes.insert(into_->attributes.end(), at, at + 2 + at[0] + at[1]);
    }
    if (operands.size() <= Node::kInlineOperands) {
      std::ranges::copy(operands, node.operands);
    } else {
      node.operands[0] = static_cast<uint32_t>(into_->operand_pool.size());
      into_->operand_pool.insert(into_->operand_pool.end(), operands.begin(), operands.end());
    }
    return push(node, position_of(id));
  }

  void move(NodeId id) {
    const Node& node = from_.nodes[id];
    std::vector<NodeId> operands;
    if (node.op != Op::Input) {
      for (NodeId operand : from_.operands_of(node)) {
        operands.push_back(operand >= cut_ ? moved_[operand - cut_]
                           : live_[id]     ? import(operand, kLongestMovement)
                                           : import_dead(operand));
      }
    }
    moved_[id - cut_] = copy(id, operands);
    if (from_.is_poisoned(id)) {
      into_->poisoned.resize(into_->nodes.size());
      into_->poisoned.back() = true;
    }
    if (node.flags & Node::kValued) {
      const auto value = from_.values.extract(id);
      into_->values.emplace(moved_[id - cut_], value.mapped());
    }
    if (const auto hooks = from_.hooks.extract(id)) {
      into_->hooks.emplace(moved_[id - cut_], hooks.mapped());
    }
  }

  NodeId import(NodeId id, int movements) {
    if (const auto known = imported_.find(id); known != imported_.end()) return known->second;
    const Node& node = from_.nodes[id];
    const bool valued = node.flags & Node::kValued;
    NodeId result = kNoNode;
    if (!valued && (node.op == Op::Input || node.op == Op::Constant || node.op == Op::Iota)) {
      result = copy(id, {});
    } else if (is_region(node.op)) {  // a token is no value: the region runs again
      std::vector<NodeId> operands;
      for (NodeId operand : from_.operands_of(node)) {
        operands.push_back(import(operand, kLongestMovement));
      }
      result = copy(id, operands);
    } else if (!valued && movements > 0 && is_free_movement(node) &&
               (node.active == 0 || (node.flags & Node::kLeaf))) {
      const NodeId operand = import(from_.operands_of(node)[0], movements - 1);
      result = copy(id, {&operand, 1});
    } else {
      result = import_result(id);
    }
    imported_.emplace(id, result);
    return result;
  }

  static bool is_free_movement(const Node& node) {
    switch (node.op) {
      case Op::Expand:
      case Op::Reshape:
      case Op::Permute:
      case Op::Slice:
        return true;
      default:
        return node.flags & Node::kLeaf;
    }
  }

  // A cell of nobody's holds the value until the new segment takes it.
  NodeId import_result(NodeId id) {
    const Node& node = from_.nodes[id];
    const Type& type = type_of(node.type);
    auto cell = make_ref<Cell>();
    cell->type =
        is_dense(type) ? node.type : intern_contiguous(type.dtype, type.device, type.dims());
    cell->keeps = keeps_ & wanted_[id];
    cell->requires_grad = !(wanted_[id] & reverse_bit(0));  // its derivative is not asked for
    from_.bind(*cell, id);
    const TypeId cell_type = cell->type;
    return push_input(node, cell_type, wanted_[id],
                      Source{{}, {}, position_of(id), std::move(cell)});
  }

  // An operand of a node that nothing alive depends on: only its place in the stream counts.
  NodeId import_dead(NodeId id) {
    if (const auto known = imported_dead_.find(id); known != imported_dead_.end()) {
      return known->second;
    }
    const NodeId result =
        push_input(from_.nodes[id], from_.nodes[id].type, 0, Source{{}, {}, position_of(id), {}});
    imported_dead_.emplace(id, result);
    return result;
  }

  NodeId push_input(const Node& from, TypeId type, DerivativeMask active, Source source) {
    Node node{};
    node.op = Op::Input;
    node.type = type;
    node.mask = ~DerivativeMask{0};
    node.active = active;
    node.origin = from.origin;
    node.attributes = static_cast<uint32_t>(into_->sources.size());
    const uint64_t position = source.position;
    into_->sources.push_back(std::move(source));
    return push(node, position);
  }

  void move_cells() {
    for (Cell *cell = from_.cells, *next = nullptr; cell; cell = next) {
      next = cell->next;
      if (cell->node < cut_) continue;
      const NodeId id = moved_[cell->node - cut_];
      Segment::unbind(*cell);
      into_->bind(*cell, id);
    }
  }

  // What the moved nodes had in the arrays lies at their ends.
  void truncate() {
    for (NodeId id = static_cast<NodeId>(from_.nodes.size()); id-- > cut_;) {
      const Node& node = from_.nodes[id];
      if (node.op == Op::Input) {
        from_.sources.resize(node.attributes);
        continue;
      }
      if (node.flags & Node::kLeaf) {
        from_.leaves.resize(node.attributes);
      } else if (node.flags & Node::kCustom) {
        from_.customs.resize(node.attributes);
      } else if (node.attributes != 0) {
        from_.attributes.resize(node.attributes);
      }
      if (node.operand_count > Node::kInlineOperands) from_.operand_pool.resize(node.operands[0]);
    }
    from_.nodes.resize(cut_);
    if (!from_.poisoned.empty()) from_.poisoned.resize(cut_);
    if (!positions_->empty()) positions_->resize(cut_);
  }

  Segment& from_;
  const NodeId cut_;
  const Ref<Segment> into_;
  std::vector<uint64_t>* positions_ = nullptr;
  DerivativeMask keeps_ = 0;
  std::vector<bool> live_;
  std::vector<DerivativeMask> wanted_;  // of nodes before the cut
  std::vector<NodeId> moved_;           // of nodes from the cut on: their new ids
  std::unordered_map<NodeId, NodeId> imported_, imported_dead_;
};

// Where the nodes from `cut` on begin in the recorder's stream.
uint64_t stream_position(const Segment& segment, std::span<const uint64_t> positions, NodeId cut) {
  for (NodeId id = cut; id < positions.size(); ++id) {
    if (segment.nodes[id].op != Op::Input && positions[id] != 0) return positions[id];
  }
  for (size_t id = positions.size(); id-- > 0;) {
    if (segment.nodes[id].op != Op::Input && positions[id] != 0) return positions[id] + 1;
  }
  return 1;
}

void poison_source(Segment& segment, size_t source, const Segment& failed) {
  segment.poisoned.resize(segment.nodes.size());
  for (NodeId id = 0; id < segment.nodes.size(); ++id) {
    const Node& node = segment.nodes[id];
    if (node.op == Op::Input && node.attributes == source) segment.poisoned[id] = true;
  }
  if (segment.failure.empty()) {
    segment.failure = failed.failure;
    segment.failure_kind = failed.failure_kind;
  }
  segment.spread_poison();
}

}  // namespace

Ref<Segment> split_off_rest(const Ref<Segment>& segment, NodeId node) {
  // A 256th of the numbers: what was split off is most often split again.
  const uint64_t room = (segment->part - segment->first_part) / 256;
  if (room == 0) return nullptr;
  const NodeId cut = bring_forward(*segment, node);
  if (cut == segment->nodes.size()) return nullptr;
  std::vector<uint64_t> positions = std::move(segment->positions);
  const Ref<Segment> rest = Split(*segment, cut, segment->sequence).run(positions);
  segment->positions = std::move(positions);
  rest->first_position = segment->first_position;
  rest->part = segment->part;
  rest->first_part = segment->part = segment->first_part + room;
  return rest;
}

int64_t pinned_bytes_cap = int64_t{1} << 30;

std::vector<Ref<Segment>> cut_segment(const Ref<Segment>& segment, std::span<const NodeId> cuts,
                                      std::vector<uint64_t> positions) {
  std::vector<Ref<Segment>> pieces(cuts.size() + 1);
  pieces[0] = segment;
  // Later pieces read earlier ones, and a graph only refers to graphs of lower number. From the
  // back, so that each node moves once.
  const uint64_t first = reserve_sequences(cuts.size());
  for (size_t i = cuts.size(); i > 0; --i) {
    const NodeId cut = cuts[i - 1];
    const uint64_t position = stream_position(*segment, positions, cut);
    pieces[i] = Split(*segment, cut, first + i - 1).run(positions);
    pieces[i]->first_position = position;
  }
  segment->positions = std::move(positions);
  return pieces;
}

void resolve_sources(Segment& segment) {
  for (size_t i = 0; i < segment.sources.size(); ++i) {
    const Ref<Cell> cell = segment.sources[i].pending;
    if (!cell) continue;
    try {
      settle(*cell);
    } catch (const Error&) {
      const Segment* failed = cell->segment;
      if (!failed || !failed->is_poisoned(cell->node)) throw;
      poison_source(segment, i, *failed);
    }
    Source& source = segment.sources[i];
    if (!source.pending) continue;  // another thread was faster
    source.pending = nullptr;
    const bool last = cell->is_unique();  // else another piece waits for it too
    source.buffer = last ? std::move(cell->buffer) : cell->buffer;
    source.derivative = last ? std::move(cell->derivative) : cell->derivative;
  }
}

}  // namespace tenon
