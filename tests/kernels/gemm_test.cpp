#include "kernels/gemm.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "core/half.h"
#include "core/threads.h"
#include "kernels/gemm_table.h"
#include "kernels/half_rows.h"
#include "tests/core/expect_error.h"

using namespace tenon;
using kernels::gemm;
using kernels::GemmArgs;

namespace {

class Threads {
 public:
  explicit Threads(int n) : before_(num_threads()) { set_num_threads(n); }
  ~Threads() { set_num_threads(before_); }

 private:
  int before_;
};

// Operands of one batch of products, with gaps between rows and between matrices.
template <class T>
struct Case {
  Case(GemmArgs shape, std::mt19937& random, std::int64_t gap) : args(shape) {
    args.dtype = dtype_of<T>;
    const std::int64_t rows_a = args.transpose_a ? args.k : args.m;
    const std::int64_t rows_b = args.transpose_b ? args.n : args.k;
    args.lda = (args.transpose_a ? args.m : args.k) + gap;
    args.ldb = (args.transpose_b ? args.k : args.n) + gap;
    args.ldc = args.n + gap;
    if (args.stride_a >= 0) args.stride_a = rows_a * args.lda + gap;
    if (args.stride_b >= 0) args.stride_b = rows_b * args.ldb + gap;
    args.stride_a = std::max<std::int64_t>(args.stride_a, 0);  // -1 asks for a shared operand
    args.stride_b = std::max<std::int64_t>(args.stride_b, 0);
    args.stride_c = args.m * args.ldc + gap;
    fill(a, args.stride_a * (args.batch - 1) + rows_a * args.lda, random);
    fill(b, args.stride_b * (args.batch - 1) + rows_b * args.ldb, random);
    c.assign(static_cast<std::size_t>(args.stride_c * args.batch + 1), untouched());
    args.a = a.data();
    args.b = b.data();
    args.c = c.data();
  }

  // Nothing may be read from C, nor written between its rows.
  static T untouched() {
    if constexpr (std::numeric_limits<T>::is_integer) return T(99);
    return T(std::numeric_limits<float>::quiet_NaN());
  }
  static bool is_untouched(T value) {
    const T expected = untouched();
    return std::memcmp(&value, &expected, sizeof(T)) == 0;
  }

  static void fill(std::vector<T>& values, std::int64_t count, std::mt19937& random) {
    values.resize(static_cast<std::size_t>(count));
    for (T& value : values) {
      if constexpr (std::numeric_limits<T>::is_integer) {
        value = static_cast<T>(random());
      } else {
        value = static_cast<T>(std::uniform_real_distribution<float>(-1, 1)(random));
      }
    }
  }

  T at_a(std::int64_t batch, std::int64_t i, std::int64_t l) const {
    return a[static_cast<std::size_t>(batch * args.stride_a +
                                      (args.transpose_a ? l * args.lda + i : i * args.lda + l))];
  }
  T at_b(std::int64_t batch, std::int64_t l, std::int64_t j) const {
    return b[static_cast<std::size_t>(batch * args.stride_b +
                                      (args.transpose_b ? j * args.ldb + l : l * args.ldb + j))];
  }

  // Against the triple loop: floats in double, with the error bound of a sum of k products;
  // integers modulo 2^64.
  void check_result(double unit_roundoff) const {
    std::size_t written = 0;
    for (std::int64_t batch = 0; batch < args.batch; ++batch) {
      for (std::int64_t i = 0; i < args.m; ++i) {
        for (std::int64_t j = 0; j < args.n; ++j) {
          const T got = c[static_cast<std::size_t>(batch * args.stride_c + i * args.ldc + j)];
          ++written;
          if constexpr (std::numeric_limits<T>::is_integer) {
            std::uint64_t want = 0;
            for (std::int64_t l = 0; l < args.k; ++l) {
              want += static_cast<std::uint64_t>(at_a(batch, i, l)) *
                      static_cast<std::uint64_t>(at_b(batch, l, j));
            }
            REQUIRE(got == static_cast<T>(want));
          } else {
            double want = 0;
            double magnitude = 0;
            for (std::int64_t l = 0; l < args.k; ++l) {
              const double term =
                  static_cast<double>(at_a(batch, i, l)) * static_cast<double>(at_b(batch, l, j));
              want += term;
              magnitude += std::abs(term);
            }
            const double sum_roundoff = sizeof(T) == 8 ? 0x1p-53 : 0x1p-24;
            const double bound = static_cast<double>(args.k + 1) * sum_roundoff * magnitude +
                                 unit_roundoff * std::abs(want) * 1.01;
            REQUIRE(std::abs(static_cast<double>(got) - want) <= bound);
          }
        }
      }
    }
    std::size_t kept = 0;
    for (const T value : c) kept += is_untouched(value);
    if constexpr (!std::numeric_limits<T>::is_integer) CHECK(kept == c.size() - written);
  }

