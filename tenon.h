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
  }                                                                                          \
  template <class Number>                                                                    \
    requires std::is_arithmetic_v<Number>                                                    \
  Tensor operator symbol(Number a, const Tensor& b) {                                        \
    return function(Operand(Scalar(a)), b);                                                  \
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
#undef TENON_OPERATOR
inline Tensor operator-(const Tensor& a) { return neg(a); }

}  // namespace tenon
