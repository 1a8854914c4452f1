// Row reductions whose rows lie in the lanes: rows of a few elements (the norm of a vector in
// space, a sum over two classes), and rows of any length that lie side by side in memory (channels
// last). The elements of a row are added in the order that defines the bits (see row.cpp): each of
// 64 accumulators in turn, those of a vector's lanes by halves, halves of halves, and so on. What a
// row lacks of a vector are identities there, which change no bits; here they are left out.
#include <algorithm>
#include <optional>

#include "jit/schedule/kernels.h"
#include "jit/schedule/passes.h"

namespace tenon::jit {

using loop::kLanes;
using loop::Pack;
using Packs = loop::Builder::Packs;

namespace {

class RowsInLanes {
 public:
  // is_short: rows have at most kNarrow elements.
  RowsInLanes(Emitter& e, Nest& nest, const Runs& outer, const std::vector<uint32_t>& inner,
              bool is_short)
      : e_(e),
        nest_(nest),
        outer_(outer),
        element_(inner.back()),
        n_(nest.extent_of(inner)),
        is_short_(is_short) {}

  uint64_t loops() const {
    uint64_t bits = uint64_t{1} << element_;
    for (const auto& run : outer_) bits |= uint64_t{1} << run.back();
    return bits;
  }

  // One pass over the rows in the lanes: the values of its reductions.
  Packs run(const Pass& pass, std::span<const Root> roots, std::span<const ExprId> addresses) {
    pass_ = &pass, roots_ = roots, addresses_ = addresses;
    reducers_.clear();
    in_chunks_ = false;
    for (NodeIndex r : pass.reductions) {
      reducers_.push_back(reducer_of(e_.graph, r));
      in_chunks_ |= goes_in_chunks(reducers_.back());
    }
    loop::Builder& b = e_.b;
    identities_ = identities_of(b, reducers_, e_.vector_count());
    if (pass.reductions.empty() && !is_short_) {  // in the order of memory
      through(0, {}, [&](const Packs&) { return elements(b.i64(0), e_.int_param(n_), 1, {}); });
      return {};
    }
    if (!is_short_) {
      const Pack block = b.i64(4 * kLanes), n = e_.int_param(n_);
      main_end_ = b.mul(b.div(n, block), block);
      members_ = b.select(b.gt(main_end_, b.i64(0)), b.i64(4), b.i64(1));
    }
    Packs results = halves(b.i64(0), 1);
    for (size_t r = 0; r < results.size(); ++r) {
      results[r] = b.cast(reducers_[r].result, results[r]);
    }
    return results;
  }

 private:
  using Body = std::function<Packs(const Packs&)>;

  // Lanes first, first + step, ... of what would be a vector along the row.
  Packs halves(Pack first, int64_t step) {
    const int64_t lanes = is_short_ ? kNarrow : int64_t{kLanes};
    if (step == lanes) return is_short_ ? element(first) : members(first, e_.b.i64(0), 2);
    loop::Builder& b = e_.b;
    const Pack all = b.min(e_.int_param(n_), b.i64(lanes));
    const Pack end = b.min(all, b.add(first, b.i64(2 * step)));
    return b.for_loop(first, end, b.i64(step), identities_, [&](Pack i, const Packs& sums) {
      return combined(b, reducers_, sums, halves(i, 2 * step));
    });
  }

  // That lane of the four vectors in flight, by pairs.
  Packs members(Pack lane, Pack first, int64_t step) {
    loop::Builder& b = e_.b;
    const Pack end = b.min(members_, b.add(first, b.i64(2 * step)));
    return b.for_loop(first, end, b.i64(step), identities_, [&](Pack m, const Packs& sums) {
      return combined(b, reducers_, sums,
                      step == 1 ? accumulator(lane, m) : members(lane, m, step / 2));
    });
  }

