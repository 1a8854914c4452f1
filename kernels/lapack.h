// Dense linear algebra by LAPACK, on batches of row-major matrices. Matrices are tasks of the pool,
// each computed by one thread, so that the number of threads never changes a result.
#pragma once

#include <cstdint>

#include "core/dtype.h"

namespace tenon::kernels {

struct MatrixBatch {
  DType dtype;             // float32, float64, complex64 or complex128
  std::int64_t count = 0;  // of matrices
  std::int64_t rows = 0, columns = 0;
};

// `info`, one a matrix, is LAPACK's: 0 for success, a positive number for what the routine's page
// says failed, and kNotFinite where the matrix has infinities or NaN and can't be decomposed.
// Results may be null where nobody asks for them.
inline constexpr std::int32_t kNotFinite = -100;

// Lower L with a = L L^H, zero above; reads the lower triangle.
void cholesky(const MatrixBatch& batch, const void* a, void* lower, std::int32_t* info);

// L (of unit diagonal) and U in one matrix, with row swaps in LAPACK's pivots (from 1).
void lu(const MatrixBatch& batch, const void* a, void* packed, std::int32_t* pivots,
        std::int32_t* info);
// The order to which rows come when each of `pivots` first rows is swapped with its pivot's. info:
// the first pivot that names no row.
void lu_permutation(std::int64_t count, std::int64_t rows, std::int64_t pivots_each,
                    const std::int32_t* pivots, std::int64_t* permutation, std::int32_t* info);

// Q and R, reduced to k = min(rows, columns) or complete; `packed` and `tau` are geqrf's.
void qr(const MatrixBatch& batch, const void* a, bool complete, void* q, void* r, void* packed,
        void* tau);

// Ascending eigenvalues, in the real dtype, and eigenvectors as columns; reads the lower triangle.
// Whether vectors are computed must not depend on who asks: the values' bits differ.
void eigh(const MatrixBatch& batch, const void* a, bool with_vectors, void* values, void* vectors,
          std::int32_t* info);

// Eigenvalues and eigenvectors, complex, each vector of norm 1.
void eig(const MatrixBatch& batch, const void* a, bool with_vectors, void* values, void* vectors,
         std::int32_t* info);

enum class SvdJob : std::uint8_t { Values, Reduced, Full };
void svd(const MatrixBatch& batch, const void* a, SvdJob job, void* u, void* s, void* vh,
         std::int32_t* info);

// x with a x = b; `batch` is b's, a is square. Reads that triangle of a.
void triangular_solve(const MatrixBatch& batch, const void* a, const void* b, bool lower, bool unit,
                      void* x);

}  // namespace tenon::kernels
