// The kernels of kernels/panel_gemm.cpp. No includes: see gemv_kernel.cpp.
#pragma once

namespace tenon::kernels {

inline constexpr long kPanelColumns = 48;  // three vectors of AVX-512

// A panel: columns [0, count) of a k x n matrix B as rows of kPanelColumns, what lacks being zero.
// B is stored k x n, or n x k if transposed, with leading dimension ld.
void pack_panel(const float* b, long ld, bool transposed, long k, long count, float* panel);

// C (m x count, leading dimension ldc) = A (m x k, leading dimension lda) times a panel, added to
// what C holds if `adds`. Each element is one chain of fused multiply-adds over k in order.
void multiply_panel(const float* a, long lda, const float* panel, float* c, long ldc, long m,
                    long k, long count, bool adds);

}  // namespace tenon::kernels