  // What one accumulator adds up: through the loops outside of the innermost reduced one, first its
  // elements of whole blocks, in chunks, then, for the first vector's, those of the tail.
  Packs accumulator(Pack lane, Pack member) {
    loop::Builder& b = e_.b;
    const Pack n = e_.int_param(n_);
    const Pack first = b.add(b.mul(member, b.i64(kLanes)), lane);
    const Pack tail = b.select(b.eq(member, b.i64(0)), b.add(main_end_, lane), n);
    return through(0, identities_, [&](const Packs& carried) {
      const bool had_stored = e_.has_stored;
      Packs sums;
      if (in_chunks_) {
        const Pack chunk = b.i64(kRowChunk);
        sums = b.for_loop(first, main_end_, chunk, carried, [&](Pack from, const Packs& so_far) {
          const Pack to = b.min(b.add(from, chunk), main_end_);
          return combined(b, reducers_, so_far, elements(from, to, 4 * kLanes, identities_));
        });
      } else {
        sums = elements(first, main_end_, 4 * kLanes, carried);
      }
      e_.has_stored = had_stored;  // the same code for other elements
      e_.has_stored = had_stored;  // the same code for other elements
      return elements(tail, n, kLanes, sums);
    });
  }
  Packs elements(Pack lo, Pack hi, int64_t step, const Packs& carried) {
    return e_.b.for_loop(lo, hi, e_.b.i64(step), carried, [&](Pack i, const Packs& so_far) {
      Emitter::Scope scope(e_);
      e_.set_loop(element_, i);
      return this->step(so_far);
    });
  }

  // Element i of a short row.
  Packs element(Pack i) {
    Emitter::Scope scope(e_);
    e_.set_loop(element_, i);
    return through(0, identities_, [&](const Packs& carried) { return step(carried); });
  }
  Packs through(size_t depth, const Packs& carried, const Body& body) {
    if (depth == outer_.size()) return body(carried);
    loop::Builder& b = e_.b;
    const Pack extent = e_.int_param(nest_.extent_of(outer_[depth]));
    return b.for_loop(b.i64(0), extent, b.i64(1), carried, [&](Pack i, const Packs& inside) {
      Emitter::Scope scope(e_);
      e_.set_loop(outer_[depth].back(), i);
      return through(depth + 1, inside, body);
    });
  }
  Packs step(const Packs& carried) {
    Packs values, stored;
    for (size_t r = 0; r < reducers_.size(); ++r) {
      const Pack x = e_.value(roots_[r].node, roots_[r].access);
      values.push_back(e_.b.broadcast(to_accumulator(e_.b, reducers_[r], x)));
    }
    for (size_t s = 0; s < pass_->stores.size(); ++s) {
      const Root& root = roots_[reducers_.size() + s];
      stored.push_back(e_.value(root.node, root.access));
    }
    for (size_t s = 0; s < stored.size(); ++s) {
      e_.store(pass_->stores[s], addresses_[s], stored[s]);
    }
    return combined(e_.b, reducers_, carried, values);
  }

