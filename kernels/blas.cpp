#include "kernels/blas.h"

#include <limits>

#include "core/error.h"
#include "kernels/plain_gemm.h"

#if TENON_HAVE_ONEDNN
#include <oneapi/dnnl/dnnl.h>

#include "kernels/serial_openmp.h"
#include "kernels/signal_stack.h"
#endif
#if TENON_HAVE_OPENBLAS
#include <cblas.h>
#endif

namespace tenon::kernels {

namespace {

#if TENON_HAVE_ONEDNN
void multiply_onednn(const MatrixProduct<float>& p) {
  const SerialOpenMp serial;
  ensure_signal_stack();
  const dnnl_status_t status = dnnl_sgemm(p.transpose_a ? 'T' : 'N', p.transpose_b ? 'T' : 'N', p.m,
                                          p.n, p.k, 1.0f, p.a, p.lda, p.b, p.ldb, 0.0f, p.c, p.ldc);
  check(status != dnnl_out_of_memory, ErrorKind::OutOfMemory,
        "out of memory in the scratch space of a matrix product of {} x {} x {}", p.m, p.n, p.k);
  check(status == dnnl_success, ErrorKind::Internal,
        "oneDNN refused a matrix product of {} x {} x {} (status {})", p.m, p.n, p.k,
        static_cast<int>(status));
}
#endif

#if TENON_HAVE_OPENBLAS
// OpenBLAS keeps one number for the process.
void set_openblas_serial() {
  static const bool once = (openblas_set_num_threads(1), true);
  (void)once;
}

template <class T, class Call>
void multiply_openblas(const MatrixProduct<T>& p, Call call) {
  set_openblas_serial();
  const auto transposed = [](bool is) { return is ? CblasTrans : CblasNoTrans; };
  const auto narrow = [](std::int64_t value) { return static_cast<blasint>(value); };
  call(CblasRowMajor, transposed(p.transpose_a), transposed(p.transpose_b), narrow(p.m),
       narrow(p.n), narrow(p.k), T(1), p.a, narrow(p.lda), p.b, narrow(p.ldb), T(0), p.c,
       narrow(p.ldc));
}
#endif

}  // namespace

GemmLibrary library_for(DType dtype, const GemmShape& shape, std::int64_t largest_extent) {
  const bool openblas_fits =
      TENON_HAVE_OPENBLAS && largest_extent <= std::numeric_limits<std::int32_t>::max();
  if (dtype == DType::Float64) return openblas_fits ? GemmLibrary::OpenBlas : GemmLibrary::Plain;
  if (dtype != DType::Float32) return GemmLibrary::Plain;
  if (!TENON_HAVE_ONEDNN) return openblas_fits ? GemmLibrary::OpenBlas : GemmLibrary::Plain;
  return openblas_fits ? choose_float32_library(shape) : GemmLibrary::OneDnn;
}

void multiply(GemmLibrary library, const MatrixProduct<float>& product) {
  switch (library) {
#if TENON_HAVE_ONEDNN
    case GemmLibrary::OneDnn:
      return multiply_onednn(product);
#endif
#if TENON_HAVE_OPENBLAS
    case GemmLibrary::OpenBlas:
      return multiply_openblas(product, cblas_sgemm);
#endif
    default:
      return multiply_plain(product);
  }
}

void multiply(GemmLibrary library, const MatrixProduct<double>& product) {
#if TENON_HAVE_OPENBLAS
  if (library == GemmLibrary::OpenBlas) return multiply_openblas(product, cblas_dgemm);
#endif
  (void)library;
  multiply_plain(product);
}

}  // namespace tenon::kernels
