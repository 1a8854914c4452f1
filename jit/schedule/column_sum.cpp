// Column reductions: vectors along kept loops, and inside them the reduced loops, serially.
#include <algorithm>

#include "jit/schedule/kernels.h"
#include "jit/schedule/passes.h"

namespace tenon::jit {

using loop::kLanes;
using loop::Pack;
using Packs = loop::Builder::Packs;

namespace {

class Columns {
 public:
  Columns(Emitter& e, Nest& nest) : e_(e), nest_(nest) {
    for (NodeIndex n : e.group.members) {
      if (!is_reduction(e.graph, n)) continue;
      reductions_.push_back(n);
      reducers_.push_back(reducer_of(e.graph, n));
    }
    refresh();
    exprs_ = addresses_;
    std::vector<Root> all = roots_;
    for (NodeIndex s : e.group.stores) all.push_back({s, {nest.index_of(s), 0}});
    e.collect(all, exprs_);
    e.code.cost = e.collected_cost();
    kept = nest.merge(0, e.group.kept, exprs_);
    const uint32_t count = static_cast<uint32_t>(e.group.loops.size());
    const Runs rows = nest.merge_into_one(e.group.kept, count, exprs_);
    refresh();
    row_ = rows.back().back();
    extent_ = nest.extent_of(rows.back());
    e.code.range = nest.extent_of(0, e.group.kept);
    e.code.work = nest.extent_of(0, count);
  }

  std::span<const Root> roots() const { return roots_; }
  std::span<const ExprId> addresses() const { return addresses_; }
  uint64_t serial() const { return uint64_t{1} << row_; }

  // The columns in the lanes of `vectors` vectors.
  void emit(int vectors) {
    loop::Builder& b = e_.b;
    identities_ = identities_of(b, reducers_, vectors);
    const Packs sums = accumulate(b.i64(0), e_.int_param(extent_), 0);
    for (size_t i = 0; i < reductions_.size(); ++i) {
      e_.define(reductions_[i], {nest_.index_of(reductions_[i]), 0},
                b.cast(reducers_[i].result, sums[i]));
    }
    const auto& stores = e_.group.stores;
    std::vector<Pack> values;
    for (NodeIndex s : stores) values.push_back(e_.value(s, {nest_.index_of(s), 0}));
    for (size_t i = 0; i < values.size(); ++i) e_.store(stores[i], addresses_[i], values[i]);
  }

  // How many of the addresses that the rows read are not one vector where the lanes lie along
  // `loop`.
  int gathers_along(uint32_t loop) const {
    std::vector<ExprId> of_rows;
    for (ExprId e : exprs_) {
      if (e_.algebra.loops(e) & serial()) of_rows.push_back(e);
    }
    return jit::gathers_along(e_.algebra, of_rows, loop);
  }

  Runs kept;

 private:
  void refresh() {
    roots_.clear();
    for (NodeIndex r : reductions_) {
      roots_.push_back({e_.graph[r].operands[0], {nest_.operand_index_of(r), 0}});
    }
    addresses_ = addresses_of(e_, nest_, e_.group.stores);
  }
  Packs add(const Packs& sums, const Packs& more) { return combined(e_.b, reducers_, sums, more); }
  // Chunks of chunks, as PyTorch sums: the error grows with the longest of the loops alone.
  Packs accumulate(Pack lo, Pack hi, size_t level) {
    loop::Builder& b = e_.b;
    if (level == std::size(kColumnChunks)) {
      return b.for_loop(lo, hi, b.i64(1), identities_, [&](Pack r, const Packs& sums) {
        Emitter::Scope scope(e_);
        e_.set_loop(row_, r);
        Packs values;
        for (size_t i = 0; i < reducers_.size(); ++i) {
          const Pack x = e_.value(roots_[i].node, roots_[i].access);
          values.push_back(b.broadcast(to_accumulator(b, reducers_[i], x)));
        }
        return add(sums, values);
      });
    }
    const Pack chunk = b.i64(kColumnChunks[level]);
    return b.for_loop(lo, hi, chunk, identities_, [&](Pack first, const Packs& sums) {
      return add(sums, accumulate(first, b.min(b.add(first, chunk), hi), level + 1));
    });
  }

