// Kernels without reductions: maps, and the copies and partial stores of updates and scatters.
#include "jit/schedule/kernels.h"
#include "jit/schedule/nest.h"

namespace tenon::jit {

using loop::Pack;

namespace {

// Stores values over all of e.loops. `place(nest)` gives the roots and the addresses they go to.
struct MapStore {
  NodeIndex into;
  Root value;
  ExprId address;
};

void emit_map(Emitter& e, const std::function<std::vector<MapStore>(const Nest&)>& place) {
  Nest nest(e);
  const uint32_t count = static_cast<uint32_t>(e.loops.size());
  std::vector<MapStore> stores = place(nest);
  std::vector<ExprId> exprs;
  std::vector<Root> roots;
  const auto refresh = [&] {
    exprs.clear();
    roots.clear();
    for (const MapStore& store : stores) {
      exprs.push_back(store.address);
      roots.push_back(store.value);
    }
  };
  refresh();
  e.collect(roots, exprs);
  e.code.cost = e.collected_cost();
  const Runs runs = nest.merge(0, count, exprs);
  stores = place(nest);
  refresh();
  e.code.range = e.code.work = nest.extent_of(0, count);

  const auto body = [&] {
    std::vector<Pack> values;
    for (const MapStore& store : stores) {
      values.push_back(e.value(store.value.node, store.value.access));
    }
    for (size_t i = 0; i < stores.size(); ++i) {
      e.store(stores[i].into, stores[i].address, values[i]);
    }
  };
  if (runs.empty()) {
    e.code.unit_elements = false;
    body();
    return;
  }
  const uint32_t vector = runs.back().back();
  const uint64_t vector_bit = uint64_t{1} << vector;
  uint64_t all = 0;
  for (const auto& run : runs) all |= uint64_t{1} << run.back();
  e.hoist(roots, exprs, all);
  const Runs outer(runs.begin(), runs.end() - 1);
  if (!outer.empty()) e.code.row = nest.extent_of(runs.back());
  for_rows(e, nest, outer, nest.extent_of(runs.back()), [&](Pack lo, Pack hi) {
    if (!outer.empty()) e.hoist(roots, exprs, vector_bit);
    for_vectors(e, vector, lo, hi, unroll_for(e, e.code.cost), body);
  });
}

// A kernel that stores `value` of node `from` (atoms = loops) into n.
KernelCode copy_into(const Placement& placement, Algebra& algebra, uint32_t group, NodeIndex n,
                     NodeIndex from,
                     const std::function<IndexId(Emitter&, IndexId)>& index_in_result) {
  Emitter e(placement, algebra, group);
  e.loops = placement.graph[from].atoms;
  SmallVector<uint8_t, 8> loops;
  for (size_t l = 0; l < e.loops.size(); ++l) loops.push_back(static_cast<uint8_t>(l));
  emit_map(e, [&](const Nest& nest) {
    const IndexId index = nest.index_of(loops);
    const ExprId address = address_of(algebra, placement.graph[n], index_in_result(e, index));
    return std::vector<MapStore>{{n, {from, {index, 0}}, address}};
  });
  return std::move(e.code);
}

}  // namespace

KernelCode schedule_map(const Placement& placement, Algebra& algebra, uint32_t group) {
  Emitter e(placement, algebra, group);
  emit_map(e, [&](const Nest& nest) {
    std::vector<MapStore> stores;
    for (NodeIndex n : e.group.stores) {
      const IndexId index = nest.index_of(n);
      stores.push_back({n, {n, {index, 0}}, address_of(algebra, e.graph[n], index)});
    }
    return stores;
  });
  return std::move(e.code);
}

KernelCode schedule_base_copy(const Placement& placement, Algebra& algebra, uint32_t group,
                              NodeIndex n) {
  KernelCode code = copy_into(placement, algebra, group, n, placement.graph[n].operands[0],
                              [](Emitter&, IndexId index) { return index; });
  code.initialises = true;
  return code;
}

KernelCode schedule_box(const Placement& placement, Algebra& algebra, uint32_t group, NodeIndex n) {
  const GraphNode& node = placement.graph[n];
  const GraphNode& value = placement.graph[node.operands[1]];
  const int rank = node.rank();
  return copy_into(placement, algebra, group, n, node.operands[1], [&](Emitter&, IndexId index) {
    SmallVector<ExprId, 8> parts;
    for (int d = 0; d < rank; ++d) {
      const size_t first = node.starts[d], count = node.atoms_in(d);
      if (count == 0) continue;
      ExprId e = dim_of(algebra, value, index, d);
      if (!((node.axes[0] >> d) & 1)) {
        if (!((node.axes[1] >> d) & 1)) {
          e = algebra.scale(
              e, algebra.param({Param::Attribute, node.source, static_cast<uint32_t>(rank + d)}));
        }
        e = algebra.plus(
            e,
            algebra.from(algebra.param({Param::Attribute, node.source, static_cast<uint32_t>(d)})));
      }
      algebra.split(e, {node.atoms.data() + first, count}, parts);
    }
    return algebra.index(parts);
  });
}

KernelCode schedule_part(const Placement& placement, Algebra& algebra, uint32_t group, NodeIndex n,
                         uint32_t operand) {
  const GraphNode& node = placement.graph[n];
  const GraphNode& part = placement.graph[node.operands[operand]];
  const int axis = static_cast<int>(node.axes[0]);
  PolyId offset = 0;
  for (uint32_t k = 0; k < operand; ++k) {
    const GraphNode& before = placement.graph[node.operands[k]];
    offset = algebra.add(offset, algebra.product({before.atoms.data() + before.starts[axis],
                                                  static_cast<size_t>(before.atoms_in(axis))}));
  }
  return copy_into(placement, algebra, group, n, node.operands[operand],
                   [&](Emitter&, IndexId index) {
                     SmallVector<ExprId, 8> parts;
                     for (int d = 0; d < node.rank(); ++d) {
                       const size_t first = node.starts[d], count = node.atoms_in(d);
                       if (count == 0) continue;
                       ExprId e = dim_of(algebra, part, index, d);
                       if (d == axis) e = algebra.plus(e, algebra.from(offset));
                       algebra.split(e, {node.atoms.data() + first, count}, parts);
                     }
                     return algebra.index(parts);
                   });
}

}  // namespace tenon::jit
