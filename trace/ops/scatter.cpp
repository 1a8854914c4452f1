// Scattering with a reduction, by flat places, and by a mask. Bounds are checked when the program
// runs.
#include <algorithm>
#include <string_view>

#include "core/error.h"
#include "core/shape.h"
#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/tensor.h"

namespace tenon::values {
namespace {

// Where updates meet targets: x[..., at[..., i, ...], ...] along the axis; other extents are equal.
struct Meeting {
  Value x, at, updates;
  int64_t axis;
};

Value combine(std::string_view reduce, Value a, Value b) {
  if (reduce == "prod") return a * b;
  return ops::binary(reduce == "amax" ? Op::Maximum : Op::Minimum, a, b);
}

// What the updates of each target reduce to, stored at the target; other targets keep `start`'s.
// Updates are brought together by sorting their targets (stable), then reduced by doubling
// distances within a target: log2 of their number rounds (Hillis and Steele, "Data parallel
// algorithms", CACM 1986). The last of a target's updates then holds all of them.
Value reduce_segments(const Meeting& m, Value start, std::string_view reduce) {
  const int64_t length = dims(m.at)[m.axis];
  if (type_of(m.at).numel == 0) return start;
  const Value order = ops::argsort(m.at, m.axis, false);
  const Value at = ops::take_along(m.at, order, m.axis);
  Value sum = ops::take_along(m.updates, order, m.axis);
  for (int64_t distance = 1; distance < length; distance *= 2) {
    const auto before = [&](Value v) { return ops::slice_axis(v, m.axis, 0, length - distance); };
    const auto after = [&](Value v) {
      return ops::slice_axis(v, m.axis, distance, length - distance);
    };
    const Value same = ops::binary(Op::Eq, before(at), after(at));
    const Value joined = ops::select(same, combine(reduce, before(sum), after(sum)), after(sum));
    const Value parts[] = {ops::slice_axis(sum, m.axis, 0, distance), joined};
    sum = ops::concatenate(parts, m.axis);
  }
  // The rule of put_along_set gives each update a derivative, which only the last one has here.
  const Value next = ops::binary(Op::Ne, ops::slice_axis(at, m.axis, 0, length - 1),
                                 ops::slice_axis(at, m.axis, 1, length - 1));
  Dims one(dims(at));
  one[m.axis] = 1;
  const Value ends[] = {next, ops::full(one, ops::literal(1, DType::Bool))};
  const Value is_last = ops::concatenate(ends, m.axis);
  return ops::put_along_set(start, at, ops::select(is_last, sum, ops::stop_gradient(sum)), m.axis);
}

// The extremum with PyTorch's derivative: equal elements share it.
Value share_derivative(const Meeting& m, Value result, Value touched, bool include_self) {
  const DType type = dtype(m.x);
  if (!is_floating(type)) return result;
  const Value best = ops::stop_gradient(result);
  const Value attains =
      ops::binary(Op::Eq, ops::stop_gradient(m.updates), ops::take_along(best, m.at, m.axis));
  const Value keeps = include_self ? ops::binary(Op::Eq, ops::stop_gradient(m.x), best)
                                   : ops::unary(Op::LogicalNot, touched);
  const Value zero = ops::literal(0, type);
  const Value count =
      ops::put_along_add(ops::cast(keeps, type), m.at, ops::cast(attains, type), m.axis);
  const Value total = ops::put_along_add(ops::select(keeps, m.x, zero), m.at,
                                         ops::select(attains, m.updates, zero), m.axis);
  return ops::redirect(best, total / count);
}

Value reduce_into(const Meeting& m, std::string_view reduce, bool include_self) {
  const DType type = dtype(m.x);
  const auto ones = [&](Value like, DType t) {
    return ops::full(Dims(dims(like)), ops::literal(1, t));
  };
  const Value touched =
      ops::put_along_set(ops::cast(ops::zeros_like(m.x), DType::Bool), m.at,
                         ops::cast(ones(m.at, DType::Int64), DType::Bool), m.axis);
  const auto start = [&](double identity) {
    return include_self ? m.x : ops::select(touched, ops::literal(identity, type), m.x);
  };
  if (reduce == "sum" || reduce == "mean") {
    const Value total = ops::put_along_add(start(0), m.at, m.updates, m.axis);
    if (reduce == "sum") return total;
    const Value own = include_self ? ones(m.x, type) : ops::zeros_like(m.x);
    const Value count = ops::put_along_add(ops::stop_gradient(own), m.at, ones(m.at, type), m.axis);
    const Value divisor = ops::binary(Op::Maximum, count, ops::literal(1, type));
    return ops::binary(is_integral(type, true) ? Op::FloorDiv : Op::Div, total, divisor);
  }
  if (reduce == "prod") {
    return start(1) * reduce_segments(m, ones(m.x, type), reduce);
  }
  const Value found = reduce_segments(m, m.x, reduce);
  const Value result = include_self ? combine(reduce, m.x, found) : found;
  return share_derivative(m, result, touched, include_self);
}

void check_reduction(std::string_view reduce, std::string_view known) {
  check(!reduce.empty() && known.find(reduce) != std::string_view::npos, ErrorKind::Runtime,
        "{}(): reduce argument must be one of {}, got {}.", current_operation(), known, reduce);
}

Value flattened(Value x) { return ops::reshape(x, {{type_of(x).numel}}); }

}  // namespace

Value scatter_reduce(Value input, int64_t dim, Value index, Value src, std::string_view reduce,
                     bool include_self) {
  check_reduction(reduce, "sum, prod, mean, amax, amin");
  check_stored_dtype(input, src);
  const int64_t axis = normalize_dim(dim, rank(input));
  const Value x = atleast_1d(input), at = atleast_1d(as_index(index)), from = atleast_1d(src);
  check(rank(at) == rank(x) || type_of(at).numel == 0, ErrorKind::Runtime,
        "Index tensor must have the same number of dimensions as self tensor");
  check(rank(at) == rank(from) || type_of(at).numel == 0, ErrorKind::Runtime,
        "Index tensor must have the same number of dimensions as src tensor");
  if (type_of(at).numel == 0) return ops::alias(input);
  Dims covered(dims(at));
  for (int d = 0; d < rank(x); ++d) {
    check((d == axis || dims(at)[d] <= dims(x)[d]) && dims(at)[d] <= dims(from)[d],
          ErrorKind::Runtime,
          "Expected index {} to be no larger than self {} apart from dimension {} and to be no "
          "larger than src {}",
          shown(dims(at)), shown(dims(x)), axis, shown(dims(from)));
  }
  covered[axis] = dims(x)[axis];
  const Dims starts(rank(x), 0), steps(rank(x), 1);
  const Value updates = ops::slice(from, starts, steps, Dims(dims(at)));
  const Value part = ops::slice(x, starts, steps, covered);
  const Value reduced = reduce_into({part, at, updates, axis}, reduce, include_self);
  return ops::reshape(ops::update_slice(x, reduced, starts, steps), Dims(dims(input)));
}

Value index_reduce(Value input, int64_t dim, Value index, Value source, std::string_view reduce,
                   bool include_self) {
  check_reduction(reduce, "prod, mean, amax, amin");
  check_stored_dtype(input, source);
  const int64_t axis = normalize_dim(dim, rank(input));
  check(rank(index) <= 1, ErrorKind::Index, "index_reduce(): Index is supposed to be a vector");
  const Value x = atleast_1d(input), from = atleast_1d(source), at = atleast_1d(as_index(index));
  Dims extents(dims(x)), shape(rank(x), 1);
  extents[axis] = shape[axis] = dims(at)[0];
  check(std::ranges::equal(dims(from), extents), ErrorKind::Runtime,
        "index_reduce(): source tensor shape must match self tensor shape, excluding the specified "
        "dimension. Got self.shape = {} source.shape = {}",
        shown(dims(x)), shown(dims(from)));
  const Value spread = ops::expand(ops::reshape(at, shape), extents);
  return ops::reshape(reduce_into({x, spread, from, axis}, reduce, include_self),
                      Dims(dims(input)));
}

Value put(Value input, Value index, Value source, bool accumulate) {
  check_stored_dtype(input, source);
  check(dtype(index) == DType::Int64, ErrorKind::Runtime,
        "put_(): Expected a long tensor for index, but got {}", name_of(dtype(index)));
  check(type_of(index).numel == type_of(source).numel, ErrorKind::Runtime,
        "put_(): Expected source and index to have the same number of elements, but got source "
        "with {} and index with {}",
        type_of(source).numel, type_of(index).numel);
  const Value extent = ops::scalar(type_of(input).numel, DType::Int64);
  Value at = flattened(index);
  at = ops::select(at < 0.0, at + extent, at);
  const Value x = flattened(input), updates = flattened(source);
  const Value result =
      accumulate ? ops::scatter_add(x, at, updates, 0) : ops::scatter_set(x, at, updates, 0);
  return ops::reshape(result, Dims(dims(input)));
}

Value masked_scatter(Value input, Value mask, Value source) {
  check(dtype(mask) == DType::Bool, ErrorKind::Runtime,
        "masked_scatter_ only supports boolean masks, but got mask with dtype {}",
        name_of(dtype(mask)));
  check(dtype(input) == dtype(source), ErrorKind::Runtime,
        "masked_scatter: expected self and source to have same dtypes but got {} and {}",
        name_of(dtype(input)), name_of(dtype(source)));
  const Dims extents = common_dims(input, mask);
  const Value x = ops::expand(input, extents), flags = ops::expand(mask, extents);
  // The n-th true place takes the n-th element, counted from 1; place 0 is for those that are
  // false.
  const Value chosen = flattened(flags);
  const Value count = ops::cumulative(Op::Cumsum, ops::cast(chosen, DType::Int64), 0);
  const Value at = ops::select(chosen, count, ops::literal(0, DType::Int64));
  const Value parts[] = {ops::full({{1}}, ops::literal_like(source, 0)), flattened(source)};
  const Value taken = ops::gather(ops::concatenate(parts, 0), at, 0);
  return ops::select(flags, ops::reshape(taken, extents), x);
}

Value select_scatter(Value input, Value src, int64_t dim, int64_t index) {
  const Value place = select(input, dim, index);  // checks both
  check(std::ranges::equal(dims(src), dims(place)), ErrorKind::Runtime,
        "expected src to have a size equal to the slice of self. src size = {}, slice size = {}",
        shown(dims(src)), shown(dims(place)));
  const int64_t axis = normalize_dim(dim, rank(input));
  Dims starts(rank(input), 0), steps(rank(input), 1);
  starts[axis] = index < 0 ? index + dims(input)[axis] : index;
  return ops::update_slice(input, ops::unsqueeze(ops::cast(src, dtype(input)), axis), starts,
                           steps);
}

Value slice_scatter(Value input, Value src, int64_t dim, std::optional<int64_t> start,
                    std::optional<int64_t> end, int64_t step) {
  const int64_t axis = normalize_dim(dim, rank(input));
  check(rank(input) > 0, ErrorKind::Index, "slice() cannot be applied to a 0-dim tensor.");
  check(step > 0, ErrorKind::Runtime, "slice step must be positive");
  const int64_t extent = dims(input)[axis];
  const auto bound = [&](int64_t at) {
    return std::clamp<int64_t>(at < 0 ? at + extent : at, 0, extent);
  };
  const int64_t from = bound(start.value_or(0)), to = std::max(from, bound(end.value_or(extent)));
  Dims extents(dims(input)), starts(rank(input), 0), steps(rank(input), 1);
  extents[axis] = (to - from + step - 1) / step;
  starts[axis] = from;
  steps[axis] = step;
  check(std::ranges::equal(dims(src), extents), ErrorKind::Runtime,
        "expected src to have a size equal to the slice of self. src size = {}, slice size = {}",
        shown(dims(src)), shown(extents));
  if (type_of(src).numel == 0) return ops::alias(input);
  return ops::update_slice(input, ops::cast(src, dtype(input)), starts, steps);
}

Value diagonal_scatter(Value input, Value src, int64_t offset, int64_t dim1, int64_t dim2) {
  const Movements movements = view_diagonal(type_of(input), offset, dim1, dim2);
  const Movement& m = *movements.begin();
  check(std::ranges::equal(dims(src), m.dims), ErrorKind::Runtime,
        "expected src to have a size equal to the slice of self. src size = {}, slice size = {}",
        shown(dims(src)), shown(m.dims));
  const Value at = ops::strided_places(m.dims, m.sizes[0],
                                       std::span<const int64_t>(m.sizes).subspan(1, m.dims.size()));
  const Value put = ops::scatter_set(flattened(input), at, ops::cast(src, dtype(input)), 0);
  return ops::reshape(put, Dims(dims(input)));
}

}  // namespace tenon::values
