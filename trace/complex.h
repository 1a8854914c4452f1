// Complex numbers in the trace. A complex value is a node like any other: it is moved, added and
// selected as it is. Whatever multiplies or looks into it is recorded as arithmetic on its parts,
// so that derivatives (PyTorch's: of a real loss by the real plus i times by the imaginary part),
// batching and kernels know real numbers alone. A program that leaves the trace is rewritten to
// pairs of reals (complex_program.h).
#pragma once

#include "trace/value.h"

namespace tenon::ops {

struct Parts {
  Value re, im;
};

Value part(Value x, int which);  // 0: real, 1: imaginary; of a real value itself and zeros
Parts parts(Value x);
Value complex(Value re, Value im);  // broadcast against each other; of equal real dtypes
inline Value complex(const Parts& z) { return complex(z.re, z.im); }
Value view_as_real(Value x);
Value view_as_complex(Value x);
Value conj(Value x);       // a real value itself
Value magnitude(Value x);  // of a real value its absolute value; derivative 0 at 0
Value angle(Value x);      // of complex numbers
// Complex numbers of norm 1 in the direction of each; 0 at 0.
Value direction(Value x);

// Whether the primitive treats both parts alike, so that it may stand on complex values as it is.
bool acts_on_parts(Op op);
// Any other primitive with a complex operand, as arithmetic on parts. Elementwise ones broadcast.
Value complex_primitive(Op op, std::span<const Value> operands, Ints axes, Ints sizes);
// From real to complex, or back: the real part, or for bool whether either part is not zero.
Value cast_complex(Value x, DType to);
// An elementwise function of complex numbers (complex_functions.cpp).
Value complex_unary(Op op, const Parts& z);
Value complex_binary(Op op, const Parts& a, const Parts& b);

Parts operator+(const Parts& a, const Parts& b);
Parts operator-(const Parts& a, const Parts& b);
Parts operator*(const Parts& a, const Parts& b);
Parts operator/(const Parts& a, const Parts& b);

}  // namespace tenon::ops
