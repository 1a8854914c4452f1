#include <fmt/format.h>

#include "jit/loop/ir.h"
#include "jit/loop/math.h"

namespace tenon::loop {

namespace {

constexpr ValueType kI64{Scalar::I64, 1};

// Walks the nodes in order with the stack of open brackets. A value is visible until the bracket it
// was defined in closes.
class Verifier {
 public:
  explicit Verifier(const Kernel& kernel) : kernel_(kernel), visible_(kernel.nodes.size(), 0) {}

  std::string run() {
    for (const auto& term : kernel_.scratch.terms) {
      if (term.param >= kernel_.ints) return "scratch: no such int parameter";
    }
    for (at_ = 0; at_ < kernel_.nodes.size() && error_.empty(); ++at_) {
      const Node& node = kernel_.nodes[at_];
      if (node.first_operand + uint64_t{node.operand_count} > kernel_.operands.size()) {
        require(false, "operands lie outside the kernel's list");
        break;
      }
      operands_ = kernel_.operands_of(node);
      for (Value operand : operands_) {
        if (!require(operand < at_ && visible_[operand], "an operand is not visible here")) break;
      }
      require(node.lanes == 0 || node.lanes == 1 || node.lanes == kLanes, "lanes are 1 or 16");
      require(pending_results_ == 0 || node.op == Op::Result, "result nodes follow their bracket");
      if (error_.empty()) check_node(node);
      if (node.has_result()) visible_[at_] = 1;
    }
    if (error_.empty() && !brackets_.empty()) return "a bracket is not closed";
    if (error_.empty() && pending_results_ != 0) return "result nodes are missing";
    return error_;
  }

 private:
  struct Bracket {
    Op op;
    Value start;
    std::vector<ValueType> types;  // of the carried values or results
    uint32_t carried_seen = 0;
  };

  bool require(bool condition, const char* what) {
    if (!condition && error_.empty()) error_ = fmt::format("node %{}: {}", at_, what);
    return condition;
  }
  ValueType type(size_t i) const { return kernel_[operands_[i]].value_type(); }
  bool count_is(size_t least, size_t most) {
    return require(operands_.size() >= least && operands_.size() <= most, "number of operands");
  }
  void hide_from(Value start) { std::fill(visible_.begin() + start, visible_.begin() + at_, 0); }

  void check_arithmetic(const Node& node) {
    require(!is_half(node.type), "arithmetic on f16 and bf16 is done in f32");
    const bool is_flag = node.type == Scalar::I1;
    if (node.op == Op::Unary) {
      if (!count_is(1, 1)) return;
      require(type(0) == node.value_type(), "operand type");
      const auto op = static_cast<UnaryOp>(node.detail);
      if (op == UnaryOp::Not) {
        require(!is_float(node.type), "not takes integers");
      } else if (op == UnaryOp::Neg || op == UnaryOp::Abs) {
        require(!is_flag, "arithmetic on i1");
      } else {
        require(is_float(node.type), "takes floating values");
      }
    } else {
      if (!count_is(2, 2)) return;
      require(type(0) == node.value_type() && type(1) == node.value_type(), "operand types");
      const auto op = static_cast<BinaryOp>(node.detail);
      const bool is_bitwise = op == BinaryOp::And || op == BinaryOp::Or || op == BinaryOp::Xor;
      const bool is_integer_only =
          is_bitwise || op == BinaryOp::Shl || op == BinaryOp::Shr || op == BinaryOp::Rem;
      if (is_integer_only) require(!is_float(node.type), "takes integers");
      if (op == BinaryOp::CopySign || op == BinaryOp::Scale)
        require(is_float(node.type), "takes floating values");
      if (is_flag) require(is_bitwise, "arithmetic on i1");
    }
  }