  GemmArgs args;
  std::vector<T> a, b, c;
};

template <class T>
void run_case(const GemmArgs& shape, std::mt19937& random, double unit_roundoff) {
  CAPTURE(shape.m);
  CAPTURE(shape.n);
  CAPTURE(shape.k);
  CAPTURE(shape.batch);
  CAPTURE(shape.transpose_a);
  CAPTURE(shape.transpose_b);
  for (const std::int64_t gap : {0, 3}) {
    Case<T> one(shape, random, gap);
    gemm(one.args);
    one.check_result(unit_roundoff);
  }
}

GemmArgs shape_of(std::int64_t m, std::int64_t n, std::int64_t k, int transposes = 0,
                  std::int64_t batch = 1) {
  GemmArgs args;
  args.m = m;
  args.n = n;
  args.k = k;
  args.batch = batch;
  args.transpose_a = transposes & 1;
  args.transpose_b = transposes & 2;
  return args;
}

template <class T>
void sweep(double unit_roundoff, std::initializer_list<std::int64_t> extents, bool shared = true) {
  const std::uint32_t seed = 5;
  CAPTURE(seed);
  std::mt19937 random(seed);
  for (const std::int64_t m : extents) {
    for (const std::int64_t n : extents) {
      for (const std::int64_t k : extents) {
        for (int transposes = 0; transposes < 4; ++transposes) {
          run_case<T>(shape_of(m, n, k, transposes), random, unit_roundoff);
        }
      }
    }
  }
  for (int transposes = 0; transposes < 4; ++transposes) {
    GemmArgs batched = shape_of(9, 5, 7, transposes, 13);
    run_case<T>(batched, random, unit_roundoff);
    if (!shared) continue;
    batched.stride_b = -1;
    run_case<T>(batched, random, unit_roundoff);
    batched.stride_a = -1;
    run_case<T>(batched, random, unit_roundoff);
  }
}

}  // namespace

TEST_CASE("float32 agrees with the triple loop in double") {
  sweep<float>(0, {1, 2, 17, 64, 65});
  std::mt19937 random(1);
  for (int transposes = 0; transposes < 4; ++transposes) {
    run_case<float>(shape_of(130, 300, 70, transposes), random, 0);
    run_case<float>(shape_of(1, 700, 300, transposes), random, 0);
    run_case<float>(shape_of(700, 1, 300, transposes), random, 0);
    run_case<float>(shape_of(16, 32, 16, transposes, 50), random, 0);
    run_case<float>(shape_of(600, 65, 20, transposes), random, 0);
  }
}

TEST_CASE("few rows times the transpose of a large matrix") {
  std::mt19937 random(7);
  for (const std::int64_t m : {16, 31, 64}) {
    run_case<float>(shape_of(m, 1000, 530, 2), random, 0);
    run_case<float>(shape_of(m, 768, 1024, 3), random, 0);
  }
}

