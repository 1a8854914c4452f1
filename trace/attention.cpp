#include "trace/attention.h"

#include <cmath>
#include <vector>

#include "core/error.h"
#include "trace/recorder.h"
#include "trace/rules.h"

namespace tenon {
namespace {

using Types = std::span<const TypeId>;
using Ints = std::span<const int64_t>;

// Operands q, k, v, scale come first, in each of the three.
constexpr size_t kScale = 3, kFirst = 4, kGradientFirst = 7;

void expect(bool holds, const char* what) {
  check(holds, ErrorKind::Runtime, "{}: {}", current_operation(), what);
}

// In which scores are summed, and normalizers kept.
DType accumulator(DType dtype) { return dtype == DType::Float64 ? dtype : DType::Float32; }

Dims batch_of(const Type& type) { return Dims(type.dims().first(type.rank - 2)); }

// Checks what all three have in common; `first` operands come before the mask.
void check_attention(Types operands, size_t first) {
  expect(operands.size() == first || operands.size() == first + 1, "operands");
  const Type &q = type_of(operands[0]), &k = type_of(operands[1]), &v = type_of(operands[2]);
  expect(is_floating(q.dtype) && q.dtype == k.dtype && q.dtype == v.dtype, "dtypes differ");
  expect(q.rank >= 2 && q.rank == k.rank && q.rank == v.rank, "ranks differ");
  expect(batch_of(q) == batch_of(k) && batch_of(q) == batch_of(v), "batch extents differ");
  const int row = q.rank - 2, column = q.rank - 1;
  expect(q.dims()[column] == k.dims()[column], "features of query and key differ");
  expect(k.dims()[row] == v.dims()[row], "numbers of keys and values differ");
  for (const Type* type : {&q, &k, &v}) {
    expect(type->dims()[row] > 0 && type->dims()[column] > 0, "a matrix without elements");
  }
  const Type& scale = type_of(operands[kScale]);
  expect(scale.rank == 0 && scale.dtype == DType::Float64, "the scale is a 0-d float64");
  if (operands.size() == first) return;
  const Type& mask = type_of(operands[first]);
  Dims scores = batch_of(q);
  scores.push_back(q.dims()[row]);
  scores.push_back(k.dims()[row]);
  expect(mask.dtype == DType::Bool || mask.dtype == q.dtype, "the mask's dtype");
  expect(std::ranges::equal(mask.dims(), scores), "the mask's dimensions");
}

Dims dims_of_result(const Type& q, const Type& v) {
  Dims dims(q.dims());
  dims[q.rank - 1] = v.dims()[v.rank - 1];
  return dims;
}

}  // namespace

TypeId infer_Attention(Op, Types operands, Ints, Ints) {
  check_attention(operands, kFirst);
  const Type &q = type_of(operands[0]), &v = type_of(operands[2]);
  return intern_contiguous(q.dtype, q.device, dims_of_result(q, v));
}

TypeId infer_AttentionNormalizer(Op, Types operands, Ints, Ints) {
  check_attention(operands, kFirst);
  const Type& q = type_of(operands[0]);
  return intern_contiguous(accumulator(q.dtype), q.device, q.dims().first(q.rank - 1));
}

TypeId infer_AttentionGradient(Op, Types operands, Ints axes, Ints) {
  check_attention(operands, kGradientFirst);
  const Dims result = dims_of_result(type_of(operands[0]), type_of(operands[2]));
  expect(std::ranges::equal(type_of(operands[4]).dims(), result), "the result's dimensions");
  expect(std::ranges::equal(type_of(operands[6]).dims(), result), "the gradient's dimensions");
  const Type& which = type_of(operands[static_cast<size_t>(axes[1])]);
  return intern_contiguous(which.dtype, which.device, which.dims());
}

// All batched: the batch is one more of those in front. The scale is one number for all.
Value batch_attention(const BatchContext& c) {
  std::vector<Value> operands;
  for (size_t k = 0; k < c.operands.size(); ++k) {
    check(k != kScale || !c.batched[k], ErrorKind::Internal, "{}: a batch of scales",
          info(c.op).name);
    operands.push_back(k == kScale ? c.operands[k] : c.batch(static_cast<int>(k)));
  }
  return ops::primitive(c.op, operands, c.axes, c.sizes);
}
Value batch_Attention(const BatchContext& c) { return batch_attention(c); }
Value batch_AttentionNormalizer(const BatchContext& c) { return batch_attention(c); }
Value batch_AttentionGradient(const BatchContext& c) { return batch_attention(c); }

namespace ops {
namespace {

Value record(Op op, const Attention& a, std::initializer_list<Value> more,
             std::initializer_list<int64_t> axes) {
  SmallVector<Value, 8> operands{a.query, a.key, a.value, a.scale};
  operands.append(more.begin(), more.end());
  if (a.mask) operands.push_back(a.mask);
  return primitive(op, {operands.data(), operands.size()}, {axes.begin(), axes.size()});
}

Value product(Value x, Value y, int contracted_x, int contracted_y) {
  const int64_t batch = rank(x) - 2;
  Dims axes;
  for (int64_t i = 0; i < batch; ++i) axes.push_back(i);
  const int64_t cx = batch + contracted_x, cy = batch + contracted_y;
  return dot_general(x, y, axes, axes, {&cx, 1}, {&cy, 1});
}

}  // namespace

Value attention(const Attention& a) { return record(Op::Attention, a, {}, {a.causal}); }

Value attention_normalizer(const Attention& a) {
  return record(Op::AttentionNormalizer, a, {}, {a.causal});
}

Value attention_gradient(const Attention& a, int which, Value out, Value normalizer,
                         Value gradient) {
  return record(Op::AttentionGradient, a, {out, normalizer, gradient}, {a.causal, which});
}

Value batched_product(Value x, Value y) { return product(x, y, 1, 0); }
Value batched_product_transposed(Value x, Value y) { return product(x, y, 1, 1); }
Value batched_transposed_product(Value x, Value y) { return product(x, y, 0, 0); }

Value attention_scores(const Attention& a) {
  const Value query = binary(Op::Mul, a.query, cast(a.scale, dtype(a.query)));
  Value scores = batched_product_transposed(query, a.key);
  const Value lowest = literal_like(scores, -HUGE_VAL);
  if (a.causal) {
    const auto extents = dims(scores).last(2);
    scores = select(binary(Op::Le, iota(extents, 1), iota(extents, 0)), scores, lowest);
  }
  if (a.mask && dtype(a.mask) == DType::Bool) {
    scores = select(a.mask, scores, lowest);
  } else if (a.mask) {
    scores = binary(Op::Add, scores, a.mask);
  }
  return cast(scores, accumulator(dtype(scores)));
}

Value attention_weights(const Attention& a) {
  Value scores = attention_scores(a);
  const DType narrow = dtype(a.query);
  const int64_t last = rank(scores) - 1;
  if (dims(scores)[last] == 0) return cast(scores, narrow);
  const Value highest = stop_gradient(reduce(Op::ReduceMax, scores, {&last, 1}, true));
  Value is_dead;  // a row without keys
  if (a.mask) {
    is_dead = binary(Op::Eq, highest, literal_like(highest, -HUGE_VAL));
    scores = select(is_dead, literal_like(scores, 0), scores);
  }
  const Value shifted =
      binary(Op::Sub, scores, a.mask ? select(is_dead, literal_like(scores, 0), highest) : highest);
  const Value powers = unary(Op::Exp, shifted);
  const Value weights = binary(Op::Div, powers, reduce(Op::ReduceSum, powers, {&last, 1}, true));
  return cast(a.mask ? select(is_dead, literal_like(scores, 0), weights) : weights, narrow);
}

}  // namespace ops
}  // namespace tenon
