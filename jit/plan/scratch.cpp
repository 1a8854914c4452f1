// What library steps allocate while they run.
#include "jit/plan/bind.h"
#include "jit/plan/library.h"

namespace tenon::jit {

MatrixOperand Plan::view_of(const StridedOperand& from, const Binding& binding) const {
  MatrixOperand x;
  for (PolyId p : from.strides) x.strides.push_back(binding[p]);
  for (PolyId p : from.extents) x.extents.push_back(binding[p]);
  return x;
}

int64_t Plan::scratch_of(const Step& step, const Program& program, const Binding& binding) const {
  if (mode_ == Mode::Device) return 0;  // its libraries are not the host's
  if (const auto* gemm = std::get_if<GemmStep>(&step.what)) {
    MatrixOperand a = view_of(gemm->a, binding), b = view_of(gemm->b, binding);
    set_roles(*gemm, a, b);
    return multiply_scratch(gemm->dtype, a, b);
  }
  if (const auto* convolution = std::get_if<ConvolutionStep>(&step.what)) {
    const ProgramNode& node = program.nodes[convolution->source];
    const auto operands = program.operands_of(node);
    return convolve_scratch(type_of(program.nodes[operands[0]].type),
                            type_of(program.nodes[operands[1]].type), type_of(node.type),
                            program.axes_of(node)[0], program.sizes_of(node), convolution->layout);
  }
  if (const auto* attention = std::get_if<AttentionStep>(&step.what)) {
    return attention_scratch(*attention, binding);
  }
  if (const auto* sort = std::get_if<SortStep>(&step.what)) {
    SmallVector<int64_t, 8> dims;
    for (PolyId p : sort->extents) dims.push_back(binding[p]);
    return sort_scratch(sort->dtype, dims, sort->axis);
  }
  return 0;
}

}  // namespace tenon::jit
