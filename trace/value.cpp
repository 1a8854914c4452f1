#include "trace/value.h"

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>

#include "core/error.h"
#include "trace/complex.h"
#include "trace/float8.h"
#include "trace/recorder.h"
#include "trace/rules.h"

namespace tenon {

TypeId infer_Elementwise(Op op, std::span<const TypeId> operands);

TypeId type_id_of(Value value) { return recorder().segment->nodes[value.id].type; }
const Type& type_of(Value value) { return type_of(type_id_of(value)); }

namespace ops {

int64_t payload(double number, DType dtype) {
  return is_differentiable(dtype) ? std::bit_cast<int64_t>(number) : static_cast<int64_t>(number);
}
int64_t payload(int64_t number, DType dtype) {
  return is_differentiable(dtype) ? std::bit_cast<int64_t>(static_cast<double>(number)) : number;
}

namespace {

Value constant(DType dtype, bool is_literal, int64_t bits) {
  if (is_float8(dtype)) return cast(constant(DType::Float32, is_literal, bits), dtype);
  const TypeId type = intern_contiguous(dtype, recorder().device, {});
  const int64_t axes[] = {is_literal, bits};
  return append(Op::Constant, type, {}, std::span(axes, is_literal ? 2 : 1),
                is_literal ? Ints{} : Ints{&bits, 1});
}

// Whether it is recorded as something else: of complex operands as arithmetic on their parts, of
// float8 in float32.
bool is_expressed(Op op, std::span<const TypeId> operands) {
  if (operands.empty()) return false;
  const DType dtype = type_of(operands[0]).dtype;
  if (dtype < DType::Complex64) return false;
  if (is_float8(dtype)) return !moves_float8(op);
  return !acts_on_parts(op) && info(op).group != PrimitiveClass::Complex &&
         info(op).group != PrimitiveClass::Region;
}

Value express(Op op, std::span<const Value> operands, Ints axes, Ints sizes) {
  return is_float8(dtype(operands[0])) ? float8_primitive(op, operands, axes, sizes)
                                       : complex_primitive(op, operands, axes, sizes);
}

bool is_identity(Ints perm) {
  for (size_t i = 0; i < perm.size(); ++i) {
    if (perm[i] != static_cast<int64_t>(i)) return false;
  }
  return true;
}

}  // namespace

// Operands on one device: 0-d ones from the host go where the others are.
SmallVector<Value, 8> on_one_device(std::span<const Value> operands) {
  const auto follows = [](const Type& type) { return type.device.is_cpu() && type.rank == 0; };
  SmallVector<Value, 8> moved(operands);
  const Type* first = nullptr;
  for (const Value x : operands) {
    if (const Type& type = type_of(x); !follows(type)) {
      first = &type;
      break;
    }
  }
  if (!first) return moved;
  const Device device = first->device;
  for (Value& x : moved) {
    const Type& type = type_of(x);
    if (type.device == device) continue;
    check(follows(type), ErrorKind::Runtime,
          "{}: Expected all tensors to be on the same device, but found at least two devices, {} "
          "and {}! Move one of them (.to(device))",
          current_operation(), to_string(device), to_string(type.device));
    x = to_device(x, device);
  }
  return moved;
}

Value primitive(Op op, std::span<const Value> given, Ints axes, Ints sizes) {
  SmallVector<Value, 8> moved;
  std::span<const Value> operands = given;
  if (uses_devices() && given.size() > 1) [[unlikely]] {
    moved = on_one_device(given);
    operands = {moved.data(), moved.size()};
  }
  std::array<TypeId, 8> inline_types;
  std::vector<TypeId> many;
  TypeId* types = inline_types.data();
  if (operands.size() > inline_types.size()) {
    many.resize(operands.size());
    types = many.data();
  }
  const auto& nodes = recorder().segment->nodes;
  for (size_t i = 0; i < operands.size(); ++i) types[i] = nodes[operands[i].id].type;
  const std::span<const TypeId> operand_types{types, operands.size()};
  if (is_expressed(op, operand_types)) [[unlikely]]
    return express(op, operands, axes, sizes);
  const TypeId type = info(op).elementwise ? infer_Elementwise(op, operand_types)
                                           : infer_rule(op)(op, operand_types, axes, sizes);
  return append(op, type, operands, axes, sizes);
}

Value unary(Op op, Value a) {
  const TypeId operand = type_id_of(a);
  if (is_expressed(op, {&operand, 1})) [[unlikely]]
    return express(op, {&a, 1}, {}, {});
  return append(op, infer_Elementwise(op, {&operand, 1}), {&a, 1}, {}, {});
}

Value binary(Op op, Value a, Value b) {
  if (uses_devices()) [[unlikely]] {
    const Value given[] = {a, b};
    const auto moved = on_one_device(given);
    a = moved[0], b = moved[1];
  }
  const Value operands[] = {a, b};
  const TypeId types[] = {type_id_of(a), type_id_of(b)};
  if (is_expressed(op, types)) [[unlikely]]
    return express(op, operands, {}, {});
  return append(op, infer_Elementwise(op, types), operands, {}, {});
}

Value select(Value condition, Value a, Value b) {
  const Value operands[] = {condition, a, b};
  return primitive(Op::Select, operands);
}

Value literal(double number, DType dtype) {
  if (!is_complex(dtype)) return constant(dtype, true, payload(number, dtype));
  return complex(literal(number, real_dtype(dtype)), literal(0, real_dtype(dtype)));
}
Value literal_like(Value like, double number) { return literal(number, dtype(like)); }
Value scalar(double number, DType dtype) {
  if (!is_complex(dtype)) return constant(dtype, false, payload(number, dtype));
  return complex(scalar(number, real_dtype(dtype)), literal(0, real_dtype(dtype)));
}
Value scalar(int64_t number, DType dtype) {
  if (is_complex(dtype)) return scalar(static_cast<double>(number), dtype);
  return constant(dtype, false, payload(number, dtype));
}

Value cast(Value x, DType dtype) {
  const Type& type = type_of(x);
  if (type.dtype == dtype) return x;
  if (is_complex(type.dtype) != is_complex(dtype)) [[unlikely]]
    return cast_complex(x, dtype);
  return append(Op::Cast, intern(dtype, type.device, type.dims(), type.strides()), {&x, 1}, {}, {});
}

Value expand(Value x, Ints dims) {
  if (std::ranges::equal(type_of(x).dims(), dims)) return x;
  return primitive(Op::Expand, {&x, 1}, {}, dims);
}

Value reshape(Value x, Ints dims) {
  if (std::ranges::equal(type_of(x).dims(), dims)) return x;
  return primitive(Op::Reshape, {&x, 1}, {}, dims);
}

Value permute(Value x, Ints perm) {
  if (is_identity(perm)) return x;
  return primitive(Op::Permute, {&x, 1}, perm);
}

Value slice(Value x, Ints starts, Ints steps, Ints dims) {
  const Type& type = type_of(x);
  check(starts.size() == type.rank && steps.size() == type.rank && dims.size() == type.rank,
        ErrorKind::Internal, "slice: a start, a step and an extent for each dimension");
  bool whole = std::ranges::equal(type.dims(), dims);
  for (size_t i = 0; i < starts.size(); ++i) {
    whole = whole && starts[i] == 0 && steps[i] == 1;
    const int64_t last = starts[i] + steps[i] * (dims[i] - 1);
    check(dims[i] == 0 ||
              (starts[i] >= 0 && starts[i] < type.dims()[i] && last >= 0 && last < type.dims()[i]),
          ErrorKind::Index, "slice of {} elements from {} by {} is out of bounds for size {}",
          dims[i], starts[i], steps[i], type.dims()[i]);
  }
  if (whole) return x;
  Dims sizes(starts);
  sizes.append(steps.begin(), steps.end());
  return append(Op::Slice, intern_contiguous(type.dtype, type.device, dims), {&x, 1}, {}, sizes);
}

Value slice_axis(Value x, int64_t axis, int64_t start, int64_t length, int64_t step) {
  const Type& type = type_of(x);
  Dims starts(type.rank, 0), steps(type.rank, 1), dims(type.dims());
  starts[axis] = start;
  steps[axis] = step;
  dims[axis] = length;
  return slice(x, starts, steps, dims);
}

Value pad(Value x, Value fill, Ints low, Ints high, Ints interior) {
  const auto is_zero = [](Ints list) {
    return std::ranges::all_of(list, [](int64_t n) { return n == 0; });
  };
  if (is_zero(low) && is_zero(high) && is_zero(interior)) return x;
  Dims sizes(low);
  sizes.append(high.begin(), high.end());
  sizes.append(interior.begin(), interior.end());
  const Value operands[] = {x, fill};
  return primitive(Op::Pad, operands, {}, sizes);
}

Value concatenate(std::span<const Value> xs, int64_t axis) {
  if (xs.size() == 1) return xs[0];
  return primitive(Op::Concatenate, xs, {&axis, 1});
}

Value update_slice(Value base, Value value, Ints starts, Ints steps) {
  Dims sizes(starts);
  sizes.append(steps.begin(), steps.end());
  const Value operands[] = {base, value};
  return primitive(Op::UpdateSlice, operands, {}, sizes);
}

Value gather(Value x, Value index, int64_t axis) {
  const Value operands[] = {x, index};
  return primitive(Op::Gather, operands, {&axis, 1});
}
Value take_along(Value x, Value index, int64_t axis) {
  const Value operands[] = {x, index};
  return primitive(Op::TakeAlong, operands, {&axis, 1});
}

#define TENON_SCATTER(name, op)                                      \
  Value name(Value base, Value index, Value updates, int64_t axis) { \
    const Value operands[] = {base, index, updates};                 \
    return primitive(Op::op, operands, {&axis, 1});                  \
  }
TENON_SCATTER(scatter_add, ScatterAdd)
TENON_SCATTER(scatter_set, ScatterSet)
TENON_SCATTER(put_along_add, PutAlongAdd)
TENON_SCATTER(put_along_set, PutAlongSet)
#undef TENON_SCATTER

Value reduce(Op op, Value x, Ints axes, bool keepdim) {
  if (axes.empty()) return x;
  Value reduced = primitive(op, {&x, 1}, axes);
  // Sums start from -0.0, which adds nothing to anything; a sum of nothing is 0.0.
  const bool is_of_nothing =
      std::ranges::any_of(axes, [&](int64_t axis) { return type_of(x).dims()[axis] == 0; });
  if (op == Op::ReduceSum && is_of_nothing && is_differentiable(type_of(x).dtype))
    reduced = reduced + 0.0;
  if (!keepdim) return reduced;
  Dims dims(type_of(x).dims());
  for (int64_t axis : axes) dims[axis] = 1;
  return reshape(reduced, dims);
}

Value argreduce(Op op, Value x, int64_t axis) { return primitive(op, {&x, 1}, {&axis, 1}); }
Value cumulative(Op op, Value x, int64_t axis) { return primitive(op, {&x, 1}, {&axis, 1}); }

Value argsort(Value x, int64_t axis, bool descending) {
  const int64_t axes[] = {axis, descending};
  return primitive(Op::Argsort, {&x, 1}, axes);
}

Value iota(Ints dims, int64_t axis, DType dtype) {
  if (is_float8(dtype)) return cast(iota(dims, axis, DType::Float32), dtype);
  return append(Op::Iota, intern_contiguous(dtype, recorder().device, dims), {}, {&axis, 1}, dims);
}

Value to_device(Value x, Device device) {
  if (type_of(x).device == device) return x;
  note_device(device);
  const int64_t axes[] = {static_cast<int64_t>(device.kind), device.index};
  return primitive(Op::ToDevice, {&x, 1}, axes);
}

Value alias(Value x) { return append(Op::Alias, type_id_of(x), {&x, 1}, {}, {}); }
Value stop_gradient(Value x) { return append_masked(Op::Alias, type_id_of(x), {&x, 1}, {}, {}, 0); }
Value redirect(Value value, Value derivative_of) {
  const Value operands[] = {stop_gradient(value), derivative_of};
  return primitive(Op::Redirect, operands);
}

Value dot_general(Value a, Value b, Ints batch_a, Ints batch_b, Ints contract_a, Ints contract_b) {
  Dims axes;
  axes.push_back(static_cast<int64_t>(batch_a.size()));
  axes.append(batch_a.begin(), batch_a.end());
  axes.append(batch_b.begin(), batch_b.end());
  axes.push_back(static_cast<int64_t>(contract_a.size()));
  axes.append(contract_a.begin(), contract_a.end());
  axes.append(contract_b.begin(), contract_b.end());
  const Value operands[] = {a, b};
  return primitive(Op::DotGeneral, operands, axes);
}

Value convolution(ConvolutionRole result, Value a, Value b, const ConvolutionSizes& s,
                  Ints extents) {
  const Value operands[] = {a, b};
  const auto axis = static_cast<int64_t>(result);
  Dims sizes{s.groups};
  for (const Ints list : {s.stride.span(), s.low.span(), s.dilation.span(), extents}) {
    sizes.append(list.begin(), list.end());
  }
  return primitive(Op::Convolution, operands, {&axis, 1}, sizes);
}

Value full(Ints dims, Value number) { return expand(number, dims); }
static Value full_of(const Type& type, double number) {
  const DeviceScope there(type.device);
  return full(type.dims(), literal(number, type.dtype));
}
Value zeros(const Type& type) { return full_of(type, 0); }
Value ones(const Type& type) { return full_of(type, 1); }
Value zeros_like(Value x) { return zeros(type_of(x)); }
Value ones_like(Value x) { return ones(type_of(x)); }

Value sum_to(Value x, Ints dims) {
  const auto from = type_of(x).dims();
  if (std::ranges::equal(from, dims)) return x;
  const size_t shift = from.size() - dims.size();
  Dims axes;
  for (size_t i = 0; i < from.size(); ++i) {
    if (i < shift || (dims[i - shift] == 1 && from[i] != 1))
      axes.push_back(static_cast<int64_t>(i));
  }
  return reshape(reduce(Op::ReduceSum, x, axes), dims);
}

Value unsqueeze(Value x, int64_t axis) {
  Dims dims(type_of(x).dims());
  dims.insert(dims.begin() + axis, 1);
  return reshape(x, dims);
}

Value move_axis(Value x, int64_t from, int64_t to) {
  if (from == to) return x;
  Dims perm;
  for (int i = 0; i < rank(x); ++i) {
    if (i != from) perm.push_back(i);
  }
  perm.insert(perm.begin() + to, from);
  return permute(x, perm);
}

Value strided_places(Ints dims, int64_t first, Ints steps) {
  Value at = expand(scalar(first, DType::Int64), dims);
  for (size_t d = 0; d < dims.size(); ++d) {
    if (dims[d] == 1 || steps[d] == 0) continue;
    at = at + iota(dims, static_cast<int64_t>(d)) * scalar(steps[d], DType::Int64);
  }
  return at;
}

Value strided(Value x, Ints dims, int64_t first, Ints steps) {
  const int64_t flat[] = {type_of(x).numel};
  return gather(reshape(x, flat), strided_places(dims, first, steps), 0);
}

Value flip(Value x, int64_t axis) {
  const int64_t n = type_of(x).dims()[axis];
  return n == 0 ? x : slice_axis(x, axis, n - 1, n, -1);
}

}  // namespace ops
}  // namespace tenon
