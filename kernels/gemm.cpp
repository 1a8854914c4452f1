#include "kernels/gemm.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "core/allocator.h"
#include "core/error.h"
#include "core/log.h"
#include "core/size_classes.h"
#include "core/threads.h"
#include "kernels/bfloat16_gemm.h"
#include "kernels/blas.h"
#include "kernels/gemm_table.h"
#include "kernels/gemv.h"
#include "kernels/half_rows.h"
#include "kernels/panel_gemm.h"
#include "kernels/plain_gemm.h"

namespace tenon::kernels {

namespace {

std::atomic<std::uint64_t> g_gemm_calls{0};
std::atomic<std::uint64_t> g_library_primitives{0};

// A batch of products, typed. Leading dimensions are at least a row, as the libraries demand even
// of matrices of one row.
template <class T>
struct Problem {
  explicit Problem(const GemmArgs& args)
      : shape{args.m, args.n, args.k, args.batch},
        a(static_cast<const T*>(args.a)),
        b(static_cast<const T*>(args.b)),
        c(static_cast<T*>(args.c)),
        lda(std::max({args.lda, args.transpose_a ? args.m : args.k, std::int64_t{1}})),
        ldb(std::max({args.ldb, args.transpose_b ? args.k : args.n, std::int64_t{1}})),
        ldc(std::max({args.ldc, args.n, std::int64_t{1}})),
        stride_a(args.stride_a),
        stride_b(args.stride_b),
        stride_c(args.stride_c),
        offsets_a(args.offsets_a),
        offsets_b(args.offsets_b),
        transpose_a(args.transpose_a),
        transpose_b(args.transpose_b) {}

  GemmShape shape;
  const T* a;
  const T* b;
  T* c;
  std::int64_t lda, ldb, ldc;
  std::int64_t stride_a, stride_b, stride_c;
  const std::int64_t *offsets_a, *offsets_b;
  bool transpose_a, transpose_b;

  const T* matrix_a(std::int64_t batch) const {
    return a + (offsets_a ? offsets_a[batch] : batch * stride_a);
  }
  const T* matrix_b(std::int64_t batch) const {
    return b + (offsets_b ? offsets_b[batch] : batch * stride_b);
  }
};

// Calls body(batch, first row, first column, rows, columns) for each tile, in parallel.
template <class Body>
void for_each_tile(const GemmShape& shape, std::size_t element_size, Body body) {
  const GemmTile tile = choose_tile(shape, element_size);
  const std::int64_t across = (shape.n + tile.n - 1) / tile.n;
  const std::int64_t down = (shape.m + tile.m - 1) / tile.m;
  const double cost = gemm_cost(static_cast<double>(tile.m), static_cast<double>(tile.n),
                                static_cast<double>(shape.k), element_size);
  const double tiles_a_task = std::clamp(kSmallestTileCost / cost, 1.0, 1e6);
  parallel_for(shape.batch * down * across, static_cast<std::int64_t>(tiles_a_task),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i) {
                   const std::int64_t row = i / across % down * tile.m;
                   const std::int64_t column = i % across * tile.n;
                   body(i / across / down, row, column, std::min(tile.m, shape.m - row),
                        std::min(tile.n, shape.n - column));
                 }
               });
}

// The part of the product that gives one tile of C.
template <class T>
MatrixProduct<T> tile_product(const Problem<T>& p, std::int64_t batch, std::int64_t row,
                              std::int64_t column, std::int64_t rows, std::int64_t columns) {
  return {.m = rows,
          .n = columns,
          .k = p.shape.k,
          .a = p.matrix_a(batch) + (p.transpose_a ? row : row * p.lda),
          .b = p.matrix_b(batch) + (p.transpose_b ? column * p.ldb : column),
          .c = p.c + batch * p.stride_c + row * p.ldc + column,
          .lda = p.lda,
          .ldb = p.ldb,
          .ldc = p.ldc,
          .transpose_a = p.transpose_a,
          .transpose_b = p.transpose_b};
}