TEST_CASE("what is kept of a matrix gives the same bits as the matrix") {
  std::mt19937 random(8);
  Case<float> whole(shape_of(30, 1000, 530, 2), random, 3);
  Ref<Storage> kept;
  for (int call = 0; call < 3; ++call) {
    Case<float> again = whole;
    std::vector<float> a(whole.a), b(whole.b);
    a[0] += static_cast<float>(call);
    if (call == 2) std::fill(b.begin(), b.end(), 0.0f);  // no longer read
    again.args.a = whole.args.a = a.data();
    again.args.b = b.data();
    again.args.c = again.c.data();
    again.args.kept_b = &kept;
    whole.args.c = whole.c.data();
    gemm(whole.args);
    gemm(again.args);
    CHECK(std::memcmp(whole.c.data(), again.c.data(), whole.c.size() * sizeof(float)) == 0);
  }
}

TEST_CASE("float64") {
  sweep<double>(0, {1, 3, 16, 65});
  std::mt19937 random(2);
  run_case<double>(shape_of(300, 260, 90, 2), random, 0);
}

TEST_CASE("half types round once") {
  sweep<float16>(0x1p-11, {1, 3, 33});
  sweep<bfloat16>(0x1p-8, {1, 3, 33});
}

TEST_CASE("rows of float16 are converted as its elements are") {
  std::vector<float16> all;
  for (int bits = 0; bits < 0x10000; ++bits) {
    all.push_back(float16::from_bits(static_cast<std::uint16_t>(bits)));
  }
  for (std::size_t count : {std::size_t{7}, std::size_t{16}, std::size_t{33}, all.size()}) {
    std::vector<float> wide(count + 1, -1), between;
    kernels::widen_row(all.data(), wide.data(), static_cast<std::int64_t>(count));
    CHECK(wide[count] == -1);
    for (std::size_t i = 0; i < count; ++i) {
      const float expected = all[i];
      REQUIRE(std::bit_cast<std::uint32_t>(wide[i]) == std::bit_cast<std::uint32_t>(expected));
    }
    for (std::size_t i = 0; i < count; ++i) {  // ties, what lies about them, overflow
      for (std::uint32_t shift : {0u, 0xfffu, 0x1000u, 0x1001u, 0x1fffu}) {
        between.push_back(std::bit_cast<float>(std::bit_cast<std::uint32_t>(wide[i]) + shift));
      }
    }
    std::vector<float16> narrow(between.size() + 1, float16(3.0f));
    kernels::narrow_row(between.data(), narrow.data(), static_cast<std::int64_t>(between.size()));
    CHECK(narrow.back().bits == float16(3.0f).bits);
    for (std::size_t i = 0; i < between.size(); ++i) {
      REQUIRE(narrow[i].bits == float16(between[i]).bits);
    }
  }
}

TEST_CASE("integers wrap") {
  sweep<std::int64_t>(0, {1, 3, 40});
  sweep<std::int32_t>(0, {1, 40});
  sweep<std::int16_t>(0, {1, 40});
  sweep<std::int8_t>(0, {1, 40});
  sweep<std::uint8_t>(0, {1, 40});
  sweep<std::uint16_t>(0, {40});
  sweep<std::uint32_t>(0, {40});
  sweep<std::uint64_t>(0, {40});
  std::mt19937 random(3);
  run_case<std::int32_t>(shape_of(20, 300, 600, 1), random, 0);  // several blocks
}

TEST_CASE("no elements to sum give zeros, no elements to write touch nothing") {
  for (const DType dtype : {DType::Float32, DType::Float16, DType::Int8, DType::Float64}) {
    std::vector<std::uint8_t> c(2 * 3 * 4 * 8, 0xff);
    GemmArgs args = shape_of(3, 2, 0, 0, 2);
    args.dtype = dtype;
    args.c = c.data();
    args.ldc = 4;
    args.stride_c = 12;
    gemm(args);
    const std::size_t size = size_of(dtype);
    for (std::size_t i = 0; i < 24; ++i) {
      for (std::size_t byte = 0; byte < size; ++byte) {
        REQUIRE(c[i * size + byte] == (i % 4 < 2 ? 0 : 0xff));
      }
    }
    for (const GemmArgs& empty : {shape_of(0, 3, 4), shape_of(3, 0, 4), shape_of(3, 4, 5, 0, 0)}) {
      GemmArgs nothing = empty;
      nothing.dtype = dtype;
      CHECK_NOTHROW(gemm(nothing));
    }
  }
}

