#include "jit/loop/builder.h"

#include <bit>
#include <optional>

#include "core/half.h"
#include "core/hash.h"

namespace tenon::loop {

namespace {

uint64_t float_bits(Scalar type, double value) {
  switch (type) {
    case Scalar::F16:
      return float16(static_cast<float>(value)).bits;
    case Scalar::BF16:
      return bfloat16(static_cast<float>(value)).bits;
    case Scalar::F32:
      return std::bit_cast<uint32_t>(static_cast<float>(value));
    default:
      return std::bit_cast<uint64_t>(value);
  }
}

uint64_t integer_bits(Scalar type, int64_t value) {
  if (type == Scalar::I1) return value != 0;
  const int bits = 8 * size_of(type);
  return bits == 64 ? static_cast<uint64_t>(value)
                    : static_cast<uint64_t>(value) & ((uint64_t{1} << bits) - 1);
}

uint64_t hash_node(const Node& node, std::span<const Value> operands) {
  const uint64_t fields[] = {static_cast<uint64_t>(node.op) | uint64_t{node.detail} << 8 |
                                 static_cast<uint64_t>(node.type) << 16 |
                                 uint64_t{node.lanes} << 24 | uint64_t{node.index} << 32,
                             static_cast<uint64_t>(node.payload)};
  const uint64_t seed = hash64(std::as_bytes(std::span(fields)));
  return hash64(std::as_bytes(operands), seed);
}

bool same_node(const Kernel& kernel, const Node& a, const Node& b,
               std::span<const Value> operands) {
  const auto other = kernel.operands_of(a);
  return a.op == b.op && a.detail == b.detail && a.type == b.type && a.lanes == b.lanes &&
         a.index == b.index && a.payload == b.payload && other.size() == operands.size() &&
         std::equal(other.begin(), other.end(), operands.begin());
}

int common_count(const Pack& x, const Pack& y) {
  assert(x.count == y.count || x.count == 1 || y.count == 1);
  return std::max(x.count, y.count);
}

template <class F>
Pack each(int count, F&& make) {
  Pack result;
  result.count = count;
  for (int i = 0; i < count; ++i) result.value[i] = make(i);
  return result;
}

// Address arithmetic on constants; nothing when it does not simplify.
std::optional<int64_t> fold(BinaryOp op, int64_t x, int64_t y) {
  const auto a = static_cast<uint64_t>(x), b = static_cast<uint64_t>(y);
  switch (op) {
    case BinaryOp::Add:
      return static_cast<int64_t>(a + b);
    case BinaryOp::Sub:
      return static_cast<int64_t>(a - b);
    case BinaryOp::Mul:
      return static_cast<int64_t>(a * b);
    case BinaryOp::Max:
      return std::max(x, y);
    case BinaryOp::Min:
      return std::min(x, y);
    default:
      return std::nullopt;
  }
}

}  // namespace

uint32_t Builder::add_buffer(Scalar type, Access access) {
  kernel_.buffers.push_back({type, access});
  return static_cast<uint32_t>(kernel_.buffers.size() - 1);
}

uint32_t Builder::add_scalar(Scalar type) {
  kernel_.scalars.push_back(type);
  return static_cast<uint32_t>(kernel_.scalars.size() - 1);
}

Value Builder::emit(Node node, std::span<const Value> operands) {
  node.first_operand = static_cast<uint32_t>(kernel_.operands.size());
  node.operand_count = static_cast<uint32_t>(operands.size());
  kernel_.operands.insert(kernel_.operands.end(), operands.begin(), operands.end());
  kernel_.nodes.push_back(node);
  return static_cast<Value>(kernel_.nodes.size() - 1);
}

Value Builder::emit_pure(Node node, std::span<const Value> operands) {
  const uint64_t hash = hash_node(node, operands);
  auto& candidates = known_[hash];
  for (Value v : candidates) {
    if (same_node(kernel_, kernel_[v], node, operands)) return v;
  }
  const Value v = emit(node, operands);
  candidates.push_back(v);
  known_order_.push_back(hash);
  return v;
}

void Builder::open_scope() { scopes_.push_back(known_order_.size()); }

void Builder::close_scope() {
  for (; known_order_.size() > scopes_.back(); known_order_.pop_back()) {
    known_[known_order_.back()].pop_back();
  }
  scopes_.pop_back();
}

Pack Builder::constant_bits(Scalar type, uint64_t bits, int lanes) {
  Node node{.op = Op::Constant, .type = type, .lanes = static_cast<uint8_t>(lanes)};
  node.payload = static_cast<int64_t>(bits);
  return emit_pure(node, {});
}

Pack Builder::constant(Scalar type, double value, int lanes) {
  if (!is_float(type)) return constant_int(type, static_cast<int64_t>(value), lanes);
  return constant_bits(type, float_bits(type, value), lanes);
}

Pack Builder::constant_int(Scalar type, int64_t value, int lanes) {
  if (is_float(type)) return constant(type, static_cast<double>(value), lanes);
  return constant_bits(type, integer_bits(type, value), lanes);
}

Pack Builder::int_param(uint32_t index) {
  assert(index < kernel_.ints);
  return emit_pure({.op = Op::IntParam, .type = Scalar::I64, .lanes = 1, .index = index}, {});
}

Pack Builder::scalar_param(uint32_t index) {
  const Scalar type = kernel_.scalars.at(index);
  return emit_pure({.op = Op::ScalarParam, .type = type, .lanes = 1, .index = index}, {});
}

Pack Builder::range_begin() {
  return emit_pure({.op = Op::RangeBegin, .type = Scalar::I64, .lanes = 1}, {});
}

Pack Builder::range_end() {
  return emit_pure({.op = Op::RangeEnd, .type = Scalar::I64, .lanes = 1}, {});
}

Pack Builder::lane_index(Scalar type) {
  return emit_pure({.op = Op::LaneIndex, .type = type, .lanes = kLanes}, {});
}

Pack Builder::broadcast(Pack x) {
  if (type_of(x).lanes == kLanes) return x;
  return each(x.count, [&](int i) -> Value {
    const Node& node = kernel_[x[i]];
    if (node.op == Op::Constant) {
      return constant_bits(node.type, static_cast<uint64_t>(node.payload), kLanes).single();
    }
    return emit_pure({.op = Op::Broadcast, .type = node.type, .lanes = kLanes}, std::array{x[i]});
  });
}

void Builder::match_lanes(Pack& x, Pack& y) {
  if (type_of(x).lanes == type_of(y).lanes) return;
  if (type_of(x).lanes == 1) {
    x = broadcast(x);
  } else {
    y = broadcast(y);
  }
}

Pack Builder::unary(UnaryOp op, Pack x) {
  const ValueType type = type_of(x);
  return each(x.count, [&](int i) {
    return emit_pure({.op = Op::Unary,
                      .detail = static_cast<uint8_t>(op),
                      .type = type.scalar,
                      .lanes = type.lanes},
                     std::array{x[i]});
  });
}

Pack Builder::binary(BinaryOp op, Pack x, Pack y) {
  match_lanes(x, y);
  const ValueType type = type_of(x);
  assert(type == type_of(y));
  const bool is_address = type == ValueType{Scalar::I64, 1};
  return each(common_count(x, y), [&](int i) -> Value {
    if (is_address) {
      const Node &a = kernel_[x[i]], &b = kernel_[y[i]];
      const bool left = a.op == Op::Constant, right = b.op == Op::Constant;
      if (left && right) {
        if (auto value = fold(op, a.payload, b.payload)) return i64(*value).single();
      }
      if (op == BinaryOp::Add && left && a.payload == 0) return y[i];
      if ((op == BinaryOp::Add || op == BinaryOp::Sub) && right && b.payload == 0) return x[i];
      if (op == BinaryOp::Mul && left && a.payload == 1) return y[i];
      if (op == BinaryOp::Mul && right && b.payload == 1) return x[i];
      if (op == BinaryOp::Mul && ((left && a.payload == 0) || (right && b.payload == 0))) {
        return i64(0).single();
      }
    }
    return emit_pure({.op = Op::Binary,
                      .detail = static_cast<uint8_t>(op),
                      .type = type.scalar,
                      .lanes = type.lanes},
                     std::array{x[i], y[i]});
  });
}

Pack Builder::compare(CompareOp op, Pack x, Pack y) {
  match_lanes(x, y);
  const ValueType type = type_of(x);
  assert(type == type_of(y));
  return each(common_count(x, y), [&](int i) {
    return emit_pure({.op = Op::Compare,
                      .detail = static_cast<uint8_t>(op),
                      .type = Scalar::I1,
                      .lanes = type.lanes},
                     std::array{x[i], y[i]});
  });
}

Pack Builder::fma(Pack x, Pack y, Pack z) {
  match_lanes(x, y);
  match_lanes(x, z);
  match_lanes(x, y);
  const ValueType type = type_of(x);
  assert(type == type_of(y) && type == type_of(z));
  return each(std::max(common_count(x, y), z.count), [&](int i) {
    return emit_pure({.op = Op::Fma, .type = type.scalar, .lanes = type.lanes},
                     std::array{x[i], y[i], z[i]});
  });
}

Pack Builder::select(Pack condition, Pack x, Pack y) {
  match_lanes(x, y);
  if (type_of(condition).lanes != type_of(x).lanes) {
    if (type_of(x).lanes == 1) {
      x = broadcast(x);
      y = broadcast(y);
    } else {
      condition = broadcast(condition);
    }
  }
  const ValueType type = type_of(x);
  assert(type == type_of(y) && type_of(condition).scalar == Scalar::I1);
  return each(std::max(common_count(x, y), condition.count), [&](int i) -> Value {
    if (x[i] == y[i]) return x[i];
    return emit_pure({.op = Op::Select, .type = type.scalar, .lanes = type.lanes},
                     std::array{condition[i], x[i], y[i]});
  });
}

Pack Builder::cast(Scalar to, Pack x) {
  const ValueType type = type_of(x);
  if (type.scalar == to) return x;
  return each(x.count, [&](int i) {
    return emit_pure({.op = Op::Cast, .type = to, .lanes = type.lanes}, std::array{x[i]});
  });
}

Pack Builder::bitcast(Scalar to, Pack x) {
  const ValueType type = type_of(x);
  if (type.scalar == to) return x;
  assert(size_of(to) == size_of(type.scalar));
  return each(x.count, [&](int i) {
    return emit_pure({.op = Op::Bitcast, .type = to, .lanes = type.lanes}, std::array{x[i]});
  });
}

Pack Builder::extract(Pack x, int lane) {
  const Scalar type = type_of(x).scalar;
  return each(x.count, [&](int i) {
    return emit_pure(
        {.op = Op::Extract, .type = type, .lanes = 1, .index = static_cast<uint32_t>(lane)},
        std::array{x[i]});
  });
}

Pack Builder::reduce(ReduceOp op, Pack x) {
  const Scalar type = type_of(x).scalar;
  return each(x.count, [&](int i) {
    return emit_pure(
        {.op = Op::Reduce, .detail = static_cast<uint8_t>(op), .type = type, .lanes = 1},
        std::array{x[i]});
  });
}

Pack Builder::reduce_members(ReduceOp op, Pack x) {
  static constexpr BinaryOp kCombine[] = {BinaryOp::Add, BinaryOp::Mul, BinaryOp::Max,
                                          BinaryOp::Min, BinaryOp::And, BinaryOp::Or};
  const BinaryOp combine = kCombine[static_cast<int>(op)];
  assert(std::has_single_bit(static_cast<unsigned>(x.count)));
  std::array<Value, kMaxUnroll> level = x.value;
  for (int count = x.count; count > 1; count /= 2) {
    for (int i = 0; i < count / 2; ++i) {
      level[i] = binary(combine, level[2 * i], level[2 * i + 1]).single();
    }
  }
  return level[0];
}

Pack Builder::call(uint32_t host_function, Pack x, Pack y) {
  const bool is_binary = static_cast<bool>(y);
  if (is_binary) match_lanes(x, y);
  const ValueType type = type_of(x);
  const Node node{.op = Op::Call, .type = type.scalar, .lanes = type.lanes, .index = host_function};
  return each(is_binary ? common_count(x, y) : x.count, [&](int i) {
    return is_binary ? emit_pure(node, std::array{x[i], y[i]}) : emit_pure(node, std::array{x[i]});
  });
}

Pack Builder::unroll(Pack i, int count) {
  assert(i.count == 1 && count <= kMaxUnroll);
  return each(count, [&](int u) { return add(i, i64(kLanes * u)).single(); });
}

Pack Builder::pack(std::span<const Value> members) {
  assert(!members.empty() && members.size() <= kMaxUnroll);
  return each(static_cast<int>(members.size()), [&](int i) { return members[i]; });
}

Pack Builder::load(uint32_t buffer, Pack index, int lanes, Pack mask, Pack pass_through) {
  const Scalar type = kernel_.buffers.at(buffer).type;
  if (type_of(index).lanes == kLanes) lanes = kLanes;
  if (mask && !pass_through) pass_through = constant_bits(type, 0, lanes);
  if (mask && lanes == kLanes) mask = broadcast(mask), pass_through = broadcast(pass_through);
  const Node node{
      .op = Op::Load, .type = type, .lanes = static_cast<uint8_t>(lanes), .index = buffer};
  return each(std::max(index.count, mask.count), [&](int i) {
    return mask ? emit(node, std::array{index[i], mask[i], pass_through[i]})
                : emit(node, std::array{index[i]});
  });
}

void Builder::store(uint32_t buffer, Pack index, Pack value, Pack mask) {
  const Scalar type = kernel_.buffers.at(buffer).type;
  assert(type_of(value).scalar == type);
  if (type_of(index).lanes == kLanes) value = broadcast(value);
  if (mask && type_of(value).lanes == kLanes) mask = broadcast(mask);
  const Node node{.op = Op::Store, .type = type, .index = buffer};
  for (int i = 0; i < std::max(common_count(index, value), mask.count); ++i) {
    if (mask) {
      emit(node, std::array{index[i], value[i], mask[i]});
    } else {
      emit(node, std::array{index[i], value[i]});
    }
  }
}

Pack Builder::scratch_load(Scalar type, Pack byte_offset, Pack index, int lanes, Pack mask,
                           Pack pass_through) {
  if (type_of(index).lanes == kLanes) lanes = kLanes;
  if (mask && !pass_through) pass_through = constant_bits(type, 0, lanes);
  if (mask && lanes == kLanes) mask = broadcast(mask), pass_through = broadcast(pass_through);
  const Node node{.op = Op::ScratchLoad, .type = type, .lanes = static_cast<uint8_t>(lanes)};
  return each(std::max(index.count, mask.count), [&](int i) {
    return mask ? emit(node, std::array{byte_offset[i], index[i], mask[i], pass_through[i]})
                : emit(node, std::array{byte_offset[i], index[i]});
  });
}

void Builder::scratch_store(Pack byte_offset, Pack index, Pack value, Pack mask) {
  if (type_of(index).lanes == kLanes) value = broadcast(value);
  if (mask && type_of(value).lanes == kLanes) mask = broadcast(mask);
  const Node node{.op = Op::ScratchStore, .type = type_of(value).scalar};
  for (int i = 0; i < std::max(common_count(index, value), mask.count); ++i) {
    if (mask) {
      emit(node, std::array{byte_offset[i], index[i], value[i], mask[i]});
    } else {
      emit(node, std::array{byte_offset[i], index[i], value[i]});
    }
  }
}

void Builder::check(Pack condition, CheckCode code, uint32_t site, Pack index, Pack value) {
  match_lanes(condition, index);
  match_lanes(condition, value);
  match_lanes(condition, index);
  Node node{.op = Op::Check, .type = Scalar::I1, .index = site};
  node.payload = static_cast<int64_t>(code);
  for (int i = 0; i < std::max(common_count(condition, index), value.count); ++i) {
    emit(node, std::array{condition[i], index[i], value[i]});
  }
}

namespace {

void flatten(const std::vector<Pack>& packs, std::vector<Value>& values) {
  for (const Pack& pack : packs) {
    for (int i = 0; i < pack.count; ++i) values.push_back(pack[i]);
  }
}

}  // namespace

void Builder::for_each(Pack begin, Pack end, Pack step, const std::function<void(Pack)>& body) {
  for_loop(begin, end, step, {}, [&](Pack i, const Packs&) -> Packs {
    body(i);
    return {};
  });
}

Builder::Packs Builder::for_loop(Pack begin, Pack end, Pack step, const Packs& initial,
                                 const std::function<Packs(Pack, const Packs&)>& body) {
  std::vector<Value> operands{begin.single(), end.single(), step.single()};
  flatten(initial, operands);
  const Value i = emit({.op = Op::For, .type = Scalar::I64, .lanes = 1}, operands);
  open_scope();
  // One node a member; the shapes of the packs are those of `initial`.
  auto values_of = [&](Op op) {
    Packs packs;
    uint32_t number = 0;
    for (const Pack& start : initial) {
      packs.push_back(each(start.count, [&](int m) {
        const ValueType type = kernel_[start[m]].value_type();
        return emit({.op = op, .type = type.scalar, .lanes = type.lanes, .index = number++}, {});
      }));
    }
    return packs;
  };
  const Packs next = body(i, values_of(Op::Carried));
  assert(next.size() == initial.size());
  std::vector<Value> ends;
  for (size_t k = 0; k < next.size(); ++k) {
    assert(next[k].count == initial[k].count || next[k].count == 1);
    for (int m = 0; m < initial[k].count; ++m) ends.push_back(next[k][m]);
  }
  emit({.op = Op::EndFor}, ends);
  close_scope();
  return values_of(Op::Result);
}

void Builder::if_then(Pack condition, const std::function<void()>& then) {
  if_else(
      condition,
      [&]() -> Packs {
        then();
        return {};
      },
      []() -> Packs { return {}; });
}

Builder::Packs Builder::if_else(Pack condition, const std::function<Packs()>& then,
                                const std::function<Packs()>& otherwise) {
  emit({.op = Op::If}, std::array{condition.single()});
  open_scope();
  const Packs first = then();
  std::vector<Value> values;
  flatten(first, values);
  emit({.op = Op::Else}, values);
  close_scope();
  open_scope();
  values.clear();
  flatten(otherwise(), values);
  emit({.op = Op::EndIf}, values);
  close_scope();
  Packs results;
  uint32_t number = 0;
  for (const Pack& pack : first) {
    results.push_back(each(pack.count, [&](int m) {
      const ValueType type = kernel_[pack[m]].value_type();
      return emit({.op = Op::Result, .type = type.scalar, .lanes = type.lanes, .index = number++},
                  {});
    }));
  }
  return results;
}

}  // namespace tenon::loop
