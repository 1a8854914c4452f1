#include <array>
#include <cassert>
#include <cstring>

#include "jit/loop/evaluate.h"
#include "jit/loop/ir.h"

namespace tenon::loop {

namespace {

constexpr ReduceOp kSum = ReduceOp::Sum;

BinaryOp combine_of(ReduceOp op) {
  static constexpr BinaryOp kCombine[] = {BinaryOp::Add, BinaryOp::Mul, BinaryOp::Max,
                                          BinaryOp::Min, BinaryOp::And, BinaryOp::Or};
  static_assert(static_cast<int>(kSum) == 0);
  return kCombine[static_cast<int>(op)];
}

class Interpreter {
 public:
  using Lanes = std::array<Lane, kLanes>;

  Interpreter(const Kernel& kernel, void* const* buffers, const int64_t* ints,
              const uint64_t* scalars, void* scratch, int64_t begin, int64_t end, ErrorSlot* error)
      : kernel_(kernel),
        buffers_(buffers),
        ints_(ints),
        scalars_(scalars),
        scratch_(static_cast<std::byte*>(scratch)),
        begin_(begin),
        end_(end),
        error_(error),
        values_(kernel.nodes.size()),
        partner_(kernel.nodes.size(), 0) {
    std::vector<Value> open;
    for (Value v = 0; v < kernel.nodes.size(); ++v) {
      const Op op = kernel.nodes[v].op;
      if (op == Op::EndFor || op == Op::Else || op == Op::EndIf) {
        partner_[open.back()] = v;  // for -> end_for, if -> else, else -> end_if
        if (op == Op::EndFor) partner_[v] = open.back();
        open.pop_back();
      }
      if (op == Op::For || op == Op::If || op == Op::Else) open.push_back(v);
    }
  }

  void run() {
    for (at_ = 0; at_ < kernel_.nodes.size(); ++at_) step(kernel_.nodes[at_]);
  }

 private:
  const Lanes& operand(size_t i) const { return values_[operands_[i]]; }
  int64_t integer(size_t i) const { return static_cast<int64_t>(operand(i)[0]); }
  Scalar operand_type(size_t i) const { return kernel_[operands_[i]].type; }
  int lanes_of(Value v) const { return kernel_[v].lanes; }

  void step(const Node& node) {
    operands_ = kernel_.operands_of(node);
    switch (node.op) {
      case Op::Load:
        return load(node, static_cast<std::byte*>(buffers_[node.index]), 0);
      case Op::Store:
        return store(node, static_cast<std::byte*>(buffers_[node.index]), 0);
      case Op::ScratchLoad:
        return load(node, scratch_ + integer(0), 1);
      case Op::ScratchStore:
        return store(node, scratch_ + integer(0), 1);
      case Op::Check:
        return check(node);
      case Op::Reduce:
        return reduce(node);
      case Op::For: {
        values_[at_][0] = operand(0)[0];
        if (integer(0) < integer(1)) return assign(3, at_ + 1);
        const Value end = partner_[at_];
        assign(3, end + 1);
        at_ = end;
        return;
      }
      case Op::EndFor: {
        const Value start = partner_[at_];
        const auto bounds = kernel_.operands_of(kernel_[start]);
        const auto next = static_cast<int64_t>(values_[start][0] + values_[bounds[2]][0]);
        if (next < static_cast<int64_t>(values_[bounds[1]][0])) {
          values_[start][0] = static_cast<Lane>(next);
          assign(0, start + 1);
          at_ = start;
        } else {
          assign(0, at_ + 1);
        }
        return;
      }
      case Op::If:
        if (operand(0)[0] == 0) at_ = partner_[at_];  // behind `else`: the second body
        return;
      case Op::Else: {  // reached at the end of the first body
        const Value end = partner_[at_];
        assign(0, end + 1);
        at_ = end;
        return;
      }
      case Op::EndIf:
        return assign(0, at_ + 1);
      case Op::Carried:
      case Op::Result:
        return;  // set by their bracket
      default:
        for (int lane = 0; lane < node.lanes; ++lane) values_[at_][lane] = evaluate(node, lane);
    }
  }

  // Copies the operands from number `first` on to the nodes from `to` on; all read before any is
  // written, since the next values of a loop may be its present ones in another order.
  void assign(size_t first, Value to) {
    std::vector<Lanes> copies;
    for (size_t i = first; i < operands_.size(); ++i) copies.push_back(operand(i));
    for (size_t i = 0; i < copies.size(); ++i) values_[to + i] = copies[i];
  }

