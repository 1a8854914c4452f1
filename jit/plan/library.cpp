#include "jit/plan/library.h"

#include <cstring>
#include <memory>

#include "core/allocator.h"
#include "core/size_classes.h"
#include "core/threads.h"
#include "kernels/convolution.h"
#include "kernels/gemm.h"
#include "kernels/sort.h"

namespace tenon::jit {
namespace {

struct Dim {
  int64_t extent, stride;
};
using DimList = SmallVector<Dim, 8>;

// The dimensions of a role without those of extent 1, neighbours merged where they are one.
DimList dims_of(const MatrixOperand& x, std::span<const uint8_t> role) {
  DimList dims;
  for (uint8_t at : role) {
    if (x.extents[at] != 1) dims.push_back({x.extents[at], x.strides[at]});
  }
  return dims;
}

bool can_merge(const Dim& outer, const Dim& inner) {
  return outer.stride == inner.stride * inner.extent;
}

DimList merged(const DimList& dims) {
  DimList result;
  for (const Dim& dim : dims) {
    if (!result.empty() && can_merge(result.back(), dim)) {
      result.back() = {result.back().extent * dim.extent, dim.stride};
    } else {
      result.push_back(dim);
    }
  }
  return result;
}

// Merges neighbours only where both lists allow it, so that they stay parallel.
void merge_both(DimList& a, DimList& b) {
  DimList x, y;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!x.empty() && can_merge(x.back(), a[i]) && can_merge(y.back(), b[i])) {
      x.back() = {x.back().extent * a[i].extent, a[i].stride};
      y.back() = {y.back().extent * b[i].extent, b[i].stride};
    } else {
      x.push_back(a[i]);
      y.push_back(b[i]);
    }
  }
  a = x;
  b = y;
}

int64_t product(const DimList& dims) {
  int64_t n = 1;
  for (const Dim& dim : dims) n *= dim.extent;
  return n;
}

struct Matrix {
  int64_t leading = 0;
  bool transposed = false;
};

// Rows x columns as a library's matrix, if strides allow.
bool as_matrix(const DimList& rows, const DimList& columns, Matrix& matrix) {
  if (rows.size() > 1 || columns.size() > 1) return false;
  const int64_t m = product(rows), n = product(columns);
  const int64_t row = rows.empty() ? n : rows[0].stride;
  const int64_t column = columns.empty() ? 1 : columns[0].stride;
  if (column == 1 && (row >= n || m == 1)) {
    matrix = {std::max(row, n), false};
    return true;
  }
  const int64_t row_t = rows.empty() ? 1 : rows[0].stride;
  const int64_t column_t = columns.empty() ? m : columns[0].stride;
  if (row_t == 1 && (column_t >= m || n == 1)) {
    matrix = {std::max(column_t, m), true};
    return true;
  }
  return false;
}

// Copies a strided operand densely in the order of `dims`.
void pack(const std::byte* from, std::byte* to, const DimList& dims, size_t item) {
  const int64_t count = product(dims);
  const int64_t inner = dims.empty() ? 1 : dims.back().extent;
  const int64_t stride = dims.empty() ? 0 : dims.back().stride;
  parallel_for(
      count / std::max<int64_t>(inner, 1),
      std::max<int64_t>(1, 16384 / std::max<int64_t>(inner, 1)), [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          int64_t rest = row, offset = 0;
          for (size_t d = dims.size() - (dims.empty() ? 0 : 1); d-- > 0;) {
            offset += rest % dims[d].extent * dims[d].stride;
            rest /= dims[d].extent;
          }
          const std::byte* source = from + offset * static_cast<int64_t>(item);
          std::byte* target = to + row * inner * static_cast<int64_t>(item);
          if (stride == 1) {
            std::memcpy(target, source, inner * item);
            continue;
          }
          for (int64_t i = 0; i < inner; ++i) {
            std::memcpy(target + i * item, source + i * stride * static_cast<int64_t>(item), item);
          }
        }
      });
}