// Products with one row or column: parts of the result, each large enough for a task.
template <class T>
void run_vectors(const Problem<T>& p) {
  const std::int64_t extent = p.shape.m == 1 ? p.shape.n : p.shape.m;
  // A whole number of cache lines; columns are read in runs of at least a kilobyte.
  constexpr std::int64_t kPart = 256;
  const std::int64_t parts = (extent + kPart - 1) / kPart;
  const double cost = gemm_cost(1, static_cast<double>(std::min(extent, kPart)),
                                static_cast<double>(p.shape.k), sizeof(T));
  const double parts_a_task = std::clamp(kSmallestTileCost / cost, 1.0, 1e6);
  parallel_for(p.shape.batch * parts, static_cast<std::int64_t>(parts_a_task),
               [&](std::int64_t begin, std::int64_t end) {
                 while (begin < end) {
                   const std::int64_t batch = begin / parts, first = begin % parts;
                   const std::int64_t last = std::min(parts, first + (end - begin));
                   const MatrixProduct<T> product =
                       tile_product(p, batch, 0, 0, p.shape.m, p.shape.n);
                   multiply_vector(product, first * kPart, std::min(last * kPart, extent));
                   begin += last - first;
                 }
               });
}

template <class T>
void run(const Problem<T>& p, Ref<Storage>* kept_b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (is_matrix_vector(dtype_of<T>, p.shape)) return run_vectors(p);
  }
  if constexpr (std::is_same_v<T, float>) {
    if (p.transpose_b && is_panel_product(DType::Float32, p.shape)) {
      const MatrixProduct<float> product = tile_product(p, 0, 0, 0, p.shape.m, p.shape.n);
      if (kept_b && !*kept_b) *kept_b = pack_panels(product);
      return multiply_panels(product, kept_b ? (*kept_b)->template as<float>() : nullptr);
    }
  }
  [[maybe_unused]] const std::int64_t largest =
      std::max({p.shape.m, p.shape.n, p.shape.k, p.lda, p.ldb, p.ldc});
  [[maybe_unused]] const GemmLibrary library = library_for(dtype_of<T>, p.shape, largest);
  for_each_tile(p.shape, sizeof(T), [&](auto... tile) {
    const MatrixProduct<T> product = tile_product(p, tile...);
    if constexpr (std::is_floating_point_v<T>) {
      multiply(library, product);
    } else {
      multiply_plain(product);
    }
  });
}

// Dense float copies of an operand's matrices (one if the batch stride is 0), rows in parallel.
template <class Matrix>
Ref<Storage> widen(Matrix matrix, std::int64_t rows, std::int64_t columns, std::int64_t ld,
                   std::int64_t batch) {
  Ref<Storage> storage = allocate(static_cast<std::size_t>(batch * rows * columns) * sizeof(float));
  float* wide = storage->as<float>();
  parallel_for(batch * rows, std::max<std::int64_t>(1, 32768 / std::max<std::int64_t>(columns, 1)),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t i = begin; i < end; ++i) {
                   const auto* from = matrix(i / rows) + i % rows * ld;
                   float* to = wide + i * columns;
                   widen_row(from, to, columns);
                 }
               });
  return storage;
}

// Where the processor multiplies half types itself.
template <class Half>
bool run_native(const Problem<Half>& p) {
  if constexpr (dtype_of<Half> == DType::BFloat16) {
    if (!has_bfloat16_products()) return false;
    for_each_tile(p.shape, sizeof(float),
                  [&](auto... tile) { multiply(tile_product(p, tile...)); });
    return true;
  }
  return false;
}

// Half types: operands become float32, each tile of C is summed in float32 and rounded once.
template <class Half>
void run_half(const Problem<Half>& p) {
  const GemmShape& s = p.shape;
  const std::int64_t rows_a = p.transpose_a ? s.k : s.m;
  const std::int64_t rows_b = p.transpose_b ? s.n : s.k;
  const std::int64_t columns_a = p.transpose_a ? s.m : s.k;
  const std::int64_t columns_b = p.transpose_b ? s.k : s.n;
  const bool many_a = p.stride_a || p.offsets_a, many_b = p.stride_b || p.offsets_b;
  const Ref<Storage> a = widen([&](std::int64_t i) { return p.matrix_a(i); }, rows_a, columns_a,
                               p.lda, many_a ? s.batch : 1);
  const Ref<Storage> b = widen([&](std::int64_t i) { return p.matrix_b(i); }, rows_b, columns_b,
                               p.ldb, many_b ? s.batch : 1);

  GemmArgs args;
  args.m = s.m;
  args.n = s.n;
  args.k = s.k;
  args.batch = s.batch;
  args.a = a->data();
  args.b = b->data();
  args.lda = columns_a;
  args.ldb = columns_b;
  args.stride_a = many_a ? rows_a * columns_a : 0;
  args.stride_b = many_b ? rows_b * columns_b : 0;
  args.transpose_a = p.transpose_a;
  args.transpose_b = p.transpose_b;
  const Problem<float> wide(args);
  const GemmLibrary library =
      library_for(DType::Float32, s, std::max({s.m, s.n, s.k, wide.lda, wide.ldb}));
  for_each_tile(s, sizeof(float),
                [&](std::int64_t batch, std::int64_t row, std::int64_t column, std::int64_t rows,
                    std::int64_t columns) {
                  std::vector<float> sums(static_cast<std::size_t>(rows * columns));
                  MatrixProduct<float> product =
                      tile_product(wide, batch, row, column, rows, columns);
                  product.c = sums.data();
                  product.ldc = columns;
                  multiply(library, product);
                  for (std::int64_t i = 0; i < rows; ++i) {
                    Half* to = p.c + batch * p.stride_c + (row + i) * p.ldc + column;
                    narrow_row(sums.data() + i * columns, to, columns);
                  }
                });
}

