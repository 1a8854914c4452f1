// Row reductions: kept loops in parallel, and passes over the reduced ones, the last of which is
// vectorised. A pass computes what needs the results of the passes before it: softmax is three
// passes of one kernel. Full reductions are rows of chunks, then one row of partial results.
#include <algorithm>

#include "core/error.h"
#include "jit/schedule/kernels.h"
#include "jit/schedule/nest.h"
#include "jit/schedule/passes.h"

namespace tenon::jit {

using loop::Builder;
using loop::kLanes;
using loop::Pack;
using Packs = loop::Builder::Packs;

namespace {

// The accumulation that defines the bits of a row reduction (see "Bits" in docs): 64 accumulators
// over blocks of 64, whole and masked vectors into the first 16. Sums and products start anew
// every kRowChunk elements, and the chunks are combined.
class RowLoop {
 public:
  // `may_be_long`: sums and products go in chunks.
  RowLoop(Emitter& e, std::vector<NodeIndex> reductions, std::vector<Root> operands,
          bool may_be_long)
      : e_(e), reductions_(std::move(reductions)), operands_(std::move(operands)) {
    for (NodeIndex r : reductions_) {
      reducers_.push_back(reducer_of(e.graph, r));
      in_chunks_ |= may_be_long && goes_in_chunks(reducers_.back());
    }
  }

  Packs start() {
    Packs packs;
    for (const Reducer& reducer : reducers_) {
      const Pack one = identity_of(e_.b, reducer, kLanes);
      packs.push_back(e_.b.pack({one[0], one[0], one[0], one[0]}));
    }
    return packs;
  }

  // [lo, hi) of the vectorised loop.
  Packs run(uint32_t loop, Pack lo, Pack hi, Packs initial, int unroll,
            const std::function<void()>& stores) {
    Builder& b = e_.b;
    if (reductions_.empty()) {
      for_vectors(e_, loop, lo, hi, unroll, stores);
      return {};
    }
    const Pack block = b.i64(4 * kLanes);
    const Pack main_end = b.add(lo, b.mul(b.div(b.sub(hi, lo), block), block));
    const bool had_stored = e_.has_stored;
    const auto blocks = [&](Pack from, Pack to, const Packs& start) {
      return b.for_loop(from, to, block, start, [&](Pack i, const Packs& carried) {
        Emitter::Scope scope(e_);
        e_.set_vector(loop, b.unroll(i, 4), {});
        Packs next;
        for (size_t r = 0; r < reductions_.size(); ++r) {
          next.push_back(b.binary(reducers_[r].combine, carried[r], operand(r)));
        }
        stores();
        return next;
      });
    };
    Packs main;
    if (in_chunks_) {
      // Each chunk is summed by itself, so that rounding errors of long rows don't add up.
      const Pack step = b.i64(kRowChunk);
      main = b.for_loop(lo, main_end, step, initial, [&](Pack from, const Packs& sums) {
        const Packs chunk = blocks(from, b.min(b.add(from, step), main_end), start());
        Packs next;
        for (size_t r = 0; r < reductions_.size(); ++r) {
          next.push_back(b.binary(reducers_[r].combine, sums[r], chunk[r]));
        }
        return next;
      });
    } else {
      main = blocks(lo, main_end, initial);
    }
    Packs first;
    for (const Pack& pack : main) first.push_back(Pack(pack[0]));
    e_.has_stored = had_stored;  // the same code for other elements
    const Packs tail =
        b.for_loop(main_end, hi, b.i64(kLanes), first, [&](Pack i, const Packs& carried) {
          Emitter::Scope scope(e_);
          const Pack mask = b.tail_mask(i, hi);
          e_.set_vector(loop, i, mask);
          Packs next;
          for (size_t r = 0; r < reductions_.size(); ++r) {
            const Pack sum = b.binary(reducers_[r].combine, carried[r], operand(r));
            next.push_back(b.select(mask, sum, carried[r]));
          }
          stores();
          return next;
        });
    e_.clear_vector();
    Packs result;
    for (size_t r = 0; r < main.size(); ++r) {
      result.push_back(b.pack({tail[r][0], main[r][1], main[r][2], main[r][3]}));
    }
    return result;
  }

  // The scalar results, in the accumulators' types.
  Packs finish(const Packs& accumulators) {
    Packs results;
    for (size_t r = 0; r < reductions_.size(); ++r) {
      results.push_back(
          e_.b.reduce(reducers_[r].op, e_.b.reduce_members(reducers_[r].op, accumulators[r])));
    }
    return results;
  }
  const Reducer& reducer(size_t r) const { return reducers_[r]; }

 private:
  Pack operand(size_t r) {
    const Pack x = e_.value(operands_[r].node, operands_[r].access);
    return e_.b.broadcast(to_accumulator(e_.b, reducers_[r], x));
  }

