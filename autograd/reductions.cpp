// The derivative rules of reductions and running reductions.
#include "autograd/reverse.h"

namespace tenon {
namespace {

using Needs = std::span<const bool>;
using Cotangents = std::span<Value>;

// A reduced value, broadcast back over the reduced axes.
Value spread(Value reduced, const RuleContext& c) {
  Dims dims(c.operand_type(0).dims());
  for (int64_t axis : c.axes) dims[axis] = 1;
  return ops::expand(ops::reshape(reduced, dims), c.operand_type(0).dims());
}

// Each extremal element's share: ties share equally (as PyTorch's amax).
Value extremal_share(RuleContext& c) {
  const Value x = c.operand(0);
  const Value hit = ops::cast(ops::binary(Op::Eq, x, spread(c.result(), c)), c.result_type().dtype);
  return hit / spread(ops::reduce(Op::ReduceSum, hit, c.axes), c);
}

Value running(Op op, Value x, int64_t axis) { return ops::cumulative(op, x, axis); }
Value running_from_end(Op op, Value x, int64_t axis) {
  return ops::flip(running(op, ops::flip(x, axis), axis), axis);
}

// For each element the product of all others along the last axis, exact where there are zeros.
Value product_of_others(Value x) {
  const int64_t axis = rank(x) - 1;
  const int64_t n = dims(x)[axis];
  if (n == 0) return x;
  const auto before = [&](Value v) {  // exclusive running product
    Dims low(rank(v), 0), none(rank(v), 0);
    low[axis] = 1;
    const Value shifted = ops::slice_axis(running(Op::Cumprod, v, axis), axis, 0, n - 1);
    return ops::pad(shifted, ops::literal_like(v, 1), low, none, none);
  };
  return before(x) * ops::flip(before(ops::flip(x, axis)), axis);
}

// product_of_others over any set of axes: they are moved last and flattened.
Value product_of_others(Value x, std::span<const int64_t> axes) {
  const int r = rank(x);
  Dims perm, inverse(r);
  int64_t n = 1;
  for (int i = 0; i < r; ++i) {
    if (std::find(axes.begin(), axes.end(), i) == axes.end()) perm.push_back(i);
  }
  Dims flat;
  for (int64_t axis : perm) flat.push_back(dims(x)[axis]);
  for (int64_t axis : axes) {
    perm.push_back(axis);
    n *= dims(x)[axis];
  }
  flat.push_back(n);
  for (int i = 0; i < r; ++i) inverse[perm[i]] = i;
  const Value moved = ops::permute(x, perm);
  const Dims moved_dims(dims(moved));
  return ops::permute(ops::reshape(product_of_others(ops::reshape(moved, flat)), moved_dims),
                      inverse);
}

}  // namespace

void vjp_ReduceSum(RuleContext& c, Value g, Needs, Cotangents out) { out[0] = spread(g, c); }

void vjp_ReduceMax(RuleContext& c, Value g, Needs, Cotangents out) {
  out[0] = spread(g, c) * extremal_share(c);
}
void vjp_ReduceMin(RuleContext& c, Value g, Needs n, Cotangents out) {
  vjp_ReduceMax(c, g, n, out);
}
Value jvp_ReduceMax(RuleContext& c, std::span<const Value> t) {
  return ops::reduce(Op::ReduceSum, t[0] * extremal_share(c), c.axes);
}
Value jvp_ReduceMin(RuleContext& c, std::span<const Value> t) { return jvp_ReduceMax(c, t); }

void vjp_ReduceProd(RuleContext& c, Value g, Needs, Cotangents out) {
  out[0] = spread(g, c) * product_of_others(c.operand(0), c.axes);
}
Value jvp_ReduceProd(RuleContext& c, std::span<const Value> t) {
  return ops::reduce(Op::ReduceSum, t[0] * product_of_others(c.operand(0), c.axes), c.axes);
}

void vjp_Cumsum(RuleContext& c, Value g, Needs, Cotangents out) {
  out[0] = running_from_end(Op::Cumsum, g, c.axes[0]);
}

// Of y_j = prod of x_k over k <= j: dy_j/dx_i is the product of the x before i and of those from
// i + 1 to j. Written as linear recurrences, without a division, so that derivatives of every order
// are right where there are zeros, too.
namespace {

// s_i = b_i + a_i s_{i-1} along the axis, by doubling distances: log2 of the extent rounds (Hillis
// and Steele, "Data parallel algorithms", CACM 1986).
Value recurrence(Value a, Value b, int64_t axis) {
  const int64_t extent = dims(b)[axis];
  for (int64_t distance = 1; distance < extent; distance *= 2) {
    const auto before = [&](Value v) { return ops::slice_axis(v, axis, 0, extent - distance); };
    const auto after = [&](Value v) {
      return ops::slice_axis(v, axis, distance, extent - distance);
    };
    const auto head = [&](Value v) { return ops::slice_axis(v, axis, 0, distance); };
    const Value next_b[] = {head(b), after(b) + after(a) * before(b)};
    const Value next_a[] = {head(a), after(a) * before(a)};
    b = ops::concatenate(next_b, axis);
    a = ops::concatenate(next_a, axis);
  }
  return b;
}

// v shifted by one place along the axis, behind a 1.
Value behind_one(Value v, int64_t axis) {
  Dims low(rank(v), 0), none(rank(v), 0);
  low[axis] = 1;
  const int64_t kept = std::max<int64_t>(dims(v)[axis] - 1, 0);
  const Value shifted = ops::slice_axis(v, axis, 0, kept);
  return dims(v)[axis] == 0 ? v : ops::pad(shifted, ops::literal_like(v, 1), low, none, none);
}

}  // namespace

void vjp_Cumprod(RuleContext& c, Value g, Needs, Cotangents out) {
  const int64_t axis = c.axes[0];
  // What follows each place, from the end: s_i = g_i + x_{i+1} s_{i+1}.
  const Value x = ops::flip(c.operand(0), axis);
  const Value after = recurrence(behind_one(x, axis), ops::flip(g, axis), axis);
  out[0] = behind_one(c.result(), axis) * ops::flip(after, axis);
}
Value jvp_Cumprod(RuleContext& c, std::span<const Value> t) {
  const int64_t axis = c.axes[0];
  return recurrence(c.operand(0), behind_one(c.result(), axis) * t[0], axis);
}

namespace {

// Where each element of a running extremum came from: the latest place that attains it.
Value running_index(RuleContext& c) {
  const Value x = c.operand(0);
  const Value at = ops::iota(dims(x), c.axes[0]);
  const Value attains = ops::binary(Op::Eq, x, c.result());
  return running(Op::Cummax, ops::select(attains, at, ops::literal_like(at, 0)), c.axes[0]);
}

}  // namespace

void vjp_Cummax(RuleContext& c, Value g, Needs, Cotangents out) {
  out[0] = ops::put_along_add(ops::zeros_like(g), running_index(c), g, c.axes[0]);
}
void vjp_Cummin(RuleContext& c, Value g, Needs n, Cotangents out) { vjp_Cummax(c, g, n, out); }
Value jvp_Cummax(RuleContext& c, std::span<const Value> t) {
  return ops::take_along(t[0], running_index(c), c.axes[0]);
}
Value jvp_Cummin(RuleContext& c, std::span<const Value> t) { return jvp_Cummax(c, t); }

}  // namespace tenon
