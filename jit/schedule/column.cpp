// Kernels that run serially along some loops while vectors lie along others: column reductions,
// scans, argmax, and scatters.
#include "core/error.h"
#include "jit/schedule/kernels.h"
#include "jit/schedule/nest.h"

namespace tenon::jit {

using loop::Builder;
using loop::kLanes;
using loop::Pack;
using loop::Scalar;
using Packs = loop::Builder::Packs;

namespace {

// Whether x comes before `best`, which was met earlier: NaN before all, and the first NaN stays.
Pack is_better(Builder& b, const Reducer& reducer, Pack x, Pack best) {
  const Pack better = reducer.op == loop::ReduceOp::Max ? b.gt(x, best) : b.lt(x, best);
  if (!loop::is_float(reducer.accumulate)) return better;
  return b.or_(better, b.and_(b.ne(x, x), b.eq(best, best)));
}

// Of two candidates with their places, the better one, or the earlier of equals.
Packs better_of(Builder& b, const Reducer& reducer, const Packs& x, const Packs& y) {
  Pack equal = b.eq(x[0], y[0]);
  if (loop::is_float(reducer.accumulate)) {
    equal = b.or_(equal, b.and_(b.ne(x[0], x[0]), b.ne(y[0], y[0])));
  }
  const Pack second = b.or_(is_better(b, reducer, y[0], x[0]), b.and_(equal, b.lt(y[1], x[1])));
  return {b.select(second, y[0], x[0]), b.select(second, y[1], x[1])};
}

// The place of the largest or smallest element of a row: each of 64 lanes keeps its own best, the
// earliest of the best lanes wins. No element is lost in the starts, which are worst and in order.
Pack argument_along_row(Emitter& e, const Reducer& reducer, const Root& root, uint32_t row,
                        Pack extent) {
  Builder& b = e.b;
  e.hoist(std::span<const Root>(&root, 1), {}, uint64_t{1} << row);
  const Pack block = b.i64(4 * kLanes);
  const Pack main_end = b.mul(b.div(extent, block), block);
  const Pack worst = identity_of(b, reducer, kLanes);
  const Packs start{b.pack({worst[0], worst[0], worst[0], worst[0]}),
                    b.lanes_from(b.unroll(b.i64(0), 4))};
  const auto step = [&](Pack base, Pack mask, const Packs& best) -> Packs {
    Emitter::Scope scope(e);
    e.set_vector(row, base, mask);
    Pack x = e.value(root.node, root.access);
    x = b.broadcast(b.type_of(x).scalar == reducer.accumulate ? x : b.cast(reducer.accumulate, x));
    Pack better = is_better(b, reducer, x, best[0]);
    if (mask) better = b.and_(better, mask);
    return {b.select(better, x, best[0]), b.select(better, b.lanes_from(base), best[1])};
  };
  const Packs main = b.for_loop(b.i64(0), main_end, block, start, [&](Pack i, const Packs& best) {
    return step(b.unroll(i, 4), {}, best);
  });
  const Packs tail =
      b.for_loop(main_end, extent, b.i64(kLanes), {main[0][0], main[1][0]},
                 [&](Pack i, const Packs& best) { return step(i, b.tail_mask(i, extent), best); });
  e.clear_vector();
  Packs best = tail;
  for (int k = 1; k < 4; ++k) {
    best = better_of(b, reducer, best, {Pack(main[0][k]), Pack(main[1][k])});
  }
  Packs result{b.extract(best[0], 0), b.extract(best[1], 0)};
  for (int lane = 1; lane < kLanes; ++lane) {
    result = better_of(b, reducer, result, {b.extract(best[0], lane), b.extract(best[1], lane)});
  }
  return result[1];
}

}  // namespace

KernelCode schedule_scan(const Placement& placement, Algebra& algebra, uint32_t group_index) {
  Emitter e(placement, algebra, group_index);
  const Group& group = e.group;
  Builder& b = e.b;
  Nest nest(e);
  const NodeIndex n = group.stores[0];
  const GraphNode& node = e.graph[n];
  const NodeIndex operand = node.operands[0];
  const uint32_t count = static_cast<uint32_t>(group.loops.size());
  const bool is_argument = info(node.op).group == PrimitiveClass::Argument;
  Root root;
  ExprId address;
  const auto refresh = [&] {
    root = {operand, {nest.operand_index_of(n), 0}};
    address = address_of(algebra, node, nest.index_of(n));
  };
  refresh();
  std::vector<ExprId> exprs{address};
  e.collect(std::span<const Root>(&root, 1), exprs);
  e.code.cost = e.collected_cost() + 2;
  const Runs kept = nest.merge(0, group.kept, exprs);
  const Runs serial = nest.merge_into_one(group.kept, count, exprs);
  refresh();
  // Vectors lie along the operand's last dimension, unless the scan does.
  const auto& loops = e.grouping.operand_loops[n];
  const bool vectorise = !kept.empty() && !loops.empty() && loops.back() < group.kept;
  e.code.range = nest.extent_of(0, group.kept);
  e.code.work = nest.extent_of(0, count);
  const uint32_t row = serial.empty() ? 0 : serial.back().back();
  const uint64_t serial_bit = serial.empty() ? 0 : uint64_t{1} << row;
  const Pack extent = e.int_param(serial.empty() ? PolyId{1} : nest.extent_of(serial.back()));

  const auto widen = [&](Pack x, Scalar type) {
    x = b.type_of(x).scalar == type ? x : b.cast(type, x);
    return vectorise ? b.broadcast(x) : x;
  };
  const auto repeat = [&](Pack one) {
    if (!vectorise) return one;
    one = b.broadcast(one);
    std::array<loop::Value, 4> members;
    members.fill(one[0]);
    return b.pack(std::span<const loop::Value>(members.data(), e.vector_count()));
  };
  const ExprId exprs_for_hoist[] = {address};
  for_kept(
      e, nest, kept, vectorise, e.code.cost, std::span<const Root>(&root, 1),
      std::span<const ExprId>(exprs_for_hoist), serial_bit, [&] {
        if (is_argument) {
          const bool largest = node.op == Op::Argmax;
          Scalar type = scalar_of(e.graph[operand].dtype);
          if (type == Scalar::I1) type = Scalar::I32;
          if (loop::is_half(type)) type = Scalar::F32;
          const Reducer reducer{largest ? loop::ReduceOp::Max : loop::ReduceOp::Min,
                                largest ? loop::BinaryOp::Max : loop::BinaryOp::Min, type, type};
          if (!vectorise && !serial.empty()) {
            const Pack at = argument_along_row(e, reducer, root, row, extent);
            e.store(n, address, at);
            return;
          }
          const Packs found = b.for_loop(
              b.i64(0), extent, b.i64(1), {repeat(identity_of(b, reducer, 1)), repeat(b.i64(0))},
              [&](Pack r, const Packs& best) -> Packs {
                Emitter::Scope scope(e);
                if (!serial.empty()) e.set_loop(row, r);
                const Pack x = widen(e.value(root.node, root.access), type);
                const Pack better = is_better(b, reducer, x, best[0]);
                return {b.select(better, x, best[0]),
                        b.select(better, vectorise ? b.broadcast(r) : r, best[1])};
              });
          e.store(n, address, found[1]);
          return;
        }
        const Scalar result = scalar_of(node.dtype);
        const Scalar type = loop::is_half(result)  ? Scalar::F32
                            : result == Scalar::I1 ? Scalar::I32
                                                   : result;
        Reducer reducer{loop::ReduceOp::Sum, loop::BinaryOp::Add, type, result};
        if (node.op == Op::Cumprod)
          reducer = {loop::ReduceOp::Prod, loop::BinaryOp::Mul, type, result};
        if (node.op == Op::Cummax)
          reducer = {loop::ReduceOp::Max, loop::BinaryOp::Max, type, result};
        if (node.op == Op::Cummin)
          reducer = {loop::ReduceOp::Min, loop::BinaryOp::Min, type, result};
        b.for_loop(b.i64(0), extent, b.i64(1), {repeat(identity_of(b, reducer, 1))},
                   [&](Pack r, const Packs& sum) -> Packs {
                     Emitter::Scope scope(e);
                     if (!serial.empty()) e.set_loop(row, r);
                     const Pack x = widen(e.value(root.node, root.access), type);
                     const Pack next = b.binary(reducer.combine, sum[0], x);
                     e.store(n, address, type == result ? next : b.cast(result, next));
                     return {next};
                   });
      });
  return std::move(e.code);
}

// result[p..., index[i...], q...] op= updates[p..., i..., q...], serial over i in order, or the
// same with one index an element (put_along).
KernelCode schedule_scatter(const Placement& placement, Algebra& algebra, uint32_t group_index,
                            NodeIndex n) {
  Emitter e(placement, algebra, group_index);
  Builder& b = e.b;
  const GraphNode& node = e.graph[n];
  const GraphNode& index = e.graph[node.operands[1]];
  const GraphNode& updates = e.graph[node.operands[2]];
  const bool is_put = node.op == Op::PutAlongAdd || node.op == Op::PutAlongSet;
  const bool adds = node.op == Op::PutAlongAdd || node.op == Op::ScatterAdd;
  const int axis = static_cast<int>(node.axes[0]);
  const int index_rank = is_put ? 1 : index.rank();

  // Loops: dims of the updates that are not indices, then those that are.
  SmallVector<uint8_t, 8> update_loops(updates.atoms.size());
  e.loops.clear();
  const auto is_serial = [&](int d) { return d >= axis && d < axis + index_rank; };
  uint32_t kept_count = 0;
  for (int serial = 0; serial < 2; ++serial) {
    for (int d = 0; d < updates.rank(); ++d) {
      if (is_serial(d) != (serial == 1)) continue;
      for (int i = updates.starts[d]; i < updates.starts[d + 1]; ++i) {
        update_loops[i] = static_cast<uint8_t>(e.loops.size());
        e.loops.push_back(updates.atoms[i]);
      }
    }
    if (serial == 0) kept_count = static_cast<uint32_t>(e.loops.size());
  }
  const uint32_t count = static_cast<uint32_t>(e.loops.size());
  Nest nest(e);
  Access update{}, where{};
  ExprId address = 0;
  const auto refresh = [&] {
    update = {nest.index_of(update_loops), 0};
    SmallVector<ExprId, 8> at;  // of the index operand
    const SmallVector<ExprId, 8> parts = algebra.index(update.index);
    if (is_put) {
      at = parts;
    } else {
      for (int i = updates.starts[axis]; i < updates.starts[axis + index_rank]; ++i) {
        at.push_back(parts[i]);
      }
    }
    where = {algebra.index(at), 0};
    SmallVector<ExprId, 8> place;
    for (int d = 0; d < node.rank(); ++d) {
      const size_t first = node.starts[d], atoms = node.atoms_in(d);
      if (atoms == 0) continue;
      const int from = d < axis || is_put ? d : d - 1 + index_rank;
      const ExprId value = d == axis
                               ? algebra.loaded(n, where.index, 0, algebra.index_loops(where.index))
                               : dim_of(algebra, updates, update.index, from);
      algebra.split(value, {node.atoms.data() + first, atoms}, place);
    }
    address = address_of(algebra, node, algebra.index(place));
  };
  refresh();
  std::vector<Root> roots{{node.operands[2], update}, {node.operands[1], where}};
  std::vector<ExprId> exprs{address};
  e.collect(roots, exprs);
  e.code.cost = e.collected_cost() + 2;
  const Runs kept = nest.merge(0, kept_count, exprs);
  const Runs serial = nest.merge_into_one(kept_count, count, exprs);
  refresh();
  roots = {{node.operands[2], update}, {node.operands[1], where}};
  e.code.range = nest.extent_of(0, kept_count);
  e.code.work = nest.extent_of(0, count);
  const uint32_t row = serial.empty() ? 0 : serial.back().back();
  const uint64_t serial_bit = serial.empty() ? 0 : uint64_t{1} << row;
  const Pack extent = e.int_param(serial.empty() ? PolyId{1} : nest.extent_of(serial.back()));
  for_kept(e, nest, kept, !kept.empty(), e.code.cost, roots, {}, serial_bit, [&] {
    b.for_each(b.i64(0), extent, b.i64(1), [&](Pack r) {
      Emitter::Scope scope(e);
      if (!serial.empty()) e.set_loop(row, r);
      e.checked(n, where);
      Pack value = e.value(node.operands[2], update);
      if (adds) {
        const uint32_t out = e.buffer(n, loop::Access::ReadWrite);
        value = loop::emit_binary(b, loop::ScalarFn::Add, e.load_from(out, address), value);
      }
      e.store(n, address, value);
    });
  });
  return std::move(e.code);
}

std::vector<KernelCode> schedule(const Placement& placement, Algebra& algebra, uint32_t group) {
  const Group& g = placement.grouping.groups[group];
  const bool narrows = !contains(placement.grouping.off, Optimization::NarrowLoops);
  std::vector<KernelCode> kernels;
  switch (g.kind) {
    case GroupKind::Map:
      kernels.push_back(schedule_map(placement, algebra, group));
      break;
    case GroupKind::Row:
      if (auto code = schedule_rows_side_by_side(placement, algebra, group)) {
        kernels.push_back(std::move(*code));
        break;
      }
      kernels.push_back(schedule_row(placement, algebra, group));
      if (narrows) add_narrow_row(placement, algebra, group, kernels.back());
      break;
    case GroupKind::Column:
      kernels.push_back(schedule_column(placement, algebra, group));
      if (narrows) add_narrow_column(placement, algebra, group, kernels.back());
      break;
    case GroupKind::Full:
      kernels.push_back(schedule_full_chunks(placement, algebra, group));
      kernels.push_back(schedule_full_result(placement, algebra, group));
      break;
    case GroupKind::Scan:
      kernels.push_back(schedule_scan(placement, algebra, group));
      break;
    case GroupKind::Scatter:
      kernels.push_back(schedule_base_copy(placement, algebra, group, g.stores[0]));
      if (!placement.graph[placement.graph[g.stores[0]].operands[2]].empty) {
        kernels.push_back(schedule_scatter(placement, algebra, group, g.stores[0]));
      }
      break;
    case GroupKind::UpdateSlice:
      kernels.push_back(schedule_base_copy(placement, algebra, group, g.stores[0]));
      if (!placement.graph[placement.graph[g.stores[0]].operands[1]].empty) {
        kernels.push_back(schedule_box(placement, algebra, group, g.stores[0]));
      }
      break;
    case GroupKind::Concatenate: {
      const GraphNode& node = placement.graph[g.stores[0]];
      for (uint32_t k = 0; k < node.operands.size(); ++k) {
        if (placement.graph[node.operands[k]].empty) continue;
        kernels.push_back(schedule_part(placement, algebra, group, g.stores[0], k));
      }
      break;
    }
    case GroupKind::Gemm:
    case GroupKind::Convolution:
    case GroupKind::Attention:
    case GroupKind::Sort:
    case GroupKind::Routine:
    case GroupKind::Region:
    case GroupKind::RegionOutput:
      break;
  }
  return kernels;
}

}  // namespace tenon::jit
