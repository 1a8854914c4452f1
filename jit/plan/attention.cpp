// Running attention: views of buffers to matrices of heads.
#include "kernels/attention.h"

#include <bit>
#include <vector>

#include "core/size_classes.h"
#include "jit/plan/bind.h"
#include "jit/plan/library.h"
#include "jit/plan/plan.h"
#include "jit/plan/running.h"

namespace tenon::jit {
namespace {

// An operand [batch..., rows, columns], its dimensions by atom.
struct Heads {
  const void* data;
  SmallVector<int64_t, 8> extents, strides;
  size_t rows, columns;  // where their atoms begin
  Ref<Storage> copy;
  std::vector<int64_t> offsets;  // where each head's matrix begins

  int64_t extent(size_t from, size_t to) const {
    int64_t n = 1;
    for (size_t i = from; i < to; ++i) n *= extents[i];
    return n;
  }
  int64_t row_count() const { return extent(rows, columns); }
  int64_t column_count() const { return extent(columns, extents.size()); }
  // Of the dimension that these atoms are, if they are one; `none` where its extent is 1.
  bool stride(size_t from, size_t to, int64_t none, int64_t& stride) const {
    int64_t extent = 1;
    stride = none;
    for (size_t i = to; i-- > from;) {
      if (extents[i] == 1) continue;
      if (extent == 1) {
        stride = strides[i];
      } else if (strides[i] != stride * extent) {
        return false;
      }
      extent *= extents[i];
    }
    return true;
  }
  bool is_dense() const {
    int64_t found = 0;
    return stride(0, extents.size(), 1, found) && found == 1;
  }
  void make_dense(DType dtype) {
    copy = dense_copy(dtype, data, extents, strides);
    data = copy->data();
    int64_t stride = 1;
    for (size_t i = extents.size(); i-- > 0;) {
      strides[i] = stride;
      stride *= extents[i];
    }
  }
  kernels::HeadMatrix matrix(DType dtype) {
    kernels::HeadMatrix result;
    const auto find = [&] {
      return stride(rows, columns, column_count(), result.row_stride) &&
             stride(columns, extents.size(), 1, result.column_stride);
    };
    if (!find()) {
      make_dense(dtype);
      find();
    }
    const int64_t heads = extent(0, rows);
    offsets.assign(static_cast<size_t>(heads), 0);
    for (int64_t head = 0; head < heads; ++head) {
      int64_t rest = head;
      for (size_t i = rows; i-- > 0;) {
        offsets[static_cast<size_t>(head)] += rest % extents[i] * strides[i];
        rest /= extents[i];
      }
    }
    result.data = data;
    result.offsets = offsets.data();
    return result;
  }
};

}  // namespace

void Plan::run_attention(const AttentionStep& step, Running& running) {
  const Program& program = running.program;
  std::vector<Heads> heads;
  for (const AttentionStep::Operand& operand : step.operands) {
    const MatrixOperand x = bound(operand.view, running);
    heads.push_back({x.data, x.extents, x.strides, operand.rows, operand.columns, {}, {}});
  }
  kernels::AttentionInputs inputs;
  inputs.dtype = step.dtype;
  inputs.shape = {heads[0].extent(0, heads[0].rows), heads[0].row_count(), heads[1].row_count(),
                  heads[0].column_count(), heads[2].column_count()};
  inputs.shape.causal = step.is_causal;
  if (step.scale_buffer != kNone) {
    inputs.shape.scale = *static_cast<const double*>(running.pointers[step.scale_buffer]);
  } else {
    const ProgramNode& scale = program.nodes[step.scale_source];
    const auto axes = program.axes_of(scale);
    inputs.shape.scale = std::bit_cast<double>(axes[0] ? axes[1] : program.sizes_of(scale)[0]);
  }
  inputs.query = heads[0].matrix(step.dtype);
  inputs.key = heads[1].matrix(step.dtype);
  inputs.value = heads[2].matrix(step.dtype);
  const size_t mask = step.is_gradient ? 6 : 3;
  if (heads.size() > mask) {
    inputs.bool_mask = step.has_bool_mask;
    inputs.mask = heads[mask].matrix(step.has_bool_mask ? DType::Bool : step.dtype);
  }
  const auto result = [&](size_t k) -> void* {
    return step.results[k] == kNone ? nullptr : running.pointers[step.results[k]];
  };
  if (!step.is_gradient) {
    kernels::attention(inputs, result(0), result(1));
    return;
  }
  kernels::AttentionGradients gradients;
  gradients.out = heads[3].matrix(step.dtype);
  Heads& normalizer = heads[4];
  if (!normalizer.is_dense()) normalizer.make_dense(kernels::accumulation_dtype(step.dtype));
  gradients.normalizer = normalizer.data;
  gradients.gradient = heads[5].matrix(step.dtype);
  gradients.query = result(0), gradients.key = result(1), gradients.value = result(2);
  kernels::attention_gradients(inputs, gradients);
}

int64_t Plan::attention_scratch(const AttentionStep& step, const Binding& binding) const {
  std::vector<Heads> heads;
  int64_t copies = 0;
  bool has_dense_rows = true;
  for (size_t k = 0; k < step.operands.size(); ++k) {
    const AttentionStep::Operand& operand = step.operands[k];
    const MatrixOperand x = view_of(operand.view, binding);
    Heads& each = heads.emplace_back(
        Heads{nullptr, x.extents, x.strides, operand.rows, operand.columns, {}, {}});
    const size_t end = each.extents.size();
    const bool is_normalizer = step.is_gradient && k == 4;
    int64_t row = 0, column = 0;
    const bool fits = is_normalizer ? each.is_dense()
                                    : each.stride(each.rows, each.columns, 1, row) &&
                                          each.stride(each.columns, end, 1, column);
    if (!fits) {
      const DType dtype = is_normalizer ? kernels::accumulation_dtype(step.dtype) : step.dtype;
      copies += static_cast<int64_t>(
          class_bytes(static_cast<size_t>(each.extent(0, end)) * size_of(dtype)));
    } else if (!is_normalizer && each.row_count() > 1) {
      has_dense_rows = has_dense_rows && column == 1 && row == each.column_count();
    }
  }
  kernels::AttentionShape shape;
  shape.heads = heads[0].extent(0, heads[0].rows);
  shape.queries = heads[0].row_count(), shape.keys = heads[1].row_count();
  shape.depth = heads[0].column_count(), shape.width = heads[2].column_count();
  return copies + kernels::attention_scratch(step.dtype, shape, has_dense_rows, step.is_gradient);
}

}  // namespace tenon::jit
