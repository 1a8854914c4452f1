// Rows of half types to float32 and back: float16 by the processor's instructions where it has
// them, else by core/half.h, which gives the same bits.
#pragma once

#include <cstdint>

#include "core/half.h"

namespace tenon::kernels {

void widen_row(const float16* from, float* to, std::int64_t count);
void widen_row(const bfloat16* from, float* to, std::int64_t count);
void narrow_row(const float* from, float16* to, std::int64_t count);
void narrow_row(const float* from, bfloat16* to, std::int64_t count);

}  // namespace tenon::kernels
