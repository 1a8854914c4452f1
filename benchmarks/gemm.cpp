// GFLOP/s of kernels::gemm and of the libraries behind it: the figures of kernels/gemm_table.h.
//
//   ninja -C build benchmarks/benchmark_gemm && build/benchmarks/benchmark_gemm [threads]
//
// Columns: one thread of each library alone on the whole product, then kernels::gemm with one
// thread and with `threads` (default: all).
#include "kernels/gemm.h"

#include <fmt/format.h>

#include <cstdlib>
#include <vector>

#include "benchmarks/timing.h"
#include "core/threads.h"
#include "kernels/blas.h"

using namespace tenon;
using namespace tenon::kernels;

namespace {

struct Shape {
  std::int64_t m, n, k;
  bool transpose_a = false, transpose_b = false;
  std::int64_t batch = 1;
};

constexpr Shape kShapes[] = {
    {16, 16, 16},
    {64, 64, 64},
    {64, 64, 64, false, true},
    {128, 128, 128},
    {256, 256, 256},
    {512, 512, 512},
    {1024, 1024, 1024},
    {1024, 1024, 1024, false, true},
    {1024, 1024, 1024, true, false},
    {2048, 2048, 2048},
    {128, 512, 784},
    {1024, 1536, 384},
    {4096, 512, 128, false, true},
    {4096, 128, 512, false, true},
    {512, 128, 4096, true, false},
    {128, 128, 4096, true, false},
    {4096, 65, 128, false, true},
    {4, 1024, 1024, false, true},
    {16, 1024, 1024, false, true},
    {32, 2048, 512},
    {32, 2048, 512, false, true},
    {64, 4096, 1024, false, true},
    {1, 1024, 1024},
    {1, 1024, 1024, false, true},
    {1024, 1, 1024},
    {8, 8, 1024},
    {256, 64, 256, false, false, 24},
    {128, 128, 32, false, true, 24},
    {128, 32, 128, false, false, 24},
    {128, 32, 128, true, false, 24},
};

GemmArgs arguments(const Shape& s, std::vector<float>& a, std::vector<float>& b,
                   std::vector<float>& c) {
  GemmArgs args;
  args.m = s.m;
  args.n = s.n;
  args.k = s.k;
  args.batch = s.batch;
  args.a = a.data();
  args.b = b.data();
  args.c = c.data();
  args.lda = s.transpose_a ? s.m : s.k;
  args.ldb = s.transpose_b ? s.k : s.n;
  args.ldc = s.n;
  args.stride_a = s.m * s.k;
  args.stride_b = s.k * s.n;
  args.stride_c = s.m * s.n;
  args.transpose_a = s.transpose_a;
  args.transpose_b = s.transpose_b;
  return args;
}

double library_rate(GemmLibrary library, const GemmArgs& args, double flops, int inner) {
  const MatrixProduct<float> product{args.m,
                                     args.n,
                                     args.k,
                                     static_cast<const float*>(args.a),
                                     static_cast<const float*>(args.b),
                                     static_cast<float*>(args.c),
                                     args.lda,
                                     args.ldb,
                                     args.ldc,
                                     args.transpose_a,
                                     args.transpose_b};
  return flops / benchmarks::measure([&] { multiply(library, product); }, inner).best / 1e9;
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : num_threads();
  fmt::print("{:>26}{:>9}{:>10}{:>8}{:>10}\n", "m x n x k", "oneDNN", "OpenBLAS", "1 thr",
             fmt::format("{} thr", threads));
  for (const Shape& s : kShapes) {
    const auto filled = [&](std::int64_t count) {
      std::vector<float> values(static_cast<std::size_t>(count * s.batch));
      for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = static_cast<float>(i * 7 % 13) / 13.0f - 0.5f;
      }
      return values;
    };
    std::vector<float> a = filled(s.m * s.k);
    std::vector<float> b = filled(s.k * s.n);
    std::vector<float> c = filled(s.m * s.n);
    const GemmArgs args = arguments(s, a, b, c);
    const double flops =
        2.0 * static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k);
    const int inner = static_cast<int>(std::max(1.0, 2e6 / flops));
    const double onednn = library_rate(GemmLibrary::OneDnn, args, flops, inner);
    const double openblas = library_rate(GemmLibrary::OpenBlas, args, flops, inner);
    const auto ours = [&](int n) {
      set_num_threads(n);
      const double batch = static_cast<double>(s.batch);
      return flops * batch / benchmarks::measure([&] { gemm(args); }, inner).best / 1e9;
    };
    const double one = ours(1);
    const double many = ours(threads);
    fmt::print("{:>26}{:>9.1f}{:>10.1f}{:>8.1f}{:>10.1f}\n",
               fmt::format("{}{}x{}x{} {}{}", s.batch > 1 ? fmt::format("{} * ", s.batch) : "", s.m,
                           s.n, s.k, s.transpose_a ? 'T' : 'N', s.transpose_b ? 'T' : 'N'),
               onednn, openblas, one, many);
  }
}
