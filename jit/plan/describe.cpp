#include "jit/plan/describe.h"

#include <fmt/format.h>

#include <algorithm>

#include "jit/plan/bind.h"
#include "jit/plan/executor.h"
#include "jit/plan/key.h"
#include "jit/plan/plan.h"
#include "trace/print.h"
#include "trace/value.h"

namespace tenon::jit {

int64_t operations_of(const Program& program, uint32_t id) {
  const ProgramNode& node = program.nodes[id];
  const auto numel = [&](uint32_t n) { return type_of(program.nodes[n].type).numel; };
  const auto operands = program.operands_of(node);
  if (node.op == Op::DotGeneral) {
    // Two for each product: the contracted extents are those of `a` that the result lacks.
    const auto axes = program.axes_of(node);
    const size_t batch = static_cast<size_t>(axes[0]);
    const size_t contracted = static_cast<size_t>(axes[1 + 2 * batch]);
    const auto dims = type_of(program.nodes[operands[0]].type).dims();
    int64_t products = numel(id);
    for (size_t i = 0; i < contracted; ++i) products *= dims[axes[2 + 2 * batch + i]];
    return 2 * products;
  }
  if (node.op == Op::Convolution) {
    // Two for each product of the trilinear form: of an element of the output y and of the weight w
    // that has its output channel.
    const auto role = static_cast<ops::ConvolutionRole>(program.axes_of(node)[0]);
    const uint32_t y = role == ops::ConvolutionRole::Output ? id : operands[1];
    const uint32_t w = role == ops::ConvolutionRole::Output  ? operands[1]
                       : role == ops::ConvolutionRole::Input ? operands[0]
                                                             : id;
    const int64_t channels = type_of(program.nodes[w].type).dims()[0];
    return channels == 0 ? 0 : 2 * numel(y) * (numel(w) / channels);
  }
  if (info(node.op).group == PrimitiveClass::Attention) {
    // Of the products: scores of a forward pass, or of a gradient, count once, with what is asked.
    const Type& q = type_of(program.nodes[operands[0]].type);
    const Type& v = type_of(program.nodes[operands[2]].type);
    const int64_t depth = q.dims()[q.rank - 1], width = v.dims()[v.rank - 1];
    const int64_t scores = q.numel / depth * v.dims()[v.rank - 2];
    const auto axes = program.axes_of(node);
    const int64_t products = node.op == Op::Attention             ? depth + width
                             : node.op == Op::AttentionNormalizer ? 0
                             : axes[1] == 0                       ? 2 * depth + width
                             : axes[1] == 1                       ? depth
                                                                  : width;
    return 2 * scores * products / (axes[0] ? 2 : 1);
  }
  switch (info(node.op).group) {
    case PrimitiveClass::Unary:
    case PrimitiveClass::Binary:
    case PrimitiveClass::Compare:
    case PrimitiveClass::Predicate:
    case PrimitiveClass::Select:
      return numel(id);
    case PrimitiveClass::Reduction:
    case PrimitiveClass::Argument:
    case PrimitiveClass::Scan:
      return numel(operands[0]);
    default:
      return 0;
  }
}

std::vector<StepInfo> Plan::describe(const Program& program) {
  const auto binding = bind(program);
  std::vector<StepInfo> infos;
  const auto name_of_buffer = [&](uint32_t id) {
    const PlanBuffer& buffer = buffers_[id];
    const GraphNode& node = graph_[buffer.node];
    std::string text;
    if (buffer.partial) {
      text = fmt::format("{} bytes of partial results", binding->bytes[id]);
    } else {
      text = print_type(program.nodes[node.source].type);
    }
    if (buffer.input != kNone) text += fmt::format(" input {}", buffer.input);
    if (buffer.output != kNone) text += fmt::format(" output {}", buffer.output);
    return text;
  };
  for (size_t s = 0; s < steps_.size(); ++s) {
    const Step& step = steps_[s];
    StepInfo info;
    info.name = step.name;
    const auto touch = [&](uint32_t buffer, bool writes) {
      (writes ? info.writes : info.reads).push_back(name_of_buffer(buffer));
      info.bytes += binding->bytes[buffer];
    };
    const bool is_kernel = std::holds_alternative<KernelStep>(step.what);
    for_each_buffer(step, [&](uint32_t buffer, bool is_result) {
      const bool is_stored = std::ranges::any_of(
          stores_[s], [&](const auto& store) { return buffer_ids_[store.node * 2] == buffer; });
      const bool is_new = buffers_[buffer].first == s && buffers_[buffer].input == kNone;
      touch(buffer, is_kernel ? is_stored || is_new : is_result);
    });
    for (uint32_t source : step.sources) {
      info.operations += operations_of(program, source);
      info.origins.push_back(program.nodes[source].origin);
    }
    const Group& group = grouping_.groups[step.group];
    if (s > 0) {
      if (!group.note.empty()) {
        info.apart = group.note;
      } else if (!fuses()) {
        info.apart = "fusion is switched off";
      } else if (group.kind != GroupKind::Map && group.kind != GroupKind::Row) {
        info.apart = "a kernel of its own kind";
      } else {
        info.apart = "reads nothing that an earlier step computes or reads";
      }
    }
    infos.push_back(std::move(info));
  }
  // Notes name groups by number; people know steps.
  for (StepInfo& info : infos) {
    unsigned group = 0;
    int length = 0;
    if (std::sscanf(info.apart.c_str(), "not in %u: %n", &group, &length) != 1) continue;
    const auto step = std::ranges::find_if(steps_, [&](const Step& s) { return s.group == group; });
    const std::string why = info.apart.substr(static_cast<size_t>(length));
    info.apart = step == steps_.end() ? why : fmt::format("not in {}: {}", step->name, why);
  }
  return infos;
}

std::vector<StepInfo> steps_of(const Program& program) {
  return plan_for(program).describe(program);
}

int64_t peak_bytes_of(const Program& program) {
  Plan& plan = plan_for(program);
  plan.describe(program);  // binds it
  return plan.peak_bytes();
}

namespace {

std::string pattern_of(const Type& type) {
  std::string text = "[";
  for (int i = 0; i < type.rank; ++i) {
    const int64_t extent = type.dims()[i];
    text += fmt::format("{}{}", i ? ", " : "", extent > 1 ? "n" : extent == 1 ? "1" : "0");
  }
  return text + "]";
}

// A node's part of the key as text, so that a difference can be shown.
std::string key_text(const Program& program, uint32_t id, TypeId type_id) {
  const ProgramNode& node = program.nodes[id];
  const Type& type = type_of(type_id);
  std::string text =
      fmt::format("{}{} {}", name_of(type.dtype), pattern_of(type), name_of(node.op));
  for (uint32_t operand : program.operands_of(node)) text += fmt::format(" %{}", operand);
  for (int64_t axis : program.axes_of(node)) text += fmt::format(" {}", axis);
  if (!type.contiguous) {
    const Layout layout = layout_of(type);
    text += layout.kind == Layout::Permuted  ? " permuted"
            : layout.kind == Layout::Strided ? " strided"
                                             : "";
    for (uint8_t d : layout.order) text += fmt::format(" {}", d);
    for (uint8_t c : layout.classes) text += fmt::format(" {}", c);
  }
  if (is_keyed_by_sizes(node.op)) {
    SmallVector<int64_t, 16> words;
    structure_of(program, node, words);
    text += " sizes";
    for (int64_t word : words) text += fmt::format(" {}", word);
  }
  return text;
}

}  // namespace

std::string difference_of_keys(const Program& known, const Program& program) {
  if (key_of(known) == key_of(program)) return {};
  const size_t common = std::min(known.nodes.size(), program.nodes.size());
  size_t inputs = 0;
  for (uint32_t i = 0; i < common; ++i) {
    const bool are_inputs = known.nodes[i].op == Op::Input && program.nodes[i].op == Op::Input;
    const std::string was =
        key_text(known, i, are_inputs ? known.inputs[inputs].type : known.nodes[i].type);
    const std::string is =
        key_text(program, i, are_inputs ? program.inputs[inputs].type : program.nodes[i].type);
    if (was != is) {
      return fmt::format("{}: {} where it was {}",
                         are_inputs ? fmt::format("input {}", inputs) : fmt::format("node {}", i),
                         is, was);
    }
    inputs += are_inputs;
  }
  if (known.nodes.size() != program.nodes.size()) {
    return fmt::format("{} operations where there were {}", program.nodes.size(),
                       known.nodes.size());
  }
  return "other results, or results in another layout";
}

}  // namespace tenon::jit
