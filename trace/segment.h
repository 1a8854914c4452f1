// A run of recorded nodes, from one cut to the next.
#pragma once

#include <atomic>
#include <memory>
#include <unordered_map>
#include <vector>

#include "core/error.h"
#include "trace/cell.h"

namespace tenon {

// What an `input` node reads: a buffer, and the node of an earlier graph its derivative goes to.
struct Source {
  Buffer buffer;
  GraphRef derivative;
  uint64_t position = 0;  // where it was computed in the recorder's stream (see trace/period.h)
  Ref<Cell> pending;      // an earlier piece of a cut segment has yet to compute it
};

class Segment : public RefCounted {
 public:
  enum class State : uint8_t { Open, Running, Pending, Done };

  explicit Segment(uint64_t sequence);
  ~Segment();

  const uint64_t sequence;
  // Where it stands among the parts that a failed segment was split into: (first_part, part].
  uint64_t first_part = 0, part = ~uint64_t{0};
  std::atomic<State> state = State::Open;
  uint64_t run_in = 0;               // Running: the fork_generation() of the process that runs it
  struct Recorder* owner = nullptr;  // while open
  Ref<Segment> self;                 // held while pending: cells name it, nobody records into it
  bool failed = false;               // its run as a whole: what is read next runs without the rest
  std::vector<bool> poisoned;        // nodes that failed, or depend on one that did
  std::string failure;               // what the first of them said
  ErrorKind failure_kind = ErrorKind::Runtime;
  std::vector<Node> nodes;
  std::vector<uint32_t> operand_pool;
  std::vector<int64_t> attributes;  // [axes_count, sizes_count, axes..., sizes...] at an offset
  std::vector<Source> sources;
  std::vector<Ref<LeafAnchor>> leaves;
  std::unordered_map<NodeId, Buffer> values;  // of kValued nodes
  std::unordered_map<NodeId, Ref<GradientHooks>> hooks;
  std::vector<CustomPlace> customs;              // of kCustom nodes
  Cell* cells = nullptr;                         // those that name one of its nodes
  std::vector<std::pair<NodeId, NodeId>> units;  // [begin, end): not cut inside
  std::unique_ptr<struct EarlySegment> early;    // what of it is running (see early.h)
  uint64_t first_position = 1;                   // of its nodes in the recorder's stream
  std::vector<uint64_t> positions;               // of its nodes, when it was cut by a cap

  bool is_poisoned(NodeId node) const { return node < poisoned.size() && poisoned[node]; }
  void spread_poison();  // to what depends on poisoned nodes

  std::span<const uint32_t> operands_of(const Node& node) const {
    return {node.operand_count <= Node::kInlineOperands ? node.operands
                                                        : operand_pool.data() + node.operands[0],
            node.operand_count};
  }
  bool has_attributes(const Node& node) const {
    return node.attributes != 0 && node.op != Op::Input &&
           !(node.flags & (Node::kLeaf | Node::kCustom));
  }
  std::span<const int64_t> axes_of(const Node& node) const {
    if (!has_attributes(node)) return {};
    const int64_t* at = attributes.data() + node.attributes;
    return {at + 2, static_cast<size_t>(at[0])};
  }
  std::span<const int64_t> sizes_of(const Node& node) const {
    if (!has_attributes(node)) return {};
    const int64_t* at = attributes.data() + node.attributes;
    return {at + 2 + at[0], static_cast<size_t>(at[1])};
  }

  void bind(Cell& cell, NodeId node);  // cell comes to name this node
  static void unbind(Cell& cell);      // cell no longer names a node
};

}  // namespace tenon
