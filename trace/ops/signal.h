// Windows of signals, on points 0 to count - 1; of one more point whose last is left out if
// periodic.
#pragma once

#include "trace/ops/types.h"
#include "trace/value.h"

namespace tenon::values {

Value points_of(int64_t count, DType dtype);
// The sum of (-1)^i factors[i] cos(2 pi i k / N).
Value cosine_window(int64_t count, bool periodic, const FloatList& factors, DType dtype);
Value bartlett_of(int64_t count, bool periodic, DType dtype);
Value sine_of(int64_t count, bool periodic, DType dtype);
Value kaiser_of(int64_t count, bool periodic, double beta, DType dtype);

}  // namespace tenon::values
