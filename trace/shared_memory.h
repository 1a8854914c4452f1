// Tensors in memory that forked processes share (core/shared_memory.h).
#pragma once

#include "trace/tensor.h"

namespace tenon {

// Moves the storage that the tensor shows there, so that of its views too. Runs what is pending.
// Runtime error inside of a transform.
void share_memory(const Tensor& x);
bool is_in_shared_memory(const Tensor& x);

}  // namespace tenon