// An operand on its way to a library. Without data, what copies would take is just counted.
struct Packing {
  const void* data;
  Ref<Storage> copy;
  size_t bytes = 0;  // of copies
};

// Copies the operand: dense [batch..., rows..., columns...].
void make_dense(MatrixLibrary& library, DType dtype, Packing& operand, DimList& batch,
                DimList& rows, DimList& columns) {
  SmallVector<int64_t, 16> extents, strides;
  int64_t count = 1;
  for (const DimList* list : {&batch, &rows, &columns}) {
    for (const Dim& dim : *list) {
      extents.push_back(dim.extent);
      strides.push_back(dim.stride);
      count *= dim.extent;
    }
  }
  operand.bytes += class_bytes(count * size_of(dtype));
  if (operand.data) {
    operand.copy = library.copy_densely(dtype, operand.data, {extents.data(), extents.size()},
                                        {strides.data(), strides.size()});
    operand.data = operand.copy->data();
  }
  int64_t stride = 1;
  for (DimList* list : {&columns, &rows, &batch}) {
    for (size_t i = list->size(); i-- > 0;) {
      (*list)[i].stride = stride;
      stride *= (*list)[i].extent;
    }
  }
}

// Whether a matrix (free x contract) lies as recorded, as far as a library can tell.
bool lies_as(Orientation recorded, const DimList& free, const DimList& contract,
             const Matrix& matrix) {
  if (recorded == Orientation::Any || contract.empty()) return true;
  if (free.empty()) return contract.size() == 1 && contract[0].stride == 1;
  return matrix.transposed == (recorded == Orientation::FreeInnermost);
}

// Makes (free x contract) a library's matrix, by a copy where it isn't one.
void place(MatrixLibrary& library, DType dtype, Orientation recorded, Packing& operand,
           DimList& batch, DimList& free, DimList& contract, Matrix& matrix) {
  free = merged(free);
  if (as_matrix(free, contract, matrix) && lies_as(recorded, free, contract, matrix)) return;
  if (recorded == Orientation::FreeInnermost) {
    make_dense(library, dtype, operand, batch, contract, free);
  } else {
    make_dense(library, dtype, operand, batch, free, contract);
  }
  free = merged(free), contract = merged(contract);
  as_matrix(free, contract, matrix);
}

// A product as a library takes it.
struct Product {
  kernels::GemmArgs args;
  Packing a, b;
  DimList batch_a, batch_b;
  bool is_empty = false;
};

