// What the batching rules share.
#pragma once

#include <vector>

#include "trace/rules.h"

namespace tenon {

Dims batched_dims(int64_t extent, std::span<const int64_t> dims);  // the extent, then dims
Dims shifted(std::span<const int64_t> axes);                       // one to the right of the batch

}  // namespace tenon
