// Rows of a table by index, alone or reduced by bags.
#include "core/error.h"
#include "core/shape.h"
#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/ops/operands.h"

namespace tenon {
namespace {

using namespace values;

// The rows that are named scaled to a norm of at most `max_norm`, in place.
void renormalize(OpScope& scope, const Tensor& weight, Value index, double max_norm,
                 double norm_type) {
  const GradMode off(false);
  const Value table = scope.use(weight);
  const int64_t rows[] = {dims(table)[0]}, places[] = {type_of(index).numel};
  const Value none = ops::full(rows, ops::literal(0, DType::Bool));
  const Value all = ops::full(places, ops::literal(1, DType::Bool));
  const Value named = ops::scatter_set(none, ops::reshape(index, places), all, 0);
  const Value norm = linalg_vector_norm(table, norm_type, IntList{1}, true);
  const Value most = scalar_like(table, max_norm);
  const Value is_over = ops::unsqueeze(named, 1) & ops::binary(Op::Gt, norm, most);
  scope.write(weight, ops::select(is_over, table * (most / (norm + 1e-7)), table));
}

Value index_of(Value input) {
  check(
      is_integral(dtype(input), false), ErrorKind::Runtime,
      "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, "
      "Int; but got {} instead (while checking arguments for {})",
      name_of(dtype(input)), current_operation());
  return ops::cast(input, DType::Int64);
}

Value whole(int64_t n) { return ops::scalar(n, DType::Int64); }

// The bag of each place of a vector: how many bags begin at it or before, less one.
Value bag_of_places(Value offsets, int64_t places) {
  const int64_t slots[] = {places + 1}, count[] = {dims(offsets)[0]};
  const Value zeros = ops::full(slots, ops::literal(0, DType::Int64));
  const Value ones = ops::full(count, ops::literal(1, DType::Int64));
  const Value begins = ops::scatter_add(zeros, offsets, ones, 0);
  return ops::slice_axis(ops::cumulative(Op::Cumsum, begins, 0), 0, 0, places) - whole(1);
}

struct Bags {
  Value rows;     // [places, depth], or [bags, places, depth] where each bag has its own places
  Value counted;  // which places count
  Value bag;      // of each place; none where each bag has its own
  int64_t count, depth;

  bool is_matrix() const { return !bag; }

  Value sum_of(Value x) const {  // x: as rows, or without their depth
    if (is_matrix()) {
      const int64_t places[] = {1};
      return ops::reduce(Op::ReduceSum, x, places);
    }
    Dims shape{count};
    if (rank(x) == 2) shape.push_back(depth);
    return ops::scatter_add(ops::full(shape, ops::literal_like(x, 0)), bag, x, 0);
  }

