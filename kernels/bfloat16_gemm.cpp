#include "kernels/bfloat16_gemm.h"

#include "core/error.h"

#if TENON_HAVE_ONEDNN && TENON_HAVE_X86_KERNELS
#include <fmt/format.h>

#include <array>

#include "kernels/gemm.h"
#include "kernels/onednn.h"
#include "kernels/serial_openmp.h"
#include "kernels/signal_stack.h"
#endif

namespace tenon::kernels {

#if TENON_HAVE_ONEDNN && TENON_HAVE_X86_KERNELS
namespace {

using dnnl::memory;

memory::desc matrix(std::int64_t rows, std::int64_t columns, std::int64_t ld, bool transposed) {
  return {{rows, columns},
          memory::data_type::bf16,
          transposed ? memory::dims{1, ld} : memory::dims{ld, 1}};
}

// One primitive for all extents, by which operands are transposed.
const dnnl::matmul& primitive(bool transpose_a, bool transpose_b) {
  static const std::array<dnnl::matmul, 4> all = [] {
    constexpr std::int64_t any = DNNL_RUNTIME_DIM_VAL;
    std::array<dnnl::matmul, 4> made;
    for (int i = 0; i < 4; ++i) {
      const dnnl::matmul::desc what(matrix(any, any, any, (i & 2) != 0),
                                    matrix(any, any, any, (i & 1) != 0),
                                    matrix(any, any, any, false));
      made[static_cast<std::size_t>(i)] =
          dnnl::matmul(dnnl::matmul::primitive_desc(what, onednn_engine()));
      count_library_primitive();
    }
    return made;
  }();
  return all[static_cast<std::size_t>(transpose_a * 2 + transpose_b)];
}

}  // namespace

bool has_bfloat16_products() {
  static const bool has = __builtin_cpu_supports("avx512bf16") != 0;
  return has;
}

void multiply(const MatrixProduct<bfloat16>& p) {
  const SerialOpenMp serial;
  ensure_signal_stack();
  const auto at = [](const memory::desc& desc, const bfloat16* data) {
    return memory(desc, onednn_engine(), const_cast<bfloat16*>(data));
  };
  try {
    dnnl::stream stream(onednn_engine());
    primitive(p.transpose_a, p.transpose_b)
        .execute(stream, {{DNNL_ARG_SRC, at(matrix(p.m, p.k, p.lda, p.transpose_a), p.a)},
                          {DNNL_ARG_WEIGHTS, at(matrix(p.k, p.n, p.ldb, p.transpose_b), p.b)},
                          {DNNL_ARG_DST, at(matrix(p.m, p.n, p.ldc, false), p.c)}});
    stream.wait();
  } catch (const dnnl::error& error) {
    fail_in_onednn(error, fmt::format("a product of {} x {} x {}", p.m, p.n, p.k));
  }
}
#else
bool has_bfloat16_products() { return false; }

void multiply(const MatrixProduct<bfloat16>&) {
  fail(ErrorKind::Internal, "no library multiplies bfloat16 here");
}
#endif

}  // namespace tenon::kernels
