// The derivative rules of structural primitives: movement, indexing and contraction. Each stands
// with its transpose (reverse mode); linear ones need no more, since their forward mode is
// themselves (see tables.cpp).
#include <algorithm>

#include "autograd/reverse.h"
#include "core/error.h"
#include "trace/complex.h"

namespace tenon {
namespace {

using Needs = std::span<const bool>;
using Cotangents = std::span<Value>;

Value zeros(const Type& type) { return ops::full(type.dims(), ops::literal(0, type.dtype)); }

Dims iota_dims(int64_t begin, int64_t end) {
  Dims result;
  for (int64_t i = begin; i < end; ++i) result.push_back(i);
  return result;
}

}  // namespace

// No derivative ---------------------------------------------------------------------------------
#define TENON_NO_DERIVATIVE(Name) \
  void vjp_##Name(RuleContext&, Value, Needs, Cotangents) {}
TENON_NO_DERIVATIVE(Input)
TENON_NO_DERIVATIVE(Constant)
TENON_NO_DERIVATIVE(Iota)
TENON_NO_DERIVATIVE(RandomBits)
TENON_NO_DERIVATIVE(ReduceAny)
TENON_NO_DERIVATIVE(ReduceAll)
TENON_NO_DERIVATIVE(Argmax)
TENON_NO_DERIVATIVE(Argmin)
TENON_NO_DERIVATIVE(Argsort)
TENON_NO_DERIVATIVE(LuPermutation)
#undef TENON_NO_DERIVATIVE

// Identity --------------------------------------------------------------------------------------
void vjp_Alias(RuleContext&, Value g, Needs, Cotangents out) { out[0] = g; }
void vjp_ToDevice(RuleContext& c, Value g, Needs, Cotangents out) {
  out[0] = ops::to_device(g, type_of(c.operand_types[0]).device);
}
void vjp_Redirect(RuleContext&, Value g, Needs needs, Cotangents out) {
  if (needs[0]) out[0] = g;
  if (needs[1]) out[1] = g;
}

// Complex numbers -------------------------------------------------------------------------------
// As maps of real vector spaces they are linear; the derivative of a real loss by z is that by the
// real part plus i times that by the imaginary part.
void vjp_Part(RuleContext& c, Value g, Needs, Cotangents out) {
  const Value zero = ops::zeros_like(g);
  out[0] = c.axes[0] == 0 ? ops::complex(g, zero) : ops::complex(zero, g);
}
void vjp_Complex(RuleContext&, Value g, Needs needs, Cotangents out) {
  for (int k = 0; k < 2; ++k) {
    if (needs[k]) out[k] = ops::part(g, k);
  }
}
void vjp_ViewAsReal(RuleContext&, Value g, Needs, Cotangents out) {
  out[0] = ops::view_as_complex(g);
}
void vjp_ViewAsComplex(RuleContext&, Value g, Needs, Cotangents out) {
  out[0] = ops::view_as_real(g);
}

// Movement --------------------------------------------------------------------------------------
void vjp_Expand(RuleContext& c, Value g, Needs, Cotangents out) {
  out[0] = ops::sum_to(g, c.operand_type(0).dims());
}
void vjp_Reshape(RuleContext& c, Value g, Needs, Cotangents out) {
  out[0] = ops::reshape(g, c.operand_type(0).dims());
}
void vjp_Permute(RuleContext& c, Value g, Needs, Cotangents out) {
  Dims inverse(c.axes.size());
  for (size_t i = 0; i < c.axes.size(); ++i) inverse[c.axes[i]] = static_cast<int64_t>(i);
  out[0] = ops::permute(g, inverse);
}

void vjp_Slice(RuleContext& c, Value g, Needs, Cotangents out) {
  const Type& from = c.operand_type(0);
  const Type& to = c.result_type();
  if (to.numel == 0) {
    out[0] = zeros(from);
    return;
  }
  const int rank = from.rank;
  Dims low(rank), high(rank), interior(rank);
  for (int i = 0; i < rank; ++i) {
    int64_t start = c.sizes[i], step = c.sizes[rank + i];
    const int64_t n = to.dims()[i];
    if (step < 0) {
      g = ops::flip(g, i);
      start += step * (n - 1);
      step = -step;
    }
    low[i] = start;
    interior[i] = n > 1 ? step - 1 : 0;
    high[i] = from.dims()[i] - (start + step * (n - 1) + 1);
  }
  out[0] = ops::pad(g, ops::literal_like(g, 0), low, high, interior);
}

void vjp_Pad(RuleContext& c, Value g, Needs needs, Cotangents out) {
  const Type& from = c.operand_type(0);
  const int rank = from.rank;
  Dims starts(c.sizes.first(rank)), steps(rank);
  for (int i = 0; i < rank; ++i) steps[i] = c.sizes[2 * rank + i] + 1;
  const Value inside = ops::slice(g, starts, steps, from.dims());
  if (needs[0]) out[0] = inside;
  if (needs[1]) {
    const Dims all = iota_dims(0, rank);
    out[1] = ops::reduce(Op::ReduceSum, g, all) - ops::reduce(Op::ReduceSum, inside, all);
  }
}

void vjp_Concatenate(RuleContext& c, Value g, Needs needs, Cotangents out) {
  const int64_t axis = c.axes[0];
  int64_t start = 0;
  for (size_t k = 0; k < needs.size(); ++k) {
    const int64_t length = c.operand_type(static_cast<int>(k)).dims()[axis];
    if (needs[k]) out[k] = ops::slice_axis(g, axis, start, length);
    start += length;
  }
}

void vjp_UpdateSlice(RuleContext& c, Value g, Needs needs, Cotangents out) {
  const Type& value = c.operand_type(1);
  const auto starts = c.sizes.first(value.rank), steps = c.sizes.subspan(value.rank);
  if (needs[0]) out[0] = ops::update_slice(g, zeros(value), starts, steps);
  if (needs[1]) out[1] = ops::slice(g, starts, steps, value.dims());
}

// Indexing --------------------------------------------------------------------------------------
void vjp_Gather(RuleContext& c, Value g, Needs, Cotangents out) {
  out[0] = ops::scatter_add(zeros(c.operand_type(0)), c.operand(1), g, c.axes[0]);
}
void vjp_TakeAlong(RuleContext& c, Value g, Needs, Cotangents out) {
  out[0] = ops::put_along_add(zeros(c.operand_type(0)), c.operand(1), g, c.axes[0]);
}
void vjp_ScatterAdd(RuleContext& c, Value g, Needs needs, Cotangents out) {
  if (needs[0]) out[0] = g;
  if (needs[2]) out[2] = ops::gather(g, c.operand(1), c.axes[0]);
}
void vjp_PutAlongAdd(RuleContext& c, Value g, Needs needs, Cotangents out) {
  if (needs[0]) out[0] = g;
  if (needs[2]) out[2] = ops::take_along(g, c.operand(1), c.axes[0]);
}
void vjp_ScatterSet(RuleContext& c, Value g, Needs needs, Cotangents out) {
  const Value index = c.operand(1);
  if (needs[0]) out[0] = ops::scatter_set(g, index, zeros(c.operand_type(2)), c.axes[0]);
  if (needs[2]) out[2] = ops::gather(g, index, c.axes[0]);
}
void vjp_PutAlongSet(RuleContext& c, Value g, Needs needs, Cotangents out) {
  const Value index = c.operand(1);
  if (needs[0]) out[0] = ops::put_along_set(g, index, zeros(c.operand_type(2)), c.axes[0]);
  if (needs[2]) out[2] = ops::take_along(g, index, c.axes[0]);
}

// Contraction -----------------------------------------------------------------------------------
namespace {

struct DotAxes {
  Dims batch[2], contract[2], free[2];

