// Batching rules of indexing, reductions, scans, sorts and contractions.
#include <algorithm>

#include "trace/batch.h"

namespace tenon {
namespace {

Value to_front(Value x, int64_t axis) { return ops::move_axis(x, axis, 0); }

// gather's index, one an example, as take_along wants it: a [B, 1.., n, 1..] index of n positions
// along `axis` of the example, repeated (by stride 0) over the other dims of `shape`.
Value index_along(Value index, std::span<const int64_t> shape, int64_t axis) {
  const Type& type = type_of(index);
  const int64_t batch = type.dims()[0];
  int64_t count = 1;
  for (int64_t dim : type.dims().subspan(1)) count *= dim;
  Dims thin(shape.size(), 1), wide(shape);
  thin[0] = wide[0] = batch;
  thin[axis] = wide[axis] = count;
  return ops::expand(ops::reshape(index, thin), wide);
}

// The dims of gather's updates with all index dims in one.
Dims flat_updates(std::span<const int64_t> base, int64_t axis, Value index) {
  Dims dims(base);
  dims[axis] = 1;
  for (int64_t dim : type_of(index).dims().subspan(1)) dims[axis] *= dim;
  return dims;
}

// An index for each example: rows are picked within the example's own base, so that an index out
// of bounds is found and never reaches a neighbour.
Value batch_scatter(const BatchContext& c, Op op, Op along) {
  const int64_t axis = c.axes[0] + 1;
  const Value base = c.batch(0), updates = c.batch(2);
  if (!c.batched[1]) {
    const Value operands[] = {base, c.operands[1], updates};
    return ops::primitive(op, operands, {&axis, 1});
  }
  const Value index = c.operands[1];
  const auto shape = type_of(base).dims();
  const Value operands[] = {base, index_along(index, shape, axis),
                            ops::reshape(updates, flat_updates(shape, axis, index))};
  return ops::primitive(along, operands, {&axis, 1});
}

Value batch_along(const BatchContext& c) {
  const int64_t axis = c.axes[0] + 1;
  Value operands[3];
  for (size_t k = 0; k < c.operands.size(); ++k) operands[k] = c.batch(static_cast<int>(k));
  return ops::primitive(c.op, {operands, c.operands.size()}, {&axis, 1});
}

Value batch_axes(const BatchContext& c) {
  return ops::primitive(c.op, c.operands, shifted(c.axes));
}

}  // namespace

Value batch_Gather(const BatchContext& c) {
  const int64_t axis = c.axes[0];
  if (!c.batched[1]) return ops::gather(c.operands[0], c.operands[1], axis + 1);
  if (!c.batched[0]) return to_front(ops::gather(c.operands[0], c.operands[1], axis), axis);
  const auto shape = type_of(c.operands[0]).dims();
  const Value rows =
      ops::take_along(c.operands[0], index_along(c.operands[1], shape, axis + 1), axis + 1);
  return ops::reshape(rows, batched_dims(c.extent, type_of(c.type).dims()));
}

Value batch_ScatterAdd(const BatchContext& c) {
  return batch_scatter(c, Op::ScatterAdd, Op::PutAlongAdd);
}
Value batch_ScatterSet(const BatchContext& c) {
  return batch_scatter(c, Op::ScatterSet, Op::PutAlongSet);
}
Value batch_TakeAlong(const BatchContext& c) { return batch_along(c); }
Value batch_PutAlongAdd(const BatchContext& c) { return batch_along(c); }
Value batch_PutAlongSet(const BatchContext& c) { return batch_along(c); }

#define TENON_SHIFTS_AXES(Name) \
  Value batch_##Name(const BatchContext& c) { return batch_axes(c); }
TENON_SHIFTS_AXES(ReduceSum)
TENON_SHIFTS_AXES(ReduceProd)
TENON_SHIFTS_AXES(ReduceMax)
TENON_SHIFTS_AXES(ReduceMin)
TENON_SHIFTS_AXES(ReduceAny)
TENON_SHIFTS_AXES(ReduceAll)
TENON_SHIFTS_AXES(Argmax)
TENON_SHIFTS_AXES(Argmin)
TENON_SHIFTS_AXES(Cumsum)
TENON_SHIFTS_AXES(Cumprod)
TENON_SHIFTS_AXES(Cummax)
TENON_SHIFTS_AXES(Cummin)
#undef TENON_SHIFTS_AXES

Value batch_Argsort(const BatchContext& c) {
  return ops::argsort(c.operands[0], c.axes[0] + 1, c.axes[1] != 0);
}

// Both operands batched: one more batch axis. Else the batch is the first free axis of its operand.
Value batch_DotGeneral(const BatchContext& c) {
  const int64_t batches = c.axes[0];
  const int64_t contractions = c.axes[1 + 2 * batches];
  const auto lists = c.axes.subspan(2 + 2 * batches);
  const auto batch_a = c.axes.subspan(1, batches), batch_b = c.axes.subspan(1 + batches, batches),
             contract_a = lists.first(contractions), contract_b = lists.subspan(contractions);
  const auto placed = [](std::span<const int64_t> axes, bool batched) {
    return batched ? shifted(axes) : Dims(axes);
  };
  Dims ba = placed(batch_a, c.batched[0]), bb = placed(batch_b, c.batched[1]);
  const Dims ca = placed(contract_a, c.batched[0]), cb = placed(contract_b, c.batched[1]);
  const bool both = c.batched[0] && c.batched[1];
  if (both) {
    ba.insert(ba.begin(), 0);
    bb.insert(bb.begin(), 0);
  }
  const Value result = ops::dot_general(c.operands[0], c.operands[1], ba, bb, ca, cb);
  if (both) return result;
  const int64_t free_a = type_of(c.operand_types[0]).rank - batches - contractions;
  return to_front(result, c.batched[0] ? batches : batches + free_a);
}

namespace {

// What the dimensions of a convolution's tensors mean. The two that two tensors share and the
// groups, which all three have: a batch that is in just these tensors becomes part of it.
enum class Letter : uint8_t { Batch, Group, InChannel, OutChannel };

// Where each letter stands: the dimension, and whether it comes before or after the group there.
struct Place {
  int64_t axis;
  bool is_inner;  // the dimension is (group, letter)
};
Place place_of(ops::ConvolutionRole role, Letter letter) {
  const bool is_weight = role == ops::ConvolutionRole::Weight;
  if (letter == Letter::Batch) return {0, false};
  if (letter == Letter::Group) return {is_weight ? 0 : 1, false};
  if (letter == Letter::InChannel) return {1, !is_weight};
  return {is_weight ? 0 : 1, true};
}

// [batch, ...] with the batch put before that letter, in one dimension with it.
Value fold(Value x, Place place, int64_t groups) {
  Dims shape(type_of(x).dims());
  const int64_t batch = shape[0];
  Dims merged(shape.span().subspan(1));
  merged[place.axis] *= batch;
  if (place.is_inner) {
    const int64_t inner = shape[place.axis + 1] / groups;
    shape[place.axis + 1] = groups;
    shape.insert(shape.begin() + place.axis + 2, inner);
    x = ops::reshape(x, shape);
  }
  return ops::reshape(ops::move_axis(x, 0, place.axis + place.is_inner), merged);
}

Value unfold(Value x, Place place, int64_t groups, int64_t batch, std::span<const int64_t> dims) {
  Dims shape(dims);
  if (place.is_inner) {
    shape[place.axis] /= groups;
    shape.insert(shape.begin() + place.axis, groups);
  }
  const int64_t at = place.axis + place.is_inner;
  shape.insert(shape.begin() + at, batch);
  return ops::reshape(to_front(ops::reshape(x, shape), at), batched_dims(batch, dims));
}

}  // namespace

// The batch joins the dimension that the batched tensors have in common; where all three are
// batched, each example is a group of its own.
Value batch_Convolution(const BatchContext& c) {
  using ops::ConvolutionRole;
  const auto result = static_cast<ConvolutionRole>(c.axes[0]);
  bool is_batched[3] = {};
  int next = 0;
  ConvolutionRole roles[2];
  for (int role = 0; role < 3; ++role) {
    if (role == static_cast<int>(result)) {
      is_batched[role] = true;
    } else {
      roles[next] = static_cast<ConvolutionRole>(role);
      is_batched[role] = c.batched[next++];
    }
  }
  const Letter letter = !is_batched[0]   ? Letter::OutChannel
                        : !is_batched[1] ? Letter::Batch
                        : !is_batched[2] ? Letter::InChannel
                                         : Letter::Group;
  const int64_t groups = c.sizes[0];
  Value operands[2];
  for (int k = 0; k < 2; ++k) {
    operands[k] =
        c.batched[k] ? fold(c.operands[k], place_of(roles[k], letter), groups) : c.operands[k];
  }
  Dims sizes(c.sizes);
  if (letter == Letter::Group) sizes[0] *= c.extent;
  const Value folded = ops::primitive(c.op, operands, c.axes, sizes);
  return unfold(folded, place_of(result, letter), groups, c.extent, type_of(c.type).dims());
}

}  // namespace tenon
