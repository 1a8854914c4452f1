// Operations on the elements that a mask keeps: the others become what doesn't count.
#include <limits>

#include "core/error.h"
#include "core/shape.h"
#include "generated/functions.h"
#include "generated/values.h"
#include "trace/complex.h"
#include "trace/ops/helpers.h"
#include "trace/tensor.h"

namespace tenon {
namespace values {
namespace {

// The mask as bools of x's size.
Value kept(Value x, Value mask) {
  check(rank(mask) <= rank(x), ErrorKind::Index,
        "{}: expected a mask that broadcasts to the input, got one of {} dimensions for {}",
        current_operation(), rank(mask), rank(x));
  return ops::expand(ops::cast(mask, DType::Bool), dims(x));
}

// The least (greatest) number of a dtype; of a floating one the infinity.
Value extreme(DType dtype, bool greatest) {
  if (is_complex(dtype)) return scalar_of(Scalar(-std::numeric_limits<double>::infinity()), dtype);
  if (!is_integral(dtype, true)) {
    const double infinity = std::numeric_limits<double>::infinity();
    return ops::literal(greatest ? infinity : -infinity, dtype);
  }
  if (dtype == DType::Bool) return ops::scalar(int64_t{greatest}, dtype);
  const int bits = static_cast<int>(8 * size_of(dtype));
  const bool has_sign = is_signed(dtype);
  const int64_t ones = static_cast<int64_t>(~uint64_t{0} >> (64 - bits));
  if (!has_sign) return ops::scalar(greatest ? ones : 0, dtype);
  const int64_t top = static_cast<int64_t>(static_cast<uint64_t>(ones) >> 1);
  return ops::scalar(greatest ? top : -top - 1, dtype);
}

Value filler(DType dtype, std::string_view fill) {
  if (fill == "zero") return scalar_of(Scalar(int64_t{0}), dtype);
  if (fill == "one") return scalar_of(Scalar(int64_t{1}), dtype);
  if (fill == "nan") return ops::literal(std::numeric_limits<double>::quiet_NaN(), dtype);
  return extreme(dtype, fill == "highest");
}

}  // namespace

Value fill_masked(Value x, Value mask, std::string_view fill) {
  return mask ? where(kept(x, mask), x, filler(dtype(x), fill)) : x;
}

Value count_kept(Value x, Value mask, std::span<const int64_t> axes, bool keepdim) {
  const Value ones = mask ? ops::cast(kept(x, mask), DType::Int64)
                          : ops::full(Dims(dims(x)), ops::literal(1, DType::Int64));
  return ops::reduce(Op::ReduceSum, ones, axes, keepdim);
}

Value masked_variance(Value x, Value mask, std::span<const int64_t> axes, double correction,
                      bool keepdim, DType wanted) {
  const DType result = is_integral(wanted, true) ? DType::Float32 : wanted;
  const DType type = is_half(result) ? DType::Float32 : result;
  const Value wide = ops::cast(x, type);
  const Value total = ops::reduce(Op::ReduceSum, fill_masked(wide, mask, "zero"), axes, true);
  const Value mean =
      ops::binary(Op::Div, total, ops::cast(count_kept(x, mask, axes, true), dtype(total)));
  const Value away = wide - mean;
  const Value squares = fill_masked(mul(away, ops::conj(away)), mask, "zero");
  const Value sum = ops::reduce(Op::ReduceSum, squares, axes, keepdim);
  const Value count = ops::cast(count_kept(x, mask, axes, keepdim), real_dtype(type));
  const Value over = count - scalar_like(count, Scalar(correction));
  const Value divisor = ops::binary(Op::Maximum, over, ops::literal_like(over, 0));
  return ops::cast(ops::binary(Op::Div, sum, ops::cast(divisor, type)), wanted);
}

}  // namespace values

Tensor masked_median(const Tensor& input, int64_t dim, bool keepdim, std::optional<DType> dtype,
                     const Tensor& mask) {
  const bool whole = is_integral(input.dtype(), true);
  Tensor medians, is_missing;
  {
    OpScope scope("masked_median");
    const Value given = scope.use(input);
    const Value x = whole ? ops::cast(given, DType::Float32) : given;
    const Value kept = mask.defined() ? values::fill_masked(x, scope.use(mask), "nan") : x;
    const Value result = values::nanmedian(kept, dim, keepdim)[0];
    if (!whole) return scope.result(result);
    const Value missing = ops::unary(Op::IsNan, result);
    is_missing = scope.result(ops::reduce(Op::ReduceAny, missing, values::all_dims(rank(missing))));
    medians = scope.result(ops::cast(result, dtype.value_or(input.dtype())));
  }
  check(is_missing.item_int() == 0, ErrorKind::Value,
        "masked median expects no fully masked out rows if dtype is not floating point");
  return medians;
}

}  // namespace tenon
