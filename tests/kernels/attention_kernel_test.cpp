#include "kernels/attention_kernel.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

using namespace tenon::kernels;

namespace tenon::kernels {
extern const AttentionKernels attention_any;
#if defined(__x86_64__)
extern const AttentionKernels attention_avx2, attention_avx512;
#endif
}  // namespace tenon::kernels

TEST_CASE_TEMPLATE("every instruction set's tiles compute the same", T, float, double) {
  const auto of = [](const AttentionKernels& kernels) -> const AttentionTable<T>& {
    if constexpr (std::is_same_v<T, float>)
      return kernels.of_float;
    else
      return kernels.of_double;
  };
  std::vector<const AttentionTable<T>*> tables{&of(attention_any)};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    tables.push_back(&of(attention_avx2));
  }
  if (__builtin_cpu_supports("avx512f")) tables.push_back(&of(attention_avx512));
#endif
  constexpr long rows = 23, columns = 77, terms = 150, row = 80;
  std::mt19937 random(5);
  std::normal_distribution<T> normal;
  std::vector<T> a(rows * terms), b(columns * terms);
  for (T& x : a) x = normal(random);
  for (T& x : b) x = normal(random);
  for (const AttentionTable<T>* table : tables) {
    CAPTURE(table->lanes);
    std::vector<T> panels(terms * row), c(rows * row);
    table->transpose(b.data(), terms, columns, terms, panels.data());
    TileProduct<T> product;
    product.a = a.data();
    product.a_row = terms;
    product.b = panels.data();
    product.b_panel = table->panel * terms;
    product.c = c.data();
    product.c_row = row;
    product.rows = rows;
    product.columns = columns;
    product.terms = terms;
    table->multiply(product);
    double largest = 0;
    for (long i = 0; i < rows; ++i) {
      for (long j = 0; j < columns; ++j) {
        double expected = 0;
        for (long p = 0; p < terms; ++p) {
          expected += static_cast<double>(a[static_cast<std::size_t>(i * terms + p)]) *
                      static_cast<double>(b[static_cast<std::size_t>(j * terms + p)]);
        }
        const double got = static_cast<double>(c[static_cast<std::size_t>(i * row + j)]);
        largest = std::max(largest, std::abs(got - expected));
      }
    }
    CHECK(largest < (std::is_same_v<T, float> ? 1e-4 : 1e-12));

    // Weights 2^(score - largest score), scores from 0 down past the smallest number.
    SoftmaxStep<T> step;
    for (long j = 0; j < columns; ++j) c[static_cast<std::size_t>(j)] = T(-2.6) * T(j);
    std::vector<T> maximum(16, -std::numeric_limits<T>::infinity()), sum(16), rescale(16), out(16);
    step.tile.scores = c.data();
    step.tile.row = row;
    step.tile.rows = 1;
    step.tile.columns = columns;
    step.maximum = maximum.data();
    step.sum = sum.data();
    step.rescale = rescale.data();
    step.out = out.data();
    step.out_row = step.width = 16;
    table->softmax_step(step);
    const double unit = static_cast<double>(std::numeric_limits<T>::epsilon());
    for (long j = 0; j < columns; ++j) {
      const double x = static_cast<double>(T(-2.6) * T(j));
      const double expected = std::exp2(x),
                   got = static_cast<double>(c[static_cast<std::size_t>(j)]);
      if (std::is_same_v<T, float> && x < -127) {
        CHECK(got == 0);
      } else if (x > -126 || std::is_same_v<T, double>) {
        CHECK(std::abs(got - expected) <= unit * expected);
      }
    }
  }
}
