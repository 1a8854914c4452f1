// The structure of a kernel: parameters, loops, branches, memory.
#include "jit/cuda/lower.h"

#include <fmt/format.h>

#include "core/error.h"
#include "jit/cuda/lower_internal.h"
#include "jit/cuda/texts.h"

namespace tenon::cuda {

using loop::Node;
using loop::Op;
using loop::Scalar;
using loop::Value;

namespace {

// i1 is a byte in memory.
const char* memory_type(Scalar type) { return type == Scalar::I1 ? "u8" : type_name(type); }

}  // namespace

std::string prelude() { return std::string(kScalarFormulas) + kPrelude; }

std::string lower(const loop::Kernel& kernel, const std::string& symbol) {
  return Lowering(kernel, symbol).run();
}

Lowering::Lowering(const loop::Kernel& kernel, const std::string& symbol)
    : kernel_(kernel), symbol_(symbol), order_(order_of(kernel)), names_(kernel.nodes.size()) {}

void Lowering::line(const std::string& text) {
  text_.append(static_cast<size_t>(2 * depth_), ' ');
  text_ += text;
  text_ += '\n';
}

std::string Lowering::run() {
  head();
  for (Value v = 0; v < kernel_.nodes.size(); ++v) {
    operands_ = kernel_.operands_of(kernel_.nodes[v]);
    if (order_.meets_before[v]) line("meet(lanes);");
    lower_node(v);
  }
  depth_ = 1;
  line("}");
  text_ += "}\n";
  return std::move(text_);
}

// Parameters, and the loop over the chunks of the range that this group takes.
void Lowering::head() {
  constexpr size_t kMostParameters = 4096 / 8;  // bytes that every driver passes
  const size_t count = kernel_.buffers.size() + kernel_.ints + kernel_.scalars.size() + 7;
  tenon::check(count <= kMostParameters, ErrorKind::NotImplemented,
               "{}: a CUDA kernel of {} parameters; {} can be passed", kernel_.name, count,
               kMostParameters);
  text_ += fmt::format("\n// {}: {} nodes of loop IR\n", kernel_.name, kernel_.nodes.size());
  text_ += fmt::format("extern \"C\" __global__ void __launch_bounds__({})\n{}(", kThreadsOfBlock,
                       symbol_);
  for (size_t i = 0; i < kernel_.buffers.size(); ++i) {
    const loop::BufferParam& buffer = kernel_.buffers[i];
    text_ += fmt::format("{}{}* b{}, ", buffer.access == loop::Access::Read ? "const " : "",
                         memory_type(buffer.type), i);
  }
  for (uint32_t i = 0; i < kernel_.ints; ++i) text_ += fmt::format("i64 n{}, ", i);
  for (size_t i = 0; i < kernel_.scalars.size(); ++i) {
    text_ += fmt::format("{} s{}, ", loop::is_float(kernel_.scalars[i]) ? "f64" : "i64", i);
  }
  text_ +=
      "u8* scratch, i64 scratch_bytes,\n    i64 first, i64 last, i64 chunk, i64 row, ErrorSlot* "
      "error) {\n";
  depth_ = 1;
  line("const Lanes lanes = my_lanes();");
  line(fmt::format("const i64 group = i64(blockIdx.x) * {} + threadIdx.x / 16u;", kGroupsOfBlock));
  line(fmt::format("const i64 groups = i64(gridDim.x) * {};", kGroupsOfBlock));
  bool uses_scratch = false, gathers = false;
  for (const Node& node : kernel_.nodes) {
    uses_scratch |= node.op == Op::ScratchLoad || node.op == Op::ScratchStore;
    gathers |= node.op == Op::Load && kernel_[kernel_.operands_of(node)[0]].lanes != 1;
  }
  if (uses_scratch) {
    line("u8* const own = scratch ? scratch + group * scratch_bytes");
    line("                        : shared_scratch + (threadIdx.x / 16u) * scratch_bytes;");
  }
  if (gathers) {
    line("const Chunks chunks = chunks_of_rows(first, last, chunk, row);");
    line("for (i64 turn = group; turn < chunks.count; turn += groups) {");
    ++depth_;
    line("const auto [begin, end] = chunks.get(turn);");
    line("if (begin >= end) continue;");
  } else {
    line("for (i64 begin = first + group * chunk; begin < last; begin += groups * chunk) {");
    ++depth_;
    line("const i64 end = last - begin < chunk ? last : begin + chunk;");
  }
  if (order_.kernel_meets_at_start) line("meet(lanes);");
}

void Lowering::lower_node(Value v) {
  const Node& node = kernel_.nodes[v];
  switch (node.op) {
    case Op::Constant:
      names_[v] = literal(node.type, node.payload);
      return;
    case Op::IntParam:
      names_[v] = fmt::format("n{}", node.index);
      return;
    case Op::ScalarParam:
      names_[v] = cast(node.type, loop::is_float(node.type) ? Scalar::F64 : Scalar::I64,
                       fmt::format("s{}", node.index));
      return;
    case Op::RangeBegin:
      names_[v] = "begin";
      return;
    case Op::RangeEnd:
      names_[v] = "end";
      return;
    case Op::LaneIndex:
      names_[v] = cast(node.type, Scalar::I32, "lanes.lane");
      return;
    case Op::Broadcast:
      names_[v] = operand(0);
      return;
    case Op::Carried:
      names_[v] = brackets_.back().carried[node.index];
      return;
    case Op::Result:
      names_[v] = results_[node.index];
      return;
    case Op::For:
      return begin_for(v);
    case Op::EndFor:
    case Op::EndIf:
      return end_body();
    case Op::If:
      return begin_if(v);
    case Op::Else:
      return begin_else();
    case Op::Store:
    case Op::ScratchStore:
      return store(node);
    case Op::Check:
      return check(node);
    default:
      names_[v] = fmt::format("v{}", v);
      line(fmt::format("const {} v{} = {};", type_name(node.type), v, expression(node)));
  }
}

void Lowering::begin_for(Value v) {
  Bracket bracket{v, {}};
  for (size_t i = 3; i < operands_.size(); ++i) {
    bracket.carried.push_back(fmt::format("c{}_{}", v, i - 3));
    line(
        fmt::format("{} {} = {};", type_name(operand_type(i)), bracket.carried.back(), operand(i)));
  }
  names_[v] = fmt::format("at{}", v);
  line(fmt::format("for (i64 at{0} = {1}; at{0} < {2}; at{0} += {3}) {{", v, operand(0), operand(1),
                   operand(2)));
  ++depth_;
  if (order_.meets_at_start[v]) line("meet(lanes);");
  brackets_.push_back(std::move(bracket));
}

// The operands may be the variables themselves in another order: those are read first.
void Lowering::assign(const std::vector<std::string>& to, size_t first_operand) {
  std::vector<std::string> values;
  for (size_t i = 0; i < to.size(); ++i) {
    std::string value = operand(first_operand + i);
    bool is_overwritten = false;
    for (size_t k = 0; k < i; ++k) is_overwritten |= to[k] == value;
    if (is_overwritten) {
      // Named by its place, since one may be read twice.
      const std::string old = fmt::format("old{}_{}", i, value);
      line(
          fmt::format("const {} {} = {};", type_name(operand_type(first_operand + i)), old, value));
      value = old;
    }
    values.push_back(std::move(value));
  }
  for (size_t i = 0; i < to.size(); ++i) {
    if (to[i] != values[i]) line(fmt::format("{} = {};", to[i], values[i]));
  }
}

// Of a loop, or of the second body of an if.
void Lowering::end_body() {
  Bracket bracket = std::move(brackets_.back());
  brackets_.pop_back();
  assign(bracket.carried, 0);
  --depth_;
  line("}");
  results_ = std::move(bracket.carried);
}

// The variables of the results are declared where the types are known: the first body's end tells.
void Lowering::begin_if(Value v) {
  Bracket bracket{v, {}};
  int open = 0;
  Value end = v + 1;
  for (;; ++end) {
    const Op op = kernel_.nodes[end].op;
    if (op == Op::If) ++open;
    if (op == Op::Else && open-- == 0) break;
  }
  const auto results = kernel_.operands_of(kernel_.nodes[end]);
  for (size_t i = 0; i < results.size(); ++i) {
    bracket.carried.push_back(fmt::format("r{}_{}", v, i));
    line(fmt::format("{} {};", type_name(kernel_[results[i]].type), bracket.carried.back()));
  }
  line(fmt::format("if ({}) {{", operand(0)));
  ++depth_;
  brackets_.push_back(std::move(bracket));
}

void Lowering::begin_else() {
  assign(brackets_.back().carried, 0);
  --depth_;
  line("} else {");
  ++depth_;
}

// The element that this thread accesses. `first`: the operand that is its index.
std::string Lowering::element(const Node& node, size_t& first) {
  const bool is_scratch = node.op == Op::ScratchLoad || node.op == Op::ScratchStore;
  first = is_scratch ? 1 : 0;
  const bool is_store = node.op == Op::Store || node.op == Op::ScratchStore;
  const Scalar type = is_store ? operand_type(first + 1) : node.type;
  const int lanes = is_store ? operand_node(first + 1).lanes : node.lanes;
  std::string base = fmt::format("b{}", node.index);
  if (is_scratch) base = fmt::format("(({}*)(own + {}))", memory_type(type), operand(0));
  const bool is_contiguous = lanes != 1 && operand_node(first).lanes == 1;
  return fmt::format("{}[{}{}]", base, operand(first), is_contiguous ? " + lanes.lane" : "");
}

std::string Lowering::load(const Node& node) {
  size_t first;
  std::string value = element(node, first);
  if (node.type == Scalar::I1) value = fmt::format("({} != 0)", value);
  if (operands_.size() == first + 1) return value;
  return fmt::format("{} ? {} : {}", operand(first + 1), value, operand(first + 2));
}

void Lowering::store(const Node& node) {
  size_t first;
  const std::string target = element(node, first);
  const bool is_masked = operands_.size() > first + 2;
  std::string condition = is_masked ? operand(first + 2) : "";
  if (operand_node(first).lanes != 1) {
    condition =
        fmt::format("stores_last(lanes, {}, {})", operand(first), is_masked ? condition : "true");
  } else if (operand_node(first + 1).lanes == 1) {
    condition = "lanes.lane == 0" + (is_masked ? " && " + condition : "");
  }
  const std::string store = fmt::format("{} = {};", target, operand(first + 1));
  line(condition.empty() ? store : fmt::format("if ({}) {}", condition, store));
}

void Lowering::check(const Node& node) {
  const bool is_scalar = operand_node(0).lanes == 1;
  line(fmt::format("if ({}!{}) report(error, {}u, {}u, {}, {});",
                   is_scalar ? "lanes.lane == 0 && " : "", operand(0), node.payload, node.index,
                   operand(1), operand(2)));
}

}  // namespace tenon::cuda