Product prepare(MatrixLibrary& library, DType dtype, const MatrixOperand& a,
                const MatrixOperand& b) {
  Product result{{}, {a.data, {}, 0}, {b.data, {}, 0}, {}, {}, false};
  DimList &batch_a = result.batch_a, &batch_b = result.batch_b;
  DimList contract_a, contract_b;
  for (size_t i = 0; i < a.batch.size(); ++i) {
    if (a.extents[a.batch[i]] == 1) continue;
    batch_a.push_back({a.extents[a.batch[i]], a.strides[a.batch[i]]});
    batch_b.push_back({b.extents[b.batch[i]], b.strides[b.batch[i]]});
  }
  for (size_t i = 0; i < a.contract.size(); ++i) {
    if (a.extents[a.contract[i]] == 1) continue;
    contract_a.push_back({a.extents[a.contract[i]], a.strides[a.contract[i]]});
    contract_b.push_back({b.extents[b.contract[i]], b.strides[b.contract[i]]});
  }
  DimList free_a = merged(dims_of(a, a.free)), free_b = merged(dims_of(b, b.free));
  kernels::GemmArgs& args = result.args;
  args.dtype = dtype;
  args.m = product(free_a);
  args.n = product(free_b);
  args.k = product(contract_a);
  args.batch = product(batch_a);
  result.is_empty = args.m == 0 || args.n == 0 || args.batch == 0;
  if (result.is_empty) return result;

  Matrix matrix_a, matrix_b;
  {
    DimList x = contract_a, y = contract_b;
    merge_both(x, y);
    if (x.size() > 1) {
      // Contracted dimensions that are not one in both: pack what is not dense.
      if (merged(contract_a).size() > 1)
        make_dense(library, dtype, result.a, batch_a, free_a, contract_a);
      if (merged(contract_b).size() > 1)
        make_dense(library, dtype, result.b, batch_b, contract_b, free_b);
      x = contract_a, y = contract_b;
      merge_both(x, y);
    }
    contract_a = x, contract_b = y;
  }
  const bool bits_depend = library.orientation_matters(dtype, {args.m, args.n, args.k, args.batch});
  place(library, dtype, bits_depend ? a.recorded : Orientation::Any, result.a, batch_a, free_a,
        contract_a, matrix_a);
  place(library, dtype, bits_depend ? b.recorded : Orientation::Any, result.b, batch_b, free_b,
        contract_b, matrix_b);
  matrix_b.transposed = !matrix_b.transposed;  // B's rows are contracted
  if (matrix_b.transposed && args.n == 1) {    // the same in memory, and better known
    matrix_b = {1, false};
  } else if (matrix_b.transposed && args.k == 1 && matrix_b.leading == 1) {
    matrix_b = {args.n, false};
  }
  merge_both(batch_a, batch_b);

  args.lda = matrix_a.leading, args.transpose_a = matrix_a.transposed;
  args.ldb = matrix_b.leading, args.transpose_b = matrix_b.transposed;
  args.ldc = args.n;
  args.stride_c = args.m * args.n;
  args.a = result.a.data;
  args.b = result.b.data;
  if (batch_a.size() == 1) {
    args.stride_a = batch_a[0].stride;
    args.stride_b = batch_b[0].stride;
  }
  return result;
}

kernels::ConvolutionShape shape_of_convolution(const Type& a, const Type& b, const Type& result,
                                               int64_t role, std::span<const int64_t> sizes) {
  const Type* types[3];
  for (int r = 0, next = 0; r < 3; ++r) {
    types[r] = r == role ? &result : next++ == 0 ? &a : &b;
  }
  const Type &x = *types[0], &w = *types[1], &y = *types[2];
  kernels::ConvolutionShape shape;
  shape.batch = x.dims()[0];
  shape.groups = sizes[0];
  shape.in_channels = w.dims()[1];
  shape.out_channels = w.dims()[0] / shape.groups;
  const int spatial = result.rank - 2;
  for (int d = 0; d < spatial; ++d) {
    const int at = 3 - spatial + d;
    shape.input[at] = x.dims()[2 + d];
    shape.kernel[at] = w.dims()[2 + d];
    shape.output[at] = y.dims()[2 + d];
    shape.stride[at] = sizes[1 + d];
    shape.low[at] = sizes[1 + spatial + d];
    shape.dilation[at] = sizes[1 + 2 * spatial + d];
  }
  return shape;
}

}  // namespace

int64_t multiply_scratch(DType dtype, const MatrixOperand& a, const MatrixOperand& b) {
  Product product = prepare(matrices_on_host(), dtype, a, b);
  if (product.is_empty) return 0;
  // As offsets would do.
  if (product.batch_a.size() > 1) product.args.stride_a = product.args.stride_b = 1;
  return static_cast<int64_t>(product.a.bytes + product.b.bytes) +
         kernels::gemm_scratch(product.args);
}

void multiply(DType dtype, const MatrixOperand& a, const MatrixOperand& b, void* result,
              Ref<Storage>* kept_b, MatrixLibrary& library) {
  Product product = prepare(library, dtype, a, b);
  if (product.is_empty) return;
  kernels::GemmArgs& args = product.args;
  args.c = result;
  args.kept_b = kept_b;
  SmallVector<int64_t, 64> offsets_a, offsets_b;
  if (product.batch_a.size() > 1) {
    const DimList &batch_a = product.batch_a, &batch_b = product.batch_b;
    for (int64_t i = 0; i < args.batch; ++i) {
      int64_t rest = i, offset_a = 0, offset_b = 0;
      for (size_t d = batch_a.size(); d-- > 0;) {
        const int64_t at = rest % batch_a[d].extent;
        rest /= batch_a[d].extent;
        offset_a += at * batch_a[d].stride;
        offset_b += at * batch_b[d].stride;
      }
      offsets_a.push_back(offset_a);
      offsets_b.push_back(offset_b);
    }
    args.offsets_a = offsets_a.data();
    args.offsets_b = offsets_b.data();
  }
  library.multiply(args);
}

