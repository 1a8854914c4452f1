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
  for (uint32_t l = end - 1; l-- > begin;) {
    if (e_.can_merge(l, run, exprs)) {
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

void Nest::place(const Runs& runs, Pack flat) {
  loop::Builder& b = e_.b;
  for (size_t i = runs.size(); i-- > 0;) {
    Pack value = flat;
    if (i > 0) {
      const Pack extent = e_.int_param(extent_of(runs[i]));
      value = b.rem(flat, extent);
      flat = b.div(flat, extent);
    }
    e_.set_loop(runs[i].back(), value);
  }
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

void for_rows(Emitter& e, bool rows, PolyId n,
              const std::function<void(Pack row, Pack lo, Pack hi)>& row) {
  loop::Builder& b = e.b;
  const Pack begin = b.range_begin(), end = b.range_end();
  if (!rows) {
    row({}, begin, end);
    return;
  }
  const Pack width = e.int_param(n);
  const Pack first = b.div(begin, width);
  const Pack last = b.div(b.sub(b.add(end, width), b.i64(1)), width);
  b.for_each(first, last, b.i64(1), [&](Pack r) {
    Emitter::Scope scope(e);
    const Pack start = b.mul(r, width);
    const Pack lo = b.max(b.sub(begin, start), b.i64(0));
    const Pack hi = b.min(b.sub(end, start), width);
    row(r, lo, hi);
  });
}

}  // namespace tenon::jit
