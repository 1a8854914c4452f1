// Attention and its gradients from their definition, for the tests' references.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "trace/node.h"

namespace tenon::test {

struct AttentionOperand {
  std::span<const int64_t> dims;
  std::vector<double> values;
  bool is_bool = false;
};

// The result's elements, row-major, of one of the three primitives; operands as the primitive's.
inline std::vector<double> attention_values(Op op, std::span<const int64_t> axes,
                                            std::span<const AttentionOperand> operands) {
  const bool is_gradient = op == Op::AttentionGradient, is_causal = axes[0] != 0;
  const auto extent = [&](size_t k, int from_end) {
    return operands[k].dims[operands[k].dims.size() - from_end];
  };
  const int64_t queries = extent(0, 2), keys = extent(1, 2), depth = extent(0, 1),
                width = extent(2, 1);
  const int64_t heads = static_cast<int64_t>(operands[0].values.size()) / (queries * depth);
  const size_t mask_at = is_gradient ? 7 : 4;
  const AttentionOperand* mask = operands.size() > mask_at ? &operands[mask_at] : nullptr;
  const double scale = operands[3].values[0];
  const double lowest = -std::numeric_limits<double>::infinity();
  const auto at = [&](size_t k, int64_t head, int64_t row, int64_t column, int64_t columns) {
    return operands[k].values[(head * extent(k, 2) + row) * columns + column];
  };
  std::vector<double> result;
  const int64_t which = is_gradient ? axes[1] : 0;
  const int64_t rows = is_gradient && which > 0 ? keys : queries;
  const int64_t columns = op == Op::AttentionNormalizer ? 1
                          : is_gradient && which < 2    ? depth
                                                        : width;
  result.assign(static_cast<size_t>(heads * rows * columns), 0);
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t i = 0; i < queries; ++i) {
      std::vector<double> scores(static_cast<size_t>(keys), lowest);
      double highest = lowest, sum = 0;
      for (int64_t j = 0; j < keys; ++j) {
        double score = 0;
        for (int64_t e = 0; e < depth; ++e) score += at(0, h, i, e, depth) * at(1, h, j, e, depth);
        score *= scale;
        if (is_causal && j > i) score = lowest;
        if (mask) {
          const double m = mask->values[(h * queries + i) * keys + j];
          score = mask->is_bool ? (m != 0 ? score : lowest) : score + m;
        }
        scores[j] = score;
        highest = std::max(highest, score);
      }
      for (double& score : scores) {
        score = highest == lowest ? 0 : std::exp(score - highest);
        sum += score;
      }
      const double normalizer = sum == 0 ? -lowest : highest + std::log(sum);
      if (op == Op::AttentionNormalizer) result[h * queries + i] = normalizer;
      if (op == Op::AttentionNormalizer || sum == 0) continue;
      double delta = 0;
      for (int64_t v = 0; is_gradient && v < width; ++v) {
        delta += at(4, h, i, v, width) * at(6, h, i, v, width);
      }
      for (int64_t j = 0; j < keys; ++j) {
        const double weight = scores[j] / sum;
        double gradient = -delta;
        for (int64_t v = 0; v < width; ++v) {
          if (!is_gradient) result[(h * queries + i) * width + v] += weight * at(2, h, j, v, width);
          if (!is_gradient) continue;
          gradient += at(6, h, i, v, width) * at(2, h, j, v, width);
          if (which == 2) result[(h * keys + j) * width + v] += weight * at(6, h, i, v, width);
        }
        for (int64_t e = 0; is_gradient && which < 2 && e < depth; ++e) {
          const double score = weight * gradient * scale;
          if (which == 0) result[(h * queries + i) * depth + e] += score * at(1, h, j, e, depth);
          if (which == 1) result[(h * keys + j) * depth + e] += score * at(0, h, i, e, depth);
        }
      }
    }
  }
  return result;
}

}  // namespace tenon::test
