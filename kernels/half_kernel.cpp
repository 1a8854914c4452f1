// Uses no inline function of any header but the compiler's intrinsics (see gemv_kernel.cpp).
#include "kernels/half_kernel.h"

#include <immintrin.h>

namespace tenon::kernels {

namespace {

constexpr long kLanes = 16;

inline __mmask16 first(long count) {
  return static_cast<__mmask16>(count >= kLanes ? 0xffff : (1 << count) - 1);
}

}  // namespace

void widen_float16(const unsigned short* from, float* to, long count) {
  long i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(from + i));
    _mm512_storeu_ps(to + i, _mm512_maskz_cvtph_ps(0xffff, bits));
  }
  if (i == count) return;
  unsigned short rest[kLanes] = {};
  for (long k = i; k < count; ++k) rest[k - i] = from[k];
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(rest));
  _mm512_mask_storeu_ps(to + i, first(count - i), _mm512_maskz_cvtph_ps(0xffff, bits));
}

void narrow_float16(const float* from, unsigned short* to, long count) {
  for (long i = 0; i < count; i += kLanes) {
    const __mmask16 lanes = first(count - i);
    const __m256i bits = _mm512_maskz_cvtps_ph(0xffff, _mm512_maskz_loadu_ps(lanes, from + i),
                                               _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    if (i + kLanes <= count) {
      _mm256_storeu_si256(reinterpret_cast<__m256i_u*>(to + i), bits);
      continue;
    }
    unsigned short rest[kLanes];
    _mm256_storeu_si256(reinterpret_cast<__m256i_u*>(rest), bits);
    for (long k = i; k < count; ++k) to[k] = rest[k - i];
  }
}

}  // namespace tenon::kernels
