#pragma once

// Builds a Kernel node by node. The unit is a Pack: 1 to 4 values of one type that take the same
// operations. An operation on packs emits the operation for each member in turn, so a body written
// once is emitted interleaved: four independent vectors are in flight, which hides the latency of
// serial chains (measured: 1.5-2.9 times faster). A pack of one goes with a pack of any size, and a
// scalar goes with a vector (a broadcast is inserted). Equal pure nodes in scope are emitted once,
// and arithmetic of constants is folded for scalar i64 (addresses).
//
//     Kernel k;  Builder b(k);
//     uint32_t x = b.add_buffer(Scalar::F32, Access::Read), y = b.add_buffer(Scalar::F32,
//     Access::Write); b.for_each(b.range_begin(), b.range_end(), b.i64(64), [&](Pack i) {
//       Pack at = b.unroll(i, 4);                        // i, i + 16, i + 32, i + 48
//       Pack v = b.load(x, at, kLanes);                  // four vectors
//       b.store(y, at, emit_unary(b, ScalarFn::Exp, v));
//     });

#include <array>
#include <cassert>
#include <functional>
#include <initializer_list>
#include <unordered_map>

#include "jit/loop/ir.h"

namespace tenon::loop {

constexpr int kMaxUnroll = 4;

struct Pack {
  std::array<Value, kMaxUnroll> value{kNoValue, kNoValue, kNoValue, kNoValue};
  int count = 0;  // 0: no value

  Pack() = default;
  Pack(Value v) : value{v, kNoValue, kNoValue, kNoValue}, count(1) {}  // NOLINT: a value is a pack
  Value operator[](int i) const { return count == 1 ? value[0] : value[i]; }
  Value single() const {
    assert(count == 1);
    return value[0];
  }
  explicit operator bool() const { return count != 0; }
};

class Builder {
 public:
  explicit Builder(Kernel& kernel) : kernel_(kernel) {}

  // Parameters: each returns its number, used by load/store, int_param, scalar_param.
  uint32_t add_buffer(Scalar type, Access access);
  uint32_t add_int() { return kernel_.ints++; }
  uint32_t add_scalar(Scalar type);

  // Leaves.
  Pack constant(Scalar type, double value, int lanes = 1);       // rounded to the type
  Pack constant_int(Scalar type, int64_t value, int lanes = 1);  // exact for integers
  Pack constant_bits(Scalar type, uint64_t bits, int lanes = 1);
  Pack i64(int64_t value) { return constant_int(Scalar::I64, value); }
  Pack f32(double value) { return constant(Scalar::F32, value); }
  Pack f64(double value) { return constant(Scalar::F64, value); }
  Pack i32(int64_t value) { return constant_int(Scalar::I32, value); }
  Pack i1(bool value) { return constant_bits(Scalar::I1, value ? 1 : 0); }
  Pack int_param(uint32_t index);
  Pack scalar_param(uint32_t index);
  Pack range_begin();
  Pack range_end();
  Pack lane_index(Scalar type = Scalar::I64);

  // Arithmetic. Both operands have one type; result type and lanes follow.
  Pack unary(UnaryOp, Pack x);
  Pack binary(BinaryOp, Pack x, Pack y);
  Pack compare(CompareOp, Pack x, Pack y);
  Pack fma(Pack x, Pack y, Pack z);
  Pack select(Pack condition, Pack x, Pack y);
  Pack cast(Scalar to, Pack x);
  Pack bitcast(Scalar to, Pack x);
  Pack broadcast(Pack x);  // to 16 lanes; a vector stays what it is
  Pack extract(Pack x, int lane);
  Pack reduce(ReduceOp, Pack x);          // each member to a scalar
  Pack reduce_members(ReduceOp, Pack x);  // a pack of 4 to one: (0 op 1) op (2 op 3); 2: 0 op 1
  Pack call(uint32_t host_function, Pack x, Pack y = {});

