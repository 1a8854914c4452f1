#include "jit/schedule/access.h"

#include "core/error.h"

namespace tenon::jit {
namespace {

using Parts = SmallVector<ExprId, 8>;

// Collects an operand's index dimension by dimension.
class Collector {
 public:
  Collector(Algebra& algebra, const GraphNode& from, IndexId index, const GraphNode& to)
      : algebra_(algebra), from_(from), index_(algebra.index(index)), to_(to) {}

  // Dimension `to` of the operand has the index of the result's dimension `from`.
  void pass(int from, int to) {
    const int n = from_.atoms_in(from);
    if (n == to_.atoms_in(to) && std::equal(from_.atoms.begin() + from_.starts[from],
                                            from_.atoms.begin() + from_.starts[from + 1],
                                            to_.atoms.begin() + to_.starts[to])) {
      for (int i = 0; i < n; ++i) parts_.push_back(index_[from_.starts[from] + i]);
      return;
    }
    set(to, dim(from));
  }
  void set(int to, ExprId value) {
    const int n = to_.atoms_in(to);
    if (n == 0) return;
    algebra_.split(value, {to_.atoms.data() + to_.starts[to], static_cast<size_t>(n)}, parts_);
  }
  ExprId dim(int d) {
    const size_t first = from_.starts[d], n = from_.atoms_in(d);
    return algebra_.join({index_.data() + first, n}, {from_.atoms.data() + first, n});
  }
  IndexId finish() { return algebra_.index(parts_); }