  // operands: [index..., value?, mask?, pass-through?] behind `first`.
  void check_memory(const Node& node, size_t first, bool is_store) {
    const size_t plain = first + 1 + is_store;
    const size_t masked = plain + (is_store ? 1 : 2);
    if (!require(operands_.size() == plain || operands_.size() == masked, "number of operands")) {
      return;
    }
    if (first == 1) require(type(0) == kI64, "the byte offset is a scalar i64");
    const ValueType index = type(first);
    require(index.scalar == Scalar::I64, "indices are i64");
    const uint8_t lanes = is_store ? type(first + 1).lanes : node.lanes;
    require(index.lanes == 1 || lanes == kLanes, "a vector of indices takes a vector");
    if (is_store) require(type(first + 1).scalar == node.type, "type of the stored value");
    if (operands_.size() == masked) {
      require(type(plain) == ValueType{Scalar::I1, lanes}, "the mask is i1 with the value's lanes");
      if (!is_store) require(type(plain + 1) == node.value_type(), "type of the pass-through");
    }
    if (first == 0) {
      if (!require(node.index < kernel_.buffers.size(), "no such buffer")) return;
      const BufferParam& buffer = kernel_.buffers[node.index];
      require(buffer.type == node.type, "type of the buffer");
      require(is_store ? buffer.access != Access::Read : buffer.access != Access::Write,
              "the buffer is not declared for this access");
    }
  }

  void check_bracket(const Node& node) {
    switch (node.op) {
      case Op::For: {
        if (!count_is(3, SIZE_MAX)) return;
        require(type(0) == kI64 && type(1) == kI64 && type(2) == kI64, "bounds are scalar i64");
        require(node.value_type() == kI64, "the induction variable is i64");
        Bracket bracket{Op::For, at_, {}};
        for (size_t i = 3; i < operands_.size(); ++i) bracket.types.push_back(type(i));
        brackets_.push_back(std::move(bracket));
        return;
      }
      case Op::Carried: {
        if (!require(!brackets_.empty() && brackets_.back().op == Op::For, "outside a loop"))
          return;
        Bracket& loop = brackets_.back();
        require(node.index == loop.carried_seen && node.index < loop.types.size() &&
                    loop.types[node.index] == node.value_type() &&
                    at_ == loop.start + 1 + node.index,
                "carried values come in order at the start of the body");
        ++loop.carried_seen;
        return;
      }
      case Op::If:
        if (!count_is(1, 1)) return;
        require(type(0) == ValueType{Scalar::I1, 1}, "the condition is a scalar i1");
        brackets_.push_back({Op::If, at_, {}});
        return;
      case Op::Else: {
        if (!require(!brackets_.empty() && brackets_.back().op == Op::If, "else without if"))
          return;
        Bracket& branch = brackets_.back();
        for (size_t i = 0; i < operands_.size(); ++i) branch.types.push_back(type(i));
        hide_from(branch.start);
        branch.op = Op::Else;
        return;
      }
      default: {  // EndFor, EndIf
        const Op opener = node.op == Op::EndFor ? Op::For : Op::Else;
        if (!require(!brackets_.empty() && brackets_.back().op == opener, "no bracket to end")) {
          return;
        }
        const Bracket& bracket = brackets_.back();
        require(opener != Op::For || bracket.carried_seen == bracket.types.size(),
                "every carried value has its node");
        bool is_same = bracket.types.size() == operands_.size();
        for (size_t i = 0; is_same && i < operands_.size(); ++i) {
          is_same = type(i) == bracket.types[i];
        }
        require(is_same, "values at the end of the bracket differ in type from its start");
        hide_from(bracket.start);
        result_types_ = bracket.types;
        pending_results_ = result_types_.size();
        brackets_.pop_back();
        return;
      }
    }
  }