  // The largest of each bag and column, the first of equal ones.
  Value largest() const {
    Value scores = rows, member = counted;  // [bags, places(, depth)]
    if (!is_matrix()) {
      const int64_t places = dims(rows)[0], shape[] = {count, places, depth};
      scores = ops::expand(rows, shape);
      const int64_t grid[] = {count, places};
      member = counted & ops::binary(Op::Eq, ops::iota(grid, 0), bag);
    }
    const int64_t places[] = {1};
    if (dims(scores)[1] == 0) {
      return ops::full({{count, depth}}, ops::literal_like(rows, 0));
    }
    const Value low = ops::literal_like(rows, -HUGE_VAL);
    const Value candidates = ops::select(ops::unsqueeze(member, 2), scores, low);
    const Value at = ops::argreduce(Op::Argmax, candidates, 1);
    const Value found =
        ops::reshape(ops::take_along(candidates, ops::unsqueeze(at, 1), 1), {{count, depth}});
    const Value is_empty =
        ops::unary(Op::LogicalNot, ops::reduce(Op::ReduceAny, member, places, true));
    return ops::select(is_empty, ops::literal_like(rows, 0), found);
  }
};

}  // namespace

Tensor embedding(const Tensor& input, const Tensor& weight, std::optional<int64_t> padding_idx,
                 std::optional<double> max_norm, double norm_type, bool, bool) {
  OpScope scope("embedding");
  check(weight.rank() == 2, ErrorKind::Runtime, "'weight' must be 2-D, not {}",
        shown(weight.dims()));
  const Value index = index_of(scope.use(input));
  const int64_t rows = weight.dims()[0];
  check(!padding_idx || (*padding_idx >= -rows && *padding_idx < rows), ErrorKind::Runtime,
        "Padding_idx must be within num_embeddings");
  if (max_norm) renormalize(scope, weight, index, *max_norm, norm_type);
  Value table = scope.use(weight);
  if (padding_idx) {  // its row is a constant: no derivative passes
    const int64_t row = *padding_idx < 0 ? *padding_idx + rows : *padding_idx;
    const int64_t extents[] = {rows, 1};
    const Value is_row = ops::binary(Op::Eq, ops::iota(extents, 0), ops::scalar(row, DType::Int64));
    table = ops::select(is_row, ops::stop_gradient(table), table);
  }
  return scope.result(ops::gather(table, index, 0));
}

Tensor embedding_bag(const Tensor& input_, const Tensor& weight_, const Tensor& offsets_,
                     std::optional<double> max_norm, double norm_type, bool, std::string_view mode,
                     bool, const Tensor& per_sample_weights_, bool include_last_offset,
                     std::optional<int64_t> padding_idx) {
  OpScope scope("embedding_bag");
  const auto use = [&](const Tensor& x) { return x.defined() ? scope.use(x) : Value{}; };
  const Value input = use(input_), offsets = use(offsets_);
  const Value per_sample_weights = use(per_sample_weights_);
  Value weight = use(weight_);
  check(rank(weight) == 2, ErrorKind::Runtime, "'weight' must be 2-D, not {}", shown(dims(weight)));
  check_floating({weight}, ErrorKind::NotImplemented);
  const Value index = index_of(input);
  check(mode == "sum" || mode == "mean" || mode == "max", ErrorKind::Value,
        "mode has to be one of sum, mean or max");
  check(rank(input) == 1 || rank(input) == 2, ErrorKind::Value,
        "input has to be 1D or 2D Tensor, but got Tensor of dimension {}", rank(input));
  check(rank(input) == 1 || !offsets, ErrorKind::Value,
        "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed "
        "length sequences. However, found offsets of type tensor");
  check(rank(input) == 2 || offsets, ErrorKind::Value,
        "offsets has to be a 1D Tensor but got None");
  check(!per_sample_weights || mode == "sum", ErrorKind::NotImplemented,
        "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for "
        "mode='sum' (got mode='{}').",
        mode);
  if (per_sample_weights) {
    check(std::ranges::equal(dims(per_sample_weights), dims(input)), ErrorKind::Value,
          "embedding_bag: If per_sample_weights ({}) is not None, then it must have the same shape "
          "as the input ({})",
          shown(dims(per_sample_weights)), shown(dims(input)));
    check(dtype(per_sample_weights) == dtype(weight), ErrorKind::Runtime,
          "expected weight and per_sample_weights to have same dtype, but got {} and {}",
          name_of(dtype(weight)), name_of(dtype(per_sample_weights)));
  }
  if (max_norm) {
    renormalize(scope, weight_, index, *max_norm, norm_type);
    weight = use(weight_);
  }
  Bags b{ops::gather(weight, index, 0), {}, {}, dims(input)[0], dims(weight)[1]};
  if (offsets) {
    check(rank(offsets) == 1, ErrorKind::Value, "offsets has to be a 1D Tensor");
    check(!include_last_offset || dims(offsets)[0] >= 1, ErrorKind::Runtime,
          "include_last_offset: numBags should be at least 1");
    Value starts = ops::cast(offsets, DType::Int64);
    b.count = dims(starts)[0] - (include_last_offset ? 1 : 0);
    if (include_last_offset) starts = ops::slice_axis(starts, 0, 0, b.count);
    b.bag = bag_of_places(starts, dims(input)[0]);
  }
  b.counted = ops::full(dims(index), ops::literal(1, DType::Bool));
  if (padding_idx) {
    const int64_t rows = dims(weight)[0];
    check(*padding_idx >= -rows && *padding_idx < rows, ErrorKind::Runtime,
          "padding_idx must be within the number of embeddings");
    b.counted =
        ops::binary(Op::Ne, index, whole(*padding_idx < 0 ? *padding_idx + rows : *padding_idx));
  }
  if (mode == "max") return scope.result(b.largest());
  const DType wide = is_half(dtype(weight)) ? DType::Float32 : dtype(weight);
  Value rows = ops::cast(b.rows, wide);
  if (per_sample_weights) {
    rows = rows * ops::unsqueeze(ops::cast(per_sample_weights, wide), rank(input));
  }
  rows = ops::select(ops::unsqueeze(b.counted, rank(input)), rows, ops::literal_like(rows, 0));
  Value result = b.sum_of(rows);
  if (mode == "mean") {
    const Value size =
        ops::binary(Op::Maximum, b.sum_of(ops::cast(b.counted, wide)), ops::literal(1, wide));
    result = result / ops::unsqueeze(size, 1);
  }
  return scope.result(ops::cast(result, dtype(weight)));
}

}  // namespace tenon