 private:
  Algebra& algebra_;
  const GraphNode& from_;
  const Parts index_;  // a copy: the algebra's may move
  const GraphNode& to_;
  Parts parts_;
};

void reshape(Algebra& algebra, const GraphNode& node, const GraphNode& x, const Parts& index,
             Parts& parts) {
  if (node.atoms == x.atoms) {
    parts = index;
    return;
  }
  // Group by group: equal atoms pass, others go through the flat index of the group.
  SmallVector<uint8_t, 8> in, out;
  for (int d = 0; d < x.rank(); ++d) {
    if (x.dims[d] != kOne) in.push_back(static_cast<uint8_t>(d));
  }
  for (int d = 0; d < node.rank(); ++d) {
    if (node.dims[d] != kOne) out.push_back(static_cast<uint8_t>(d));
  }
  size_t i = 0, j = 0;
  for (size_t g = 0; g + 1 < node.axes.size(); g += 2) {
    const size_t n_in = node.axes[g], n_out = node.axes[g + 1];
    const size_t in0 = x.starts[in[i]], in1 = x.starts[in[i + n_in - 1] + 1];
    const size_t out0 = node.starts[out[j]], out1 = node.starts[out[j + n_out - 1] + 1];
    const std::span<const Symbol> from{x.atoms.data() + in0, in1 - in0};
    const std::span<const Symbol> to{node.atoms.data() + out0, out1 - out0};
    if (std::equal(from.begin(), from.end(), to.begin(), to.end())) {
      parts.append(index.begin() + out0, index.begin() + out1);
    } else {
      const ExprId flat = algebra.join({index.data() + out0, to.size()}, to);
      algebra.split(flat, from, parts);
    }
    i += n_in, j += n_out;
  }
}

}  // namespace

ExprId dim_of(Algebra& algebra, const GraphNode& node, IndexId index, int d) {
  const Parts parts = algebra.index(index);
  const size_t first = node.starts[d], n = node.atoms_in(d);
  return algebra.join({parts.data() + first, n}, {node.atoms.data() + first, n});
}

PolyId elements_of(Algebra& algebra, const GraphNode& node) { return algebra.product(node.atoms); }

Access operand_access(const Graph& graph, Algebra& algebra, NodeIndex n, int k, Access at) {
  const GraphNode& node = graph[n];
  const GraphNode& x = graph[node.operands[k]];
  if (x.atoms.empty() && node.op != Op::Concatenate && node.op != Op::Pad) {
    return {0, at.condition};
  }
  Collector to(algebra, node, at.index, x);
  const int rank = node.rank();
  const auto attribute = [&](int i) {
    return algebra.param({Param::Attribute, node.source, static_cast<uint32_t>(i)});
  };
  switch (node.op) {
    case Op::Reshape: {
      Parts parts;
      reshape(algebra, node, x, Parts(algebra.index(at.index)), parts);
      return {algebra.index(parts), at.condition};
    }
    case Op::Permute: {
      SmallVector<int64_t, 8> inverse(static_cast<size_t>(rank));
      for (int d = 0; d < rank; ++d) inverse[node.axes[d]] = d;
      for (int d = 0; d < rank; ++d) to.pass(static_cast<int>(inverse[d]), d);
      return {to.finish(), at.condition};
    }
    case Op::Slice: {
      const uint64_t full = node.axes[0], unit = node.axes[1];
      for (int d = 0; d < rank; ++d) {
        if ((full >> d) & 1) {
          to.pass(d, d);
          continue;
        }
        ExprId e = to.dim(d);
        if (!((unit >> d) & 1)) e = algebra.scale(e, attribute(rank + d));
        to.set(d, algebra.plus(e, algebra.from(attribute(d))));
      }
      return {to.finish(), at.condition};
    }
    case Op::Pad: {
      if (k == 1) return {0, at.condition};
      const uint64_t none = node.axes[0], dense = node.axes[1];
      ConditionId condition = at.condition;
      for (int d = 0; d < rank; ++d) {
        if ((none >> d) & 1) {
          to.pass(d, d);
          continue;
        }
        ExprId e =
            algebra.plus(to.dim(d), algebra.from(algebra.mul(attribute(d), algebra.constant(-1))));
        condition = algebra.condition(condition, Condition::NotNegative, e);
        if (!((dense >> d) & 1)) {
          const PolyId step = algebra.add(attribute(2 * rank + d), 1);
          condition = algebra.condition(condition, Condition::Divisible, e, step);
          e = algebra.quotient(e, step);
        }
        const size_t first = x.starts[d], count = x.atoms_in(d);
        condition = algebra.condition(condition, Condition::Below, e,
                                      algebra.product({x.atoms.data() + first, count}));
        to.set(d, e);
      }
      return {to.finish(), condition};
    }
    case Op::Concatenate: {
      const int axis = static_cast<int>(node.axes[0]);
      const auto extent = [&](size_t i) {
        const GraphNode& part = graph[node.operands[i]];
        return algebra.product(
            {part.atoms.data() + part.starts[axis], static_cast<size_t>(part.atoms_in(axis))});
      };
      PolyId offset = 0;
      for (int i = 0; i < k; ++i) offset = algebra.add(offset, extent(i));
      ConditionId condition = at.condition;
      for (int d = 0; d < rank; ++d) {
        if (d != axis) {
          to.pass(d, d);
          continue;
        }
        const ExprId e =
            algebra.plus(to.dim(d), algebra.from(algebra.mul(offset, algebra.constant(-1))));
        if (k > 0) condition = algebra.condition(condition, Condition::NotNegative, e);
        if (k + 1 < static_cast<int>(node.operands.size())) {
          condition = algebra.condition(condition, Condition::Below, e, extent(k));
        }
        to.set(d, e);
      }
      return {to.finish(), condition};
    }
    case Op::Gather: {
      const int axis = static_cast<int>(node.axes[0]);
      const GraphNode& index = graph[node.operands[1]];
      const int index_rank = index.rank();
      if (k == 1) {
        for (int d = 0; d < index_rank; ++d) to.pass(axis + d, d);
        return {to.finish(), at.condition};
      }
      const Access where = operand_access(graph, algebra, n, 1, at);
      for (int d = 0; d < x.rank(); ++d) {
        if (d < axis) to.pass(d, d);
        if (d > axis) to.pass(d - 1 + index_rank, d);
        if (d == axis) {
          const uint64_t loops =
              algebra.index_loops(where.index) | algebra.condition_loops(at.condition);
          to.set(d, algebra.loaded(n, where.index, at.condition, loops));
        }
      }
      return {to.finish(), at.condition};
    }
    case Op::TakeAlong: {
      if (k == 1) return {at.index, at.condition};
      for (int d = 0; d < rank; ++d) {
        if (d != node.axes[0]) {
          to.pass(d, d);
          continue;
        }
        const uint64_t loops =
            algebra.index_loops(at.index) | algebra.condition_loops(at.condition);
        to.set(d, algebra.loaded(n, at.index, at.condition, loops));
      }
      return {to.finish(), at.condition};
    }
    default: {  // elementwise and expand: aligned at the right
      check(is_elementwise(node.op) || node.op == Op::Expand, ErrorKind::Internal,
            "{} has no element-by-element operands", name_of(node.op));
      const int shift = rank - x.rank();
      for (int d = 0; d < x.rank(); ++d) {
        if (x.dims[d] != kOne) to.pass(d + shift, d);
      }
      return {to.finish(), at.condition};
    }
  }
}

ExprId address_of(Algebra& algebra, const GraphNode& node, IndexId index) {
  const Layout& layout = node.layout;
  const Parts parts = algebra.index(index);
  if (layout.kind == Layout::Contiguous) return algebra.join(parts, node.atoms);
  if (layout.kind == Layout::Permuted) {
    Parts in_memory;
    Symbols atoms;
    for (uint8_t d : layout.order) {
      for (int i = node.starts[d]; i < node.starts[d + 1]; ++i) {
        in_memory.push_back(parts[i]);
        atoms.push_back(node.atoms[i]);
      }
    }
    return algebra.join(in_memory, atoms);
  }
  ExprId sum = 0;
  for (int d = 0; d < node.rank(); ++d) {
    if (node.dims[d] == kOne || layout.classes[d] == 0) continue;
    const PolyId stride =
        layout.classes[d] == 1
            ? PolyId{1}
            : algebra.param({Param::Stride, node.input, static_cast<uint32_t>(d)});
    sum = algebra.plus(sum, algebra.scale(dim_of(algebra, node, index, d), stride));
  }
  return sum;
}

StridedView matrix_view(const Graph& graph, Algebra& algebra, NodeIndex n) {
  const size_t rank = graph[n].atoms.size();
  check(rank < kMaxLoops, ErrorKind::NotImplemented, "matrix products of {} dimensions", rank);
  Parts parts;
  for (uint32_t l = 0; l < rank; ++l) parts.push_back(algebra.loop(l));
  const Access start{algebra.index(parts), 0};
  // Whether the element at `at` of `base` has strides in n's loops.
  const auto view_of = [&](NodeIndex base, Access at, StridedView& view) {
    const ExprId address = address_of(algebra, graph[base], at.index);
    view = {base, algebra.expr(address).constant, std::vector<PolyId>(rank, 0)};
    for (uint64_t t : Expr(algebra.expr(address)).terms) {
      if (t >> 32 >= rank) return false;  // a digit of a split index
      view.strides[t >> 32] = static_cast<PolyId>(t);
    }
    return true;
  };
  NodeIndex base = n;
  Access at = start;
  while (graph[base].op == Op::Reshape || graph[base].op == Op::Permute ||
         graph[base].op == Op::Expand || graph[base].op == Op::Slice) {
    at = operand_access(graph, algebra, base, 0, at);
    base = graph[base].operands[0];
  }
  StridedView view;
  if (graph[base].op != Op::Constant && view_of(base, at, view)) return view;
  view_of(n, start, view);
  return view;
}

}  // namespace tenon::jit
