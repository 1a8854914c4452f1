// Row reductions over a few elements (the norm of a vector in space, a sum over two classes): the
// rows lie in the lanes, and the elements of a row are added in the order in which the lanes of one
// vector are: halves, halves of halves, and so on (see row.cpp). What a row lacks of a vector are
// identities there, which change no bits; here they are left out.
#include "jit/schedule/kernels.h"
#include "jit/schedule/passes.h"

namespace tenon::jit {

using loop::kLanes;
using loop::Pack;
using Packs = loop::Builder::Packs;

namespace {

class NarrowRow {
 public:
  NarrowRow(Emitter& e, Nest& nest, const Runs& outer, const std::vector<uint32_t>& inner)
      : e_(e), nest_(nest), outer_(outer), element_(inner.back()), n_(nest.extent_of(inner)) {}

  uint64_t loops() const {
    uint64_t bits = uint64_t{1} << element_;
    for (const auto& run : outer_) bits |= uint64_t{1} << run.back();
    return bits;
  }

  // One pass over the rows in the lanes: the values of its reductions.
  Packs run(const Pass& pass, std::span<const Root> roots, std::span<const ExprId> addresses) {
    pass_ = &pass, roots_ = roots, addresses_ = addresses;
    reducers_.clear();
    for (NodeIndex r : pass.reductions) reducers_.push_back(reducer_of(e_.graph, r));
    identities_ = identities_of(e_.b, reducers_, e_.vector_count());
    Packs results = halves(e_.b.i64(0), 1);
    for (size_t r = 0; r < results.size(); ++r) {
      results[r] = e_.b.cast(reducers_[r].result, results[r]);
    }
    return results;
  }

 private:
  // Elements first, first + step, ... of the row, which has at most kNarrow.
  Packs halves(Pack first, int64_t step) {
    if (step == kNarrow) return element(first);
    loop::Builder& b = e_.b;
    const Pack end = b.min(e_.int_param(n_), b.add(first, b.i64(2 * step)));
    return b.for_loop(first, end, b.i64(step), identities_, [&](Pack i, const Packs& sums) {
      return combined(b, reducers_, sums, halves(i, 2 * step));
    });
  }

  // Element i of the row, through the loops outside of the innermost reduced one.
  Packs element(Pack i) {
    Emitter::Scope scope(e_);
    e_.set_loop(element_, i);
    return through(0, identities_);
  }
  Packs through(size_t depth, const Packs& carried) {
    if (depth == outer_.size()) return step(carried);
    loop::Builder& b = e_.b;
    const Pack extent = e_.int_param(nest_.extent_of(outer_[depth]));
    return b.for_loop(b.i64(0), extent, b.i64(1), carried, [&](Pack i, const Packs& inside) {
      Emitter::Scope scope(e_);
      e_.set_loop(outer_[depth].back(), i);
      return through(depth + 1, inside);
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
  const Pass* pass_ = nullptr;
  std::span<const Root> roots_;
  std::span<const ExprId> addresses_;
  std::vector<Reducer> reducers_;
  Packs identities_;
};

}  // namespace

void add_narrow_row(const Placement& placement, Algebra& algebra, uint32_t group_index,
                    KernelCode& code) {
  Emitter e(placement, algebra, group_index);
  const Group& group = e.group;
  if (group.kept == 0 || code.cost > kMaxNarrowCost) return;
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
  code.narrow_extent = nest.extent_of(inner.back());
  code.narrow_along = nest.extent_of(kept.back());
  e.code.cost = code.cost;
  e.code.range = nest.extent_of(0, group.kept);
  e.code.work = nest.extent_of(0, count);

  NarrowRow row(e, nest, outer, inner.back());
  uint64_t kept_loops = 0;
  for (const auto& run : kept) kept_loops |= uint64_t{1} << run.back();
  const std::vector<Root> roots = all_roots();
  const std::vector<ExprId> addresses = addresses_of(e, nest, group.stores);
  const int usual = code.cost > 60 ? 1 : code.cost > 25 ? 2 : 4;
  const int unroll = e.does(Optimization::Unroll) ? usual : 1;
  e.hoist(roots, addresses, kept_loops | row.loops());
  const Runs outside(kept.begin(), kept.end() - 1);
  for_rows(e, nest, outside, nest.extent_of(kept.back()), [&](Pack lo, Pack hi) {
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
  code.narrow = std::make_shared<KernelCode>(std::move(e.code));
}

}  // namespace tenon::jit
