// Reverse mode of regions.
//
// The derivative of a scan is two scans. The first is the scan again, which also stacks what the
// second reads of each step: the values carried in, and those that are dear to compute again
// (products, reductions). Where the original has not run yet, it takes the original's place (see
// merge_scans in trace/extract.cpp), so that nothing is computed twice. The second goes the other
// way: from the cotangents of what a step gave to those of what it took, by the walk of reverse
// mode over the body, one depth deeper.
#include <algorithm>
#include <bit>
#include <map>

#include "autograd/region_sums.h"
#include "autograd/reverse.h"
#include "core/error.h"
#include "trace/region.h"

namespace tenon {
namespace {

using Flags = std::vector<uint8_t>;
using Needs = std::span<const bool>;
using Cotangents = std::span<Value>;

Value zeros_of(TypeId id) {
  const Type& type = type_of(id);
  return ops::zeros(type);
}

bool is_dear(Op op) {
  switch (info(op).group) {
    case PrimitiveClass::Contraction:
    case PrimitiveClass::Reduction:
    case PrimitiveClass::Argument:
    case PrimitiveClass::Scan:
    case PrimitiveClass::Sort:
    case PrimitiveClass::Routine:
      return true;
    default:
      return op == Op::RegionOutput;
  }
}

// The body once more, one depth deeper, and the walk back over it.
class BodyWalk {
 public:
  // `saved`: for nodes whose value is at hand; none for those to compute again.
  BodyWalk(const Region& region, std::span<const Value> inputs, const Flags& active_inputs,
           std::span<const Value> saved, const RuleContext& context)
      : region_(region), fresh_(context.bit), walk_(recorder().depth, true, context.recorded_bit) {
    const DerivativeMask bit = context.recorded_bit;
    active_ = active_nodes(region, active_inputs, bit);
    std::vector<Value> entered(inputs.begin(), inputs.end());
    for (size_t k = 0; k < entered.size(); ++k) {
      if (!active_inputs[k]) continue;
      entered[k] = ops::alias(entered[k]);
      recorder().segment->nodes[entered[k].id].active |= fresh_.bit();
    }
    aliases_ = entered;
    const auto mask_of = [&](DerivativeMask mask) {
      return mask & bit ? mask | fresh_.bit() : mask & ~fresh_.bit();
    };
    const auto rewrite = [&](uint32_t n, std::span<const Value> operands) -> Value {
      if (saved.empty() || !saved[n]) return {};
      if (!active_[n]) return saved[n];
      const Program& program = region.program;
      const ProgramNode& node = program.nodes[n];
      const Value value = append_masked(node.op, node.type, operands, program.axes_of(node),
                                        program.sizes_of(node), mask_of(region.masks[n]));
      // The value at hand, with the node's derivative at this depth; at others with its own.
      const TypeId type = type_id_of(saved[n]);
      const Value both[] = {append_masked(Op::Alias, type, {&saved[n], 1}, {}, {}, ~fresh_.bit()),
                            append_masked(Op::Alias, node.type, {&value, 1}, {}, {}, fresh_.bit())};
      stand_ins_.push_back(append_masked(Op::Redirect, type, both, {}, {}, ~DerivativeMask{0}).id);
      return {stand_ins_.back()};
    };
    values_ = replay(region, entered, mask_of, rewrite);
    for (Value alias : aliases_) watched_.push_back(walk_.watch({nullptr, alias.id}));
  }

  void seed(size_t output, Value cotangent) {
    const uint32_t node = region_.program.outputs[output];
    if (active_[node] && cotangent) walk_.seed({nullptr, values_[node].id}, cotangent);
  }
  void run() {
    walk_.run();
    for (NodeId id : stand_ins_) {  // the other derivative has been taken
      Node& node = recorder().segment->nodes[id];
      node.op = Op::Alias;
      node.operand_count = 1;
    }
  }
  Value cotangent(size_t input) const { return walk_.watched(watched_[input]); }

