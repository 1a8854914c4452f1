#include "trace/capture.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "core/error.h"
#include "trace/executor.h"
#include "trace/origin.h"
#include "trace/recorder.h"

namespace tenon {

Unit::Unit(std::vector<Tensor> given, bool proving, bool keeps) : proving_(proving), keeps_(keeps) {
  TraceLock lock;
  Recorder& r = recorder();
  for (const Tensor& tensor : given) {
    Cell& cell = *tensor.cell();
    given_.push_back(
        {tensor.cell(), cell.type, cell.root().version, cell.requires_grad, cell.grad.get()});
  }
  sequence_ = r.segment->sequence;
  first_ = static_cast<NodeId>(r.segment->nodes.size());
  operands_ = r.segment->operand_pool.size();
  attributes_ = r.segment->attributes.size();
  sources_ = r.segment->sources.size();
  leaves_ = r.segment->leaves.size();
  customs_ = r.segment->customs.size();
  pinned_bytes_ = r.pinned_bytes;
  outer_ = std::exchange(r.unit, this);
  if (!outer_) r.segment->units.emplace_back(first_, kNoNode);
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
  if (proving_) fail(ErrorKind::Runtime, "{}", what);
  if (!obstacle_.empty()) return;
  obstacle_ = what;
  obstacle_origin_ = origin;
}

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
    for (Capture::Result& result : out_->results) {
      if (result.kind == Capture::Result::Kind::Computed) result.source = value(result.source);
    }
    return std::move(out_);
  }

 private:
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
    for (const auto& [cell, slot] : slot_of_cell_) {
      const NodeId node = node_of(*cell, segment_);
      if (node == kNoNode) continue;
      if (!slot_of_node_.emplace(node, slot).second) {
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
    if (is_new) add_input(out_->given[slot], slot);
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

Ref<Capture> Unit::finish(std::span<const Tensor> results) {
  TraceLock lock;
  Ref<Capture> capture = CaptureBuilder(*this, *recorder().segment).run(results);
  close();
  return capture;
}

bool is_outside_transforms() {
  const Recorder& r = recorder();
  return r.depth == 0 && r.transforms == 0 && r.scopes == 0 && r.vmaps.empty() && !r.sync_errors;
}
bool can_replay(const Capture& capture) {
  return is_outside_transforms() && recorder().blocked == capture.blocked;
}

std::vector<Tensor> replay(const Capture& capture, std::span<const Tensor> given) {
  OpScope scope("compile");
  Recorder& r = recorder();
  SmallVector<Value, 32> values, operands;
  SmallVector<int64_t, 8> sizes;
  for (const Capture::Node& node : capture.nodes) {
    if (node.op == Op::Input) {
      values.push_back(scope.use(given[node.slot]));
      continue;
    }
    r.origin = node.origin;
    operands.clear();
    for (uint32_t operand : capture.operands_of(node)) operands.push_back(values[operand]);
    sizes = SmallVector<int64_t, 8>(capture.sizes_of(node));
    if (node.op == Op::RandomBits) {
      Generator& generator = default_generator();
      sizes[sizes.size() - 2] = static_cast<int64_t>(generator.seed);
      sizes[sizes.size() - 1] = static_cast<int64_t>(generator.calls++);
    }
    values.push_back(
        append_masked(node.op, node.type, operands, capture.axes_of(node), sizes, node.mask));
  }
  std::vector<Tensor> results(capture.results.size());
  const auto make = [&](auto&& self, size_t i) -> const Tensor& {
    Tensor& made = results[i];
    if (made.defined()) return made;
    const Capture::Result& result = capture.results[i];
    switch (result.kind) {
      case Capture::Result::Kind::Given:
        made = given[result.source];
        break;
      case Capture::Result::Kind::Computed:
        made = scope.result(values[result.source]);
        made.cell()->version = result.version;
        break;
      case Capture::Result::Kind::View:
        made =
            make_view(self(self, result.source), result.op, result.axes, result.sizes, result.dims);
        made.cell()->view->detached = result.detached;
        break;
      case Capture::Result::Kind::Same:
        made = self(self, result.source);
        break;
    }
    return made;
  };
  for (size_t i = 0; i < results.size(); ++i) make(make, i);
  results.resize(capture.asked);
  return results;
}

Program program_of(const Capture& capture, std::vector<uint32_t>* slots) {
  Program program;
  constexpr uint32_t kDead = ~uint32_t{0}, kLive = kDead - 1;
  std::vector<uint32_t> index(capture.nodes.size(), kDead);
  for (const Capture::Result& result : capture.results) {
    if (result.kind == Capture::Result::Kind::Computed) index[result.source] = kLive;
  }
  for (size_t i = capture.nodes.size(); i-- > 0;) {
    if (index[i] != kLive) continue;
    const auto operands = capture.operands_of(capture.nodes[i]);
    const bool is_redirect = capture.nodes[i].op == Op::Redirect;  // reads its first operand
    for (uint32_t operand : is_redirect ? operands.first(1) : operands) index[operand] = kLive;
  }
  const auto dense = [](TypeId id) {
    const Type& type = type_of(id);
    return is_dense(type) ? id : intern_contiguous(type.dtype, type.device, type.dims());
  };
  for (size_t i = 0; i < capture.nodes.size(); ++i) {
    if (index[i] != kLive) continue;
    const Capture::Node& node = capture.nodes[i];
    index[i] = static_cast<uint32_t>(program.nodes.size());
    ProgramNode out{};
    out.op = node.op;
    out.type = node.type;
    out.origin = node.origin;
    out.operands = static_cast<uint32_t>(program.operands.size());
    auto operands = capture.operands_of(node);
    if (node.op == Op::Redirect) {
      out.op = Op::Alias;
      operands = operands.first(1);
    }
    out.operand_count = static_cast<uint8_t>(operands.size());
    for (uint32_t operand : operands) program.operands.push_back(index[operand]);
    out.axes = static_cast<uint32_t>(program.attributes.size());
    out.axes_count = node.axes_count;
    const auto axes = capture.axes_of(node), sizes = capture.sizes_of(node);
    program.attributes.insert(program.attributes.end(), axes.begin(), axes.end());
    out.sizes = static_cast<uint32_t>(program.attributes.size());
    out.sizes_count = node.sizes_count;
    program.attributes.insert(program.attributes.end(), sizes.begin(), sizes.end());
    if (node.op == Op::Input) {
      program.inputs.push_back(Buffer{{}, 0, node.type});
      program.donatable.push_back(0);
      if (slots) slots->push_back(node.slot);
    }
    program.nodes.push_back(out);
  }
  for (const Capture::Result& result : capture.results) {
    if (result.kind != Capture::Result::Kind::Computed) continue;
    const uint32_t node = index[result.source];
    program.nodes[node].type = dense(program.nodes[node].type);
    const bool known = std::ranges::find(program.outputs, node) != program.outputs.end();
    if (!known) program.outputs.push_back(node);
  }
  return program;
}

Launch::Launch(const Capture& capture) {
  if (capture.draws || capture.nodes.empty()) return;
  for (const Capture::Result& result : capture.results) {
    if (result.kind == Capture::Result::Kind::View || result.kind == Capture::Result::Kind::Same) {
      return;
    }
  }
  program_ = program_of(capture, &slots_);
  // A value that is an input, or returned twice, needs the trace's care.
  size_t computed = 0;
  for (const Capture::Result& result : capture.results) {
    if (result.kind != Capture::Result::Kind::Computed) continue;
    if (capture.nodes[result.source].op == Op::Input) return;
    ++computed;
  }
  possible_ = computed > 0 && computed == program_.outputs.size();
}

std::vector<Tensor> Launch::run(const Capture& capture, std::span<const Tensor> given) {
  if (!possible_ || busy_ || recorder().unit) return {};
  {
    TraceLock lock;
    const Recorder& r = recorder();
    const bool records_derivatives = !(r.blocked & reverse_bit(0));
    for (size_t i = 0; i < slots_.size(); ++i) {
      const Cell& cell = *given[slots_[i]].cell();
      if (cell.view || cell.segment || !cell.buffer.storage ||
          (records_derivatives && (cell.requires_grad || cell.derivative)) ||
          cell.buffer.storage->exposures.load(std::memory_order_relaxed) > 0) {
        return {};
      }
      program_.inputs[i] = cell.buffer;
      program_.inputs[i].type = cell.type;
    }
  }
  busy_ = true;
  struct Done {
    Launch& launch;
    ~Done() {
      for (Buffer& input : launch.program_.inputs) input.storage = nullptr;
      launch.busy_ = false;
    }
  } done{*this};
  std::vector<Buffer> buffers;
  try {
    buffers = run_at_once(program_);
  } catch (const DataError&) {  // recorded, it fails when it is read
    return {};
  }
  std::vector<Tensor> results;
  size_t next = 0;
  for (size_t i = 0; i < capture.asked; ++i) {
    const Capture::Result& result = capture.results[i];
    if (result.kind == Capture::Result::Kind::Given) {
      results.push_back(given[result.source]);
      continue;
    }
    const TypeId type = capture.nodes[result.source].type;
    results.push_back(from_buffer(std::move(buffers[next++])));
    results.back().cell()->type = type;
    results.back().cell()->version = result.version;
  }
  return results;
}

}  // namespace tenon
