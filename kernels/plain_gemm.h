// The product as plain loops, for what no library does: integers, and floating dtypes in a build
// whose library lacks them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "kernels/blas.h"

namespace tenon::kernels {

// Each element of C is the sum over k in order. Integers wrap: they are multiplied as unsigned.
template <class T>
void multiply_plain(const MatrixProduct<T>& product) {
  // A block of B of this many elements stays in the second-level cache.
  constexpr std::int64_t kBlockK = 256;
  constexpr std::int64_t kBlockN = 256;
  using Unsigned = typename std::conditional_t<std::is_integral_v<T>, std::make_unsigned<T>,
                                               std::type_identity<T>>::type;
  // Smaller types would be promoted to int, whose overflow is undefined.
  using Work = std::conditional_t<std::is_integral_v<T> && sizeof(T) < 4, std::uint32_t, Unsigned>;

  const auto& p = product;
  std::vector<Work> block(static_cast<std::size_t>(kBlockK * kBlockN));
  std::vector<Work> row(static_cast<std::size_t>(kBlockN));
  for (std::int64_t n0 = 0; n0 < p.n; n0 += kBlockN) {
    const std::int64_t columns = std::min(kBlockN, p.n - n0);
    for (std::int64_t k0 = 0; k0 < p.k; k0 += kBlockK) {
      const std::int64_t depth = std::min(kBlockK, p.k - k0);
      for (std::int64_t l = 0; l < depth; ++l) {
        for (std::int64_t j = 0; j < columns; ++j) {
          const T value =
              p.transpose_b ? p.b[(n0 + j) * p.ldb + k0 + l] : p.b[(k0 + l) * p.ldb + n0 + j];
          block[static_cast<std::size_t>(l * columns + j)] = static_cast<Work>(value);
        }
      }
      for (std::int64_t i = 0; i < p.m; ++i) {
        T* c = p.c + i * p.ldc + n0;
        for (std::int64_t j = 0; j < columns; ++j) {
          row[static_cast<std::size_t>(j)] = k0 == 0 ? Work(0) : static_cast<Work>(c[j]);
        }
        for (std::int64_t l = 0; l < depth; ++l) {
          const auto a = static_cast<Work>(p.transpose_a ? p.a[(k0 + l) * p.lda + i]
                                                         : p.a[i * p.lda + k0 + l]);
          const Work* b = block.data() + l * columns;
          Work* sum = row.data();
          for (std::int64_t j = 0; j < columns; ++j) sum[j] += a * b[j];
        }
        for (std::int64_t j = 0; j < columns; ++j) {
          c[j] = static_cast<T>(row[static_cast<std::size_t>(j)]);
        }
      }
    }
  }
}

}  // namespace tenon::kernels
