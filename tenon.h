// All of Tenon for C++ programs: the names are PyTorch's, and those of the Python package.
//
//   tenon::jit::install();                       // once, before the first value is read
//   Tensor x = randn({2, 3});
//   float total = (x * 2 + 1).sum().item<float>();
#pragma once

#include "autograd/autograd.h"
#include "generated/functions.h"
#include "jit/plan/executor.h"
#include "nn/containers.h"
#include "nn/generated/layers.h"
#include "nn/init.h"
#include "nn/safetensors.h"
#include "optim/optimizer.h"

namespace tenon {

// Arithmetic on tensors and numbers.
#define TENON_OPERATOR(symbol, function)                                                     \
  inline Tensor operator symbol(const Tensor& a, const Tensor& b) { return function(a, b); } \
  template <class Number>                                                                    \
    requires std::is_arithmetic_v<Number>                                                    \
  Tensor operator symbol(const Tensor& a, Number b) {                                        \
    return function(a, Scalar(b));                                                           \
  }
// A number on the left of what takes one there, or of what has a mirror image.
#define TENON_OPERATOR_FROM_LEFT(symbol, call)             \
  template <class Number>                                  \
    requires std::is_arithmetic_v<Number>                  \
  Tensor operator symbol(Number number, const Tensor& b) { \
    const Scalar a(number);                                \
    return call;                                           \
  }
TENON_OPERATOR(+, add)
TENON_OPERATOR(-, sub)
TENON_OPERATOR(*, mul)
TENON_OPERATOR(/, true_divide)
TENON_OPERATOR(%, remainder)
TENON_OPERATOR(==, eq)
TENON_OPERATOR(!=, ne)
TENON_OPERATOR(<, lt)
TENON_OPERATOR(<=, le)
TENON_OPERATOR(>, gt)
TENON_OPERATOR(>=, ge)
TENON_OPERATOR_FROM_LEFT(+, add(Operand(a), b))
TENON_OPERATOR_FROM_LEFT(-, sub(Operand(a), b))
TENON_OPERATOR_FROM_LEFT(*, mul(Operand(a), b))
TENON_OPERATOR_FROM_LEFT(/, true_divide(Operand(a), b))
TENON_OPERATOR_FROM_LEFT(%, remainder(a, b))
TENON_OPERATOR_FROM_LEFT(==, eq(b, a))
TENON_OPERATOR_FROM_LEFT(!=, ne(b, a))
TENON_OPERATOR_FROM_LEFT(<, gt(b, a))
TENON_OPERATOR_FROM_LEFT(<=, ge(b, a))
TENON_OPERATOR_FROM_LEFT(>, lt(b, a))
TENON_OPERATOR_FROM_LEFT(>=, le(b, a))
#undef TENON_OPERATOR
#undef TENON_OPERATOR_FROM_LEFT
inline Tensor operator-(const Tensor& a) { return neg(a); }

}  // namespace tenon
