// Arithmetic on dims and strides (both in elements), shared by everyone that knows shapes.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>

#include "core/small_vector.h"

namespace tenon {

// Product of dims. Runtime error with the sizes for a negative dimension or a product that doesn't
// fit 63 bits.
std::int64_t checked_numel(std::span<const std::int64_t> dims);
// Row-major strides as PyTorch counts them: a dimension of size 0 counts as 1. Same errors.
Dims contiguous_strides(std::span<const std::int64_t> dims);
// PyTorch's is_contiguous: strides of dimensions of size 1 don't matter, and nothing does when
// there are no elements.
bool is_contiguous(std::span<const std::int64_t> dims, std::span<const std::int64_t> strides);
// NumPy's broadcasting of two shapes. Runtime error with both if they don't fit.
Dims broadcast_dims(std::span<const std::int64_t> a, std::span<const std::int64_t> b);
// "[2, 3]"
std::string to_string(std::span<const std::int64_t> dims);
// The same as an argument of check(): nothing is written unless the check fails.
struct ShownDims {
  std::span<const std::int64_t> dims;
};
inline ShownDims shown(std::span<const std::int64_t> dims) { return {dims}; }

}  // namespace tenon

template <>
struct fmt::formatter<tenon::ShownDims> {
  constexpr auto parse(fmt::format_parse_context& context) { return context.begin(); }
  template <class Context>
  auto format(const tenon::ShownDims& shown, Context& context) const {
    auto out = context.out();
    for (const char c : tenon::to_string(shown.dims)) *out++ = c;
    return out;
  }
};
