// Elementwise primitives on one element, for the plain evaluation of programs.
#pragma once

#include "core/dtype.h"
#include "core/half.h"
#include "trace/node.h"

namespace tenon::test {

double round_to(DType dtype, double value);  // to a value the dtype has
double unary(Op op, double a, DType dtype);
double binary(Op op, double a, double b, DType dtype);

}  // namespace tenon::test
