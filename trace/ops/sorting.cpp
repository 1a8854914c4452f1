// Order statistics and searches in what is sorted. NaN is the largest element.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/shape.h"
#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/tensor.h"

namespace tenon::values {
namespace {

using Pair = std::array<Value, 2>;

// Positions in an ordered dimension as indices of the unordered one, and what stands there.
Pair at_position(Value x, Value order, Value position, int64_t axis, bool keepdim) {
  const Value index = ops::take_along(order, position, axis);
  const Value value = ops::take_along(x, index, axis);
  if (keepdim) return {value, index};
  return {squeeze(value, IntList{axis}), squeeze(index, IntList{axis})};
}

Dims with_extent(Value x, int64_t axis, int64_t extent) {
  Dims result(dims(x));
  result[axis] = extent;
  return result;
}

Value count_of_nan(Value x, int64_t axis) {
  if (!is_floating(dtype(x))) {
    return ops::full(with_extent(x, axis, 1), ops::literal(0, DType::Int64));
  }
  const int64_t axes[] = {axis};
  return ops::reduce(Op::ReduceSum, ops::cast(ops::unary(Op::IsNan, x), DType::Int64), axes, true);
}

Pair scalar_pair(Value x) { return {ops::alias(x), ops::literal(0, DType::Int64)}; }

void check_extent(Value x, int64_t axis) {
  check(rank(x) == 0 || dims(x)[axis] > 0, ErrorKind::Index,
        "{}(): Expected reduction dim {} to have non-zero size.", current_operation(), axis);
}

Value argsort_of(Value x, int64_t axis) { return ops::argsort(x, axis, false); }

Pair median_of(Value x, int64_t dim, bool keepdim, bool ignore_nan) {
  check_numbers({x}, ErrorKind::NotImplemented);
  const int64_t axis = normalize_dim(dim, rank(x));
  check_extent(x, axis);
  if (rank(x) == 0) return scalar_pair(x);
  const Value length = ops::scalar(dims(x)[axis], DType::Int64), nans = count_of_nan(x, axis);
  const Value zero = ops::literal(0, DType::Int64), one = ops::literal(1, DType::Int64),
              two = ops::literal(2, DType::Int64);
  const auto middle = [&](Value n) { return ops::binary(Op::FloorDiv, n - one, two); };
  const Value place =
      ignore_nan ? ops::binary(Op::Maximum, middle(length - nans), zero)
                 : ops::select(nans > 0.0, length - nans, ops::expand(middle(length), dims(nans)));
  return at_position(x, argsort_of(x, axis), place, axis, keepdim);
}

}  // namespace

Pair median(Value input, int64_t dim, bool keepdim) {
  return median_of(input, dim, keepdim, false);
}
Pair nanmedian(Value input, int64_t dim, bool keepdim) {
  return median_of(input, dim, keepdim, true);
}
Value median(Value input) {
  check_numbers({input}, ErrorKind::NotImplemented);
  if (type_of(input).numel == 0) {
    if (!is_floating(dtype(input))) {  // PyTorch's NaN as an integer
      return ops::scalar(std::numeric_limits<int64_t>::min(), dtype(input));
    }
    return ops::literal(std::nan(""), dtype(input));
  }
  return median_of(ops::reshape(input, {{type_of(input).numel}}), 0, false, false)[0];
}
Value nanmedian(Value input) {
  if (type_of(input).numel == 0) return median(input);
  return median_of(ops::reshape(input, {{type_of(input).numel}}), 0, false, true)[0];
}

Pair kthvalue(Value input, int64_t k, int64_t dim, bool keepdim) {
  check_numbers({input}, ErrorKind::NotImplemented);
  const int64_t axis = normalize_dim(dim, rank(input));
  const int64_t extent = rank(input) == 0 ? 1 : dims(input)[axis];
  check_extent(input, axis);
  check(k >= 1 && k <= extent, ErrorKind::Runtime,
        "kthvalue(): selected number k out of range for dimension {}", axis);
  if (rank(input) == 0) return scalar_pair(input);
  const Value place = ops::full(with_extent(input, axis, 1), ops::scalar(k - 1, DType::Int64));
  return at_position(input, argsort_of(input, axis), place, axis, keepdim);
}

Pair mode(Value input, int64_t dim, bool keepdim) {
  const int64_t axis = normalize_dim(dim, rank(input));
  check_extent(input, axis);
  if (rank(input) == 0) return scalar_pair(input);
  const int64_t length = dims(input)[axis];
  const Value order = argsort_of(input, axis), x = ops::take_along(input, order, axis);
  // The length of each run up to every element; the first longest run ends at its first maximum.
  const Value at = ops::iota(dims(x), axis);
  const Value changes = ops::binary(Op::Ne, ops::slice_axis(x, axis, 1, length - 1),
                                    ops::slice_axis(x, axis, 0, length - 1));
  const Value first = ops::full(with_extent(x, axis, 1), ops::literal(0, DType::Bool));
  const Value parts[] = {first, changes};
  const Value begins = ops::select(ops::concatenate(parts, axis), at, ops::literal_like(at, 0));
  const Value run = at - ops::cumulative(Op::Cummax, begins, axis);
  const Value place = ops::unsqueeze(ops::argreduce(Op::Argmax, run, axis), axis);
  return at_position(input, order, place, axis, keepdim);
}

namespace {

// ranks are float positions between neighbours.
Value interpolated(Value ordered, Value ranks, int64_t axis, std::string_view how) {
  const auto at = [&](Value rank) {
    return ops::take_along(ordered, ops::cast(rank, DType::Int64), axis);
  };
  if (how == "lower") return at(ops::unary(Op::Floor, ranks));
  if (how == "higher") return at(ops::unary(Op::Ceil, ranks));
  if (how == "nearest") return at(ops::unary(Op::Round, ranks));
  const Value low = ops::unary(Op::Floor, ranks), high = ops::unary(Op::Ceil, ranks);
  const Value weight =
      how == "linear" ? ranks - low : ops::full(Dims(dims(ranks)), ops::literal_like(ranks, 0.5));
  return lerp(at(low), at(high), weight);
}

Value quantile_of(Value input, Value q, std::optional<int64_t> dim, bool keepdim,
                  std::string_view how, bool ignore_nan) {
  const char* name = current_operation();
  check(dtype(input) == DType::Float32 || dtype(input) == DType::Float64, ErrorKind::Runtime,
        "{}() input tensor must be either float or double dtype", name);
  check(rank(q) <= 1, ErrorKind::Runtime, "{}() q must be a scalar or 1D tensor", name);
  check(dtype(q) == dtype(input), ErrorKind::Runtime,
        "{}() q tensor must be same dtype as the input tensor", name);
  const std::string_view known[] = {"linear", "lower", "higher", "midpoint", "nearest"};
  check(std::ranges::find(known, how) != std::end(known), ErrorKind::Runtime,
        "{}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got {}",
        name, how);
  check(type_of(input).numel > 0, ErrorKind::Runtime, "{}() input tensor must be non-empty", name);
  const int64_t old_rank = rank(input);
  const int64_t wanted = dim ? normalize_dim(*dim, old_rank) : 0;
  const bool flat = !dim || old_rank == 0;
  const Value x = flat ? ops::reshape(input, {{type_of(input).numel}}) : input;
  const int64_t axis = flat ? 0 : wanted, length = dims(x)[axis];
  const Value ordered = ops::take_along(x, argsort_of(x, axis), axis);
  const Value nans = count_of_nan(x, axis);
  const Value last = ops::scalar(length - 1, DType::Int64);
  const int64_t count = rank(q) == 0 ? 1 : dims(q)[0];
  Dims along(rank(x), 1);
  along[axis] = count;
  const Value fractions = ops::reshape(q, along);
  const Value top = ignore_nan
                        ? ops::binary(Op::Maximum, last - nans, ops::literal(0, DType::Int64))
                        : ops::expand(last, dims(nans));
  Value ranks = fractions * ops::cast(top, dtype(input));
  if (!ignore_nan) ranks = ops::select(nans > 0.0, ops::cast(top, dtype(input)), ranks);
  Value result = interpolated(ordered, ranks, axis, how);
  // The quantiles become the first dimension.
  result = ops::move_axis(result, axis, 0);
  Dims extents;
  if (rank(q) == 1) extents.push_back(count);
  for (int i = 0; i < old_rank; ++i) {
    const bool reduced = !dim || i == wanted;
    if (reduced && keepdim) extents.push_back(1);
    if (!reduced) extents.push_back(dims(input)[i]);
  }
  return ops::reshape(result, extents);
}

Value as_quantile(Value input, const Scalar& q) {
  const double number = q.to_double();
  check(number >= 0 && number <= 1, ErrorKind::Runtime,
        "{}() q must be in the range [0, 1] but got {}", current_operation(), number);
  return scalar_of(Scalar(number), dtype(input));
}

}  // namespace

Value quantile(Value input, const Scalar& q, std::optional<int64_t> dim, bool keepdim,
               std::string_view interpolation) {
  return quantile_of(input, as_quantile(input, q), dim, keepdim, interpolation, false);
}
Value quantile(Value input, Value q, std::optional<int64_t> dim, bool keepdim,
               std::string_view interpolation) {
  return quantile_of(input, q, dim, keepdim, interpolation, false);
}
Value nanquantile(Value input, const Scalar& q, std::optional<int64_t> dim, bool keepdim,
                  std::string_view interpolation) {
  return quantile_of(input, as_quantile(input, q), dim, keepdim, interpolation, true);
}
Value nanquantile(Value input, Value q, std::optional<int64_t> dim, bool keepdim,
                  std::string_view interpolation) {
  return quantile_of(input, q, dim, keepdim, interpolation, true);
}

Value searchsorted(Value sorted_sequence, Value input, bool out_int32, bool right,
                   std::optional<std::string_view> side, Value sorter) {
  check_numbers({sorted_sequence, input}, ErrorKind::NotImplemented);
  check(!side || *side == "left" || *side == "right", ErrorKind::Runtime,
        "torch.searchsorted(): side can only be 'left' or 'right' but got {}", side.value_or(""));
  check(!side || !right || *side == "right", ErrorKind::Runtime,
        "torch.searchsorted(): side and right can't be set to opposites, got side of left while "
        "right was True");
  const bool behind = right || side.value_or("left") == "right";
  check(rank(sorted_sequence) > 0, ErrorKind::Runtime,
        "torch.searchsorted(): input value can be a scalar only when boundaries tensor dimension "
        "is 1, but we got boundaries tensor dim(0)");
  const bool shared = rank(sorted_sequence) == 1;
  check(shared || rank(sorted_sequence) == rank(input), ErrorKind::Runtime,
        "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions "
        "of boundaries tensor and input value tensor must match, but we got boundaries tensor {} "
        "and input value tensor {}",
        shown(dims(sorted_sequence)), shown(dims(input)));
  const int64_t axis = rank(sorted_sequence) - 1;
  for (int64_t i = 0; i < axis; ++i) {
    check(dims(sorted_sequence)[i] == dims(input)[i], ErrorKind::Runtime,
          "torch.searchsorted(): the first N-1 dimensions of boundaries tensor {} and input value "
          "tensor {} must match",
          shown(dims(sorted_sequence)), shown(dims(input)));
  }
  Value edges = sorted_sequence, x = input;
  if (sorter) {
    check(std::ranges::equal(dims(sorter), dims(edges)), ErrorKind::Runtime,
          "torch.searchsorted(): boundary and sorter must have the same size, but got boundary "
          "tensor {} and got sorter tensor {}",
          shown(dims(edges)), shown(dims(sorter)));
    check(dtype(sorter) == DType::Int64, ErrorKind::Runtime,
          "torch.searchsorted(): sorter must be a tensor of long dtype but got dtype {}",
          name_of(dtype(sorter)));
    edges = ops::take_along(edges, sorter, axis);
  }
  promote(Promotion::Common, {&edges, &x});
  const int64_t length = dims(edges)[axis];
  if (shared) x = ops::reshape(x, {{type_of(x).numel}});
  // Binary search in rounds: how many edges lie before each element, a bit of the count a round.
  Value count = ops::full(Dims(dims(x)), ops::literal(0, DType::Int64));
  int64_t round = 1;
  while (round * 2 <= length) round *= 2;
  for (; round > 0 && length > 0; round /= 2) {
    const Value more = count + ops::scalar(round, DType::Int64);
    const Value inside = more <= ops::expand(ops::scalar(length, DType::Int64), dims(more));
    const Value at =
        ops::select(inside, more - ops::literal(1, DType::Int64), ops::literal(0, DType::Int64));
    const Value edge = ops::take_along(edges, at, axis);
    Value before = behind ? edge <= x : edge < x;
    // NaN is the largest: all other edges lie before it.
    if (is_floating(dtype(x))) {
      const Value is_nan = ops::unary(Op::IsNan, x);
      const Value passes = behind ? ops::full(Dims(dims(x)), ops::literal(1, DType::Bool))
                                  : ops::unary(Op::LogicalNot, ops::unary(Op::IsNan, edge));
      before = ops::select(is_nan, passes, before);
    }
    count = ops::select(inside & before, more, count);
  }
  count = ops::cast(count, out_int32 ? DType::Int32 : DType::Int64);
  return ops::reshape(count, Dims(dims(input)));
}

Value isin(Value elements, Value test_elements, bool, bool invert) {
  for (Value v : {elements, test_elements}) {
    check(dtype(v) != DType::Bool && !is_complex(dtype(v)), ErrorKind::Runtime,
          "Unsupported input type encountered for isin(): {}", name_of(dtype(v)));
  }
  Value x = elements, tests = ops::reshape(test_elements, {{type_of(test_elements).numel}});
  promote(Promotion::Common, {&x, &tests});
  const int64_t length = dims(tests)[0];
  const auto flag = [&](bool on) {
    return ops::full(Dims(dims(x)), ops::literal(on ? 1 : 0, DType::Bool));
  };
  if (length == 0) return flag(invert);
  const Value ordered = ops::take_along(tests, argsort_of(tests, 0), 0);
  const Value at = searchsorted(ordered, x, false, false, std::nullopt, Value{});
  const Value last = ops::scalar(length - 1, DType::Int64);
  const Value nearest = ops::gather(ordered, ops::binary(Op::Minimum, at, last), 0);
  return ops::binary(invert ? Op::Ne : Op::Eq, nearest, x);
}

}  // namespace tenon::values
