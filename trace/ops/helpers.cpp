#include "trace/ops/helpers.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "core/shape.h"
#include "trace/complex.h"
#include "trace/ops/operands.h"
#include "trace/tensor.h"

namespace tenon {

DType Scalar::dtype() const {
  switch (kind_) {
    case Kind::Bool:
      return DType::Bool;
    case Kind::Int:
      return DType::Int64;
    case Kind::Float:
      return default_dtype();
    case Kind::Complex:
      return complex_dtype(default_dtype());
  }
  return DType::Float32;
}

namespace values {

int64_t normalize_dim(int64_t dim, int64_t rank) {
  const int64_t n = std::max<int64_t>(rank, 1);
  check(dim >= -n && dim < n, ErrorKind::Index,
        "{}: Dimension out of range (expected to be in range of [{}, {}], but got {})",
        current_operation(), -n, n - 1, dim);
  return dim < 0 ? dim + n : dim;
}

Dims all_dims(int64_t rank) {
  Dims dims;
  for (int64_t i = 0; i < rank; ++i) dims.push_back(i);
  return dims;
}

Dims normalize_dims(const std::optional<IntList>& dims, int64_t rank) {
  if (!dims || dims->empty()) return all_dims(rank);
  Dims sorted;
  for (int64_t dim : *dims) sorted.push_back(normalize_dim(dim, rank));
  std::ranges::sort(sorted);
  const auto twice = std::ranges::adjacent_find(sorted);
  check(twice == sorted.end(), ErrorKind::Runtime,
        "{}: dim {} appears multiple times in the list of dims", current_operation(),
        twice == sorted.end() ? 0 : *twice);
  if (rank == 0) return {};
  return sorted;
}

int64_t size_of_dim(Value x, int64_t dim) {
  const int64_t at = normalize_dim(dim, rank(x));
  return rank(x) == 0 ? 1 : dims(x)[at];
}

int64_t extent_of(Value x, std::span<const int64_t> axes) {
  int64_t extent = 1;
  for (int64_t axis : axes) extent *= dims(x)[axis];
  return extent;
}

Value scalar_of(const Scalar& number, DType dtype) {
  if (number.symbol() != 0 && !is_complex(dtype) && dtype != DType::Bool) [[unlikely]] {
    const Value value = scalar_of(number.without_symbol(), dtype);
    note_symbol_recorded(number.symbol(), value.id);
    return value;
  }
  if (is_complex(dtype)) {
    const std::complex<double> z = number.to_complex();
    const DType part = real_dtype(dtype);
    return ops::complex(ops::scalar(z.real(), part), ops::scalar(z.imag(), part));
  }
  check(number.kind() != Scalar::Kind::Complex, ErrorKind::Runtime,
        "{}: value cannot be converted to type {} without overflow", current_operation(),
        name_of(dtype));
  if (dtype == DType::Bool) return ops::scalar(int64_t{number.to_bool()}, dtype);
  return number.is_integral() ? ops::scalar(number.to_int(), dtype)
                              : ops::scalar(number.to_double(), dtype);
}

Value scalar_like(Value like, const Scalar& number) { return scalar_of(number, dtype(like)); }

DType combine_categories(std::optional<DType> higher, std::optional<DType> lower) {
  if (!higher) return lower.value_or(DType::Float32);
  if (!lower) return *higher;
  if (is_complex(*higher)) return *higher;
  if (is_floating(*higher)) {
    // A complex 0-d operand makes the result complex, with the precision of the dimensioned one.
    return is_complex(*lower) ? complex_dtype(*higher) : *higher;
  }
  const bool widens = *higher == DType::Bool || is_floating(*lower) || is_complex(*lower);
  return widens ? tenon::promote(*higher, *lower) : *higher;
}

namespace {

void join(std::optional<DType>& category, DType dtype) {
  category = category ? tenon::promote(*category, dtype) : dtype;
}

DType settle(Promotion kind, DType dtype) {
  return kind == Promotion::Float && is_integral(dtype, true) ? default_dtype() : dtype;
}

}  // namespace

DType result_type(Promotion kind, std::span<const Value> values) {
  std::optional<DType> dimensioned, zero_dim;
  for (Value value : values) {
    if (value) join(rank(value) > 0 ? dimensioned : zero_dim, dtype(value));
  }
  return settle(kind, combine_categories(dimensioned, zero_dim));
}

void promote(Promotion kind, std::initializer_list<Value*> values) {
  const DType first = dtype(**values.begin());
  bool same = kind == Promotion::Common || !is_integral(first, true);
  for (const Value* value : values) same = same && *value && dtype(*value) == first;
  if (same) return;
  std::array<Value, 8> copies;
  std::ranges::transform(values, copies.begin(), [](const Value* value) { return *value; });
  const DType dtype = result_type(kind, std::span(copies.data(), values.size()));
  for (Value* value : values) {
    if (*value) *value = ops::cast(*value, dtype);
  }
}

Value draw_bits(std::span<const int64_t> dims, Generator* generator) {
  if (generator == nullptr) return random_bits(dims);
  return ops::random_bits(dims, static_cast<int64_t>(generator->seed),
                          static_cast<int64_t>(generator->calls++));
}

Value apply_movements(Value x, const Movements& movements) {
  for (const Movement& m : movements) {
    switch (m.op) {
      case Op::Permute:
        x = ops::permute(x, m.axes);
        break;
      case Op::Expand:
        x = ops::expand(x, m.dims);
        break;
      case Op::Reshape:
        x = ops::reshape(x, m.dims);
        break;
      case Op::Slice: {
        const std::span<const int64_t> sizes = m.sizes;
        const size_t rank = sizes.size() / 2;
        x = ops::slice(x, sizes.first(rank), sizes.subspan(rank), m.dims);
        break;
      }
      case Op::Gather: {
        const std::span<const int64_t> sizes = m.sizes;
        x = ops::strided(x, m.dims, sizes[0], sizes.subspan(1, m.dims.size()));
        break;
      }
      case Op::ViewAsReal:
        x = ops::view_as_real(x);
        break;
      case Op::ViewAsComplex:
        x = ops::view_as_complex(x);
        break;
      default:
        fail(ErrorKind::Internal, "{} is no movement of a view", name_of(m.op));
    }
  }
  return x;
}

}  // namespace values

// ---- operands -----------------------------------------------------------------------------------

OperandType::OperandType(Promotion kind, std::initializer_list<Operand> operands, Need need)
    : kind_(kind) {
  std::optional<DType> dimensioned, zero_dim, number;
  bool needed = false;
  for (const Operand& x : operands) needed = needed || x.scalar.has_value();
  if (!needed) {  // a number beside the only promoted operand takes its dtype
    if (operands.size() == 1) dtype_ = values::settle(kind_, operands.begin()->tensor->dtype());
    return;
  }
  for (const Operand& x : operands) {
    if (x.scalar) values::join(number, x.scalar->dtype());
    if (x.tensor == nullptr) continue;
    values::join(x.tensor->rank() > 0 ? dimensioned : zero_dim, x.tensor->dtype());
  }
  check(need == NeedsNothing || dimensioned || zero_dim, ErrorKind::Type,
        "{}(): argument 'input' must be Tensor, not a number as the other operand",
        current_operation());
  std::optional<DType> tensors;
  if (dimensioned || zero_dim) tensors = values::combine_categories(dimensioned, zero_dim);
  dtype_ = values::settle(kind_, values::combine_categories(tensors, number));
}

Value use(OpScope& scope, const Operand& operand, const OperandType& type) {
  if (operand.tensor != nullptr) return scope.use(*operand.tensor);
  return operand.scalar ? values::scalar_of(*operand.scalar, type.dtype()) : Value{};
}

std::vector<Value> use_all(OpScope& scope, const TensorList& tensors) {
  std::vector<Value> values;
  values.reserve(tensors.size());
  for (const Tensor& tensor : tensors) values.push_back(scope.use(tensor));
  return values;
}

TensorList results(OpScope& scope, const std::vector<Value>& values) {
  TensorList tensors;
  tensors.reserve(values.size());
  for (Value value : values) tensors.push_back(scope.result(value));
  return tensors;
}

const Tensor& write(OpScope& scope, const Tensor& target, Value value) {
  const DType from = dtype(value), to = target.dtype();
  check(can_cast(from, to), ErrorKind::Runtime,
        "{}: result type {} can't be cast to the desired output type {}", current_operation(),
        name_of(from), name_of(to));
  const auto have = target.dims(), want = dims(value);
  bool fits = want.size() <= have.size();
  for (size_t i = 0; fits && i < want.size(); ++i) {
    const int64_t extent = want[want.size() - 1 - i];
    fits = extent == 1 || extent == have[have.size() - 1 - i];
  }
  check(fits, ErrorKind::Runtime, "{}: output with shape {} doesn't match the broadcast shape {}",
        current_operation(), shown(have), shown(want));
  return scope.write(target, value);
}

const Tensor& write_everywhere(OpScope& scope, const Tensor& target, Value value) {
  const Type& type = target.type();
  Dims once(type.dims()), sizes(2 * type.rank, 0);
  for (int i = 0; i < type.rank; ++i) {
    if (once[i] > 1 && type.strides()[i] == 0) once[i] = 1;
    sizes[type.rank + i] = 1;
  }
  if (std::ranges::equal(once, type.dims())) return write(scope, target, value);
  const auto starts = std::span<const int64_t>(sizes).first(type.rank);
  const auto steps = std::span<const int64_t>(sizes).subspan(type.rank);
  write(scope, make_view(target, Op::Slice, {}, sizes, once),
        ops::slice(value, starts, steps, once));
  return target;
}

Tensor apply_view(const Tensor& x, const Movements& movements) {
  if (movements.empty()) return make_view(x, Op::Alias, {}, {}, x.dims());
  Tensor view = x;
  for (const Movement& m : movements) view = make_view(view, m.op, m.axes, m.sizes, m.dims);
  return view;
}

Tensor view_or_copy(const Tensor& x, const Movements& movements) {
  for (const Movement& m : movements) {
    if (m.op == Op::Reshape && !can_view(x.type(), m.dims)) {
      OpScope scope(current_operation());
      return scope.result(values::apply_movements(scope.use(x), movements));
    }
  }
  return apply_view(x, movements);
}

}  // namespace tenon
