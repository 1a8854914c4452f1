// Discrete Fourier transforms of complex rows.
#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace tenon::kernels {

// y[r, k] = sum over j of x[r, j] exp(-+ 2 pi i j k / n), unscaled; + for `inverse`. Complex
// numbers are interleaved; `part` is the dtype of their parts, float32 or float64. Any n; what has
// a prime factor above 13 is computed in float64.
void fft(DType part, const void* x, void* y, std::int64_t rows, std::int64_t n, bool inverse);

}  // namespace tenon::kernels