  Emitter& e_;
  Nest& nest_;
  std::vector<NodeIndex> reductions_;
  std::vector<Reducer> reducers_;
  std::vector<Root> roots_;
  std::vector<ExprId> addresses_, exprs_;
  uint32_t row_ = 0;
  PolyId extent_ = 1;
  Packs identities_;
};

constexpr int kRows = 4;  // side by side, where they can't be in the lanes

}  // namespace

KernelCode schedule_column(const Placement& placement, Algebra& algebra, uint32_t group) {
  Emitter e(placement, algebra, group);
  Nest nest(e);
  Columns columns(e, nest);
  for_kept(e, nest, columns.kept, true, e.code.cost, columns.roots(), columns.addresses(),
           columns.serial(), [&] { columns.emit(e.vector_count()); });
  return std::move(e.code);
}

// Where the last kept loop is short, lanes lie along the one before it if what is read lies in
// memory like that; else they stay, and several rows are computed side by side.
void add_narrow_column(const Placement& placement, Algebra& algebra, uint32_t group,
                       KernelCode& code) {
  if (code.cost > kMaxNarrowCost) return;
  Emitter e(placement, algebra, group);
  Nest nest(e);
  Columns columns(e, nest);
  const Runs& kept = columns.kept;
  if (kept.size() < 2) return;
  loop::Builder& b = e.b;
  const uint32_t last = kept.back().back(), along = kept[kept.size() - 2].back();
  const PolyId width = nest.extent_of(kept.back());
  code.narrow_extent = width;
  code.narrow_along = nest.extent_of(kept[kept.size() - 2]);
  const uint64_t serial = columns.serial();
  const uint64_t last_bit = uint64_t{1} << last, along_bit = uint64_t{1} << along;
  uint64_t all = serial;
  for (const auto& run : kept) all |= uint64_t{1} << run.back();
  const auto hoist = [&](uint64_t loops) { e.hoist(columns.roots(), columns.addresses(), loops); };

  // The range counts elements: whose first element is in it, that row is.
  const Pack n = e.int_param(width);
  const auto row_of = [&](Pack element) { return b.div(b.add(element, b.sub(n, b.i64(1))), n); };
  const Runs outer(kept.begin(), kept.end() - 2);
  hoist(all);
  const bool in_lanes = columns.gathers_along(along) == 0;
  const auto rows = [&](Pack lo, Pack hi) {
    if (!outer.empty()) hoist(serial | last_bit | along_bit);
    if (in_lanes) {
      for_vectors(e, along, lo, hi, column_unroll(e, e.code.cost), [&] {
        hoist(serial | last_bit);
        b.for_each(b.i64(0), n, b.i64(1), [&](Pack i) {
          Emitter::Scope scope(e);
          e.set_loop(last, i);
          hoist(serial);
          columns.emit(e.vector_count());
        });
      });
      return;
    }
    const auto vector = [&](Pack row, int count) {
      Emitter::Scope scope(e);
      e.set_loop(along, row);
      hoist(serial | last_bit);
      e.set_vector(last, b.i64(0), b.tail_mask(b.i64(0), n));  // kNarrow is less than kLanes
      hoist(serial);
      columns.emit(count);
      e.clear_vector();
    };
    const Pack step = b.i64(kRows);
    const Pack main_end = b.add(lo, b.mul(b.div(b.sub(hi, lo), step), step));
    const bool had_stored = e.has_stored;
    b.for_each(lo, main_end, step, [&](Pack i) {
      std::array<loop::Value, kRows> side_by_side;
      for (int k = 0; k < kRows; ++k) side_by_side[k] = b.add(i, b.i64(k)).single();
      vector(b.pack(side_by_side), kRows);
    });
    e.has_stored = had_stored;  // the same code for other elements
    b.for_each(main_end, hi, b.i64(1), [&](Pack i) { vector(i, 1); });
  };
  for_rows(e, nest, outer, code.narrow_along, row_of(b.range_begin()), row_of(b.range_end()), rows);
  code.narrow = std::make_shared<KernelCode>(std::move(e.code));
}

}  // namespace tenon::jit
