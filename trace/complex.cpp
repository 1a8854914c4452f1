// The structure of complex values: parts, and the primitives that need them. The rules of the four
// primitives of complex numbers stand at the end.
#include "trace/complex.h"

#include <algorithm>

#include "core/error.h"
#include "core/shape.h"
#include "trace/recorder.h"
#include "trace/rules.h"

namespace tenon {
namespace ops {
namespace {

// Products of complex numbers along an axis, by halves: an odd one out waits for the next round.
Parts product_along(Parts z, int64_t axis) {
  for (int64_t n = dims(z.re)[axis]; n > 1; n = dims(z.re)[axis]) {
    const int64_t half = n / 2;
    const auto stretch = [&](int64_t start, int64_t length) {
      return Parts{slice_axis(z.re, axis, start, length), slice_axis(z.im, axis, start, length)};
    };
    Parts product = stretch(0, half) * stretch(half, half);
    if (n % 2 != 0) {
      const Parts rest = stretch(n - 1, 1);
      const Value re[] = {product.re, rest.re}, im[] = {product.im, rest.im};
      product = {concatenate(re, axis), concatenate(im, axis)};
    }
    z = product;
  }
  return z;
}

Value reduce_product(Value x, Ints axes) {
  Parts z = parts(x);
  for (size_t k = axes.size(); k-- > 0;) {
    const int64_t axis = axes[k];
    Dims without(dims(z.re));
    without.erase(without.begin() + axis);
    if (dims(z.re)[axis] == 0) {
      const Value one = literal_like(z.re, 1), zero = literal_like(z.re, 0);
      z = {full(without, one), full(without, zero)};
      continue;
    }
    z = product_along(z, axis);
    z = {reshape(z.re, without), reshape(z.im, without)};
  }
  return complex(z);
}

// Running products: each round multiplies by what stands 1, 2, 4, ... places before (Hillis and
// Steele, Data parallel algorithms, 1986).
Value cumulative_product(Value x, int64_t axis) {
  Parts z = parts(x);
  const int64_t n = dims(x)[axis];
  for (int64_t shift = 1; shift < n; shift *= 2) {
    const auto stretch = [&](int64_t start, int64_t length) {
      return Parts{slice_axis(z.re, axis, start, length), slice_axis(z.im, axis, start, length)};
    };
    const Parts head = stretch(0, shift), tail = stretch(shift, n - shift) * stretch(0, n - shift);
    const Value re[] = {head.re, tail.re}, im[] = {head.im, tail.im};
    z = {concatenate(re, axis), concatenate(im, axis)};
  }
  return complex(z);
}

}  // namespace

Value part(Value x, int which) {
  if (!is_complex(dtype(x))) return which == 0 ? x : zeros_like(x);
  const int64_t axis = which;
  return primitive(Op::Part, {&x, 1}, {&axis, 1});
}

Parts parts(Value x) { return {part(x, 0), part(x, 1)}; }

Value complex(Value re, Value im) {
  if (!std::ranges::equal(dims(re), dims(im))) {
    const Dims common = broadcast_dims(dims(re), dims(im));
    re = expand(re, common), im = expand(im, common);
  }
  const Value operands[] = {re, im};
  return primitive(Op::Complex, operands);
}

Value view_as_real(Value x) { return primitive(Op::ViewAsReal, {&x, 1}); }
Value view_as_complex(Value x) { return primitive(Op::ViewAsComplex, {&x, 1}); }

Value conj(Value x) {
  if (!is_complex(dtype(x))) return x;
  const Parts z = parts(x);
  return complex(z.re, -z.im);
}

Value cast_complex(Value x, DType to) {
  if (!is_complex(dtype(x))) {
    const Value re = cast(x, real_dtype(to));
    return complex(re, zeros_like(re));
  }
  const Parts z = parts(x);
  if (to == DType::Bool) return cast(z.re, to) | cast(z.im, to);
  return cast(z.re, to);
}

bool acts_on_parts(Op op) {
  switch (op) {
    case Op::Alias:
    case Op::ToDevice:
    case Op::Redirect:
    case Op::Neg:
    case Op::Add:
    case Op::Sub:
    case Op::Select:
    case Op::ReduceSum:
    case Op::Cumsum:
      return true;
    default:
      return info(op).group == PrimitiveClass::Movement || info(op).group == PrimitiveClass::Index;
  }
}

Value complex_primitive(Op op, std::span<const Value> operands, Ints axes, Ints sizes) {
  switch (op) {
    case Op::ReduceProd:
      return reduce_product(operands[0], axes);
    case Op::Cumprod:
      return cumulative_product(operands[0], axes[0]);
    case Op::DotGeneral:
    case Op::Convolution: {
      const Parts a = parts(operands[0]), b = parts(operands[1]);
      const auto product = [&](Value x, Value y) {
        const Value both[] = {x, y};
        return primitive(op, both, axes, sizes);
      };
      return complex(product(a.re, b.re) - product(a.im, b.im),
                     product(a.re, b.im) + product(a.im, b.re));
    }
    default:
      break;
  }
  if (is_elementwise(op) && operands.size() == 1) return complex_unary(op, parts(operands[0]));
  if (is_elementwise(op) && operands.size() == 2) {
    return complex_binary(op, parts(operands[0]), parts(operands[1]));
  }
  fail(ErrorKind::NotImplemented, "{}: not implemented for {}", current_operation(),
       name_of(dtype(operands[0])));
}

}  // namespace ops

namespace {

using Types = std::span<const TypeId>;
using Ints = std::span<const int64_t>;

// The extents of a type and its order in memory, with another dtype.
TypeId with_dtype(const Type& type, DType dtype) {
  return type.contiguous || !is_dense(type)
             ? intern_contiguous(dtype, type.device, type.dims())
             : intern(dtype, type.device, type.dims(), type.strides());
}

void expect(bool holds, const char* what) {
  check(holds, ErrorKind::Runtime, "{}: {}", current_operation(), what);
}

}  // namespace

TypeId infer_Part(Op, Types operands, Ints, Ints) {
  const Type& type = type_of(operands[0]);
  expect(is_complex(type.dtype), "only complex numbers have parts");
  return with_dtype(type, real_dtype(type.dtype));
}

TypeId infer_Complex(Op, Types operands, Ints, Ints) {
  const Type &re = type_of(operands[0]), &im = type_of(operands[1]);
  expect(re.dtype == im.dtype && std::ranges::equal(re.dims(), im.dims()),
         "real and imaginary parts differ in dtype or size");
  return with_dtype(re, complex_dtype(re.dtype));
}

TypeId infer_ViewAsReal(Op, Types operands, Ints, Ints) {
  const Type& type = type_of(operands[0]);
  expect(is_complex(type.dtype), "only supported for complex tensors");
  Dims dims(type.dims());
  dims.push_back(2);
  return intern_contiguous(real_dtype(type.dtype), type.device, dims);
}

TypeId infer_ViewAsComplex(Op, Types operands, Ints, Ints) {
  const Type& type = type_of(operands[0]);
  expect(type.rank > 0 && type.dims()[type.rank - 1] == 2, "the last dimension must be of size 2");
  return intern_contiguous(complex_dtype(type.dtype), type.device,
                           type.dims().first(type.rank - 1));
}

Value batch_Part(const BatchContext& c) {
  return ops::part(c.operands[0], static_cast<int>(c.axes[0]));
}
Value batch_Complex(const BatchContext& c) { return ops::complex(c.batch(0), c.batch(1)); }
Value batch_ViewAsReal(const BatchContext& c) { return ops::view_as_real(c.operands[0]); }
Value batch_ViewAsComplex(const BatchContext& c) { return ops::view_as_complex(c.operands[0]); }

}  // namespace tenon