  Lane evaluate(const Node& node, int lane) const {
    auto x = [&](size_t i) { return operand(i)[lane]; };
    switch (node.op) {
      case Op::Constant:
        return static_cast<Lane>(node.payload);
      case Op::IntParam:
        return static_cast<Lane>(ints_[node.index]);
      case Op::ScalarParam:
        return evaluate_scalar_param(node.type, scalars_[node.index]);
      case Op::RangeBegin:
        return static_cast<Lane>(begin_);
      case Op::RangeEnd:
        return static_cast<Lane>(end_);
      case Op::LaneIndex:
        return evaluate_cast(node.type, Scalar::I64, static_cast<Lane>(lane));
      case Op::Unary:
        return evaluate_unary(static_cast<UnaryOp>(node.detail), node.type, x(0));
      case Op::Binary:
        return evaluate_binary(static_cast<BinaryOp>(node.detail), node.type, x(0), x(1));
      case Op::Compare:
        return evaluate_compare(static_cast<CompareOp>(node.detail), operand_type(0), x(0), x(1));
      case Op::Fma:
        return evaluate_fma(node.type, x(0), x(1), x(2));
      case Op::Select:
        return x(0) ? x(1) : x(2);
      case Op::Cast:
        return evaluate_cast(node.type, operand_type(0), x(0));
      case Op::Bitcast:
        return x(0);
      case Op::Broadcast:
        return operand(0)[0];
      case Op::Extract:
        return operand(0)[node.index];
      case Op::Call:
        return evaluate_call(node.index, node.type, x(0), operands_.size() > 1 ? x(1) : 0);
      default:
        assert(false);
        return 0;
    }
  }

  void reduce(const Node& node) {
    Lanes lanes = operand(0);
    const BinaryOp combine = combine_of(static_cast<ReduceOp>(node.detail));
    for (int half = kLanes / 2; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) {
        lanes[i] = evaluate_binary(combine, node.type, lanes[i], lanes[i + half]);
      }
    }
    values_[at_][0] = lanes[0];
  }

  int64_t element(size_t index_operand, int lane) const {
    const bool is_gather = lanes_of(operands_[index_operand]) == kLanes;
    const auto& index = operand(index_operand);
    return static_cast<int64_t>(is_gather ? index[lane] : index[0] + static_cast<Lane>(lane));
  }

  void load(const Node& node, const std::byte* base, size_t first) {
    const bool is_masked = operands_.size() > first + 1;
    const int bytes = size_of(node.type);
    Lanes result{};
    for (int lane = 0; lane < node.lanes; ++lane) {
      if (is_masked && operand(first + 1)[lane] == 0) {
        result[lane] = operand(first + 2)[lane];
        continue;
      }
      std::memcpy(&result[lane], base + element(first, lane) * bytes, bytes);
      if (node.type == Scalar::I1) result[lane] = result[lane] != 0;
    }
    values_[at_] = result;
  }

  void store(const Node& node, std::byte* base, size_t first) {
    const bool is_masked = operands_.size() > first + 2;
    const int bytes = size_of(node.type);
    for (int lane = 0; lane < lanes_of(operands_[first + 1]); ++lane) {
      if (is_masked && operand(first + 2)[lane] == 0) continue;
      std::memcpy(base + element(first, lane) * bytes, &operand(first + 1)[lane], bytes);
    }
  }

  void check(const Node& node) {
    for (int lane = 0; lane < lanes_of(operands_[0]); ++lane) {
      if (operand(0)[lane]) continue;
      report_failure(*error_, static_cast<CheckCode>(node.payload), node.index,
                     static_cast<int64_t>(operand(1)[lane]),
                     static_cast<int64_t>(operand(2)[lane]));
    }
  }

  const Kernel& kernel_;
  void* const* buffers_;
  const int64_t* ints_;
  const uint64_t* scalars_;
  std::byte* scratch_;
  int64_t begin_;
  int64_t end_;
  ErrorSlot* error_;
  std::vector<Lanes> values_;
  std::vector<Value> partner_;
  std::span<const Value> operands_;
  Value at_ = 0;
};

}  // namespace

void interpret(const Kernel& kernel, void* const* buffers, const int64_t* ints,
               const uint64_t* scalars, void* scratch, int64_t begin, int64_t end,
               ErrorSlot* error) {
  Interpreter(kernel, buffers, ints, scalars, scratch, begin, end, error).run();
}

}  // namespace tenon::loop
