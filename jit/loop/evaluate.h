#pragma once

// What each operation of the loop IR gives for one lane, as ir.h defines it. A lane is 64 bits that
// hold the type's bits in the low end, zero above.

#include "jit/loop/ir.h"

namespace tenon::loop {

using Lane = uint64_t;

Lane evaluate_unary(UnaryOp, Scalar, Lane x);
Lane evaluate_binary(BinaryOp, Scalar, Lane x, Lane y);
bool evaluate_compare(CompareOp, Scalar, Lane x, Lane y);
Lane evaluate_fma(Scalar, Lane x, Lane y, Lane z);
Lane evaluate_cast(Scalar to, Scalar from, Lane x);
Lane evaluate_call(uint32_t function, Scalar, Lane x, Lane y);
// The payload of a scalar parameter (bits of a double, or an int64) as a lane of its type.
Lane evaluate_scalar_param(Scalar, uint64_t payload);

}  // namespace tenon::loop
