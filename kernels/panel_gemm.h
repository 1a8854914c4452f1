// Products of few rows with the transpose of a large matrix, as in a recurrent layer or for a small
// batch: B is laid out in panels. A loop that multiplies by the same matrix again and again does so
// once. Libraries do at every call, which takes half as long as the product itself.
#pragma once

#include "core/storage.h"
#include "kernels/blas.h"

namespace tenon::kernels {

// Whether products of this shape are computed so on this machine if B is transposed, that is, if
// its columns lie in memory: others are read as they lie by a library, as fast.
bool is_panel_product(DType dtype, const GemmShape& shape);

// B laid out: one panel of kPanelColumns columns after the other.
Ref<Storage> pack_panels(const MatrixProduct<float>& product);

// In parallel. With `panels` (those of B), B itself isn't read.
void multiply_panels(const MatrixProduct<float>& product, const float* panels);

}  // namespace tenon::kernels
