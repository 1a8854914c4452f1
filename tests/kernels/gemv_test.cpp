#include "kernels/gemv.h"

#include <doctest/doctest.h>

#include <cstring>
#include <random>
#include <vector>

#include "kernels/gemv_kernel.h"

using namespace tenon;
using namespace tenon::kernels;

#if defined(__x86_64__)
namespace tenon::kernels {
extern const GemvKernels gemv_avx2, gemv_avx512;
}
#endif

namespace {

std::vector<float> numbers(std::size_t count) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

}  // namespace

TEST_CASE("an element's sum does not depend on the part that it is computed in") {
  const std::int64_t n = 321, k = 1111;
  const std::vector<float> x = numbers(k), matrix = numbers(n * k);
  for (const bool transposed : {false, true}) {
    CAPTURE(transposed);
    std::vector<float> whole(n), parts(n);
    MatrixProduct<float> product{
        1, n,     k,         x.data(), matrix.data(), whole.data(), k, transposed ? k : n,
        n, false, transposed};
    multiply_vector(product, 0, n);
    product.c = parts.data();
    for (std::int64_t begin = 0; begin < n; begin += 37) {
      multiply_vector(product, begin, std::min(begin + 37, n));
    }
    CHECK(std::memcmp(whole.data(), parts.data(), n * sizeof(float)) == 0);
  }
}

#if defined(__x86_64__)
TEST_CASE("instruction sets with fused multiply-add give the same bits") {
  if (!__builtin_cpu_supports("avx512f")) return;
  const long n = 133, k = 777;
  const std::vector<float> x = numbers(k), matrix = numbers(n * k);
  std::vector<float> one(n), other(n);
  gemv_avx2.rows_float(matrix.data(), k, x.data(), one.data(), n, k);
  gemv_avx512.rows_float(matrix.data(), k, x.data(), other.data(), n, k);
  CHECK(std::memcmp(one.data(), other.data(), n * sizeof(float)) == 0);
  gemv_avx2.columns_float(matrix.data(), n, x.data(), one.data(), n, k);
  gemv_avx512.columns_float(matrix.data(), n, x.data(), other.data(), n, k);
  CHECK(std::memcmp(one.data(), other.data(), n * sizeof(float)) == 0);
}
#endif
