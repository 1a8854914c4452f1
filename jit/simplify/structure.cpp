// What concrete extents and sizes contribute to structure.
#include "core/error.h"
#include "jit/simplify/graph.h"

namespace tenon::jit {
namespace {

// Pairs (dims of the input, dims of the output) with equal products, smallest first; dims of 1 are
// left out.
void reshape_pattern(const Type& from, const Type& to, SmallVector<int64_t, 16>& words) {
  SmallVector<int64_t, 8> in, out;
  for (int64_t extent : from.dims()) {
    if (extent != 1) in.push_back(extent);
  }
  for (int64_t extent : to.dims()) {
    if (extent != 1) out.push_back(extent);
  }
  size_t i = 0, j = 0;
  while (i < in.size() && j < out.size()) {
    const size_t i0 = i, j0 = j;
    int64_t a = in[i++], b = out[j++];
    while (a != b) {
      if (a < b) {
        if (i == in.size()) break;
        a *= in[i++];
      } else {
        if (j == out.size()) break;
        b *= out[j++];
      }
    }
    words.push_back(static_cast<int64_t>(i - i0));
    words.push_back(static_cast<int64_t>(j - j0));
  }
}

// sizes: start, step of each dimension.
void box_pattern(std::span<const int64_t> sizes, const Type& whole, const Type& part,
                 SmallVector<int64_t, 16>& words) {
  const size_t rank = part.rank;
  uint64_t full = 0, unit = 0;
  for (size_t d = 0; d < rank; ++d) {
    const bool is_unit = sizes[rank + d] == 1;
    if (is_unit) unit |= uint64_t{1} << d;
    if (is_unit && sizes[d] == 0 && whole.dims()[d] == part.dims()[d]) full |= uint64_t{1} << d;
  }
  words.push_back(static_cast<int64_t>(full));
  words.push_back(static_cast<int64_t>(unit));
}

}  // namespace

uint64_t ones_mask(const Type& type) {
  uint64_t mask = 0;
  for (int d = 0; d < type.rank; ++d) mask |= uint64_t{type.dims_[d] == 1} << d;
  return mask;
}

bool has_zero(const Type& type) { return type.numel == 0; }

void structure_of(const Program& program, const ProgramNode& node,
                  SmallVector<int64_t, 16>& words) {
  const Type& type = type_of(node.type);
  const auto operand_type = [&](int k) -> const Type& {
    return type_of(program.nodes[program.operands[node.operands + k]].type);
  };
  const auto sizes = program.sizes_of(node);
  switch (node.op) {
    case Op::Reshape:
      if (type.numel != 0) reshape_pattern(operand_type(0), type, words);
      break;
    case Op::Slice:
      box_pattern(sizes, operand_type(0), type, words);
      break;
    case Op::UpdateSlice:
      box_pattern(sizes, type, operand_type(1), words);
      break;
    case Op::Pad: {
      const size_t rank = type.rank;
      uint64_t none = 0, dense = 0;
      for (size_t d = 0; d < rank; ++d) {
        const bool is_dense = sizes[2 * rank + d] == 0;
        if (is_dense) dense |= uint64_t{1} << d;
        if (is_dense && sizes[d] == 0 && sizes[rank + d] == 0) none |= uint64_t{1} << d;
      }
      words.push_back(static_cast<int64_t>(none));
      words.push_back(static_cast<int64_t>(dense));
      break;
    }
    default:
      break;
  }
}

Layout layout_of(const Type& type) {
  Layout layout;
  if (type.contiguous || type.rank == 0) return layout;
  const int rank = type.rank;
  // Sort dims by stride, outermost first; dense if each stride is the product of what is inside.
  SmallVector<uint8_t, 6> order;
  for (int d = 0; d < rank; ++d) order.push_back(static_cast<uint8_t>(d));
  std::stable_sort(order.begin(), order.end(), [&](uint8_t a, uint8_t b) {
    if (type.dims_[a] == 1 || type.dims_[b] == 1) return type.dims_[b] != 1 && type.dims_[a] == 1;
    return type.strides_[a] > type.strides_[b];
  });
  int64_t expected = 1;
  bool dense = true;
  for (int i = rank - 1; i >= 0; --i) {
    const int d = order[i];
    if (type.dims_[d] == 1) continue;
    dense = dense && type.strides_[d] == expected;
    expected *= type.dims_[d];
  }
  if (dense) {
    layout.kind = Layout::Permuted;
    layout.order = order;
    return layout;
  }
  layout.kind = Layout::Strided;
  for (int d = 0; d < rank; ++d) {
    const int64_t stride = type.dims_[d] == 1 ? 0 : type.strides_[d];
    layout.classes.push_back(static_cast<uint8_t>(stride == 0 ? 0 : stride == 1 ? 1 : 2));
  }
  return layout;
}

Layout dense_layout_of(const Type& type) {
  Layout layout = layout_of(type);
  return layout.kind == Layout::Strided ? Layout{} : layout;
}

}  // namespace tenon::jit
