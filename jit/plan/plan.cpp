// Making plans: groups to steps and buffers.
#include "jit/plan/plan.h"

#include <algorithm>

#include "core/error.h"
#include "core/log.h"
#include "jit/plan/executor.h"
#include "jit/plan/narrow.h"
#include "jit/schedule/access.h"
#include "jit/simplify/simplify.h"
#include "trace/library.h"
#include "trace/region.h"

namespace tenon::jit {

Plan::Plan(const Program& program, Mode mode, Choices choices)
    : mode_(mode), choices_(std::move(choices)), graph_(make_graph(program)) {
  simplify(graph_, choices_.off);
  if (fuses() && does(Optimization::ChannelsLast)) move_channels_last(graph_);
  GroupOptions options;
  options.fuse = fuses();
  options.off = choices_.off;
  options.choices = choices_.kernels;
  for (uint32_t* cap : {&options.max_cost, &options.max_members, &options.max_cost_of_few,
                        &options.max_members_of_few}) {
    *cap = *cap * choices_.kernel_size / 100;
  }
  grouping_ = make_groups(graph_, algebra_, options);
  if (fuses() && does(Optimization::Rematerialize)) lower_peak(program, options);
  if (log_enabled(Category::Passes)) {
    log(Category::Passes, "graph\n{}groups\n{}", print(graph_), print(graph_, grouping_));
  }
  make_steps(program);
  find_lifetimes();
  find_batches();
}

uint32_t Plan::buffer_of(NodeIndex n, bool partial) {
  uint32_t& id = buffer_ids_[n * 2 + partial];
  if (id != kNone) return id;
  id = static_cast<uint32_t>(buffers_.size());
  const GraphNode& node = graph_[n];
  PlanBuffer buffer{n, partial, node.dtype, elements_of(algebra_, node)};
  if (partial) {
    buffer.elements = elements_of(algebra_, graph_[node.operands[0]]);
    if (is_half(node.dtype)) buffer.dtype = DType::Float32;
  } else if (node.op == Op::Input) {
    buffer.input = node.input;
  }
  buffers_.push_back(buffer);
  return id;
}

StridedOperand Plan::strided(NodeIndex n) {
  const StridedView view = matrix_view(graph_, algebra_, n);
  StridedOperand operand{buffer_of(view.base, false), view.offset, view.strides, {}};
  for (Symbol atom : graph_[n].atoms) operand.extents.push_back(algebra_.extent(atom));
  return operand;
}

void Plan::add_gemm(uint32_t group) {
  const NodeIndex n = grouping_.groups[group].stores[0];
  const GraphNode& node = graph_[n];
  const GraphNode &a = graph_[node.operands[0]], &b = graph_[node.operands[1]];
  GemmStep step;
  step.dtype = node.dtype;
  step.a = strided(node.operands[0]);
  step.b = strided(node.operands[1]);
  step.result = buffer_of(n, false);
  const auto& axes = node.axes;
  const size_t nb = axes[0], nc = axes[1 + 2 * nb];
  step.recorded_a = static_cast<Orientation>(axes[axes.size() - 2]);
  step.recorded_b = static_cast<Orientation>(axes[axes.size() - 1]);
  const auto put = [](const GraphNode& x, int64_t dim, std::vector<uint8_t>& list) {
    for (int i = x.starts[dim]; i < x.starts[dim + 1]; ++i) list.push_back(static_cast<uint8_t>(i));
  };
  std::vector<uint8_t> used_a(a.rank(), 0), used_b(b.rank(), 0);
  for (size_t i = 0; i < nb; ++i) {
    put(a, axes[1 + i], step.batch_a);
    put(b, axes[1 + nb + i], step.batch_b);
    used_a[axes[1 + i]] = used_b[axes[1 + nb + i]] = 1;
  }
  for (size_t i = 0; i < nc; ++i) {
    put(a, axes[2 + 2 * nb + i], step.contract_a);
    put(b, axes[2 + 2 * nb + nc + i], step.contract_b);
    used_a[axes[2 + 2 * nb + i]] = used_b[axes[2 + 2 * nb + nc + i]] = 1;
  }
  for (int d = 0; d < a.rank(); ++d) {
    if (!used_a[d]) put(a, d, step.free_a);
  }
  for (int d = 0; d < b.rank(); ++d) {
    if (!used_b[d]) put(b, d, step.free_b);
  }
  Step entry{std::move(step), "matmul", {node.source}, group};
  steps_.push_back(std::move(entry));
  loads_.emplace_back();
  stores_.emplace_back();
}

void Plan::add_convolution(uint32_t group) {
  const NodeIndex n = grouping_.groups[group].stores[0];
  const GraphNode& node = graph_[n];
  constexpr const char* kNames[] = {"convolution_input", "convolution_weight", "convolution"};
  const int64_t role = node.axes[0];
  kernels::ConvolutionLayout layout;
  layout.x_last = has_channels_last(graph_[role == 0 ? n : node.operands[0]]);
  layout.y_last = has_channels_last(graph_[role == 2 ? n : node.operands[1]]);
  steps_.push_back(
      {ConvolutionStep{buffer_of(node.operands[0], false), buffer_of(node.operands[1], false),
                       buffer_of(n, false), layout, node.source},
       kNames[node.axes[0]],
       {node.source},
       group});
  loads_.emplace_back();
  stores_.emplace_back();
}

void Plan::take_siblings(Step& entry, std::span<uint32_t> results, std::vector<uint8_t>& is_done,
                         FunctionRef<std::optional<size_t>(const GraphNode&)> place_of) {
  const GroupKind kind = grouping_.groups[entry.group].kind;
  for (uint32_t g = entry.group; g < grouping_.groups.size(); ++g) {
    const Group& group = grouping_.groups[g];
    if (is_done[g] || group.kind != kind || group.stores.empty()) continue;
    if (g != entry.group && !fuses()) return;
    const NodeIndex n = group.stores[0];
    const std::optional<size_t> place = place_of(graph_[n]);
    if (!place || results[*place] != kNone) continue;
    results[*place] = buffer_of(n, false);
    entry.sources.push_back(graph_[n].source);
    is_done[g] = 1;
  }
}

// Nodes that read the same are one step: a forward pass with its normalizer, gradients with each
// other.
void Plan::add_attention(uint32_t group, std::vector<uint8_t>& is_done) {
  constexpr uint32_t kScale = 3;
  const NodeIndex n = grouping_.groups[group].stores[0];
  const GraphNode& node = graph_[n];
  AttentionStep step{};
  step.is_gradient = node.op == Op::AttentionGradient;
  step.is_causal = node.axes[0] != 0;
  step.dtype = graph_[node.operands[0]].dtype;
  for (uint32_t k = 0; k < node.operands.size(); ++k) {
    const GraphNode& operand = graph_[node.operands[k]];
    if (k == kScale) continue;
    const bool is_normalizer = step.is_gradient && k == 5;
    const int rank = operand.rank() - (is_normalizer ? 1 : 2);
    step.operands.push_back(
        {strided(node.operands[k]), operand.starts[rank], operand.starts[rank + 1]});
    step.has_bool_mask = operand.dtype == DType::Bool;
  }
  const GraphNode& scale = graph_[node.operands[kScale]];
  const bool is_constant = scale.op == Op::Constant;
  step.scale_source = is_constant ? scale.source : kNone;
  step.scale_buffer = is_constant ? kNone : buffer_of(node.operands[kScale], false);
  Step entry{std::move(step), step.is_gradient ? "attention_gradient" : "attention", {}, group};
  auto& results = std::get<AttentionStep>(entry.what).results;
  const bool is_gradient = node.op == Op::AttentionGradient;
  take_siblings(entry, results, is_done, [&](const GraphNode& sibling) -> std::optional<size_t> {
    const bool reads_same = sibling.operands == node.operands && sibling.axes[0] == node.axes[0] &&
                            (sibling.op == Op::AttentionGradient) == is_gradient;
    if (!reads_same) return std::nullopt;
    return is_gradient ? static_cast<size_t>(sibling.axes[1])
                       : sibling.op == Op::AttentionNormalizer;
  });
  steps_.push_back(std::move(entry));
  loads_.emplace_back();
  stores_.emplace_back();
}

void Plan::add_sort(uint32_t group) {
  const NodeIndex n = grouping_.groups[group].stores[0];
  const GraphNode& node = graph_[n];
  SortStep step;
  step.values = buffer_of(node.operands[0], false);
  step.result = buffer_of(n, false);
  step.dtype = graph_[node.operands[0]].dtype;
  for (int d = 0; d < node.rank(); ++d) {
    step.extents.push_back(algebra_.product(
        {node.atoms.data() + node.starts[d], static_cast<size_t>(node.atoms_in(d))}));
  }
  step.axis = static_cast<int>(node.axes[0]);
  step.descending = node.axes[1] != 0;
  steps_.push_back({std::move(step), "argsort", {node.source}, group});
  loads_.emplace_back();
  stores_.emplace_back();
}

void Plan::add_region(const Program& program, uint32_t group) {
  const NodeIndex n = grouping_.groups[group].members[0];
  const GraphNode& node = graph_[n];
  RegionStep step;
  step.source = node.source;
  size_t outputs = 0;
  const ProgramNode& call = program.nodes[node.source];
  if (node.op == Op::Call) outputs = library::decode(program.sizes_of(call)).results.size();
  for (RegionId id : region_ids(node.op, program.axes_of(call))) {
    const Program& body = region_of(id).program;
    step.bodies.push_back(&plan_for(body));
    outputs = body.outputs.size();
  }
  for (NodeIndex operand : node.operands) step.operands.push_back(buffer_of(operand, false));
  step.results.assign(outputs, kNone);
  for (NodeIndex k = n + 1; k < graph_.nodes.size(); ++k) {
    if (graph_[k].op != Op::RegionOutput || graph_[k].operands[0] != n) continue;
    uint32_t& result = step.results[static_cast<size_t>(graph_[k].axes[0])];
    result = buffer_of(k, false);
  }
  const std::string name = node.op == Op::Call ? library::operation_of(node.axes[0]).name
                                               : std::string(tenon::name_of(node.op));
  Step entry{std::move(step), name, {node.source}, group};
  entry.can_fail = true;  // it allocates, if nothing else
  steps_.push_back(std::move(entry));
  loads_.emplace_back();
  stores_.emplace_back();
}

KernelStep Plan::kernel_step(const KernelCode& code) {
  KernelStep step{};
  for (const BufferUse& use : code.buffers) {
    step.buffers.push_back(buffer_of(use.node, use.partial));
  }
  step.ints = code.ints;
  step.scalars = code.scalars;
  for (NodeIndex site : code.sites) step.sites.push_back(graph_[site].source);
  step.range = code.range;
  step.work = code.work;
  step.row = code.row;
  step.divide_range = code.divide_range;
  step.cost = std::max(code.cost, 1u);
  step.unit_elements = code.unit_elements;
  return step;
}

void Plan::add_narrow(KernelCode& code, KernelStep& step) {
  KernelCode& narrow = *code.narrow;
  narrow.kernel.name = code.kernel.name + "_narrow";
  step.narrow = std::make_shared<NarrowStep>();
  step.narrow->step = kernel_step(narrow);
  step.narrow->step.grain_shift = step.grain_shift;
  step.narrow->extent = code.narrow_extent;
  step.narrow->along = code.narrow_along;
  step.narrow->code = std::move(narrow.kernel);
  // Either may run: what is done in place must be right for both.
  code.loads.insert(code.loads.end(), narrow.loads.begin(), narrow.loads.end());
  code.stores.insert(code.stores.end(), narrow.stores.begin(), narrow.stores.end());
}

void Plan::make_steps(const Program& program) {
  buffer_ids_.assign(2 * graph_.nodes.size(), kNone);
  Placement placement{graph_, grouping_};
  std::vector<loop::Kernel> kernels;
  std::vector<size_t> kernel_steps;
  std::vector<uint8_t> attention_done(grouping_.groups.size(), 0);
  std::vector<uint8_t> routine_done(grouping_.groups.size(), 0);
  for (uint32_t g = 0; g < grouping_.groups.size(); ++g) {
    const Group& group = grouping_.groups[g];
    if (group.stores.empty()) continue;
    if (group.kind == GroupKind::Gemm) {
      add_gemm(g);
      continue;
    }
    if (group.kind == GroupKind::Convolution) {
      add_convolution(g);
      continue;
    }
    if (group.kind == GroupKind::Attention) {
      if (!attention_done[g]) add_attention(g, attention_done);
      continue;
    }
    if (group.kind == GroupKind::Sort) {
      add_sort(g);
      continue;
    }
    if (group.kind == GroupKind::Routine) {
      if (!routine_done[g]) add_routine(g, routine_done);
      continue;
    }
    if (group.kind == GroupKind::Region) add_region(program, g);
    if (group.kind == GroupKind::Region || group.kind == GroupKind::RegionOutput) continue;
    for (KernelCode& code : schedule(placement, algebra_, g)) {
      KernelStep step = kernel_step(code);
      step.grain_shift = group.choice.grain_shift;
      if (code.initialises && code.buffers.size() == 2 && code.loads.size() > 0 &&
          code.stores.size() > 0) {
        // A plain copy, if nothing is computed on the way.
        const bool plain = std::all_of(code.loads.begin(), code.loads.end(), [&](const auto& l) {
          return l.address == code.stores[0].address && l.node != code.stores[0].node &&
                 graph_[l.node].dtype == graph_[code.stores[0].node].dtype;
        });
        if (plain && code.cost == 1) {  // one load, and nothing computed
          step.copy_from = buffer_of(code.loads[0].node, false);
          step.copy_to = buffer_of(code.stores[0].node, false);
        }
      }
      Step entry{std::move(step), "", {}, g};
      entry.can_fail = !code.sites.empty();
      for (NodeIndex n : group.members) entry.sources.push_back(graph_[n].source);
      entry.name = name_of(group.kind);
      for (size_t i = 0; i < group.members.size() && i < 4; ++i) {
        entry.name += fmt::format("_{}", tenon::name_of(graph_[group.members[i]].op));
      }
      if (group.members.size() > 4) entry.name += fmt::format("_{}", group.members.size());
      code.kernel.name = entry.name;
      code.kernel.vector_bits = group.choice.vector_bits;
      if (code.narrow) {
        code.narrow->kernel.vector_bits = group.choice.vector_bits;
        add_narrow(code, std::get<KernelStep>(entry.what));
      }
      kernel_steps.push_back(steps_.size());
      kernels.push_back(std::move(code.kernel));
      steps_.push_back(std::move(entry));
      loads_.push_back(std::move(code.loads));
      stores_.push_back(std::move(code.stores));
    }
  }
  if (log_enabled(Category::Kernels)) {
    for (const loop::Kernel& kernel : kernels) {
      log(Category::Kernels, "{}\n{}", kernel.name, loop::print(kernel));
    }
  }
  const bool quick = does(Optimization::QuickTier) && !choices_.hot;
  const auto interned =
      intern_kernels(std::move(kernels), is_interpreted() ? Compile::Never : Compile::Now,
                     quick ? llvm_jit::Tier::Quick : llvm_jit::Tier::Hot);
  for (size_t i = 0; i < interned.size(); ++i) {
    std::get<KernelStep>(steps_[kernel_steps[i]].what).kernel = interned[i];
  }
  for (size_t k = 0; k < graph_.outputs.size(); ++k) {
    const uint32_t buffer = buffer_of(graph_.outputs[k], false);
    if (buffers_[buffer].output == kNone) buffers_[buffer].output = static_cast<uint32_t>(k);
    outputs_.push_back({buffer});
  }
}

size_t Plan::kernel_count() const {
  size_t count = 0;
  for (const Step& step : steps_) count += std::holds_alternative<KernelStep>(step.what);
  return count;
}

std::vector<const CompiledKernel*> Plan::kernels() const {
  std::vector<const CompiledKernel*> result;
  for (const Step& step : steps_) {
    const auto* kernel = std::get_if<KernelStep>(&step.what);
    result.push_back(kernel ? kernel->kernel : nullptr);
  }
  return result;
}

size_t Plan::reuse_count() const {
  size_t count = 0;
  for (const PlanBuffer& buffer : buffers_) count += buffer.may_reuse != kNone;
  return count;
}

std::string Plan::explain() const {
  std::string text = "graph\n" + print(graph_) + "\ngroups\n" + print(graph_, grouping_);
  text += "\nbuffers\n";
  for (size_t i = 0; i < buffers_.size(); ++i) {
    const PlanBuffer& b = buffers_[i];
    text += fmt::format("b{} %{}{} {}[{}]", i, b.node, b.partial ? " partial" : "",
                        name_of(b.dtype), algebra_.print(b.elements));
    if (b.input != kNone) text += fmt::format(" input {}", b.input);
    if (b.output != kNone) text += fmt::format(" output {}", b.output);
    if (b.shares != kNone) text += fmt::format(" in b{}", b.shares);
    if (b.may_reuse != kNone) text += fmt::format(" may take b{}", b.may_reuse);
    text += "\n";
  }
  text += "\nsteps\n";
  for (size_t s = 0; s < steps_.size(); ++s) {
    const Step& step = steps_[s];
    if (batch_ends_[s] > s + 1) text += fmt::format("launched at once: {}\n", batch_ends_[s] - s);
    if (const auto* kernel = std::get_if<KernelStep>(&step.what)) {
      text += fmt::format("{} over {}: buffers", step.name, algebra_.print(kernel->range));
      for (uint32_t b : kernel->buffers) text += fmt::format(" b{}", b);
      text += "; ints";
      for (PolyId p : kernel->ints) text += fmt::format(" {}", algebra_.print(p));
      text += "\n" + loop::print(kernel->kernel->code);
      if (const NarrowStep* narrow = kernel->narrow.get()) {
        text += fmt::format("where {} is at most {} and {} at least {}, when hot:\n",
                            algebra_.print(narrow->extent), kNarrow, algebra_.print(narrow->along),
                            loop::kLanes);
        text += loop::print(narrow->code);
      }
    } else if (const auto* gemm = std::get_if<GemmStep>(&step.what)) {
      text += fmt::format("{} b{} b{} -> b{}\n", step.name, gemm->a.buffer, gemm->b.buffer,
                          gemm->result);
    } else if (const auto* convolution = std::get_if<ConvolutionStep>(&step.what)) {
      text += fmt::format("{} b{} b{} -> b{}\n", step.name, convolution->a, convolution->b,
                          convolution->result);
    } else if (const auto* attention = std::get_if<AttentionStep>(&step.what)) {
      text += step.name;
      for (const auto& operand : attention->operands) {
        text += fmt::format(" b{}", operand.view.buffer);
      }
      text += " ->";
      for (uint32_t b : attention->results) text += b == kNone ? " -" : fmt::format(" b{}", b);
      text += "\n";
    } else if (const auto* sort = std::get_if<SortStep>(&step.what)) {
      text += fmt::format("{} b{} -> b{}\n", step.name, sort->values, sort->result);
    } else if (const auto* routine = std::get_if<RoutineStep>(&step.what)) {
      text += step.name;
      for (uint32_t b : routine->operands) text += fmt::format(" b{}", b);
      text += " ->";
      for (uint32_t b : routine->results) text += b == kNone ? " -" : fmt::format(" b{}", b);
      text += "\n";
    } else {
      const auto& region = std::get<RegionStep>(step.what);
      text += step.name;
      for (uint32_t b : region.operands) text += fmt::format(" b{}", b);
      text += " ->";
      for (uint32_t b : region.results) text += b == kNone ? " -" : fmt::format(" b{}", b);
      text += "\n";
      for (const Plan* body : region.bodies)
        text += "body of " + step.name + "\n" + body->explain();
    }
  }
  return text;
}

}  // namespace tenon::jit