  Emitter& e_;
  Nest& nest_;
  const Runs& outer_;
  const uint32_t element_;
  const PolyId n_;
  const bool is_short_;
  Pack main_end_, members_;  // of rows of any length: where whole blocks end; vectors that add up
  bool in_chunks_ = false;
  const Pass* pass_ = nullptr;
  std::span<const Root> roots_;
  std::span<const ExprId> addresses_;
  std::vector<Reducer> reducers_;
  Packs identities_;
};

// The group with its rows in the lanes. None for rows of any length if more of what it reads and
// writes lies along the rows.
std::optional<KernelCode> rows_in_lanes(const Placement& placement, Algebra& algebra,
                                        uint32_t group_index, bool is_short) {
  Emitter e(placement, algebra, group_index);
  const Group& group = e.group;
  if (group.kept == 0) return std::nullopt;
  loop::Builder& b = e.b;
  Nest nest(e);
  const uint32_t count = static_cast<uint32_t>(group.loops.size());
  const auto [passes, row_stores] = passes_of_row(e);
  const auto all_roots = [&] {
    std::vector<Root> roots;
    for (const Pass& pass : passes) {
      for (const Root& root : roots_of_pass(e, nest, pass)) roots.push_back(root);
    }
    for (NodeIndex n : row_stores) roots.push_back({n, {nest.index_of(n), 0}});
    return roots;
  };
  std::vector<ExprId> exprs = addresses_of(e, nest, group.stores);
  e.collect(all_roots(), exprs);
  const Runs kept = nest.merge(0, group.kept, exprs);
  const Runs outer = nest.merge(group.kept, group.inner_begin, exprs);
  const Runs inner = nest.merge_into_one(group.inner_begin, count, exprs);
  const uint32_t vector = kept.back().back();
  e.code.cost = e.collected_cost();
  e.code.range = nest.extent_of(0, group.kept);
  e.code.work = nest.extent_of(0, count);

  if (!is_short) {
    const auto gathers = [&](const Runs& runs) {
      return gathers_along(algebra, exprs, runs.back().back());
    };
    if (gathers(kept) >= gathers(inner)) return std::nullopt;
  }
  RowsInLanes row(e, nest, outer, inner.back(), is_short);
  uint64_t kept_loops = 0;
  for (const auto& run : kept) kept_loops |= uint64_t{1} << run.back();
  const std::vector<Root> roots = all_roots();
  const std::vector<ExprId> addresses = addresses_of(e, nest, group.stores);
  const uint32_t cost = e.code.cost;
  int unroll = !e.does(Optimization::Unroll) || cost > 60 ? 1 : cost > 25 ? 2 : 4;
  Pack begin = b.range_begin(), end = b.range_end();
  if (is_short) {
    e.code.narrow_extent = nest.extent_of(inner.back());
    e.code.narrow_along = nest.extent_of(kept.back());
  } else {
    // Few rows are enough to be worth a thread: as many as the vectors in flight hold.
    unroll = std::min(unroll, 2);
    const Pack block = b.i64(int64_t{kLanes} * unroll);
    e.code.divide_range = int64_t{kLanes} * unroll;
    e.code.unit_elements = false;
    begin = b.mul(begin, block);
    end = b.min(b.mul(end, block), e.int_param(e.code.range));
  }
  e.hoist(roots, addresses, kept_loops | row.loops());
  const Runs outside(kept.begin(), kept.end() - 1);
  for_rows(e, nest, outside, nest.extent_of(kept.back()), begin, end, [&](Pack lo, Pack hi) {
    e.hoist(roots, addresses, row.loops() | uint64_t{1} << vector);
    b.for_each(lo, hi, b.i64(int64_t{kLanes} * unroll), [&](Pack i) {
      Emitter::Scope scope(e);
      const Pack base = b.unroll(i, unroll);
      e.set_vector(vector, base, b.tail_mask(base, hi));
      for (size_t p = 0; p < passes.size(); ++p) {
        e.pass = static_cast<int>(p);
        const std::vector<Root> asked = roots_of_pass(e, nest, passes[p]);
        const std::vector<ExprId> places = addresses_of(e, nest, passes[p].stores);
        e.hoist(asked, places, row.loops());
        const Packs results = row.run(passes[p], asked, places);
        for (size_t r = 0; r < results.size(); ++r) {
          const NodeIndex n = passes[p].reductions[r];
          e.define(n, {nest.index_of(n), 0}, results[r]);
        }
      }
      e.pass = static_cast<int>(passes.size());
      std::vector<Pack> values;
      for (NodeIndex s : row_stores) values.push_back(e.value(s, {nest.index_of(s), 0}));
      const std::vector<ExprId> places = addresses_of(e, nest, row_stores);
      for (size_t i = 0; i < values.size(); ++i) e.store(row_stores[i], places[i], values[i]);
    });
    e.clear_vector();
  });
  return std::move(e.code);
}

}  // namespace

void add_narrow_row(const Placement& placement, Algebra& algebra, uint32_t group,
                    KernelCode& code) {
  if (code.cost > kMaxNarrowCost) return;
  if (auto narrow = rows_in_lanes(placement, algebra, group, true)) {
    code.narrow_extent = narrow->narrow_extent;
    code.narrow_along = narrow->narrow_along;
    narrow->narrow_extent = narrow->narrow_along = 1;
    narrow->cost = code.cost;
    code.narrow = std::make_shared<KernelCode>(std::move(*narrow));
  }
}

std::optional<KernelCode> schedule_rows_side_by_side(const Placement& placement, Algebra& algebra,
                                                     uint32_t group) {
  return rows_in_lanes(placement, algebra, group, false);
}

}  // namespace tenon::jit
