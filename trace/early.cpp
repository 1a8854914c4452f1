#include "trace/early.h"

#include <algorithm>
#include <atomic>

#include "core/error.h"
#include "core/log.h"
#include "core/optimizations.h"
#include "core/profile.h"
#include "trace/complex_program.h"
#include "trace/recorder.h"

namespace tenon {
namespace {

constexpr int kTrusted = 2;      // times in a row that a segment came as it was
constexpr int kDistrusted = -8;  // after an early run in vain
std::atomic<int64_t> least_lead{50'000};

const Buffer& buffer_of(const Segment& segment, NodeId id) {
  const Node& node = segment.nodes[id];
  return node.op == Op::Input ? segment.sources[node.attributes].buffer : segment.values.at(id);
}

// The recipe's program, with inputs that have types alone.
Program program_of(const RunRecipe& recipe) {
  Program program = recipe.program;
  program.inputs.clear();
  for (const ProgramNode& node : program.nodes) {
    if (node.op == Op::Input) program.inputs.push_back({{}, 0, node.type});
  }
  program.donatable.assign(program.inputs.size(), 0);
  return program;
}

void find_points(RunRecipe& recipe) {
  const bool is_plain = !recipe.program.outputs.empty() && !has_complex(recipe.program);
  const std::optional points =
      is_plain ? executor().early_points(program_of(recipe)) : std::vector<uint32_t>{};
  recipe.early_is_known = points.has_value();
  if (!points) return;
  for (uint32_t count : *points) {
    recipe.early_points.push_back(recipe.nodes[count - 1] + 1);
  }
}

// Brings the attributes and inputs of the program's nodes that are recorded up to date, and returns
// how many these are. None where something is not as predicted.
size_t update(const RunRecipe& recipe, const Segment& segment, Program& program) {
  const auto size = static_cast<NodeId>(segment.nodes.size());
  const size_t known = std::ranges::lower_bound(recipe.nodes, size) - recipe.nodes.begin();
  const size_t words =
      known < program.nodes.size() ? program.nodes[known].axes : program.attributes.size();
  for (const RunRecipe::AttributeCopy& copy : recipe.attributes) {
    if (copy.to >= words) break;
    if (copy.from + 2 + copy.axes + copy.sizes > segment.attributes.size()) return 0;
    const int64_t* from = segment.attributes.data() + copy.from;
    int64_t* to = program.attributes.data() + copy.to;
    if (from[0] != copy.axes || from[1] != copy.sizes) return 0;
    if (!std::equal(from + 2, from + 2 + copy.axes, to)) return 0;
    // What may be read already is left alone.
    const int64_t* sizes = from + 2 + copy.axes;
    if (std::equal(sizes, sizes + copy.sizes, to + copy.axes)) continue;
    std::copy_n(sizes, copy.sizes, to + copy.axes);
  }
  for (size_t k = 0; k < recipe.inputs.size() && recipe.inputs[k] < size; ++k) {
    Buffer& input = program.inputs[k];
    if (input.storage) continue;
    const Buffer& buffer = buffer_of(segment, recipe.inputs[k]);
    if (!buffer.storage || buffer.type != input.type) return 0;  // or a cut's, yet to be computed
    input = buffer;
  }
  return known;
}

}  // namespace

void set_least_lead(int64_t nanoseconds) { least_lead = nanoseconds; }

void expect_launches(Recorder& r) {
  r.next_launch = kNoLaunch;
  r.reached_launch = 0;
  if (!is_enabled(Optimization::EarlyLaunches)) return;
  RunRecipe* const recipe = r.predictor.predicted();
  if (!recipe || (recipe->trust < kTrusted && least_lead > 0)) return;
  if (!recipe->early_is_known) find_points(*recipe);
  if (!recipe->early_points.empty()) r.next_launch = recipe->early_points[0];
}

void launch_early(Recorder& r) {
  r.next_launch = kNoLaunch;
  Segment& segment = *r.segment;
  const NodeId compared = segment.early ? segment.early->compared : 0;
  const std::shared_ptr<RunRecipe> recipe = r.predictor.predicted_beginning(segment, compared);
  if (!recipe || (segment.early && segment.early->recipe != recipe)) return segment.early.reset();
  if (r.reached_launch == 0) r.reached_launch = event_clock();
  if (recipe->lead < least_lead) return;
  if (segment.early) {
    Program& program = segment.early->run->program;
    const size_t known = update(*recipe, segment, program);
    if (known == 0) return segment.early.reset();
    segment.early->run->advance(known);
  } else {
    Program program = program_of(*recipe);
    const size_t known = update(*recipe, segment, program);
    if (known == 0) return;
    std::shared_ptr<EarlyRun> run = executor().begin_early(std::move(program));
    if (!run) return;
    segment.early.reset(new EarlySegment{recipe, std::move(run), 0});
    segment.early->run->advance(known);
  }
  segment.early->compared = static_cast<NodeId>(segment.nodes.size());
  const auto next = std::ranges::upper_bound(recipe->early_points, segment.nodes.size());
  if (next != recipe->early_points.end()) r.next_launch = *next;
}

void note_lead(Recorder& r) {
  if (r.reached_launch == 0) return;
  if (RunRecipe* recipe = r.predictor.predicted()) {
    recipe->lead = event_clock() - r.reached_launch;
  }
  r.reached_launch = 0;
}

std::shared_ptr<EarlyRun> take_early(const Segment& segment, EarlySegment& early,
                                     const RunRecipe& recipe) {
  Program& program = early.run->program;
  bool is_same = early.recipe.get() == &recipe && program.inputs.size() == recipe.inputs.size();
  for (size_t k = 0; is_same && k < program.inputs.size(); ++k) {
    const Buffer& known = program.inputs[k];
    if (!known.storage) continue;
    const Buffer& real = buffer_of(segment, recipe.inputs[k]);
    is_same = known.storage == real.storage && known.offset == real.offset;
  }
  program.inputs.clear();
  if (is_same) return early.run;
  early.run->drop();
  return nullptr;
}

void judge_early(const EarlySegment& early) {
  if (early.run->is_used) return;
  early.recipe->trust = kDistrusted;
  log(Category::Flush, "what ran early was not what was recorded");
}

}  // namespace tenon
