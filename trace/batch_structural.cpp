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

}  // namespace tenon
