// Running what is pending: sealing a segment, running it, and moving cells to their buffers.
#include <pthread.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "core/fork.h"
#include "core/log.h"
#include "core/optimizations.h"
#include "core/profile.h"
#include "core/threads.h"
#include "trace/capture.h"
#include "trace/compact.h"
#include "trace/complex_program.h"
#include "trace/cut.h"
#include "trace/early.h"
#include "trace/executor.h"
#include "trace/extract.h"
#include "trace/flush_span.h"
#include "trace/origin.h"
#include "trace/period.h"
#include "trace/recorder.h"

namespace tenon {
namespace {

Executor* installed_executor = nullptr;
BlockingHooks blocking_hooks;

// Threads that wait for a segment which another thread runs. Some may still, at the end; a forked
// child has none of them.
struct Waiting {
  std::mutex mutex;
  std::condition_variable done;
};
Waiting* waiting = new Waiting;
[[maybe_unused]] const int forgets_at_fork =
    pthread_atfork(nullptr, nullptr, [] { waiting = new Waiting; });

void set_running(Segment& segment) {
  segment.state = Segment::State::Running;
  segment.run_in = fork_generation();
}

// Outside the trace lock and, under Python, without the interpreter lock.
template <class Body>
auto blocking(Body&& body) {
  struct Section {
    TraceUnlock unlock;
    void* state = blocking_hooks.enter ? blocking_hooks.enter() : nullptr;
    ~Section() {
      if (blocking_hooks.leave) blocking_hooks.leave(state);
    }
  } section;
  return body();
}

std::vector<Buffer> run_program(Program& program) {
  if (program.outputs.empty()) return {};
  return blocking([&] {
    if (!has_complex(program)) return executor().run(program);
    return from_reals(program, executor().run(on_reals(program)));
  });
}

// Adds a cut, at the begin of the unit that it would part. A loop of units so stays one of pieces.
void add_cut(std::vector<NodeId>& cuts, const Segment& segment, NodeId cut) {
  for (const auto& [begin, end] : segment.units) {
    if (begin < cut && cut < end) cut = begin;
  }
  if (cut > (cuts.empty() ? 0 : cuts.back())) cuts.push_back(cut);
}

// Marks the nodes that failed, and what depends on them, so that the rest can still run. False if
// there are none but those known.
bool poison(Segment& segment, const DataError& error) {
  const auto before = std::ranges::count(segment.poisoned, true);
  segment.poisoned.resize(segment.nodes.size());
  if (segment.failure.empty()) {
    segment.failure = error.what();
    segment.failure_kind = error.kind();
  }
  for (NodeId id = 0; id < segment.nodes.size(); ++id) {
    const Node& node = segment.nodes[id];
    if (node.origin == error.origin && info(node.op).fallible) segment.poisoned[id] = true;
  }
  segment.spread_poison();
  return std::ranges::count(segment.poisoned, true) > before;
}

// The buffers a run gave, moved to the cells that are still alive. A result that lies in memory
// known outside (an alias of an exposed input) becomes the cell's own.
void settle_cells(Segment& segment, const Ref<Graph>& graph, const std::vector<uint32_t>& index,
                  const StoredValues& stored) {
  for (Cell *cell = segment.cells, *next = nullptr; cell; cell = next) {
    next = cell->next;
    const NodeId id = cell->node;
    const Node& node = segment.nodes[id];
    if (node.level != 0 || segment.is_poisoned(id)) continue;  // dead with its vmap, or failed
    if (!cell->view) {
      cell->buffer = make_private(stored.find(id));
      cell->buffer.type = cell->type;
    }
    cell->position = segment.positions.empty() ? 0 : segment.positions[id];
    if (graph && index[id] != kNoNode && (node.active & cell->wanted_derivatives())) {
      cell->derivative = GraphRef(graph, index[id]);
    }
    Segment::unbind(*cell);
  }
}

void finish(const Ref<Segment>& segment, bool done) {
  segment->failed = !done;
  // Failed or dead cells may still name it.
  segment->state = done && !segment->cells ? Segment::State::Done : Segment::State::Pending;
  segment->self = segment->cells ? segment : nullptr;
  {
    std::lock_guard guard(waiting->mutex);
  }
  waiting->done.notify_all();
}

// Runs a sealed segment and compacts it. Throws what the run threw; the segment then stays pending
// (or, after a data error, keeps just the cells that depend on the failed node).
void run_sealed(const Ref<Segment>& segment) {
  if (segment->state != Segment::State::Pending) return;  // another thread has taken it
  const FlushSpan span(*segment);
  set_running(*segment);
  try {
    resolve_sources(*segment);
  } catch (...) {
    finish(segment, false);
    throw;
  }
  const std::unique_ptr<EarlySegment> early = std::move(segment->early);
  if (early) {
    blocking([&] {
      early->run->stop();
      return 0;
    });
  }
  std::exception_ptr data_error;
  if (!segment->poisoned.empty()) segment->spread_poison();  // to what was recorded since
  bool just_roots = !segment->poisoned.empty();
  while (true) {
    const std::shared_ptr<RunRecipe> recipe =
        just_roots ? std::make_shared<RunRecipe>(make_recipe(*segment))
                   : recorder().predictor.recipe_for(*segment);
    const Residuals& residuals = recipe->residuals;
    const std::vector<NodeId>& roots = recipe->roots;
    if (roots.empty() && !segment->cells) break;
    // An input that is a residual, or that a cell names, outlives the run.
    StoredValues stored{segment.get(), {}};
    std::vector<Buffer> pinned;
    for (NodeId node : residuals.kept) {
      if (residuals.marks[node] & Residuals::kValue) pinned.push_back(stored.find(node));
    }
    for (const Cell* cell = segment->cells; cell; cell = cell->next) {
      if (!cell->view) pinned.push_back(stored.find(cell->node));
    }
    set_running(*segment);
    const std::shared_ptr<EarlyRun> begun = early ? take_early(*segment, *early, *recipe) : nullptr;
    bind_inputs(*recipe, *segment);
    Program& program = recipe->program;
    program.early = begun;
    std::vector<Buffer> outputs;
    try {
      outputs = run_program(program);
    } catch (const DataError& error) {
      program.inputs.clear();
      segment->state = Segment::State::Pending;
      // A value that nobody asked for may have failed.
      if (!std::exchange(just_roots, true) && recipe->wide) continue;
      if (!data_error) data_error = std::current_exception();
      if (poison(*segment, error)) continue;
      finish(segment, false);
      throw;
    } catch (...) {
      program.inputs.clear();
      if (!just_roots && recipe->wide && !interrupt_requested()) {  // nor may there be room for it
        just_roots = true;
        segment->state = Segment::State::Pending;
        continue;
      }
      finish(segment, false);
      throw;
    }
    program.inputs.clear();
    for (size_t i = 0; i < roots.size(); ++i) {
      stored.outputs.emplace_back(roots[i], std::move(outputs[i]));
    }
    std::vector<uint32_t> index;
    const Ref<Graph> graph = build_graph(*segment, residuals, stored, index);
    settle_cells(*segment, graph, index, stored);
    drop_unreferenced(graph);
    break;
  }
  finish(segment, true);
  if (early) judge_early(*early);
  if (data_error) std::rethrow_exception(data_error);
}

// Runs what a node of a sealed segment needs. That is all of the segment, unless this has failed:
// what can't run (for want of memory, say) must not keep the rest from being read.
void run_for(const Ref<Segment>& segment, NodeId node) {
  if (segment->failed) {
    if (const Ref<Segment> rest = split_off_rest(segment, node)) {
      rest->state = Segment::State::Pending;
      if (rest->cells) rest->self = rest;
    }
  }
  run_sealed(segment);
}

void wait_for(Segment* segment) {
  const Ref<Segment> keep(segment);
  check(keep->run_in == fork_generation(), ErrorKind::Runtime,
        "another thread was computing this tensor when the process forked, so it has no value in "
        "the child; read it (tn.eval) before the fork");
  blocking([&] {
    std::unique_lock guard(waiting->mutex);
    waiting->done.wait_for(guard, std::chrono::milliseconds(50),
                           [&] { return keep->state != Segment::State::Running; });
    return 0;
  });
}

// In order; what the data made fail in one piece is raised when all have run.
void run_pieces(std::span<const Ref<Segment>> pieces) {
  for (const Ref<Segment>& piece : pieces) {
    piece->owner = nullptr;
    piece->state = Segment::State::Pending;
    if (piece->cells) piece->self = piece;
  }
  std::exception_ptr failure;
  for (const Ref<Segment>& piece : pieces) {
    log(Category::Flush, "segment {}: {} nodes", piece->sequence, piece->nodes.size());
    try {
      do {
        if (piece->state == Segment::State::Running) wait_for(piece.get());
        if (piece->state == Segment::State::Pending) run_sealed(piece);
      } while (piece->state == Segment::State::Running);
    } catch (const DataError&) {
      if (!failure) failure = std::current_exception();
    } catch (...) {  // the others wait for what this one gives
      for (const Ref<Segment>& other : pieces) {
        if (other->state == Segment::State::Pending) other->failed = true;
      }
      throw;
    }
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

std::vector<Buffer> run_at_once(Program& program) { return run_program(program); }

void note_read(Recorder& r) {
  if (!r.unit) return;
  const uint32_t origin = current_origin();
  for (Unit* unit = r.unit; unit; unit = unit->outer()) {
    if (!unit->is_inside_effect()) unit->note_obstacle("reads a value while it runs", origin);
  }
}

bool needs_run(const Segment& segment, NodeId node) {
  const Node& definition = segment.nodes[node];
  return definition.op != Op::Input && !(definition.flags & Node::kValued) &&
         definition.level == 0 && !segment.is_poisoned(node);
}

void set_executor(Executor* executor) { installed_executor = executor; }
Executor& executor() {
  check(installed_executor != nullptr, ErrorKind::Internal,
        "no executor is installed: call tenon::jit::install() first");
  return *installed_executor;
}
void set_blocking_hooks(BlockingHooks hooks) { blocking_hooks = hooks; }

void bring_home(Recorder& r) {
  // One at a time, so that a failure leaves those that are still to come to the caller.
  while (!r.homes.empty()) {
    const auto [root, home] = r.homes.back();
    copy_buffer(evaluate(*root), home);
    r.homes.pop_back();
    if (root->segment) continue;  // inside a transform the trace goes on naming its node
    root->buffer = home;
    root->cached_sequence = 0;
  }
}

void seal_and_run(Recorder& r) {
  note_read(r);
  if (!r.segment->cells && r.segment->nodes.empty()) return;
  note_lead(r);
  if (r.transforms > 0 || r.scopes > 0) {  // bare ids are in use: nothing may be compacted
    run_in_place(r);
    return;
  }
  Segment& segment = *r.segment;
  segment.positions.clear();
  std::vector<NodeId> cuts;
  if (!r.predictor.expects(segment) && is_enabled(Optimization::Periods)) {
    const Stream stream = make_stream(segment);
    for (size_t cut : cuts_for_flush(stream)) {
      add_cut(cuts, segment, stream.nodes[cut]);
    }
  }
  const std::vector<Ref<Segment>> pieces = cut_segment(r.segment, cuts, {});
  next_segment(r);
  run_pieces(pieces);
  expect_launches(r);
}

// Caps depend on what was recorded alone, so that cuts are the same on every run.
void cut_if_large(Recorder& r) {
  constexpr size_t kNodeCap = 32768;
  if (r.segment->nodes.size() < r.next_look() && r.pinned_bytes < pinned_bytes_cap) return;
  if (r.segment->nodes.size() >= r.next_launch) launch_early(r);
  if (r.segment->nodes.size() < r.next_check && r.pinned_bytes < pinned_bytes_cap) return;
  if (r.transforms > 0 || r.unit) return;
  const Ref<Segment> segment = r.segment;
  const Stream stream = make_stream(*segment);
  std::vector<NodeId> cuts;
  const bool cuts_at_periods = is_enabled(Optimization::Periods);
  for (size_t cut : cuts_at_periods ? cuts_for_cap(stream) : std::vector<size_t>{}) {
    const NodeId at =
        cut < stream.nodes.size() ? stream.nodes[cut] : static_cast<NodeId>(segment->nodes.size());
    add_cut(cuts, *segment, at);
  }
  if (cuts.empty()) {
    if (segment->nodes.size() < kNodeCap && r.pinned_bytes < pinned_bytes_cap) {
      r.next_check = 2 * segment->nodes.size();
    } else {
      seal_and_run(r);
    }
    return;
  }
  std::vector<Ref<Segment>> pieces = cut_segment(segment, cuts, stream.positions);
  segment->owner = nullptr;
  segment->state = Segment::State::Pending;
  open_segment(r, std::move(pieces.back()));
  pieces.pop_back();
  std::exception_ptr failure;
  try {
    run_pieces(pieces);
  } catch (const DataError&) {
    failure = std::current_exception();
  }
  resolve_sources(*r.segment);
  if (failure) std::rethrow_exception(failure);
}

static void compute_in_place(Segment& segment, RunRecipe& recipe) {
  bind_inputs(recipe, segment);
  std::vector<Buffer> outputs = run_program(recipe.program);
  if (segment.state != Segment::State::Open) return;  // another thread's, and sealed meanwhile
  for (size_t i = 0; i < recipe.roots.size(); ++i) {
    const NodeId root = recipe.roots[i];
    segment.nodes[root].flags |= Node::kValued;
    segment.values[root] = make_private(std::move(outputs[i]));
  }
}

void run_in_place(Recorder& r, NodeId wanted) {
  Segment& segment = *r.segment;
  const Ref<Segment> keep(&segment);
  const bool runs_all = wanted == kNoNode || !segment.failed;
  segment.early.reset();
  std::exception_ptr data_error;
  while (true) {
    if (!segment.poisoned.empty()) segment.spread_poison();
    if (!data_error && wanted != kNoNode && segment.is_poisoned(wanted)) {
      fail(segment.failure_kind, "{}", segment.failure);
    }
    try {
      resolve_sources(segment);
      RunRecipe recipe;
      if (runs_all) {
        recipe = make_recipe(segment);
      } else if (needs_run(segment, wanted)) {
        recipe.roots = {wanted};
        extract_program(segment, recipe);
      }
      if (!recipe.roots.empty()) compute_in_place(segment, recipe);
      break;
    } catch (const DataError& error) {
      if (!data_error) data_error = std::current_exception();
      if (segment.state != Segment::State::Open || !poison(segment, error)) throw;
    } catch (...) {
      segment.failed = true;
      throw;
    }
  }
  if (data_error) std::rethrow_exception(data_error);
}

void settle(Cell& cell) {
  while (Segment* segment = cell.segment) {
    if (segment->is_poisoned(cell.node)) {
      fail(segment->failure_kind, "{}", segment->failure);
    }
    switch (segment->state) {
      case Segment::State::Running:
        wait_for(segment);
        break;
      case Segment::State::Open:
        if (segment->owner->transforms == 0 && segment->owner->scopes == 0) {
          run_for(next_segment(*segment->owner), cell.node);
        } else {  // another thread's transform or operation is open: it keeps its trace, we read
                  // the value
          run_in_place(*segment->owner, cell.node);
          if (cell.segment == segment && segment->state == Segment::State::Open) return;
        }
        break;
      case Segment::State::Pending:
        check(segment->nodes[cell.node].level == 0, ErrorKind::Runtime,
              "{}: this tensor belongs to a vmap that has ended", current_operation());
        run_for(Ref<Segment>(segment), cell.node);
        break;
      case Segment::State::Done:
        fail(ErrorKind::Internal, "a tensor names a finished segment");
    }
  }
}

static bool is_of_region(const Recorder& r, uint32_t level) {
  return std::ranges::any_of(
      r.vmaps, [&](const OpenVmap& open) { return open.region && open.instance == level; });
}

// The root's whole buffer.
static Buffer evaluate_root(Cell& root) {
  Recorder& r = recorder();
  if (root.segment == r.segment.get()) {
    const Node& node = r.segment->nodes[root.node];
    check(
        node.level == 0 || !is_of_region(r, node.level), ErrorKind::Runtime,
        "{}: inside the body of scan, cond or while_loop a value can't be read, since it stands "
        "for all steps at once; use tenon.where or tenon.cond in place of Python's if, and return "
        "the value in place of printing it",
        current_operation());
    check(node.level == 0, ErrorKind::Runtime,
          "{}: under vmap a batched value can't be read, since it stands for all examples at once; "
          "use tenon.where or tenon.cond in place of Python's if, and return the value from the "
          "mapped function in place of printing it",
          current_operation());
    if (r.transforms > 0 || r.scopes > 0) {
      run_in_place(r, root.node);
      const Node& done = r.segment->nodes[root.node];
      Buffer buffer = done.op == Op::Input ? r.segment->sources[done.attributes].buffer
                                           : r.segment->values.at(root.node);
      buffer.type = root.type;
      return buffer;
    }
    if (!r.segment->failed) seal_and_run(r);
  }
  if (root.segment) settle(root);
  if (root.segment) {
    Buffer buffer = root.segment->values.at(root.node);
    buffer.type = root.type;
    return buffer;
  }
  return root.buffer;
}

Buffer evaluate(Cell& cell) {
  note_read(recorder());
  if (!cell.view) return evaluate_root(cell);
  const Buffer root = evaluate_root(cell.root());
  const size_t width = size_of(type_of(cell.type).dtype);  // a view may have another dtype
  const int64_t start = root.offset * static_cast<int64_t>(size_of(type_of(root.type).dtype)) /
                        static_cast<int64_t>(width);
  return {root.storage, start + cell.view->offset, cell.type};
}

}  // namespace tenon