// All bits zero is the zero of every dtype.
void fill_zeros(const GemmArgs& args) {
  const std::size_t size = size_of(args.dtype);
  const auto row_bytes = static_cast<std::size_t>(args.n) * size;
  for (std::int64_t batch = 0; batch < args.batch; ++batch) {
    for (std::int64_t row = 0; row < args.m; ++row) {
      const auto offset = static_cast<std::size_t>(batch * args.stride_c + row * args.ldc);
      std::memset(static_cast<std::byte*>(args.c) + offset * size, 0, row_bytes);
    }
  }
}

}  // namespace

std::int64_t gemm_scratch(const GemmArgs& args) {
  const bool is_native = args.dtype == DType::BFloat16 && has_bfloat16_products();
  if (!is_half(args.dtype) || is_native || args.m * args.n * args.k * args.batch == 0) return 0;
  const auto wide = [&](std::int64_t elements, bool many) {
    const std::int64_t matrices = many ? args.batch : 1;
    return class_bytes(static_cast<std::size_t>(elements * matrices) * sizeof(float));
  };
  return static_cast<std::int64_t>(wide(args.m * args.k, args.stride_a || args.offsets_a) +
                                   wide(args.k * args.n, args.stride_b || args.offsets_b));
}

void gemm(const GemmArgs& args) {
  check(args.m >= 0 && args.n >= 0 && args.k >= 0 && args.batch >= 0, ErrorKind::Internal,
        "a matrix product of {} x {} x {}, batch {}", args.m, args.n, args.k, args.batch);
  if (args.m == 0 || args.n == 0 || args.batch == 0) return;
  if (args.k == 0) return fill_zeros(args);

  g_gemm_calls.fetch_add(1, std::memory_order_relaxed);
  log(Category::Kernels, "gemm {} {} x ({} x {} x {}){}{}", name_of(args.dtype), args.batch, args.m,
      args.n, args.k, args.transpose_a ? " A^T" : "", args.transpose_b ? " B^T" : "");
  visit_dtype(args.dtype, [&]<class T>(DTypeTag<T>) {
    if constexpr (dtype_of<T> == DType::Float16 || dtype_of<T> == DType::BFloat16) {
      if (const Problem<T> problem(args); !run_native(problem)) run_half(problem);
    } else if constexpr (is_complex(dtype_of<T>) || is_float8(dtype_of<T>) ||
                         dtype_of<T> == DType::Bool) {
      fail(ErrorKind::NotImplemented, "no matrix product of {}: cast to a real dtype",
           name_of(args.dtype));
    } else {
      run(Problem<T>(args), args.kept_b);
    }
  });
}

bool orientation_matters(DType dtype, const GemmShape& shape) {
  if (!is_floating(dtype) || shape.k <= 1) return false;
  if (is_panel_product(dtype, shape)) return true;
  if (dtype == DType::BFloat16 && has_bfloat16_products()) return true;
  // OpenBLAS: up to 100^3 multiplications a call. (A tile may be that small in any product.)
  if (dtype == DType::Float64 ||
      library_for(DType::Float32, shape, shape.k) != GemmLibrary::OneDnn) {
    return true;
  }
  // oneDNN: fewer than 16 rows or columns.
  constexpr std::int64_t kNarrow = 16;
  const GemmTile tile = choose_tile(shape, sizeof(float));
  const auto is_narrow = [&](std::int64_t extent, std::int64_t part) {
    return part < kNarrow || (extent % part != 0 && extent % part < kNarrow);
  };
  return is_narrow(shape.m, tile.m) || is_narrow(shape.n, tile.n);
}

Counters counters() {
  Counters result;
  result.gemm_calls = g_gemm_calls.load(std::memory_order_relaxed);
  result.library_primitives = g_library_primitives.load(std::memory_order_relaxed);
  return result;
}

void count_library_primitive() { g_library_primitives.fetch_add(1, std::memory_order_relaxed); }

}  // namespace tenon::kernels
