// Complex numbers: views of their parts, and numbers from parts.
#include "trace/complex.h"

#include "core/error.h"
#include "generated/functions.h"
#include "generated/values.h"
#include "trace/ops/helpers.h"
#include "trace/tensor.h"

namespace tenon {

Movements view_view_as_real(const Type& input) {
  check(is_complex(input.dtype), ErrorKind::Runtime,
        "view_as_real is only supported for complex tensors");
  Dims dims(input.dims());
  dims.push_back(2);
  return {{Op::ViewAsReal, {}, {}, dims}};
}

Movements view_view_as_complex(const Type& input) {
  check(input.dtype == DType::Float32 || input.dtype == DType::Float64,
        input.dtype == DType::Float16 ? ErrorKind::NotImplemented : ErrorKind::Runtime,
        "view_as_complex is only supported for floating point tensors of float32 or float64, but "
        "got a tensor of scalar type: {}",
        name_of(input.dtype));
  check(input.rank > 0, ErrorKind::Runtime, "Input tensor must have one or more dimensions");
  const int last = input.rank - 1;
  check(input.dims()[last] == 2, ErrorKind::Runtime, "Tensor must have a last dimension of size 2");
  check(input.strides()[last] == 1, ErrorKind::Runtime,
        "Tensor must have a last dimension with stride 1");
  for (int i = 0; i < last; ++i) {
    check(input.strides()[i] % 2 == 0, ErrorKind::Runtime,
          "Tensor must have a stride divisible by 2 for all but last dimension");
  }
  return {{Op::ViewAsComplex, {}, {}, input.dims().first(last)}};
}

Tensor real(const Tensor& x) { return is_complex(x.dtype()) ? select(view_as_real(x), -1, 0) : x; }

Tensor imag(const Tensor& x) {
  check(is_complex(x.dtype()), ErrorKind::Runtime,
        "imag is not implemented for tensors with non-complex dtypes.");
  return select(view_as_real(x), -1, 1);
}

namespace values {

Value complex(Value re, Value im) {
  const DType dtype = tenon::dtype(re);
  check(dtype == DType::Float32 || dtype == DType::Float64,
        dtype == DType::Float16 ? ErrorKind::NotImplemented : ErrorKind::Runtime,
        "Expected both inputs to be Float or Double tensors but got {} and {}", name_of(dtype),
        name_of(tenon::dtype(im)));
  check(tenon::dtype(im) == dtype, ErrorKind::Runtime,
        "Expected object of scalar type {} but got scalar type {} for second argument",
        name_of(dtype), name_of(tenon::dtype(im)));
  return ops::complex(re, im);
}

}  // namespace values
}  // namespace tenon