TEST_CASE("NaN and infinity pass through") {
  const float inf = std::numeric_limits<float>::infinity();
  for (const std::int64_t n : {1, 8, 100}) {
    std::vector<float> a(static_cast<std::size_t>(n * n), 1.0f);
    std::vector<float> b(a);
    std::vector<float> c(a);
    a[0] = inf;
    b[static_cast<std::size_t>(n * n - 1)] = NAN;
    GemmArgs args = shape_of(n, n, n);
    args.a = a.data();
    args.b = b.data();
    args.c = c.data();
    args.lda = args.ldb = args.ldc = n;
    gemm(args);
    CHECK(std::isnan(c.back()));
    if (n > 1) CHECK(c[0] == inf);
    if (n > 1) CHECK(c[static_cast<std::size_t>(n)] == static_cast<float>(n));
  }
}

TEST_CASE("bits don't depend on the number of threads") {
  const std::uint32_t seed = 17;
  CAPTURE(seed);
  std::mt19937 random(seed);
  const auto bits_agree = [&]<class T>(DTypeTag<T>, const GemmArgs& shape) {
    CAPTURE(shape.m);
    CAPTURE(shape.n);
    CAPTURE(shape.k);
    Case<T> one(shape, random, 0);
    std::vector<std::vector<T>> results;
    for (const int threads : {1, 2, 3, 8}) {
      const Threads scope(threads);
      gemm(one.args);
      results.push_back(one.c);
    }
    for (const auto& result : results) {
      CHECK(std::memcmp(result.data(), results[0].data(), result.size() * sizeof(T)) == 0);
    }
  };
  for (int transposes = 0; transposes < 4; ++transposes) {
    for (const GemmArgs& shape :
         {shape_of(513, 700, 129, transposes), shape_of(1, 2000, 700, transposes),
          shape_of(2000, 1, 700, transposes), shape_of(128, 32, 128, transposes, 24),
          shape_of(64, 64, 2000, transposes), shape_of(1000, 65, 100, transposes)}) {
      bits_agree(DTypeTag<float>{}, shape);
    }
    bits_agree(DTypeTag<double>{}, shape_of(300, 400, 100, transposes));
    bits_agree(DTypeTag<bfloat16>{}, shape_of(300, 400, 100, transposes));
  }
}

TEST_CASE("dtypes without a product") {
  GemmArgs args = shape_of(1, 1, 1);
  for (const DType dtype : {DType::Bool, DType::Complex64}) {
    args.dtype = dtype;
    testing::expect_error(ErrorKind::NotImplemented, {"matrix product", "cast"},
                          [&] { gemm(args); });
  }
}

TEST_CASE("products are counted, and make no library primitives") {
  const kernels::Counters before = kernels::counters();
  std::mt19937 random(1);
  run_case<float>(shape_of(8, 8, 8), random, 0);
  CHECK(kernels::counters().gemm_calls == before.gemm_calls + 2);
  CHECK(kernels::counters().library_primitives == before.library_primitives);
}

TEST_CASE("tiles are of sensible sizes for any shape") {
  for (const std::int64_t m : {1, 7, 64, 100, 1000, 123457}) {
    for (const std::int64_t n : {1, 7, 64, 100, 1000, 123457}) {
      for (const std::int64_t k : {1, 7, 64, 1000, 1000000}) {
        const kernels::GemmTile tile = kernels::choose_tile({m, n, k, 1}, 4);
        REQUIRE(tile.m >= 1);
        REQUIRE(tile.m <= std::min<std::int64_t>(m, 512));
        REQUIRE(tile.n >= 1);
        REQUIRE(tile.n <= std::min<std::int64_t>(n, 512));
        if (m > tile.m) REQUIRE(tile.m >= 32);
        if (n > tile.n) REQUIRE(tile.n >= 128);
      }
    }
  }
}
