#include "kernels/half_rows.h"

#include "kernels/half_kernel.h"

namespace tenon::kernels {
namespace {

#if TENON_HAVE_X86_KERNELS
bool has_float16_rows() {
  static const bool has = __builtin_cpu_supports("avx512f") != 0;
  return has;
}
#endif

template <class From, class To>
void convert(const From* from, To* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = from[i];
}

}  // namespace

void widen_row(const float16* from, float* to, std::int64_t count) {
#if TENON_HAVE_X86_KERNELS
  if (has_float16_rows()) return widen_float16(&from->bits, to, count);
#endif
  convert(from, to, count);
}

void narrow_row(const float* from, float16* to, std::int64_t count) {
#if TENON_HAVE_X86_KERNELS
  if (has_float16_rows()) return narrow_float16(from, &to->bits, count);
#endif
  convert(from, to, count);
}

void widen_row(const bfloat16* from, float* to, std::int64_t count) { convert(from, to, count); }
void narrow_row(const float* from, bfloat16* to, std::int64_t count) { convert(from, to, count); }

}  // namespace tenon::kernels
