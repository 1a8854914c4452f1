#include "trace/reorder.h"

#include <algorithm>

namespace tenon {
namespace {

class Reorder {
 public:
  explicit Reorder(Segment& segment) : segment_(segment), place_(segment.nodes.size()) {
    nodes_.reserve(segment.nodes.size());
    attributes_.reserve(segment.attributes.size());
    attributes_.push_back(0);
  }

  // Nodes come in an order in which operands stand before what uses them.
  void append(NodeId id) {
    place_[id] = static_cast<NodeId>(nodes_.size());
    Node node = segment_.nodes[id];
    if (node.op == Op::Input) {
      sources_.push_back(std::move(segment_.sources[node.attributes]));
      node.attributes = static_cast<uint32_t>(sources_.size() - 1);
    } else {
      const auto operands = segment_.operands_of(node);
      uint32_t* into = node.operands;
      if (operands.size() > Node::kInlineOperands) {
        node.operands[0] = static_cast<uint32_t>(operand_pool_.size());
        operand_pool_.resize(operand_pool_.size() + operands.size());
        into = operand_pool_.data() + node.operands[0];
      }
      std::ranges::transform(operands, into, [&](NodeId operand) { return place_[operand]; });
      move_attributes(node);
    }
    nodes_.push_back(node);
    if (!segment_.positions.empty()) positions_.push_back(segment_.positions[id]);
    if (!segment_.poisoned.empty()) poisoned_.push_back(segment_.poisoned[id]);
  }

  void finish() {
    std::unordered_map<NodeId, Buffer> values;
    for (auto& [id, buffer] : segment_.values) values.emplace(place_[id], std::move(buffer));
    for (Cell* cell = segment_.cells; cell; cell = cell->next) cell->node = place_[cell->node];
    std::unordered_map<NodeId, Ref<GradientHooks>> hooks;
    for (auto& [id, list] : segment_.hooks) hooks.emplace(place_[id], std::move(list));
    segment_.hooks = std::move(hooks);
    segment_.values = std::move(values);
    segment_.nodes = std::move(nodes_);
    segment_.operand_pool = std::move(operand_pool_);
    segment_.attributes = std::move(attributes_);
    segment_.sources = std::move(sources_);
    segment_.leaves = std::move(leaves_);
    segment_.customs = std::move(customs_);
    segment_.positions = std::move(positions_);
    segment_.poisoned = std::move(poisoned_);
  }

 private:
  void move_attributes(Node& node) {
    if (node.flags & Node::kLeaf) {
      leaves_.push_back(segment_.leaves[node.attributes]);
      node.attributes = static_cast<uint32_t>(leaves_.size() - 1);
    } else if (node.flags & Node::kCustom) {
      customs_.push_back(segment_.customs[node.attributes]);
      node.attributes = static_cast<uint32_t>(customs_.size() - 1);
    } else if (node.attributes != 0) {
      const int64_t* at = segment_.attributes.data() + node.attributes;
      node.attributes = static_cast<uint32_t>(attributes_.size());
      attributes_.insert(attributes_.end(), at, at + 2 + at[0] + at[1]);
    }
  }

  Segment& segment_;
  std::vector<NodeId> place_;  // of each node: its new id
  std::vector<Node> nodes_;
  std::vector<uint32_t> operand_pool_;
  std::vector<int64_t> attributes_;
  std::vector<Source> sources_;
  std::vector<Ref<LeafAnchor>> leaves_;
  std::vector<CustomPlace> customs_;
  std::vector<uint64_t> positions_;
  std::vector<bool> poisoned_;
};

}  // namespace

NodeId bring_forward(Segment& segment, NodeId node) {
  std::vector<bool> needed(segment.nodes.size());
  needed[node] = true;
  for (NodeId id = node + 1; id-- > 0;) {
    if (!needed[id] || segment.nodes[id].op == Op::Input) continue;
    for (NodeId operand : segment.operands_of(segment.nodes[id])) needed[operand] = true;
  }
  Reorder reorder(segment);
  NodeId count = 0;
  for (NodeId id = 0; id < segment.nodes.size(); ++id) {
    if (!needed[id]) continue;
    reorder.append(id);
    ++count;
  }
  for (NodeId id = 0; id < segment.nodes.size(); ++id) {
    if (!needed[id]) reorder.append(id);
  }
  reorder.finish();
  return count;
}

}  // namespace tenon