 private:
  const Region& region_;
  autograd::FreshDepth fresh_;
  autograd::ReverseWalk walk_;
  Flags active_;
  std::vector<Value> aliases_, values_;
  std::vector<size_t> watched_;
  std::vector<NodeId> stand_ins_;
};

// The region with the values of some of its nodes as further outputs.
Region with_outputs(Region region, std::span<const uint32_t> nodes) {
  Program& program = region.program;
  for (uint32_t n : nodes) {
    uint32_t at = n;
    if (!type_of(program.nodes[n].type).canonical) {
      ProgramNode copy{};
      copy.op = Op::Alias;
      copy.operand_count = 1;
      copy.type = row_major(program.nodes[n].type);
      copy.operands = static_cast<uint32_t>(program.operands.size());
      copy.axes = copy.sizes = static_cast<uint32_t>(program.attributes.size());
      copy.origin = program.nodes[n].origin;
      program.operands.push_back(n);
      at = static_cast<uint32_t>(program.nodes.size());
      program.nodes.push_back(copy);
      region.masks.push_back(~DerivativeMask{0});
    }
    program.outputs.push_back(at);
  }
  region.tangents.clear();
  region.output_hashes.clear();
  return region;
}

std::vector<Value> operands_of(RuleContext& c) {
  std::vector<Value> operands;
  for (size_t k = 0; k < c.operand_types.size(); ++k) {
    operands.push_back(c.operand(static_cast<int>(k)));
  }
  return operands;
}

Value cotangent_of(RuleContext& c, size_t output) {
  const auto all = c.output_cotangents();
  return output < all.size() ? all[output] : Value{};
}

}  // namespace

void vjp_Scan(RuleContext& c, Value, Needs needs, Cotangents out) {
  const auto carried = static_cast<size_t>(c.axes[0]), xs_count = static_cast<size_t>(c.axes[1]);
  const bool reverse = c.axes[2] != 0;
  const int64_t length = c.sizes[0];
  const Region& region = region_of(c.axes[3]);
  const Program& program = region.program;
  const size_t count = program.inputs.size();
  const std::vector<Value> operands = operands_of(c);
  const Flags active =
      with_carried(region, Flags(needs.begin(), needs.begin() + count), carried, c.recorded_bit);

  RegionRecording body("scan", length);
  std::vector<Value> parameters, begin, xs_parameters, outputs;
  const auto carry = [&](TypeId type, Value value) {
    begin.push_back(value);
    parameters.push_back(body.parameter(type));
    return parameters.back();
  };
  std::vector<Value> of_carry(carried), of_ys(program.outputs.size());
  for (size_t k = 0; k < carried; ++k) {
    if (!active[k]) continue;
    const Value arrived = cotangent_of(c, k);
    of_carry[k] = carry(region.input_type(k), arrived ? arrived : zeros_of(region.input_type(k)));
  }
  // What a step of the second scan may read of the first one's.
  std::vector<Value> xs, inputs(count), saved(program.nodes.size());
  std::vector<std::pair<Value, uint32_t>> residuals;  // parameter, node of the body
  size_t input = 0;
  for (uint32_t n = 0; n < program.nodes.size(); ++n) {
    const ProgramNode& node = program.nodes[n];
    if (node.op != Op::Input) {
      if (!is_dear(node.op)) continue;
      saved[n] = body.parameter(node.type);
      residuals.emplace_back(saved[n], n);
      continue;
    }
    const size_t k = input++;
    if (k >= carried + xs_count) {
      inputs[k] = operands[k];
      continue;
    }
    inputs[k] = body.parameter(region.input_type(k));
    if (k < carried) {
      residuals.emplace_back(inputs[k], n);
    } else {
      xs_parameters.push_back(inputs[k]);
      xs.push_back(operands[k]);
    }
  }
  for (size_t k = carried; k < program.outputs.size(); ++k) {
    const Value arrived = cotangent_of(c, k);
    if (!arrived) continue;
    of_ys[k] = body.parameter(region.output_type(k));
    xs_parameters.push_back(of_ys[k]);
    xs.push_back(arrived);
  }

  const auto is_parameter = [&](Value value) { return body.is_parameter(value); };
  const auto varies = [&](Value value) { return body.is_inside(value); };
  std::vector<std::pair<size_t, size_t>> results;  // operand, output of the second scan
  std::vector<std::pair<size_t, Value>> outside;   // operand, what each step adds to its cotangent
  std::vector<Value> leaves;                       // of those, what has to be stacked
  {
    BodyWalk walk(region, inputs, active, saved, c);
    for (size_t k = 0; k < program.outputs.size(); ++k) {
      walk.seed(k, k < carried ? of_carry[k] : of_ys[k]);
    }
    walk.run();
    const auto give = [&](size_t k, Value value) {
      results.emplace_back(k, outputs.size());
      outputs.push_back(value);
    };
    const auto or_zeros = [&](size_t k) {
      const Value arrived = walk.cotangent(k);
      return arrived ? arrived : zeros_of(region.input_type(k));
    };
    for (size_t k = 0; k < carried; ++k) {
      if (active[k]) give(k, or_zeros(k));
    }
    for (size_t k = carried + xs_count; k < count; ++k) {
      if (!active[k]) continue;
      const Value arrived = walk.cotangent(k);
      const size_t before = leaves.size();
      if (!arrived) continue;
      if (autograd::find_step_leaves(arrived, is_parameter, varies, leaves)) {
        outside.emplace_back(k, arrived);
        continue;
      }
      leaves.resize(before);
      give(k, carry(region.input_type(k), zeros_of(region.input_type(k))) + arrived);
    }
    for (size_t k = carried; k < carried + xs_count; ++k) {
      if (active[k]) give(k, or_zeros(k));
    }
  }
  // Where the stack of a leaf is: an output of the second scan, unless it is one of its xs.
  const auto is_x = [&](Value leaf) {
    return std::ranges::find(xs_parameters, leaf) != xs_parameters.end() ||
           std::ranges::any_of(residuals, [&](const auto& r) { return r.first == leaf; });
  };
  std::map<uint32_t, size_t> stacks;
  for (size_t i = parameters.size(); i < outputs.size(); ++i) {
    stacks.try_emplace(autograd::behind_aliases(outputs[i], is_parameter).id, i);
  }
  for (Value leaf : leaves) {
    if (!is_x(leaf) && stacks.try_emplace(leaf.id, outputs.size()).second) outputs.push_back(leaf);
  }
  body.finish(outputs);

  std::vector<uint32_t> stacked_nodes;
  std::vector<Value> stacked_parameters;
  for (const auto& [parameter, node] : residuals) {
    if (!body.is_used(parameter) && std::ranges::find(leaves, parameter) == leaves.end()) continue;
    stacked_parameters.push_back(parameter);
    stacked_nodes.push_back(node);
  }
  if (!stacked_nodes.empty()) {
    const ScanOperands again{{operands.begin(), operands.begin() + carried},
                             {operands.begin() + carried, operands.begin() + carried + xs_count},
                             {operands.begin() + carried + xs_count, operands.begin() + count}};
    const std::vector<Value> all =
        append_scan(intern_region(with_outputs(region, stacked_nodes)), again, length, reverse);
    xs_parameters.insert(xs_parameters.end(), stacked_parameters.begin(), stacked_parameters.end());
    xs.insert(xs.end(), all.end() - stacked_nodes.size(), all.end());
  }
  parameters.insert(parameters.end(), xs_parameters.begin(), xs_parameters.end());
  const std::vector<Value> arrived =
      outputs.empty() ? std::vector<Value>()
                      : record_scan(body, parameters, begin, xs, length, !reverse);
  for (const auto& [operand, output] : results) {
    if (needs[operand]) out[operand] = arrived[output];
  }
  const auto stack_of = [&](Value leaf) {
    if (const auto x = std::ranges::find(xs_parameters, leaf); x != xs_parameters.end()) {
      return xs[static_cast<size_t>(x - xs_parameters.begin())];
    }
    return arrived[stacks.at(leaf.id)];
  };
  for (const auto& [operand, term] : outside) {
    out[operand] = autograd::sum_of_steps(term, is_parameter, stack_of);
  }
}

void vjp_While(RuleContext&, Value, Needs, Cotangents) {
  fail(
      ErrorKind::Runtime,
      "while_loop has no derivative in reverse mode, since the number of its steps, and so what it "
      "would have to keep, is not known; use scan with a fixed length (and where() for steps past "
      "the end), or jvp");
}

// The branch that was taken is computed again: its values are kept nowhere.
void vjp_Cond(RuleContext& c, Value, Needs needs, Cotangents out) {
  const Region* branches[] = {&region_of(c.axes[0]), &region_of(c.axes[1])};
  const std::vector<Value> operands = operands_of(c);
  const size_t count = operands.size() - 1;
  const Flags active(needs.begin() + 1, needs.end());
  const auto pull = [&](const Region& region) {
    BodyWalk walk(region, std::span(operands).subspan(1), active, {}, c);
    for (size_t k = 0; k < region.program.outputs.size(); ++k) walk.seed(k, cotangent_of(c, k));
    walk.run();
    std::vector<Value> outputs;
    for (size_t k = 0; k < count; ++k) {
      if (!active[k]) continue;
      const Value arrived = walk.cotangent(k);
      outputs.push_back(arrived ? arrived : zeros_of(region.input_type(k)));
    }
    return outputs;
  };
  RegionRecording if_true("cond", RegionRecording::kOnce);
  const std::vector<Value> a = pull(*branches[0]);
  RegionRecording if_false("cond", RegionRecording::kOnce);
  const std::vector<Value> b = pull(*branches[1]);
  if_true.finish(a);
  if_false.finish(b);
  const std::vector<Value> arrived = record_cond(if_true, if_false, operands[0]);
  size_t next = 0;
  for (size_t k = 0; k < count; ++k) {
    if (active[k]) out[k + 1] = arrived[next++];
  }
}

void vjp_RegionOutput(RuleContext&, Value, Needs, Cotangents) {
  fail(ErrorKind::Internal, "the cotangent of a region's output gathers at the region");
}

}  // namespace tenon
