// Parameters, index expressions, and the analyses that precede emission.
#include "jit/schedule/emitter.h"

#include "core/error.h"

namespace tenon::jit {

using loop::Scalar;

loop::Scalar scalar_of(DType dtype) {
  switch (dtype) {
    case DType::Bool:
      return Scalar::I1;
    case DType::UInt8:
    case DType::Float8_e4m3fn:  // bits; see convert()
    case DType::Float8_e5m2:
    case DType::Float8_e4m3fnuz:
    case DType::Float8_e5m2fnuz:
    case DType::Float8_e8m0fnu:
      return Scalar::U8;
    case DType::Int8:
      return Scalar::I8;
    case DType::Int16:
      return Scalar::I16;
    case DType::Int32:
      return Scalar::I32;
    case DType::Int64:
      return Scalar::I64;
    case DType::UInt16:
      return Scalar::U16;
    case DType::UInt32:
      return Scalar::U32;
    case DType::UInt64:
      return Scalar::U64;
    case DType::Float16:
      return Scalar::F16;
    case DType::BFloat16:
      return Scalar::BF16;
    case DType::Float32:
      return Scalar::F32;
    case DType::Float64:
      return Scalar::F64;
    case DType::Complex64:
    case DType::Complex128:
      break;
  }
  fail(ErrorKind::NotImplemented, "{} kernels are not supported; use real tensors", name_of(dtype));
}

uint32_t cost_of(Op op) {
  switch (op) {
    case Op::Add:
    case Op::Sub:
    case Op::Mul:
    case Op::Neg:
    case Op::Abs:
    case Op::Select:
    case Op::Cast:
    case Op::Bitcast:
    case Op::Maximum:
    case Op::Minimum:
    case Op::Eq:
    case Op::Ne:
    case Op::Lt:
    case Op::Le:
    case Op::Gt:
    case Op::Ge:
    case Op::BitwiseAnd:
    case Op::BitwiseOr:
    case Op::BitwiseXor:
    case Op::BitwiseNot:
    case Op::LogicalNot:
    case Op::IsNan:
    case Op::IsInf:
    case Op::Floor:
    case Op::Ceil:
    case Op::Round:
    case Op::Trunc:
    case Op::Iota:
    case Op::Pad:
    case Op::Concatenate:
    case Op::Copysign:
    case Op::ShiftLeft:
    case Op::ShiftRight:
    case Op::ReduceSum:
    case Op::ReduceMax:
    case Op::ReduceMin:
    case Op::ReduceProd:
    case Op::ReduceAny:
    case Op::ReduceAll:
      return 1;
    case Op::Sign:
    case Op::Gather:
    case Op::TakeAlong:
      return 3;
    case Op::Div:
    case Op::Sqrt:
    case Op::Rsqrt:
      return 6;
    case Op::Input:
    case Op::Constant:
    case Op::Expand:
    case Op::Reshape:
    case Op::Permute:
    case Op::Slice:
    case Op::Alias:
    case Op::Redirect:
      return 0;
    case Op::Pow:
    case Op::RandomBits:
      return 40;
    default:
      return 20;
  }
}

Emitter::Emitter(const Placement& placement, Algebra& algebra, uint32_t group)
    : graph(placement.graph),
      grouping(placement.grouping),
      placement(placement),
      algebra(algebra),
      group(placement.grouping.groups[group]),
      group_index(group),
      loops(placement.grouping.groups[group].loops),
      b(code.kernel) {}

uint32_t Emitter::buffer(NodeIndex node, loop::Access access, bool partial) {
  const auto [it, is_new] =
      buffers_.try_emplace(node * 2 + partial, static_cast<uint32_t>(code.buffers.size()));
  if (is_new) {
    const Scalar type = partial ? reducer_of(graph, node).accumulate : scalar_of(graph[node].dtype);
    code.buffers.push_back({node, partial});
    b.add_buffer(type, access);
  }
  loop::BufferParam& param = code.kernel.buffers[it->second];
  if (param.access != access) param.access = loop::Access::ReadWrite;
  return it->second;
}

Emitter::Pack Emitter::int_param(PolyId p) {
  int64_t number;
  if (algebra.is_constant(p, &number)) return b.i64(number);
  const auto [it, is_new] = ints_.try_emplace(p, static_cast<uint32_t>(code.ints.size()));
  if (is_new) {
    code.ints.push_back(p);
    b.add_int();
  }
  return b.int_param(it->second);
}

void Emitter::set_vector(uint32_t loop, Pack base, Pack mask) {
  vector_loop_ = loop;
  vector_base_ = base;
  mask_ = mask;
}

Emitter::Pack Emitter::scalar_expr(ExprId e) {
  const Expr x = algebra.expr(e);
  Pack sum;
  for (uint64_t t : x.terms) {
    const PolyId factor = static_cast<PolyId>(t);
    Pack part = term(static_cast<TermId>(t >> 32));
    if (factor != 1) part = b.mul(part, int_param(factor));
    sum = sum ? b.add(sum, part) : part;
  }
  if (x.constant != 0 || !sum) {
    const Pack constant = int_param(x.constant);
    sum = sum ? b.add(sum, constant) : constant;
  }
  return sum;
}

// Terms outside the vectorised loop come first, in one scalar sum, so that hoisting finds it.
Emitter::Pack Emitter::expr(ExprId e) {
  const Expr x = algebra.expr(e);
  if (!is_vector(x.loops)) return scalar_expr(e);
  Expr outer;
  Pack sum;
  ExprId outer_id = algebra.from(x.constant);
  for (uint64_t t : x.terms) {
    const TermId id = static_cast<TermId>(t >> 32);
    const ExprId one = algebra.term(id, static_cast<PolyId>(t));
    if (!is_vector(algebra.loops(one))) outer_id = algebra.plus(outer_id, one);
  }
  for (uint64_t t : x.terms) {
    const TermId id = static_cast<TermId>(t >> 32);
    const PolyId factor = static_cast<PolyId>(t);
    if (!is_vector(algebra.loops(algebra.term(id, factor)))) continue;
    Pack part = id == vector_loop_ ? b.lanes_from(vector_base_) : term(id);
    if (factor != 1) part = b.mul(part, int_param(factor));
    sum = sum ? b.add(sum, part) : part;
  }
  return outer_id == 0 ? sum : b.add(sum, scalar_expr(outer_id));
}

Emitter::Pack Emitter::term(TermId t) {
  const Term x = algebra.term_of(t);
  switch (x.kind) {
    case Term::Loop:
      if (t == vector_loop_) return b.lanes_from(vector_base_);
      check(static_cast<bool>(loop_values_[t]), ErrorKind::Internal, "loop {} is not open", t);
      return loop_values_[t];
    case Term::Part: {
      const Symbols& radix = algebra.radix(x.radix);
      const PolyId inner = algebra.product({radix.data() + x.part + 1, radix.size() - x.part - 1});
      const PolyId extent = algebra.extent(radix[x.part]);
      Pack value = expr(x.whole);
      if (inner != 1) value = b.div(value, int_param(inner));
      if (x.part != 0) value = b.rem(value, int_param(extent));
      return value;
    }
    case Term::Quotient:
      return b.div(expr(x.whole), int_param(x.radix));
    case Term::Loaded:
      return checked_index(x.radix, {x.index, x.part});
  }
  __builtin_unreachable();
}

void Emitter::remember(const AccessKey& key, Pack value) {
  if (known_.try_emplace(key, value).second) order_.push_back(key);
}

void Emitter::forget(size_t size) {
  while (order_.size() > size) {
    known_.erase(order_.back());
    order_.pop_back();
  }
}

bool Emitter::is_loaded(NodeIndex n) const {
  const GraphNode& node = graph[n];
  if (node.op == Op::Input) return true;
  return grouping.stored[n] && grouping.group_of[n] < group_index;
}

// ---- hoisting ----

void Emitter::hoist_expr(ExprId e, uint64_t loops) {
  const Expr x = algebra.expr(e);
  ExprId outer = algebra.from(x.constant);
  for (uint64_t t : x.terms) {
    const TermId id = static_cast<TermId>(t >> 32);
    const ExprId one = algebra.term(id, static_cast<PolyId>(t));
    if ((algebra.loops(one) & loops) == 0) {
      outer = algebra.plus(outer, one);
      continue;
    }
    if (static_cast<PolyId>(t) != 1) int_param(static_cast<PolyId>(t));
    const Term term = algebra.term_of(id);
    if (term.kind == Term::Part || term.kind == Term::Quotient) {
      hoist_expr(term.whole, loops);
      if (term.kind == Term::Quotient) int_param(term.radix);
    }
    if (term.kind == Term::Loaded) {
      hoist(graph[term.radix].operands[1], {term.index, term.part}, loops);
    }
  }
  if (outer != 0) scalar_expr(outer);
}

void Emitter::hoist(NodeIndex n, Access at, uint64_t loops) {
  const AccessKey key{n, at.index, at.condition};
  if (known_.count(key) || !seen_.insert(key).second) return;
  if (((algebra.index_loops(at.index) | algebra.condition_loops(at.condition)) & loops) == 0) {
    value(n, at);
    return;
  }
  if (const auto it = kept.find(key); it != kept.end() && it->second.pass < pass) return;
  for (ConditionId c = at.condition; c != 0; c = algebra.condition(c).rest) {
    hoist_expr(algebra.condition(c).a, loops);
    int_param(algebra.condition(c).b);
  }
  if (is_loaded(n)) {
    hoist_expr(address_of(algebra, graph[n], at.index), loops);
    return;
  }
  const GraphNode& node = graph[n];
  if (info(node.op).group == PrimitiveClass::Reduction) return;  // a later pass's
  if (node.op == Op::Iota) {
    hoist_expr(dim_of(algebra, node, at.index, static_cast<int>(node.axes[0])), loops);
  }
  for (int k = 0; k < operand_count(n); ++k) {
    hoist(node.operands[k], operand_access(graph, algebra, n, k, at), loops);
  }
}

void Emitter::hoist(std::span<const Root> roots, std::span<const ExprId> exprs, uint64_t loops) {
  if (!does(Optimization::Hoist)) return;
  seen_.clear();
  for (ExprId e : exprs) hoist_expr(e, loops);
  for (const Root& root : roots) hoist(root.node, root.access, loops);
}

// ---- which loops can be one ----

void Emitter::collect_expr(ExprId e, std::vector<ExprId>& exprs) {
  if (!seen_exprs_.insert(e).second) return;
  exprs.push_back(e);
  for (uint64_t t : Expr(algebra.expr(e)).terms) {
    const Term term = algebra.term_of(static_cast<TermId>(t >> 32));
    if (term.kind == Term::Loaded) {
      collect(graph[term.radix].operands[1], {term.index, term.part}, exprs);
    }
  }
}

void Emitter::collect(NodeIndex n, Access at, std::vector<ExprId>& exprs) {
  const AccessKey key{n, at.index, at.condition};
  if (known_.count(key) || !seen_.insert(key).second) return;
  for (ConditionId c = at.condition; c != 0; c = algebra.condition(c).rest) {
    collect_expr(algebra.condition(c).a, exprs);
  }
  const GraphNode& node = graph[n];
  if (is_loaded(n)) {
    collected_cost_ += 1;
    collect_expr(address_of(algebra, node, at.index), exprs);
    return;
  }
  collected_cost_ += cost_of(node.op);
  if (node.op == Op::Iota) {
    collect_expr(dim_of(algebra, node, at.index, static_cast<int>(node.axes[0])), exprs);
  }
  if (node.op == Op::RandomBits || is_fallible(node.op)) {
    collect_expr(algebra.join(SmallVector<ExprId, 8>(algebra.index(at.index)), node.atoms), exprs);
  }
  if (info(node.op).group == PrimitiveClass::Reduction) {
    collect_expr(algebra.join(SmallVector<ExprId, 8>(algebra.index(at.index)), node.atoms), exprs);
    return;
  }
  for (int k = 0; k < operand_count(n); ++k) {
    collect(node.operands[k], operand_access(graph, algebra, n, k, at), exprs);
  }
}

void Emitter::collect(std::span<const Root> roots, std::vector<ExprId>& exprs) {
  seen_.clear();
  seen_exprs_.clear();
  collected_cost_ = 0;
  for (ExprId e : std::vector<ExprId>(exprs)) seen_exprs_.insert(e);
  for (const Root& root : roots) collect(root.node, root.access, exprs);
}

bool Emitter::term_can_merge(ExprId e, uint32_t outer, uint32_t inner, PolyId extent) {
  const uint64_t either = uint64_t{1} << outer | uint64_t{1} << inner;
  if ((algebra.loops(e) & either) == 0) return true;
  if (algebra.coefficient(e, outer) != algebra.mul(algebra.coefficient(e, inner), extent)) {
    return false;
  }
  for (uint64_t t : Expr(algebra.expr(e)).terms) {
    const Term term = algebra.term_of(static_cast<TermId>(t >> 32));
    if (term.kind != Term::Part && term.kind != Term::Quotient) continue;
    if (!term_can_merge(term.whole, outer, inner, extent)) return false;
  }
  return true;
}

// `inner`: loops already merged, whose last is the variable that stays.
bool Emitter::can_merge(uint32_t outer, std::span<const uint32_t> inner,
                        std::span<const ExprId> exprs) {
  PolyId extent = 1;
  for (uint32_t l : inner) extent = algebra.mul(extent, algebra.extent(loops[l]));
  for (ExprId e : exprs) {
    if (!term_can_merge(e, outer, inner.back(), extent)) return false;
  }
  return true;
}

}  // namespace tenon::jit
