// Library calls on strided operands.
#pragma once

#include <span>
#include <vector>

#include "core/dtype.h"
#include "core/small_vector.h"
#include "core/storage.h"
#include "jit/simplify/graph.h"
#include "kernels/convolution.h"
#include "kernels/gemm.h"

namespace tenon::jit {

// An operand of a batched product: its dimensions by role, each with extent and stride in elements.
struct MatrixOperand {
  const void* data = nullptr;
  SmallVector<int64_t, 8> extents, strides;
  std::span<const uint8_t> batch, free, contract;
  Orientation recorded = Orientation::Any;
};

// What multiplies matrices where they lie: the host's libraries, or a device's.
class MatrixLibrary {
 public:
  virtual ~MatrixLibrary() = default;
  virtual bool orientation_matters(DType dtype, const kernels::GemmShape& shape) const = 0;
  // Errors and result as dense_copy.
  virtual Ref<Storage> copy_densely(DType dtype, const void* data, std::span<const int64_t> extents,
                                    std::span<const int64_t> strides) = 0;
  virtual void multiply(const kernels::GemmArgs& args) = 0;
};
MatrixLibrary& matrices_on_host();

// result[batch, free of a, free of b], dense, from any strides: operands whose strides the library
// can't take are packed first, and those that lie otherwise than recorded where it matters to the
// result's bits. kept_b: see kernels::GemmArgs.
void multiply(DType dtype, const MatrixOperand& a, const MatrixOperand& b, void* result,
              Ref<Storage>* kept_b = nullptr, MatrixLibrary& library = matrices_on_host());

// Bytes that it allocates for a while: operands need no data.
int64_t multiply_scratch(DType dtype, const MatrixOperand& a, const MatrixOperand& b);

// The tensor of that role (0 input, 1 weight, 2 output; sizes as the primitive's) from the two
// others, all dense; of input and output channels may lie last.
void convolve(const Type& a, const Type& b, const Type& result, int64_t role,
              std::span<const int64_t> sizes, kernels::ConvolutionLayout layout, const void* data_a,
              const void* data_b, void* data_result);

int64_t convolve_scratch(const Type& a, const Type& b, const Type& result, int64_t role,
                         std::span<const int64_t> sizes, kernels::ConvolutionLayout layout);

// A dense copy of a strided operand, its dimensions in the order given.
Ref<Storage> dense_copy(DType dtype, const void* data, std::span<const int64_t> extents,
                        std::span<const int64_t> strides);

// argsort of a dense tensor along any axis.
void sort_along(DType dtype, const void* values, int64_t* result, std::span<const int64_t> dims,
                int axis, bool descending);
int64_t sort_scratch(DType dtype, std::span<const int64_t> dims, int axis);

}  // namespace tenon::jit
