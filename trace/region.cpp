// The table of regions, and the nodes that own them.
#include "trace/region.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <unordered_map>

#include "core/error.h"
#include "trace/recorder.h"
#include "trace/rules.h"

namespace tenon {
namespace {

// Never dropped: their numbers stand in programs and plans.
struct Table {
  std::shared_mutex mutex;
  std::vector<std::unique_ptr<const Region>> regions;
  std::unordered_map<std::string, RegionId> ids;
};
Table& table() {
  static auto* const instance = new Table;
  return *instance;
}

template <class T>
void write(std::string& key, const T& value) {
  key.append(reinterpret_cast<const char*>(&value), sizeof(value));
}
template <class T>
void write_all(std::string& key, std::span<const T> values) {
  write(key, values.size());
  key.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
}

std::string key_of(const Region& region) {
  std::string key;
  const Program& program = region.program;
  for (const ProgramNode& node : program.nodes) {
    write(key, node.op);
    write(key, node.type);
    write(key, node.origin);
    write_all(key, program.operands_of(node));
    write_all(key, program.axes_of(node));
    write_all(key, program.sizes_of(node));
  }
  write_all(key, std::span<const uint32_t>(program.outputs));
  write_all(key, std::span<const DerivativeMask>(region.masks));
  write_all(key, std::span<const int32_t>(region.tangents));
  return key;
}

void hash_outputs(Region& region) {
  const Program& program = region.program;
  std::vector<Hash128> hashes;
  uint64_t inputs = 0;
  std::vector<uint64_t> words;
  for (const ProgramNode& node : program.nodes) {
    words = {static_cast<uint64_t>(node.op), node.type, node.axes_count, node.sizes_count};
    if (node.op == Op::Input) words.push_back(inputs++);
    for (uint32_t operand : program.operands_of(node)) {
      words.push_back(hashes[operand].low);
      words.push_back(hashes[operand].high);
    }
    for (int64_t axis : program.axes_of(node)) words.push_back(static_cast<uint64_t>(axis));
    for (int64_t size : program.sizes_of(node)) words.push_back(static_cast<uint64_t>(size));
    hashes.push_back(hash128_of(std::span<const uint64_t>(words)));
  }
  for (uint32_t output : program.outputs) region.output_hashes.push_back(hashes[output]);
}

std::vector<Value> append_region(Op op, std::span<const Value> operands,
                                 std::span<const int64_t> axes, std::span<const int64_t> sizes,
                                 std::span<const TypeId> types) {
  const Value token = append(op, token_type(), operands, axes, sizes);
  std::vector<Value> outputs;
  for (size_t k = 0; k < types.size(); ++k) {
    const auto which = static_cast<int64_t>(k);
    outputs.push_back(append(Op::RegionOutput, types[k], {&token, 1}, {&which, 1}, {}));
  }
  return outputs;
}

}  // namespace

RegionId intern_region(Region region) {
  std::string key = key_of(region);
  Table& t = table();
  {
    std::shared_lock lock(t.mutex);
    if (const auto known = t.ids.find(key); known != t.ids.end()) return known->second;
  }
  hash_outputs(region);
  std::unique_lock lock(t.mutex);
  const auto [known, is_new] =
      t.ids.try_emplace(std::move(key), static_cast<RegionId>(t.regions.size()));
  if (is_new) t.regions.push_back(std::make_unique<const Region>(std::move(region)));
  return known->second;
}

const Region& region_of(RegionId id) {
  Table& t = table();
  std::shared_lock lock(t.mutex);
  check(id >= 0 && static_cast<size_t>(id) < t.regions.size(), ErrorKind::Internal,
        "there is no region {}", id);
  return *t.regions[static_cast<size_t>(id)];
}

bool owns_bodies(Op op) { return op == Op::Scan || op == Op::While || op == Op::Cond; }
bool is_region(Op op) { return owns_bodies(op) || op == Op::Call; }

std::span<const int64_t> region_ids(Op op, std::span<const int64_t> axes) {
  switch (op) {
    case Op::Scan:
      return axes.subspan(3, 1);
    case Op::While:
      return axes.subspan(1, 2);
    case Op::Cond:
      return axes.subspan(0, 2);
    case Op::Call:
      return axes.subspan(1);
    default:
      return {};
  }
}

// Floating, so that it takes part in derivatives.
TypeId token_type() { return intern_contiguous(DType::Float32, recorder().device, {}); }

TypeId row_major(TypeId id) {
  const Type& type = type_of(id);
  return type.canonical ? id : intern_contiguous(type.dtype, type.device, type.dims());
}

TypeId stacked(TypeId id, int64_t length) {
  const Type& type = type_of(id);
  Dims dims{length};
  dims.append(type.dims().begin(), type.dims().end());
  return intern_contiguous(type.dtype, type.device, dims);
}

TypeId step_of(TypeId id) {
  const Type& type = type_of(id);
  return intern_contiguous(type.dtype, type.device, type.dims().subspan(1));
}

std::vector<Value> append_scan(RegionId body, const ScanOperands& from, int64_t length,
                               bool reverse) {
  const Region& region = region_of(body);
  std::vector<Value> operands = from.carry;
  operands.insert(operands.end(), from.xs.begin(), from.xs.end());
  operands.insert(operands.end(), from.constants.begin(), from.constants.end());
  const int64_t axes[] = {static_cast<int64_t>(from.carry.size()),
                          static_cast<int64_t>(from.xs.size()), reverse, body};
  std::vector<TypeId> types;
  for (size_t k = 0; k < region.program.outputs.size(); ++k) {
    const TypeId type = region.output_type(k);
    types.push_back(k < from.carry.size() ? type : stacked(type, length));
  }
  // A loop without operands still has a node's operand count: its length is all it knows.
  if (operands.empty()) operands.push_back(ops::literal(0, DType::Float32));
  return append_region(Op::Scan, operands, axes, {&length, 1}, types);
}

std::vector<Value> append_while(RegionId condition, RegionId body, std::span<const Value> carry,
                                std::span<const Value> constants) {
  const Region& region = region_of(body);
  std::vector<Value> operands(carry.begin(), carry.end());
  operands.insert(operands.end(), constants.begin(), constants.end());
  const int64_t axes[] = {static_cast<int64_t>(carry.size()), condition, body};
  std::vector<TypeId> types;
  for (size_t k = 0; k < carry.size(); ++k) types.push_back(region.output_type(k));
  return append_region(Op::While, operands, axes, {}, types);
}

std::vector<Value> append_cond(RegionId if_true, RegionId if_false, Value predicate,
                               std::span<const Value> from) {
  const Region& region = region_of(if_true);
  std::vector<Value> operands{predicate};
  operands.insert(operands.end(), from.begin(), from.end());
  const int64_t axes[] = {if_true, if_false};
  std::vector<TypeId> types;
  for (size_t k = 0; k < region.program.outputs.size(); ++k) types.push_back(region.output_type(k));
  return append_region(Op::Cond, operands, axes, {}, types);
}

std::vector<Value> replay(const Region& region, std::span<const Value> inputs,
                          const std::function<DerivativeMask(DerivativeMask)>& mask_of,
                          const Rewrite& rewrite) {
  Recorder& r = recorder();
  const uint32_t origin = r.origin;
  const Program& program = region.program;
  std::vector<Value> values;
  std::vector<Value> operands;
  size_t input = 0;
  for (uint32_t n = 0; n < program.nodes.size(); ++n) {
    const ProgramNode& node = program.nodes[n];
    if (node.op == Op::Input) {
      values.push_back(inputs[input++]);
      continue;
    }
    operands.clear();
    for (uint32_t operand : program.operands_of(node)) operands.push_back(values[operand]);
    r.origin = node.origin;
    const Value other = rewrite ? rewrite(n, operands) : Value{};
    values.push_back(other ? other
                           : append_masked(node.op, node.type, operands, program.axes_of(node),
                                           program.sizes_of(node), mask_of(region.masks[n])));
  }
  r.origin = origin;
  return values;
}

std::vector<uint8_t> reached(const Region& region, std::span<const uint8_t> inputs,
                             const std::function<bool(uint32_t node)>& passes) {
  const Program& program = region.program;
  std::vector<uint8_t> reached;
  size_t input = 0;
  for (uint32_t n = 0; n < program.nodes.size(); ++n) {
    const ProgramNode& node = program.nodes[n];
    if (node.op == Op::Input) {
      reached.push_back(inputs[input++]);
      continue;
    }
    bool any = false;
    for (uint32_t operand : program.operands_of(node)) any = any || reached[operand];
    reached.push_back(any && passes(n));
  }
  return reached;
}

// Type rules: what a region gives is its outputs' business.
TypeId infer_Scan(Op, std::span<const TypeId>, std::span<const int64_t>, std::span<const int64_t>) {
  return token_type();
}
TypeId infer_While(Op, std::span<const TypeId>, std::span<const int64_t>,
                   std::span<const int64_t>) {
  return token_type();
}
TypeId infer_Cond(Op, std::span<const TypeId>, std::span<const int64_t>, std::span<const int64_t>) {
  return token_type();
}
TypeId infer_RegionOutput(Op, std::span<const TypeId>, std::span<const int64_t>,
                          std::span<const int64_t>) {
  fail(ErrorKind::Internal, "the type of a region's output is its body's");
}

std::vector<uint8_t> active_nodes(const Region& region, std::span<const uint8_t> inputs,
                                  DerivativeMask bit) {
  return reached(region, inputs, [&](uint32_t n) {
    return is_differentiable(type_of(region.program.nodes[n].type).dtype) &&
           (region.masks[n] & bit) != 0;
  });
}

std::vector<uint8_t> with_carried(const Region& region, std::vector<uint8_t> inputs, size_t carried,
                                  DerivativeMask bit) {
  for (bool grew = true; grew;) {
    grew = false;
    const std::vector<uint8_t> active = active_nodes(region, inputs, bit);
    for (size_t k = 0; k < carried; ++k) {
      if (inputs[k] || !active[region.program.outputs[k]]) continue;
      inputs[k] = 1;
      grew = true;
    }
  }
  return inputs;
}

}  // namespace tenon
