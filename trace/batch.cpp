// Batching rules of elementwise operations, sources and movement: the batch is axis 0 throughout.
#include "trace/batch.h"

#include <algorithm>

#include "core/error.h"

namespace tenon {

Value BatchContext::batch(int k) const {
  const Value x = operands[k];
  if (batched[k]) return x;
  return ops::expand(x, batched_dims(extent, type_of(x).dims()));
}

Dims batched_dims(int64_t extent, std::span<const int64_t> dims) {
  Dims result{extent};
  result.append(dims.begin(), dims.end());
  return result;
}

Dims shifted(std::span<const int64_t> axes) {
  Dims result;
  for (int64_t axis : axes) result.push_back(axis + 1);
  return result;
}

namespace {

// Ones between the batch and the example's dims, so that the example's broadcast against a result
// of `rank` dims stays aligned at the right.
Value align(Value x, int rank) {
  const auto from = type_of(x).dims();
  const int missing = rank - (static_cast<int>(from.size()) - 1);
  if (missing <= 0) return x;
  Dims dims{from[0]};
  dims.resize(1 + missing, 1);
  for (int64_t dim : from.subspan(1)) dims.push_back(dim);
  return ops::reshape(x, dims);
}

Value aligned_operand(const BatchContext& c, int k) {
  return c.batched[k] ? align(c.operands[k], type_of(c.type).rank) : c.operands[k];
}

Dims with_front(int64_t front, std::span<const int64_t> list) { return batched_dims(front, list); }

}  // namespace

Value batch_Elementwise(const BatchContext& c) {
  if (c.op == Op::Cast) return ops::cast(c.operands[0], type_of(c.type).dtype);
  if (c.op == Op::Bitcast) return ops::bitcast(c.operands[0], type_of(c.type).dtype);
  Value operands[3];
  for (size_t k = 0; k < c.operands.size(); ++k) {
    operands[k] = aligned_operand(c, static_cast<int>(k));
  }
  return ops::primitive(c.op, {operands, c.operands.size()});
}

// Sources have no operands, so they are the same for all examples and never come here.
#define TENON_NEVER_BATCHED(Name)                                                     \
  Value batch_##Name(const BatchContext&) {                                           \
    fail(ErrorKind::Internal, "vmap: a node without operands depends on an example"); \
  }
TENON_NEVER_BATCHED(Input)
TENON_NEVER_BATCHED(Constant)
TENON_NEVER_BATCHED(Iota)
TENON_NEVER_BATCHED(RandomBits)
#undef TENON_NEVER_BATCHED

Value batch_Alias(const BatchContext& c) { return ops::alias(c.operands[0]); }

Value batch_ToDevice(const BatchContext& c) {
  return ops::primitive(Op::ToDevice, {c.operands.data(), 1}, c.axes);
}

Value batch_Redirect(const BatchContext& c) {
  const Value operands[] = {c.batch(0), c.batch(1)};
  return ops::primitive(Op::Redirect, operands);
}

Value batch_Expand(const BatchContext& c) {
  const Value x = align(c.operands[0], static_cast<int>(c.sizes.size()));
  return ops::expand(x, batched_dims(c.extent, c.sizes));
}

Value batch_Reshape(const BatchContext& c) {
  return ops::reshape(c.operands[0], batched_dims(c.extent, c.sizes));
}

Value batch_Permute(const BatchContext& c) {
  return ops::permute(c.operands[0], with_front(0, shifted(c.axes)));
}

Value batch_Slice(const BatchContext& c) {
  const size_t rank = c.sizes.size() / 2;
  return ops::slice(c.operands[0], with_front(0, c.sizes.first(rank)),
                    with_front(1, c.sizes.subspan(rank)),
                    batched_dims(c.extent, type_of(c.type).dims()));
}

Value batch_Pad(const BatchContext& c) {
  const size_t rank = c.sizes.size() / 3;
  const auto low = c.sizes.first(rank), high = c.sizes.subspan(rank, rank),
             interior = c.sizes.subspan(2 * rank);
  if (!c.batched[1]) {
    return ops::pad(c.operands[0], c.operands[1], with_front(0, low), with_front(0, high),
                    with_front(0, interior));
  }
  // One fill an example: pad with anything, then put the fills where the padding is.
  const Value zero = ops::literal(0, dtype(c.operands[1]));
  const Value padded = c.batched[0] ? ops::pad(c.operands[0], zero, with_front(0, low),
                                               with_front(0, high), with_front(0, interior))
                                    : ops::pad(c.operands[0], zero, low, high, interior);
  const Value outside =
      ops::pad(ops::full(type_of(c.operand_types[0]).dims(), ops::literal(0, DType::Bool)),
               ops::literal(1, DType::Bool), low, high, interior);
  return ops::select(outside, align(c.operands[1], type_of(c.type).rank), padded);
}

Value batch_Concatenate(const BatchContext& c) {
  std::vector<Value> operands;
  for (size_t k = 0; k < c.operands.size(); ++k) operands.push_back(c.batch(static_cast<int>(k)));
  return ops::concatenate(operands, c.axes[0] + 1);
}

Value batch_UpdateSlice(const BatchContext& c) {
  const size_t rank = c.sizes.size() / 2;
  return ops::update_slice(c.batch(0), c.batch(1), with_front(0, c.sizes.first(rank)),
                           with_front(1, c.sizes.subspan(rank)));
}

}  // namespace tenon