  Emitter& e_;
  std::vector<NodeIndex> reductions_;
  std::vector<Root> operands_;
  std::vector<Reducer> reducers_;
  bool in_chunks_ = false;
};

}  // namespace

KernelCode schedule_row(const Placement& placement, Algebra& algebra, uint32_t group_index) {
  Emitter e(placement, algebra, group_index);
  const Group& group = e.group;
  Builder& b = e.b;
  Nest nest(e);
  const uint32_t count = static_cast<uint32_t>(group.loops.size());
  const auto [passes, row_stores] = passes_of_row(e);

  const auto roots_of = [&](const Pass& pass) { return roots_of_pass(e, nest, pass); };

  std::vector<ExprId> exprs = addresses_of(e, nest, group.stores);
  {
    std::vector<Root> roots;
    for (const Pass& pass : passes) {
      for (const Root& root : roots_of(pass)) roots.push_back(root);
    }
    for (NodeIndex n : row_stores) roots.push_back({n, {nest.index_of(n), 0}});
    e.collect(roots, exprs);
  }
  e.code.cost = e.collected_cost();
  const Runs kept = nest.merge(0, group.kept, exprs);
  const Runs outer = nest.merge(group.kept, group.inner_begin, exprs);
  const Runs inner = nest.merge_into_one(group.inner_begin, count, exprs);
  const uint32_t vector = inner.back().back();
  const PolyId inner_extent = nest.extent_of(inner.back());
  uint64_t row_loops = uint64_t{1} << vector, kept_loops = 0;
  for (const auto& run : outer) row_loops |= uint64_t{1} << run.back();
  for (const auto& run : kept) kept_loops |= uint64_t{1} << run.back();
  e.code.range = nest.extent_of(0, group.kept);
  e.code.work = nest.extent_of(0, count);
  e.code.unit_elements = false;

  // Element of the row: for scratch.
  e.row_index = algebra.loop(vector);
  PolyId stride = inner_extent;
  for (size_t i = outer.size(); i-- > 0;) {
    e.row_index = algebra.plus(e.row_index, algebra.term(outer[i].back(), stride));
    stride = algebra.mul(stride, nest.extent_of(outer[i]));
  }

  std::vector<std::vector<Root>> roots;
  std::vector<Root> stored;
  std::vector<int> stored_pass;
  for (size_t p = 0; p < passes.size(); ++p) {
    roots.push_back(roots_of(passes[p]));
    for (NodeIndex n : passes[p].stores) {
      stored.push_back({n, {nest.index_of(n), 0}});
      stored_pass.push_back(static_cast<int>(p));
    }
  }
  keep_dear_values(e, row_loops, roots, stored, stored_pass, stride);

  std::vector<Root> all_roots;
  for (const auto& list : roots) all_roots.insert(all_roots.end(), list.begin(), list.end());
  e.hoist(all_roots, addresses_of(e, nest, group.stores), kept_loops | row_loops);

  const Pack n = e.int_param(inner_extent);
  nest.for_each(kept, b.range_begin(), b.range_end(), [&](Pack) {
    for (size_t p = 0; p < passes.size(); ++p) {
      e.pass = static_cast<int>(p);
      const Pass& pass = passes[p];
      const std::vector<ExprId> addresses = addresses_of(e, nest, pass.stores);
      e.hoist(roots[p], addresses, row_loops);
      RowLoop loop(e, pass.reductions, roots[p], true);
      const auto stores = [&] {
        std::vector<Pack> values;
        for (NodeIndex s : pass.stores) values.push_back(e.value(s, {nest.index_of(s), 0}));
        for (size_t i = 0; i < values.size(); ++i) e.store(pass.stores[i], addresses[i], values[i]);
      };
      const std::function<Packs(size_t, Packs)> emit = [&](size_t depth, Packs carried) -> Packs {
        if (depth == outer.size()) {
          return loop.run(vector, b.i64(0), n, std::move(carried), unroll_for(e, e.code.cost),
                          stores);
        }
        const Pack extent = e.int_param(nest.extent_of(outer[depth]));
        return b.for_loop(b.i64(0), extent, b.i64(1), carried, [&](Pack i, const Packs& inside) {
          Emitter::Scope scope(e);
          e.set_loop(outer[depth].back(), i);
          uint64_t deeper = uint64_t{1} << vector;
          for (size_t k = depth + 1; k < outer.size(); ++k) {
            deeper |= uint64_t{1} << outer[k].back();
          }
          e.hoist(roots[p], addresses, deeper);
          return emit(depth + 1, inside);
        });
      };
      const Packs results = loop.finish(emit(0, loop.start()));
      for (size_t r = 0; r < results.size(); ++r) {
        e.define(pass.reductions[r], {nest.index_of(pass.reductions[r]), 0},
                 b.cast(loop.reducer(r).result, results[r]));
      }
    }
    e.pass = static_cast<int>(passes.size());
    std::vector<Pack> values;
    for (NodeIndex s : row_stores) values.push_back(e.value(s, {nest.index_of(s), 0}));
    const std::vector<ExprId> addresses = addresses_of(e, nest, row_stores);
    for (size_t i = 0; i < values.size(); ++i) e.store(row_stores[i], addresses[i], values[i]);
  });
  return std::move(e.code);
}

KernelCode schedule_full_chunks(const Placement& placement, Algebra& algebra,
                                uint32_t group_index) {
  Emitter e(placement, algebra, group_index);
  const Group& group = e.group;
  Builder& b = e.b;
  Nest nest(e);
  std::vector<NodeIndex> reductions;
  for (NodeIndex n : group.members) {
    if (is_reduction(e.graph, n)) reductions.push_back(n);
  }
  const auto roots_now = [&] {
    std::vector<Root> roots;
    for (NodeIndex r : reductions) {
      roots.push_back({e.graph[r].operands[0], {nest.operand_index_of(r), 0}});
    }
    return roots;
  };
  std::vector<ExprId> exprs;
  e.collect(roots_now(), exprs);
  e.code.cost = e.collected_cost();
  const uint32_t count = static_cast<uint32_t>(group.loops.size());
  const Runs runs = nest.merge_into_one(0, count, exprs);
  const std::vector<Root> roots = roots_now();
  const PolyId elements = nest.extent_of(0, count);
  e.code.range = elements;
  e.code.work = elements;
  e.code.divide_range = kFullChunk;
  e.code.unit_elements = false;
  const uint32_t vector = runs.empty() ? 0 : runs.back().back();
  const Pack n = e.int_param(elements);
  e.hoist(roots, {}, uint64_t{1} << vector);
  b.for_each(b.range_begin(), b.range_end(), b.i64(1), [&](Pack chunk) {
    Emitter::Scope scope(e);
    const Pack lo = b.mul(chunk, b.i64(kFullChunk));
    const Pack hi = b.min(b.add(lo, b.i64(kFullChunk)), n);
    RowLoop loop(e, reductions, roots, false);
    const Packs results = loop.finish(loop.run(vector, lo, hi, loop.start(), 4, [] {}));
    for (size_t r = 0; r < results.size(); ++r) {
      b.store(e.buffer(reductions[r], loop::Access::Write, true), chunk, results[r]);
    }
  });
  return std::move(e.code);
}

KernelCode schedule_full_result(const Placement& placement, Algebra& algebra,
                                uint32_t group_index) {
  Emitter e(placement, algebra, group_index);
  const Group& group = e.group;
  Builder& b = e.b;
  Nest nest(e);
  const uint32_t count = static_cast<uint32_t>(group.loops.size());
  e.code.unit_elements = false;
  const Pack n = e.int_param(nest.extent_of(0, count));
  const Pack chunks = b.div(b.add(n, b.i64(kFullChunk - 1)), b.i64(kFullChunk));
  for (NodeIndex r : group.members) {
    if (!is_reduction(e.graph, r)) continue;
    const Reducer reducer = reducer_of(e.graph, r);
    // A row of partial results: the same accumulation once more.
    const uint32_t from = e.buffer(r, loop::Access::Read, true);
    const Pack identity = identity_of(b, reducer, kLanes);
    const Pack block = b.i64(4 * kLanes);
    const Pack main_end = b.mul(b.div(chunks, block), block);
    const Packs main = b.for_loop(
        b.i64(0), main_end, block, {b.pack({identity[0], identity[0], identity[0], identity[0]})},
        [&](Pack i, const Packs& carried) -> Packs {
          return {b.binary(reducer.combine, carried[0], b.load(from, b.unroll(i, 4), kLanes))};
        });
    const Packs tail = b.for_loop(main_end, chunks, b.i64(kLanes), {Pack(main[0][0])},
                                  [&](Pack i, const Packs& carried) -> Packs {
                                    const Pack mask = b.tail_mask(i, chunks);
                                    const Pack sum = b.binary(reducer.combine, carried[0],
                                                              b.load(from, i, kLanes, mask));
                                    return {b.select(mask, sum, carried[0])};
                                  });
    const Pack all = b.pack({tail[0][0], main[0][1], main[0][2], main[0][3]});
    const Pack result = b.reduce(reducer.op, b.reduce_members(reducer.op, all));
    e.define(r, {nest.index_of(r), 0}, b.cast(reducer.result, result));
  }
  std::vector<Pack> values;
  for (NodeIndex s : group.stores) values.push_back(e.value(s, {nest.index_of(s), 0}));
  for (size_t i = 0; i < values.size(); ++i) e.store(group.stores[i], 0, values[i]);
  return std::move(e.code);
}

}  // namespace tenon::jit