  explicit DotAxes(const RuleContext& c) {
    const size_t batches = c.axes[0], contractions = c.axes[1 + 2 * batches];
    for (int side = 0; side < 2; ++side) {
      batch[side] = Dims(c.axes.subspan(1 + side * batches, batches));
      contract[side] = Dims(c.axes.subspan(2 + 2 * batches + side * contractions, contractions));
      for (int i = 0; i < c.operand_type(side).rank; ++i) {
        if (!has(batch[side], i) && !has(contract[side], i)) free[side].push_back(i);
      }
    }
  }
  static bool has(const Dims& axes, int64_t axis) {
    return std::find(axes.begin(), axes.end(), axis) != axes.end();
  }
};

// The cotangent for one side: g contracted with the other side over the other side's free axes.
Value transpose_dot(RuleContext& c, Value g, int side) {
  const DotAxes axes(c);
  const int other = 1 - side;
  const int64_t batches = static_cast<int64_t>(axes.batch[0].size());
  const int64_t free_a = static_cast<int64_t>(axes.free[0].size());
  const int64_t other_begin = batches + (other == 0 ? 0 : free_a);
  const Value product = ops::dot_general(
      g, c.operand(other), iota_dims(0, batches), axes.batch[other],
      iota_dims(other_begin, other_begin + static_cast<int64_t>(axes.free[other].size())),
      axes.free[other]);
  // The product's axes: batch, this side's free axes, the other side's contracted axes in order.
  Dims order(axes.batch[side]);
  order.append(axes.free[side].begin(), axes.free[side].end());
  Dims contracted(axes.contract[other]);
  std::sort(contracted.begin(), contracted.end());
  for (int64_t axis : contracted) {
    const auto at = std::find(axes.contract[other].begin(), axes.contract[other].end(), axis);
    order.push_back(axes.contract[side][at - axes.contract[other].begin()]);
  }
  Dims perm(order.size());
  for (size_t i = 0; i < order.size(); ++i) perm[order[i]] = static_cast<int64_t>(i);
  return ops::permute(product, perm);
}

}  // namespace

void vjp_DotGeneral(RuleContext& c, Value g, Needs needs, Cotangents out) {
  for (int side = 0; side < 2; ++side) {
    if (needs[side]) out[side] = transpose_dot(c, g, side);
  }
}

// The cotangent stands in the place of the result: each operand is solved for from the other one
// and the cotangent.
void vjp_Convolution(RuleContext& c, Value g, Needs needs, Cotangents out) {
  using ops::ConvolutionRole;
  const int spatial = c.result_type().rank - 2;
  const auto list = [&](int i) { return Dims(c.sizes.subspan(1 + i * spatial, spatial)); };
  const ops::ConvolutionSizes sizes{c.sizes[0], list(0), list(1), list(2)};
  const auto result = static_cast<int>(c.axes[0]);
  for (int side = 0; side < 2; ++side) {
    if (!needs[side]) continue;
    const auto role_of = [&](int k) { return k + (k >= result); };  // of operand k
    const Dims extents(c.operand_type(side).dims().subspan(2));
    const Value other = c.operand(1 - side);
    const bool cotangent_first = result < role_of(1 - side);
    out[side] =
        ops::convolution(static_cast<ConvolutionRole>(role_of(side)), cotangent_first ? g : other,
                         cotangent_first ? other : g, sizes, extents);
  }
}

}  // namespace tenon
