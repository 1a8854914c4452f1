// Units while they are open: what they watch, and taking back what a proof recorded.
#include <algorithm>
#include <utility>

#include "core/error.h"
#include "trace/capture.h"
#include "trace/origin.h"
#include "trace/recorder.h"

namespace tenon {

Unit::Unit(std::vector<Tensor> given, bool proving, bool keeps, bool parting, bool following)
    : proving_(proving), keeps_(keeps), parting_(parting), following_(following) {
  TraceLock lock;
  Recorder& r = recorder();
  for (const Tensor& tensor : given) give(tensor);
  asked_ = given_.size();
  blocked_ = r.blocked;
  begin_part();
  outer_ = std::exchange(r.unit, this);
  if (!outer_) r.segment->units.emplace_back(first_, kNoNode);
}

void Unit::give(const Tensor& tensor) {
  Cell& cell = *tensor.cell();
  given_.push_back(
      {tensor.cell(), cell.type, cell.root().version, cell.requires_grad, cell.grad.get()});
}

void Unit::begin_part() {
  const Recorder& r = recorder();
  sequence_ = r.segment->sequence;
  first_ = static_cast<NodeId>(r.segment->nodes.size());
  operands_ = r.segment->operand_pool.size();
  attributes_ = r.segment->attributes.size();
  sources_ = r.segment->sources.size();
  leaves_ = r.segment->leaves.size();
  customs_ = r.segment->customs.size();
  pinned_bytes_ = r.pinned_bytes;
  resolved_.clear();
}

Unit::~Unit() {
  try {
    close();
  } catch (...) {  // what the cap ran failed: its cells stay pending, and say so when they are read
  }
}

void Unit::close() {
  if (!std::exchange(open_, false)) return;
  TraceLock lock;
  Recorder& r = recorder();
  if (proving_) take_back();
  // Units of one thread nest, but for functions that a generator left half-way.
  for (Unit** at = &r.unit; *at; at = &(*at)->outer_) {
    if (*at != this) continue;
    *at = outer_;
    break;
  }
  if (r.unit) return;
  if (!r.segment->units.empty() && r.segment->units.back().second == kNoNode) {
    r.segment->units.back().second = static_cast<NodeId>(r.segment->nodes.size());
  }
  if (r.scopes == 0) cut_if_large(r);
}

void Unit::save(Cell& cell) {
  const bool is_saved =
      std::ranges::any_of(saved_, [&](const Saved& saved) { return saved.cell.get() == &cell; });
  const Segment* open = recorder().segment.get();
  if (is_saved || (cell.segment == open && cell.node >= first_)) return;
  saved_.push_back({Ref<Cell>(&cell), cell.segment == open ? cell.node : kNoNode, cell.derivative,
                    cell.cached_sequence, cell.leaf_sequence, cell.cached_node, cell.leaf_node,
                    cell.leaf_of, cell.cached_version, cell.leaf_depth});
}

void Unit::take_back() {
  Recorder& r = recorder();
  Segment& segment = *r.segment;
  if (segment.sequence != sequence_) return;
  for (Saved& saved : saved_) {
    Cell& cell = *saved.cell;
    if (cell.view) {
      Segment::unbind(cell);
      if (saved.node != kNoNode) segment.bind(cell, saved.node);
      cell.derivative = std::move(saved.derivative);
    }
    cell.cached_sequence = saved.cached_sequence;
    cell.cached_node = saved.cached_node;
    cell.cached_version = saved.cached_version;
    cell.leaf_sequence = saved.leaf_sequence;
    cell.leaf_node = saved.leaf_node;
    cell.leaf_of = saved.leaf_of;
    cell.leaf_depth = saved.leaf_depth;
  }
  saved_.clear();
  for (Cell *cell = segment.cells, *next = nullptr; cell; cell = next) {
    next = cell->next;
    if (cell->node >= first_) Segment::unbind(*cell);  // made by the proof: nobody reads it
  }
  segment.nodes.resize(first_);
  segment.operand_pool.resize(operands_);
  segment.attributes.resize(attributes_);
  segment.sources.resize(sources_);
  segment.leaves.resize(leaves_);
  segment.customs.resize(customs_);
  r.pinned_bytes = pinned_bytes_;
}

void Unit::note_resolved(Cell& cell) {
  if (effects_ > 0) return;
  if (proving_) {
    for (Cell* at = &cell; at; at = at->view ? at->view->base.get() : nullptr) save(*at);
  }
  resolved_.emplace_back(static_cast<NodeId>(recorder().segment->nodes.size()), &cell);
}

// A cell of before names a node of before, or a buffer.
void Unit::check_write(const Cell& cell) const {
  if (!proving_) return;
  const bool is_own = cell.segment && cell.segment->sequence == sequence_ && cell.node >= first_;
  check(is_own, ErrorKind::Runtime, "writes to a tensor that it was given");
}

void Unit::note_obstacle(const std::string& what, uint32_t origin) {
  if (what.empty() || !obstacle_.empty()) return;
  if (proving_) fail(ErrorKind::Runtime, "{}", what);
  obstacle_ = what;
  obstacle_origin_ = origin;
}

// ---- effects ------------------------------------------------------------------------------------

const char* name_of(Effect effect) {
  switch (effect) {
    case Effect::Backward:
      return "backward";
    case Effect::Step:
      return "step";
    case Effect::ZeroGrad:
      return "zero_grad";
    case Effect::Read:
      return "read";
  }
  return "";
}

// What is alive of what this part recorded: all that later parts can use.
std::vector<Tensor> Unit::made_since_begin() const {
  std::vector<Tensor> made;
  const Segment& segment = *recorder().segment;
  if (segment.sequence != sequence_) return made;
  for (Cell* cell = segment.cells; cell; cell = cell->next) {
    if (cell->node < first_ || cell->view || cell->level != 0 || cell->keeps || cell->grad ||
        cell->requires_grad || cell->anchor || cell->is_parameter) {
      continue;
    }
    const bool is_given =
        std::ranges::any_of(given_, [&](const Given& given) { return given.cell.get() == cell; });
    if (!is_given) made.emplace_back(Ref<Cell>(cell));
  }
  return made;
}

void Unit::begin_effect(Effect effect, const Tensor& root) {
  if (!parting_) {
    if (effect == Effect::Read) return;  // noted as any value that is read
    if (proving_) note_obstacle(fmt::format("calls {}", name_of(effect)), current_origin());
    return;
  }
  if (effects_++ > 0) {
    note_obstacle("has an effect inside another", current_origin());
    return;
  }
  const bool is_empty =
      recorder().segment->sequence == sequence_ && recorder().segment->nodes.size() == first_;
  // A loop over parameters is one effect.
  if (effect == Effect::ZeroGrad && is_empty && !parts_.empty() && parts_.back().effect == effect) {
    return;
  }
  if (recorder().blocked != blocked_) note_obstacle("has an effect under no_grad", 0);
  const std::vector<Tensor> made = made_since_begin();
  Capture::Part part{capture(made), effect, Capture::kUnknown};
  for (const Tensor& tensor : made) give(tensor);
  for (size_t k = 0; root.defined() && k < given_.size(); ++k) {
    if (given_[k].cell.get() == root.cell().get()) part.root = static_cast<uint32_t>(k);
  }
  if (root.defined() && part.root == Capture::kUnknown) {
    note_obstacle(fmt::format("calls {} of a view, or of what it didn't make", name_of(effect)),
                  current_origin());
  }
  note_obstacle(part.capture->obstacle, part.capture->obstacle_origin);
  parts_.push_back(std::move(part));
}

void Unit::note_answer(bool answer) {
  if (parting_ && effects_ == 1 && !parts_.empty()) parts_.back().answer = answer;
}

void Unit::end_effect() {
  if (!parting_ || --effects_ > 0 || !open_) return;
  for (Given& given : given_) {
    const Cell& cell = *given.cell;
    given.type = cell.type;
    given.version = cell.root().version;
    given.grad = cell.grad.get();
  }
  begin_part();
}

EffectScope::EffectScope(Effect effect, const Tensor& root) {
  TraceLock lock;
  unit_ = recorder().unit;
  if (!unit_) return;
  for (Unit* unit = unit_->outer(); unit && effect != Effect::Read; unit = unit->outer()) {
    unit->note_obstacle(fmt::format("calls {} in a unit of its own", name_of(effect)),
                        current_origin());
  }
  unit_->begin_effect(effect, root);
}

void EffectScope::note_answer(bool answer) {
  TraceLock lock;
  if (unit_ && recorder().unit == unit_) unit_->note_answer(answer);
}

EffectScope::~EffectScope() {
  TraceLock lock;
  // It is the innermost again, unless the effect's own code closed it.
  if (unit_ && recorder().unit == unit_) unit_->end_effect();
}

}  // namespace tenon