int64_t convolve_scratch(const Type& a, const Type& b, const Type& result, int64_t role,
                         std::span<const int64_t> sizes, kernels::ConvolutionLayout layout) {
  return kernels::convolution_scratch(static_cast<kernels::ConvolutionRole>(role), result.dtype,
                                      shape_of_convolution(a, b, result, role, sizes), layout);
}

void convolve(const Type& a, const Type& b, const Type& result, int64_t role,
              std::span<const int64_t> sizes, kernels::ConvolutionLayout layout, const void* data_a,
              const void* data_b, void* data_result) {
  const kernels::ConvolutionShape shape = shape_of_convolution(a, b, result, role, sizes);
  kernels::convolve(static_cast<kernels::ConvolutionRole>(role), result.dtype, shape, layout,
                    data_a, data_b, data_result);
}

Ref<Storage> dense_copy(DType dtype, const void* data, std::span<const int64_t> extents,
                        std::span<const int64_t> strides) {
  DimList dims;
  for (size_t i = 0; i < extents.size(); ++i) dims.push_back({extents[i], strides[i]});
  const size_t item = size_of(dtype);
  Ref<Storage> copy = allocate(product(dims) * item);
  pack(static_cast<const std::byte*>(data), copy->as<std::byte>(), dims, item);
  return copy;
}

MatrixLibrary& matrices_on_host() {
  class Host final : public MatrixLibrary {
   public:
    bool orientation_matters(DType dtype, const kernels::GemmShape& shape) const override {
      return kernels::orientation_matters(dtype, shape);
    }
    Ref<Storage> copy_densely(DType dtype, const void* data, std::span<const int64_t> extents,
                              std::span<const int64_t> strides) override {
      return dense_copy(dtype, data, extents, strides);
    }
    void multiply(const kernels::GemmArgs& args) override { kernels::gemm(args); }
  };
  static Host host;
  return host;
}

int64_t sort_scratch(DType dtype, std::span<const int64_t> dims, int axis) {
  int64_t count = 1, after = 1;
  for (int d = 0; d < static_cast<int>(dims.size()); ++d) {
    count *= dims[d];
    if (d > axis) after *= dims[d];
  }
  if (after == 1 || count == 0) return 0;
  return static_cast<int64_t>(class_bytes(count * size_of(dtype)) +
                              class_bytes(count * sizeof(int64_t)));
}

void sort_along(DType dtype, const void* values, int64_t* result, std::span<const int64_t> dims,
                int axis, bool descending) {
  int64_t before = 1, after = 1;
  const int64_t n = dims.empty() ? 1 : dims[axis];
  for (int d = 0; d < static_cast<int>(dims.size()); ++d) (d < axis ? before : after) *= dims[d];
  if (!dims.empty()) after /= std::max<int64_t>(n, 1);
  if (before * n * after == 0) return;
  if (after == 1) {
    kernels::argsort(dtype, values, result, before, n, descending);
    return;
  }
  const size_t item = size_of(dtype);
  const Ref<Storage> rows = allocate(before * n * after * item);
  const Ref<Storage> sorted = allocate(before * n * after * sizeof(int64_t));
  pack(static_cast<const std::byte*>(values), rows->as<std::byte>(),
       {{before, n * after}, {after, 1}, {n, after}}, item);
  kernels::argsort(dtype, rows->data(), sorted->as<int64_t>(), before * after, n, descending);
  pack(sorted->as<std::byte>(), reinterpret_cast<std::byte*>(result),
       {{before, n * after}, {n, 1}, {after, n}}, sizeof(int64_t));
}

}  // namespace tenon::jit
