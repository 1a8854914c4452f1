// Loads, stores, and the values of nodes.
#include <bit>
#include <cmath>

#include "core/error.h"
#include "jit/schedule/emitter.h"

namespace tenon::jit {

using loop::kLanes;
using loop::Scalar;
using loop::ScalarFn;

namespace {

// The scalar function of each elementwise primitive, by the name they share.
std::optional<ScalarFn> scalar_fn(Op op) {
  static const auto table = [] {
    std::array<std::optional<ScalarFn>, kOpCount> functions;
    for (int i = 0; i < kOpCount; ++i) {
      functions[i] = loop::scalar_fn_from_name(kPrimitives[i].name);
    }
    return functions;
  }();
  return table[static_cast<size_t>(op)];
}

}  // namespace

Emitter::Pack Emitter::condition_mask(ConditionId c) {
  Pack mask;
  for (; c != 0; c = algebra.condition(c).rest) {
    const Condition condition = algebra.condition(c);
    const Pack a = expr(condition.a);
    Pack one;
    switch (condition.kind) {
      case Condition::NotNegative:
        one = b.ge(a, b.i64(0));
        break;
      case Condition::Below:
        one = b.lt(a, int_param(condition.b));
        break;
      case Condition::Divisible:
        one = b.eq(b.rem(a, int_param(condition.b)), b.i64(0));
        break;
    }
    mask = mask ? b.and_(mask, one) : one;
  }
  return mask;
}

// The mask of a memory access, or no pack if every lane is good.
Emitter::Pack Emitter::access_mask(ConditionId c, bool vector) {
  Pack mask = condition_mask(c);
  if (!vector) return mask;
  if (mask && mask_) return b.and_(b.broadcast(mask), mask_);
  return mask ? b.broadcast(mask) : mask_;
}

Emitter::Pack Emitter::load_at(uint32_t buffer, ExprId address, ConditionId condition) {
  const Expr& x = algebra.expr(address);
  const bool vector = is_vector(x.loops | algebra.condition_loops(condition));
  if (!vector) return b.load(buffer, scalar_expr(address), 1, access_mask(condition, false));
  const Pack mask = access_mask(condition, true);
  ExprId rest = address;
  if (vector_loop_ != kNone && algebra.coefficient(address, vector_loop_) == 1) {
    rest = algebra.plus(address, algebra.term(vector_loop_, algebra.constant(-1)));
  }
  if (rest != address && !is_vector(algebra.loops(rest))) {
    const Pack base = rest == 0 ? vector_base_ : b.add(vector_base_, scalar_expr(rest));
    return b.load(buffer, base, kLanes, mask);
  }
  return b.load(buffer, b.broadcast(expr(address)), kLanes, mask);
}

Emitter::Pack Emitter::load(NodeIndex n, Access at) {
  const ExprId address = address_of(algebra, graph[n], at.index);
  code.loads.push_back({n, address, !has_stored});
  return load_at(buffer(n, loop::Access::Read), address, at.condition);
}

void Emitter::store_at(uint32_t buffer, ExprId address, Pack value) {
  if (vector_loop_ == kNone || !is_vector(algebra.loops(address))) {
    b.store(buffer, scalar_expr(address), value);
    return;
  }
  value = b.broadcast(value);
  ExprId rest = address;
  if (algebra.coefficient(address, vector_loop_) == 1) {
    rest = algebra.plus(address, algebra.term(vector_loop_, algebra.constant(-1)));
  }
  if (rest != address && !is_vector(algebra.loops(rest))) {
    const Pack base = rest == 0 ? vector_base_ : b.add(vector_base_, scalar_expr(rest));
    b.store(buffer, base, value, mask_);
  } else {
    b.store(buffer, b.broadcast(expr(address)), value, mask_);
  }
}

void Emitter::store(NodeIndex n, ExprId address, Pack value, bool partial) {
  if (!partial) code.stores.push_back({n, address, false});
  has_stored = true;
  store_at(buffer(n, loop::Access::Write, partial), address, value);
}

uint32_t Emitter::site(NodeIndex n) {
  const auto [it, is_new] = sites_.try_emplace(n, static_cast<uint32_t>(code.sites.size()));
  if (is_new) code.sites.push_back(n);
  return it->second;
}

// The index that a gather, take_along or scatter reads, as i64, reported and replaced by 0 where it
// is outside of the gathered dimension.
Emitter::Pack Emitter::checked_index(NodeIndex gather, Access at) {
  const GraphNode& node = graph[gather];
  const GraphNode& x = graph[node.operands[0]];
  const int axis = static_cast<int>(node.axes[0]);
  const PolyId extent =
      algebra.product({x.atoms.data() + x.starts[axis], static_cast<size_t>(x.atoms_in(axis))});
  // Known under a number that no node has.
  const AccessKey key{gather | 0x80000000u, at.index, at.condition};
  if (const auto it = known_.find(key); it != known_.end()) return it->second;
  const NodeIndex operand = node.operands[1];
  const Pack index = b.cast(Scalar::I64, value(operand, at));
  const Pack good = b.and_(b.ge(index, b.i64(0)), b.lt(index, int_param(extent)));
  const bool vector = b.type_of(index).lanes == kLanes;
  const Pack mask = access_mask(at.condition, vector);
  const Pack place =
      expr(algebra.join(SmallVector<ExprId, 8>(algebra.index(at.index)), graph[operand].atoms));
  b.check(mask ? b.or_(good, b.not_(mask)) : good, loop::CheckCode::IndexOutOfRange, site(gather),
          vector ? b.broadcast(place) : place, index);
  const Pack safe = b.select(good, index, b.i64(0));
  remember(key, safe);
  return safe;
}

Emitter::Pack Emitter::constant(const GraphNode& node) {
  const Scalar type = scalar_of(node.dtype);
  if (node.axes[0] == 1) {
    const int64_t payload = node.axes[1];
    return is_floating(node.dtype) ? b.constant(type, std::bit_cast<double>(payload))
                                   : b.constant_int(type, payload);
  }
  const auto [it, is_new] =
      scalars_.try_emplace(node.source, static_cast<uint32_t>(code.scalars.size()));
  if (is_new) {
    code.scalars.push_back(node.source);
    b.add_scalar(type);
  }
  return b.scalar_param(it->second);
}

namespace {

loop::Pack convert(loop::Builder& b, loop::Pack x, DType from, DType to) {
  if (is_float8(from)) x = loop::decode_float8(b, float8_format(from), x);
  if (is_float8(to)) return loop::encode_float8(b, float8_format(to), b.cast(Scalar::F32, x));
  return b.cast(scalar_of(to), x);
}

// A bool is no bits of the loop IR but a truth.
loop::Pack reinterpret(loop::Builder& b, loop::Pack x, DType to) {
  if (b.type_of(x).scalar == Scalar::I1) x = b.cast(Scalar::U8, x);
  return to == DType::Bool ? b.ne(b.bitcast(Scalar::U8, x), b.constant_int(Scalar::U8, 0))
                           : b.bitcast(scalar_of(to), x);
}

}  // namespace

Emitter::Pack Emitter::elementwise(NodeIndex n, Access at) {
  const GraphNode& node = graph[n];
  std::array<Pack, 3> x;
  for (int k = 0; k < operand_count(n); ++k) {
    x[k] = value(node.operands[k], operand_access(graph, algebra, n, k, at));
  }
  if (info(node.op).group == PrimitiveClass::Cast) {
    const DType from = graph[node.operands[0]].dtype;
    return node.op == Op::Cast ? convert(b, x[0], from, node.dtype)
                               : reinterpret(b, x[0], node.dtype);
  }
  if (node.op == Op::Select) return b.select(x[0], x[1], x[2]);
  const auto fn = scalar_fn(node.op);
  check(fn.has_value(), ErrorKind::NotImplemented, "{} has no kernel", name_of(node.op));
  if (operand_count(n) == 1) return loop::emit_unary(b, *fn, x[0]);
  if (!loop::can_fail(*fn, scalar_of(graph[node.operands[0]].dtype))) {
    return loop::emit_binary(b, *fn, x[0], x[1]);
  }
  loop::CheckSite where;
  where.site = site(n);
  if (b.type_of(x[0]).lanes != b.type_of(x[1]).lanes) {
    x[0] = b.broadcast(x[0]);
    x[1] = b.broadcast(x[1]);
  }
  const bool vector = b.type_of(x[0]).lanes == kLanes;
  const Pack place =
      expr(algebra.join(SmallVector<ExprId, 8>(algebra.index(at.index)), node.atoms));
  if (!vector && b.type_of(place).lanes == kLanes) {
    where.index = b.i64(0);  // both operands are the same for every lane
  } else {
    where.index = vector ? b.broadcast(place) : place;
  }
  where.mask = access_mask(at.condition, vector);
  if (where.mask && !vector && b.type_of(where.mask).lanes == kLanes) {
    x[0] = b.broadcast(x[0]);
    where.index = b.broadcast(where.index);
  }
  return loop::emit_binary(b, *fn, x[0], x[1], &where);
}

Emitter::Pack Emitter::compute(NodeIndex n, Access at) {
  const GraphNode& node = graph[n];
  const auto operand = [&](int k) {
    return value(node.operands[k], operand_access(graph, algebra, n, k, at));
  };
  switch (node.op) {
    case Op::Constant:
      return constant(node);
    case Op::Iota: {
      const ExprId place = dim_of(algebra, node, at.index, static_cast<int>(node.axes[0]));
      return b.cast(scalar_of(node.dtype), expr(place));
    }
    case Op::RandomBits: {
      const ExprId place =
          algebra.join(SmallVector<ExprId, 8>(algebra.index(at.index)), node.atoms);
      const uint32_t rank = static_cast<uint32_t>(node.rank());
      const PolyId seed = algebra.param({Param::Attribute, node.source, rank});
      const PolyId call = algebra.param({Param::Attribute, node.source, rank + 1});
      return loop::emit_philox(b, expr(place), int_param(seed), int_param(call));
    }
    case Op::Expand:
    case Op::Reshape:
    case Op::Permute:
    case Op::Slice:
      return operand(0);
    case Op::Gather:
    case Op::TakeAlong: {
      const Access index = operand_access(graph, algebra, n, 1, at);
      checked_index(n, {index.index, at.condition});  // also where the extent is 1
      return operand(0);
    }
    case Op::Pad: {
      const Access inside = operand_access(graph, algebra, n, 0, at);
      const Pack fill = value(node.operands[1], {0, at.condition});
      const Pack x = value(node.operands[0], inside);
      // Only the conditions that this pad added.
      if (inside.condition == at.condition) return x;
      return b.select(condition_mask(inside.condition), x, fill);
    }
    case Op::Concatenate: {
      Pack result;
      for (int k = operand_count(n) - 1; k >= 0; --k) {
        const Access part = operand_access(graph, algebra, n, k, at);
        if (graph[node.operands[k]].empty) continue;
        const Pack x = value(node.operands[k], part);
        result = result ? b.select(condition_mask(part.condition), x, result) : x;
      }
      return result;
    }
    default:
      check(is_elementwise(node.op), ErrorKind::Internal, "{} is not computed element by element",
            name_of(node.op));
      return elementwise(n, at);
  }
}

Emitter::Pack Emitter::value(NodeIndex n, Access at) {
  const AccessKey key{n, at.index, at.condition};
  if (const auto it = known_.find(key); it != known_.end()) return it->second;
  const auto keep = kept.find(key);
  Pack result;
  if (keep != kept.end() && keep->second.pass < pass) {
    const Kept& from = keep->second;
    if (from.in_scratch) {
      const Scalar type = scalar_of(graph[n].dtype);
      const ExprId rest = algebra.plus(row_index, algebra.term(vector_loop_, algebra.constant(-1)));
      const Pack base = rest == 0 ? vector_base_ : b.add(vector_base_, scalar_expr(rest));
      result = b.scratch_load(type, int_param(from.offset), base, kLanes, mask_);
    } else {
      const ExprId address = address_of(algebra, graph[n], at.index);
      code.loads.push_back({n, address, false});
      result = load_at(buffer(n, loop::Access::Read), address, at.condition);
    }
  } else if (is_loaded(n)) {
    result = load(n, at);
  } else {
    result = compute(n, at);
    if (keep != kept.end() && keep->second.in_scratch && keep->second.pass == pass) {
      const ExprId rest = algebra.plus(row_index, algebra.term(vector_loop_, algebra.constant(-1)));
      const Pack base = rest == 0 ? vector_base_ : b.add(vector_base_, scalar_expr(rest));
      b.scratch_store(int_param(keep->second.offset), base, b.broadcast(result), mask_);
    }
  }
  remember(key, result);
  return result;
}

// ---- reductions ----

Reducer reducer_of(const Graph& graph, NodeIndex n) {
  using loop::BinaryOp;
  using loop::ReduceOp;
  const GraphNode& node = graph[n];
  const Scalar result = scalar_of(node.dtype);
  const Scalar accumulate = loop::is_half(result) ? Scalar::F32 : result;
  const bool is_bool = result == Scalar::I1;
  switch (node.op) {
    case Op::ReduceSum:
      return is_bool ? Reducer{ReduceOp::Or, BinaryOp::Or, accumulate, result}
                     : Reducer{ReduceOp::Sum, BinaryOp::Add, accumulate, result};
    case Op::ReduceProd:
      return is_bool ? Reducer{ReduceOp::And, BinaryOp::And, accumulate, result}
                     : Reducer{ReduceOp::Prod, BinaryOp::Mul, accumulate, result};
    case Op::ReduceMax:
      return is_bool ? Reducer{ReduceOp::Or, BinaryOp::Or, accumulate, result}
                     : Reducer{ReduceOp::Max, BinaryOp::Max, accumulate, result};
    case Op::ReduceMin:
      return is_bool ? Reducer{ReduceOp::And, BinaryOp::And, accumulate, result}
                     : Reducer{ReduceOp::Min, BinaryOp::Min, accumulate, result};
    case Op::ReduceAny:
      return {ReduceOp::Or, BinaryOp::Or, Scalar::I1, result};
    case Op::ReduceAll:
      return {ReduceOp::And, BinaryOp::And, Scalar::I1, result};
    default:
      fail(ErrorKind::Internal, "{} is not a reduction", name_of(node.op));
  }
}

loop::Pack identity_of(loop::Builder& b, const Reducer& reducer, int lanes) {
  using loop::ReduceOp;
  const Scalar type = reducer.accumulate;
  const bool floating = loop::is_float(type);
  const int bits = 8 * loop::size_of(type);
  switch (reducer.op) {
    case ReduceOp::Sum:
      return floating ? b.constant(type, -0.0, lanes) : b.constant_int(type, 0, lanes);
    case ReduceOp::Prod:
      return floating ? b.constant(type, 1.0, lanes) : b.constant_int(type, 1, lanes);
    case ReduceOp::Max: {
      if (floating) return b.constant(type, -HUGE_VAL, lanes);
      const int64_t least = loop::is_signed(type) ? INT64_MIN >> (64 - bits) : 0;
      return b.constant_int(type, least, lanes);
    }
    case ReduceOp::Min: {
      if (floating) return b.constant(type, HUGE_VAL, lanes);
      if (!loop::is_signed(type)) {
        return b.constant_int(type, static_cast<int64_t>(~uint64_t{0} >> (64 - bits)), lanes);
      }
      return b.constant_int(type, INT64_MAX >> (64 - bits), lanes);
    }
    case ReduceOp::And:
      return b.constant_bits(Scalar::I1, 1, lanes);
    case ReduceOp::Or:
      return b.constant_bits(Scalar::I1, 0, lanes);
  }
  __builtin_unreachable();
}

loop::Pack to_accumulator(loop::Builder& b, const Reducer& reducer, loop::Pack x) {
  return b.type_of(x).scalar == reducer.accumulate ? x : b.cast(reducer.accumulate, x);
}

}  // namespace tenon::jit