  void check_node(const Node& node) {
    switch (node.op) {
      case Op::Constant:
      case Op::RangeBegin:
      case Op::RangeEnd:
      case Op::LaneIndex:
        count_is(0, 0);
        break;
      case Op::IntParam:
        require(node.index < kernel_.ints, "no such int parameter");
        break;
      case Op::ScalarParam:
        require(node.index < kernel_.scalars.size() && kernel_.scalars[node.index] == node.type,
                "no such scalar parameter");
        break;
      case Op::Unary:
      case Op::Binary:
        check_arithmetic(node);
        break;
      case Op::Compare:
        if (!count_is(2, 2)) break;
        require(type(0) == type(1) && type(0).lanes == node.lanes && node.type == Scalar::I1 &&
                    !is_half(type(0).scalar),
                "operand types");
        break;
      case Op::Fma:
        if (!count_is(3, 3)) break;
        require((node.type == Scalar::F32 || node.type == Scalar::F64) &&
                    type(0) == node.value_type() && type(1) == type(0) && type(2) == type(0),
                "operand types");
        break;
      case Op::Select:
        if (!count_is(3, 3)) break;
        require(type(0) == ValueType{Scalar::I1, node.lanes} && type(1) == node.value_type() &&
                    type(2) == type(1),
                "operand types");
        break;
      case Op::Cast:
        if (count_is(1, 1)) require(type(0).lanes == node.lanes, "lanes of the operand");
        break;
      case Op::Bitcast:
        if (!count_is(1, 1)) break;
        require(type(0).lanes == node.lanes && node.type != Scalar::I1 &&
                    type(0).scalar != Scalar::I1 && size_of(type(0).scalar) == size_of(node.type),
                "width of the operand");
        break;
      case Op::Broadcast:
        if (!count_is(1, 1)) break;
        require(type(0) == ValueType{node.type, 1} && node.lanes == kLanes, "operand type");
        break;
      case Op::Extract:
      case Op::Reduce:
        if (!count_is(1, 1)) break;
        require(type(0) == ValueType{node.type, kLanes} && node.lanes == 1, "operand type");
        require(node.op == Op::Reduce || node.index < kLanes, "no such lane");
        require(node.op == Op::Extract || !is_half(node.type), "arithmetic on f16 is done in f32");
        if (node.op == Op::Reduce && (is_float(node.type) || node.type == Scalar::I1)) {
          const bool is_bitwise = static_cast<ReduceOp>(node.detail) >= ReduceOp::And;
          require(is_bitwise == (node.type == Scalar::I1), "reduction of this type");
        }
        break;
      case Op::Call: {
        if (!require(node.index < host_functions().size(), "no such host function")) break;
        const size_t arity = host_functions()[node.index].unary ? 1 : 2;
        if (!count_is(arity, arity)) break;
        for (size_t i = 0; i < arity; ++i) require(type(i) == node.value_type(), "operand types");
        require(node.type == Scalar::F64 || node.type == Scalar::F32, "calls take f32 or f64");
        break;
      }
      case Op::Load:
        check_memory(node, 0, false);
        break;
      case Op::Store:
        check_memory(node, 0, true);
        break;
      case Op::ScratchLoad:
        check_memory(node, 1, false);
        break;
      case Op::ScratchStore:
        check_memory(node, 1, true);
        break;
      case Op::Check:
        if (!count_is(3, 3)) break;
        require(type(0).scalar == Scalar::I1 && type(1) == ValueType{Scalar::I64, type(0).lanes} &&
                    type(2) == type(1),
                "operand types");
        break;
      case Op::Result: {
        if (!require(pending_results_ > 0, "no bracket has just ended")) break;
        const size_t number = result_types_.size() - pending_results_--;
        require(node.index == number && node.value_type() == result_types_[number],
                "results come in order");
        break;
      }
      default:
        check_bracket(node);
    }
  }

  const Kernel& kernel_;
  std::vector<uint8_t> visible_;
  std::vector<Bracket> brackets_;
  std::vector<ValueType> result_types_;
  size_t pending_results_ = 0;
  std::span<const Value> operands_;
  Value at_ = 0;
  std::string error_;
};

}  // namespace

std::string verify(const Kernel& kernel) { return Verifier(kernel).run(); }

}  // namespace tenon::loop
