// Routines: primitives that a library computes on dense operands, with several results. Each result
// is a node of its own, `which` being its last axis; a plan runs those that read the same together.
//
// The nodes are real: complex matrices come as the reals they consist of (axes[0] is 1). The
// functions here take and give complex values.
#pragma once

#include <string>

#include "trace/program.h"
#include "trace/value.h"

namespace tenon::ops {

// Whose failure it is that a matrix can't be factored, and how it is told; None: `info` tells.
enum class Failure : int64_t { None, Cholesky, Inverse, Solve, LuFactor };

enum class LuResult : int { Packed, Pivots, Info };
enum class QrResult : int { Q, R, Packed, Tau };
enum class EigResult : int { Values, Vectors };
enum class SvdResult : int { U, S, Vh };
enum class SvdJob : int64_t { Values, Reduced, Full };

Value fft(Value x, bool inverse);  // along the last axis, unscaled
Value triangular_solve(Value a, Value b, bool lower, bool unit);
Value cholesky(Value a, Failure failure);
Value cholesky_info(Value a, Failure failure);
Value lu(Value a, Failure failure, LuResult which);
// The order of rows, int64 [..., rows], to which pivots [..., k] lead.
Value lu_permutation(Value pivots, int64_t rows);
Value qr(Value a, bool complete, QrResult which);
Value eigh(Value a, bool with_vectors, EigResult which);
Value eig(Value a, bool with_vectors, EigResult which);
Value svd(Value a, SvdJob job, SvdResult which);

}  // namespace tenon::ops

namespace tenon {

// What to say of `info` (see kernels/lapack.h) of a node's matrix number `index`; empty where it is
// no failure.
std::string failure_of(Op op, std::span<const int64_t> axes, bool is_batched, int64_t index,
                       int32_t info, bool not_finite);

}  // namespace tenon
