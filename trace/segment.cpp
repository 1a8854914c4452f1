#include "trace/segment.h"

#include "trace/early.h"

namespace tenon {

Segment::Segment(uint64_t sequence) : sequence(sequence) {
  nodes.reserve(256);
  attributes.reserve(256);
  attributes.push_back(0);  // offset 0 means "no attributes"
}

Segment::~Segment() {
  state = State::Done;
  while (cells) unbind(*cells);
}

void Segment::spread_poison() {
  poisoned.resize(nodes.size());
  for (NodeId id = 0; id < nodes.size(); ++id) {
    const Node& node = nodes[id];
    if (node.op == Op::Input) continue;
    for (NodeId operand : operands_of(node)) {
      if (poisoned[operand]) poisoned[id] = true;
    }
  }
}

void Segment::bind(Cell& cell, NodeId node) {
  cell.segment = this;
  cell.node = node;
  cell.previous = nullptr;
  cell.next = cells;
  if (cells) cells->previous = &cell;
  cells = &cell;
}

void Segment::unbind(Cell& cell) {
  Segment* const segment = cell.segment;
  if (!segment) return;
  (cell.previous ? cell.previous->next : cell.segment->cells) = cell.next;
  if (cell.next) cell.next->previous = cell.previous;
  cell.segment = nullptr;
  cell.node = kNoNode;
  cell.previous = cell.next = nullptr;
  if (segment->state == State::Pending && !segment->cells) segment->self = nullptr;
}

}  // namespace tenon
