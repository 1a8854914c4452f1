#include "trace/extract.h"

#include <algorithm>
#include <map>

#include "trace/check.h"
#include "trace/recorder.h"
#include "trace/region.h"

namespace tenon {
namespace {

bool is_concrete(const Node& node) { return node.op == Op::Input || (node.flags & Node::kValued); }

// A redirect's second operand is only a place in the derivative graph.
std::span<const NodeId> value_operands(const Segment& segment, const Node& node) {
  const auto operands = segment.operands_of(node);
  return node.op == Op::Redirect ? operands.first(1) : operands;
}

// Whether scan b gives all that scan a gives (and perhaps more): the same loop over the same
// operands. Then `places` has, for each output of a, that of b.
bool gives_all(const Segment& segment, NodeId a, NodeId b, std::vector<int64_t>& places) {
  const Node &small = segment.nodes[a], &large = segment.nodes[b];
  if (!std::ranges::equal(segment.operands_of(small), segment.operands_of(large)) ||
      !std::ranges::equal(segment.sizes_of(small), segment.sizes_of(large))) {
    return false;
  }
  const auto axes = segment.axes_of(small), other_axes = segment.axes_of(large);
  if (!std::ranges::equal(axes.first(3), other_axes.first(3))) return false;
  const auto& wanted = region_of(axes[3]).output_hashes;
  const auto& given = region_of(other_axes[3]).output_hashes;
  const auto carried = static_cast<size_t>(axes[0]);
  if (!std::equal(wanted.begin(), wanted.begin() + carried, given.begin())) return false;
  places.clear();
  for (size_t k = 0; k < wanted.size(); ++k) {
    const auto found = k < carried ? given.begin() + k
                                   : std::find(given.begin() + carried, given.end(), wanted[k]);
    if (found == given.end()) return false;
    places.push_back(found - given.begin());
  }
  return true;
}

// Scans that others, of the same loop, make superfluous: reverse mode records a scan again with
// what it keeps of each step. The larger one runs, where the earliest of them stands.
struct MergedScan {
  NodeId by = kNoNode;          // whose attributes are used
  NodeId host = kNoNode;        // the earliest
  std::vector<int64_t> places;  // of its outputs among those of `by`
};
std::map<NodeId, MergedScan> merge_scans(const Segment& segment, std::span<const NodeId> scans) {
  std::map<NodeId, MergedScan> merged;
  std::map<NodeId, NodeId> hosts;  // by `by`
  for (NodeId scan : scans) {      // latest first
    MergedScan& entry = merged[scan];
    for (NodeId other : scans) {
      if (!gives_all(segment, scan, other, entry.places)) continue;
      entry.by = other;
      hosts[other] = scan;
      break;
    }
  }
  for (auto& [scan, entry] : merged) entry.host = hosts[entry.by];
  return merged;
}

}  // namespace

void extract_program(const Segment& segment, RunRecipe& recipe) {
  Program& program = recipe.program;
  const auto& roots = recipe.roots;
  if (roots.empty()) return;
  std::vector<uint32_t> index(roots.back() + 1, kNoNode);  // then: place in the program
  constexpr uint32_t kLive = kNoNode - 1;
  for (NodeId root : roots) index[root] = kLive;
  size_t live = 0;
  std::vector<NodeId> scans;
  for (NodeId id = roots.back() + 1; id-- > 0;) {
    if (index[id] != kLive) continue;
    ++live;
    const Node& node = segment.nodes[id];
    if (is_concrete(node)) continue;
    if (node.op == Op::Scan) scans.push_back(id);
    for (NodeId operand : value_operands(segment, node)) index[operand] = kLive;
  }
  const std::map<NodeId, MergedScan> merged =
      scans.size() > 1 ? merge_scans(segment, scans) : std::map<NodeId, MergedScan>();
  const auto keep_attributes = [&](const Node& node) {
    const auto axes = segment.axes_of(node), sizes = segment.sizes_of(node);
    const auto at = static_cast<uint32_t>(program.attributes.size());
    program.attributes.insert(program.attributes.end(), axes.begin(), axes.end());
    program.attributes.insert(program.attributes.end(), sizes.begin(), sizes.end());
    if (axes.empty() && sizes.empty()) return;
    recipe.attributes.push_back({node.attributes, at, static_cast<uint32_t>(axes.size()),
                                 static_cast<uint32_t>(sizes.size())});
  };
  program.nodes.reserve(live);
  recipe.nodes.reserve(live);
  program.operands.reserve(2 * live);
  program.attributes.reserve(2 * live);
  for (NodeId id = 0; id <= roots.back(); ++id) {
    if (index[id] != kLive) continue;
    const Node& node = segment.nodes[id];
    const Node* attributes = &node;
    if (const auto scan = merged.find(id); scan != merged.end()) {
      const MergedScan& entry = scan->second;
      if (entry.by != id) keep_attributes(node);  // what was merged has to be what it is now
      if (entry.host != id) {
        index[id] = index[entry.host];
        continue;
      }
      attributes = &segment.nodes[entry.by];
    }
    index[id] = static_cast<uint32_t>(program.nodes.size());
    ProgramNode out{};
    out.op = node.op;
    out.type = node.type;
    out.origin = node.origin;
    out.operands = static_cast<uint32_t>(program.operands.size());
    out.axes = static_cast<uint32_t>(program.attributes.size());
    if (is_concrete(node)) {
      out.op = Op::Input;
      recipe.inputs.push_back(id);
    } else {
      const auto operands = value_operands(segment, node);
      if (node.op == Op::Redirect) out.op = Op::Alias;
      out.operand_count = static_cast<uint8_t>(operands.size());
      for (NodeId operand : operands) program.operands.push_back(index[operand]);
      out.axes_count = static_cast<uint32_t>(segment.axes_of(*attributes).size());
      out.sizes_count = static_cast<uint32_t>(segment.sizes_of(*attributes).size());
      const auto scan = node.op == Op::RegionOutput ? merged.find(operands[0]) : merged.end();
      if (scan == merged.end()) {
        keep_attributes(*attributes);
      } else {
        const auto which = static_cast<size_t>(segment.axes_of(node)[0]);
        program.attributes.push_back(scan->second.places[which]);
      }
    }
    out.sizes = out.axes + out.axes_count;
    program.nodes.push_back(out);
    recipe.nodes.push_back(id);
  }
  for (NodeId root : roots) {
    ProgramNode& node = program.nodes[index[root]];
    // Results are dense; the strides of views only matter to the cells that show them.
    node.type = dense_type(node.type);
    program.outputs.push_back(index[root]);
  }
  if (checks_programs()) check_program(program);
}

void bind_inputs(RunRecipe& recipe, const Segment& segment) {
  Program& program = recipe.program;
  program.inputs.clear();
  for (NodeId id : recipe.inputs) {
    const Node& node = segment.nodes[id];
    program.inputs.push_back(node.op == Op::Input ? segment.sources[node.attributes].buffer
                                                  : segment.values.at(id));
  }
  program.donatable.resize(program.inputs.size());
  for (size_t i = 0; i < program.inputs.size(); ++i) {
    // Held by the segment's source and by the program: nobody else can see it change.
    const Storage& storage = *program.inputs[i].storage;
    program.donatable[i] = segment.state != Segment::State::Open && storage.use_count() == 2 &&
                           storage.is_owned() && !storage.is_exposed() && !storage.read_only();
  }
}

}  // namespace tenon
