#include "jit/schedule/nest.h"

#include "core/error.h"

namespace tenon::jit {

using loop::kLanes;
using loop::Pack;

Nest::Nest(Emitter& e) : e_(e) {
  check(e.loops.size() < kMaxLoops, ErrorKind::NotImplemented,
        "kernels of more than {} loops are not supported", kMaxLoops);
  for (uint32_t l = 0; l < e.loops.size(); ++l) loops_.push_back(e.algebra.loop(l));
}

IndexId Nest::index_of(std::span<const uint8_t> loops) const {
  SmallVector<ExprId, 8> parts;
  for (uint8_t l : loops) parts.push_back(loops_[l]);
  return e_.algebra.index(parts);
}
IndexId Nest::index_of(NodeIndex member) const { return index_of(e_.grouping.loops_of[member]); }
IndexId Nest::operand_index_of(NodeIndex member) const {
  return index_of(e_.grouping.operand_loops[member]);
}

Runs Nest::merge(uint32_t begin, uint32_t end, std::span<const ExprId> exprs) {
  Runs runs;
  if (begin == end) return runs;
  std::vector<uint32_t> run{end - 1};
  const bool merges = e_.does(Optimization::MergeLoops);
  for (uint32_t l = end - 1; l-- > begin;) {
    if (merges && e_.can_merge(l, run, exprs)) {
      run.insert(run.begin(), l);
      loops_[l] = 0;
    } else {
      runs.insert(runs.begin(), run);
      run = {l};
    }
  }
  runs.insert(runs.begin(), run);
  return runs;
}

Runs Nest::merge_into_one(uint32_t begin, uint32_t end, std::span<const ExprId> exprs) {
  Runs runs = merge(begin, end, exprs);
  if (runs.size() <= 1) return runs;
  SmallVector<ExprId, 8> parts;
  e_.algebra.split(e_.algebra.loop(end - 1), {e_.loops.data() + begin, end - begin}, parts);
  std::vector<uint32_t> all;
  for (uint32_t l = begin; l < end; ++l) {
    loops_[l] = parts[l - begin];
    all.push_back(l);
  }
  return {all};
}

PolyId Nest::extent_of(const std::vector<uint32_t>& run) const {
  PolyId extent = 1;
  for (uint32_t l : run) extent = e_.algebra.mul(extent, e_.algebra.extent(e_.loops[l]));
  return extent;
}
PolyId Nest::extent_of(uint32_t begin, uint32_t end) const {
  PolyId extent = 1;
  for (uint32_t l = begin; l < end; ++l) {
    extent = e_.algebra.mul(extent, e_.algebra.extent(e_.loops[l]));
  }
  return extent;
}

void Nest::for_each(const Runs& runs, Pack begin, Pack end, const std::function<void(Pack)>& body) {
  loop::Builder& b = e_.b;
  if (runs.size() <= 1) {
    b.for_each(begin, end, b.i64(1), [&](Pack i) {
      Emitter::Scope scope(e_);
      if (!runs.empty()) e_.set_loop(runs[0].back(), i);
      body(i);
    });
    return;
  }
  loop::Builder::Packs digits(runs.size());
  Pack rest = begin;
  for (size_t k = runs.size(); k-- > 0;) {
    const Pack extent = e_.int_param(extent_of(runs[k]));
    digits[k] = k > 0 ? b.rem(rest, extent) : rest;
    if (k > 0) rest = b.div(rest, extent);
  }
  b.for_loop(begin, end, b.i64(1), digits, [&](Pack i, const loop::Builder::Packs& at) {
    Emitter::Scope scope(e_);
    for (size_t k = 0; k < runs.size(); ++k) e_.set_loop(runs[k].back(), at[k]);
    body(i);
    loop::Builder::Packs next(runs.size());
    Pack carry = b.i64(1);
    for (size_t k = runs.size(); k-- > 0;) {
      next[k] = b.add(at[k], carry);
      if (k == 0) break;
      const Pack over = b.eq(next[k], e_.int_param(extent_of(runs[k])));
      next[k] = b.select(over, b.i64(0), next[k]);
      carry = b.cast(loop::Scalar::I64, over);
    }
    return next;
  });
}

int gathers_along(Algebra& algebra, std::span<const ExprId> exprs, uint32_t loop) {
  int count = 0;
  for (ExprId e : exprs) {
    if (!((algebra.loops(e) >> loop) & 1)) continue;
    const ExprId rest = algebra.plus(e, algebra.term(loop, algebra.constant(-1)));
    count += ((algebra.loops(rest) >> loop) & 1) != 0;
  }
  return count;
}

int unroll_for(const Emitter& e, uint32_t cost) {
  if (!e.does(Optimization::Unroll)) return 1;
  return e.group.choice.unroll ? e.group.choice.unroll : unroll_for(cost);
}

int unroll_for(uint32_t cost) { return cost > 1000 ? 1 : cost > 300 ? 2 : 4; }

void for_vectors(Emitter& e, uint32_t loop, Pack lo, Pack hi, int unroll,
                 const std::function<void()>& body) {
  loop::Builder& b = e.b;
  const Pack block = b.i64(int64_t{kLanes} * unroll);
  const Pack blocks = b.mul(b.div(b.sub(hi, lo), block), block);
  const Pack main_end = b.add(lo, blocks);
  const bool had_stored = e.has_stored;
  b.for_each(lo, main_end, block, [&](Pack i) {
    Emitter::Scope scope(e);
    e.set_vector(loop, b.unroll(i, unroll), {});
    body();
  });
  e.has_stored = had_stored;  // the same code for other elements
  b.for_each(main_end, hi, b.i64(kLanes), [&](Pack i) {
    Emitter::Scope scope(e);
    e.set_vector(loop, i, b.tail_mask(i, hi));
    body();
  });
  e.clear_vector();
}

void for_rows(Emitter& e, Nest& nest, const Runs& outer, PolyId n,
              const std::function<void(Pack lo, Pack hi)>& row) {
  for_rows(e, nest, outer, n, e.b.range_begin(), e.b.range_end(), row);
}

void for_rows(Emitter& e, Nest& nest, const Runs& outer, PolyId n, Pack begin, Pack end,
              const std::function<void(Pack lo, Pack hi)>& row) {
  loop::Builder& b = e.b;
  if (outer.empty()) {
    row(begin, end);
    return;
  }
  const Pack width = e.int_param(n);
  const Pack first = b.div(begin, width);
  const Pack last = b.div(b.sub(b.add(end, width), b.i64(1)), width);
  nest.for_each(outer, first, last, [&](Pack r) {
    const Pack start = b.mul(r, width);
    const Pack lo = b.max(b.sub(begin, start), b.i64(0));
    const Pack hi = b.min(b.sub(end, start), width);
    row(lo, hi);
  });
}

int column_unroll(const Emitter& e, uint32_t cost) {
  if (!e.does(Optimization::Unroll)) return 1;
  return e.group.choice.unroll ? e.group.choice.unroll : cost > 60 ? 2 : 4;
}

// Kept loops [0, kept) in parallel, in vectors along the last if `vectorise`; body() is called
// inside, for each vector (or scalar).
void for_kept(Emitter& e, Nest& nest, const Runs& runs, bool vectorise, uint32_t cost,
              std::span<const Root> roots, std::span<const ExprId> exprs, uint64_t serial,
              const std::function<void()>& body) {
  loop::Builder& b = e.b;
  uint64_t all = serial;
  for (const auto& run : runs) all |= uint64_t{1} << run.back();
  e.hoist(roots, exprs, all);
  if (runs.empty()) {
    e.code.unit_elements = false;
    body();
    return;
  }
  if (!vectorise) {
    e.code.unit_elements = false;
    nest.for_each(runs, b.range_begin(), b.range_end(), [&](Pack) {
      e.hoist(roots, exprs, serial);
      body();
    });
    return;
  }
  const Runs outer(runs.begin(), runs.end() - 1);
  const uint32_t vector = runs.back().back();
  for_rows(e, nest, outer, nest.extent_of(runs.back()), [&](Pack lo, Pack hi) {
    if (!outer.empty()) e.hoist(roots, exprs, serial | uint64_t{1} << vector);
    for_vectors(e, vector, lo, hi, column_unroll(e, cost), [&] {
      e.hoist(roots, exprs, serial);
      body();
    });
  });
}

}  // namespace tenon::jit