  Pack neg(Pack x) { return unary(UnaryOp::Neg, x); }
  Pack abs(Pack x) { return unary(UnaryOp::Abs, x); }
  Pack not_(Pack x) { return unary(UnaryOp::Not, x); }
  Pack sqrt(Pack x) { return unary(UnaryOp::Sqrt, x); }
  Pack add(Pack x, Pack y) { return binary(BinaryOp::Add, x, y); }
  Pack sub(Pack x, Pack y) { return binary(BinaryOp::Sub, x, y); }
  Pack mul(Pack x, Pack y) { return binary(BinaryOp::Mul, x, y); }
  Pack div(Pack x, Pack y) { return binary(BinaryOp::Div, x, y); }
  Pack rem(Pack x, Pack y) { return binary(BinaryOp::Rem, x, y); }
  Pack max(Pack x, Pack y) { return binary(BinaryOp::Max, x, y); }
  Pack min(Pack x, Pack y) { return binary(BinaryOp::Min, x, y); }
  Pack and_(Pack x, Pack y) { return binary(BinaryOp::And, x, y); }
  Pack or_(Pack x, Pack y) { return binary(BinaryOp::Or, x, y); }
  Pack xor_(Pack x, Pack y) { return binary(BinaryOp::Xor, x, y); }
  Pack shl(Pack x, Pack y) { return binary(BinaryOp::Shl, x, y); }
  Pack shr(Pack x, Pack y) { return binary(BinaryOp::Shr, x, y); }
  Pack scale(Pack x, Pack exponent) { return binary(BinaryOp::Scale, x, exponent); }
  Pack copysign(Pack magnitude, Pack sign) { return binary(BinaryOp::CopySign, magnitude, sign); }
  Pack eq(Pack x, Pack y) { return compare(CompareOp::Eq, x, y); }
  Pack ne(Pack x, Pack y) { return compare(CompareOp::Ne, x, y); }
  Pack lt(Pack x, Pack y) { return compare(CompareOp::Lt, x, y); }
  Pack le(Pack x, Pack y) { return compare(CompareOp::Le, x, y); }
  Pack gt(Pack x, Pack y) { return compare(CompareOp::Gt, x, y); }
  Pack ge(Pack x, Pack y) { return compare(CompareOp::Ge, x, y); }

  // Indices of `count` vectors side by side: i, i + 16, ... (scalars: bases of unit-stride
  // accesses).
  Pack unroll(Pack i, int count);
  // Members of several packs of one as one pack.
  Pack pack(std::span<const Value> members);
  Pack pack(std::initializer_list<Value> members) {
    return pack(std::span<const Value>(members.begin(), members.size()));
  }
  // base + 0..15 in every member: vectors of i64.
  Pack lanes_from(Pack base) { return add(base, lane_index()); }
  // Which lanes of the vectors that start at `base` lie below `end`.
  Pack tail_mask(Pack base, Pack end) { return lt(lanes_from(base), end); }

  // Memory. `index` counts elements. A scalar index with lanes = 16 is a unit-stride vector; a
  // vector index gathers or scatters. mask: i1; lanes off give pass_through (zero if not given).
  Pack load(uint32_t buffer, Pack index, int lanes, Pack mask = {}, Pack pass_through = {});
  void store(uint32_t buffer, Pack index, Pack value, Pack mask = {});
  Pack scratch_load(Scalar type, Pack byte_offset, Pack index, int lanes, Pack mask = {},
                    Pack pass_through = {});
  void scratch_store(Pack byte_offset, Pack index, Pack value, Pack mask = {});

  // Reports lanes where condition is false: the element `index` of the result, and the bad value.
  void check(Pack condition, CheckCode code, uint32_t site, Pack index, Pack value);

  // Control flow. Bodies are called once, to emit. begin, end, step are scalar i64.
  using Packs = std::vector<Pack>;
  void for_each(Pack begin, Pack end, Pack step, const std::function<void(Pack i)>& body);
  Packs for_loop(Pack begin, Pack end, Pack step, const Packs& initial,
                 const std::function<Packs(Pack i, const Packs& carried)>& body);
  void if_then(Pack condition, const std::function<void()>& then);
  Packs if_else(Pack condition, const std::function<Packs()>& then,
                const std::function<Packs()>& otherwise);

  ValueType type_of(const Pack& x) const { return kernel_[x.value[0]].value_type(); }
  Kernel& kernel() { return kernel_; }

 private:
  Value emit(Node node, std::span<const Value> operands);
  Value emit_pure(Node node, std::span<const Value> operands);
  void match_lanes(Pack& x, Pack& y);
  void open_scope();
  void close_scope();

  Kernel& kernel_;
  std::unordered_map<uint64_t, std::vector<Value>> known_;  // hash of a pure node -> nodes in scope
  std::vector<uint64_t> known_order_;                       // hashes in order of insertion
  std::vector<size_t> scopes_;                              // size of known_order_ at each bracket
};

}  // namespace tenon::loop
