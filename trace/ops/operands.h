// How the public operations over Tensors take their operands and give their results.
#pragma once

#include <initializer_list>
#include <vector>

#include "trace/ops/types.h"
#include "trace/tensor.h"

namespace tenon {

// The dtype that numbers among the operands take; worked out only where there is one.
class OperandType {
 public:
  enum Need : uint8_t { NeedsNothing, NeedsTensor };  // of several operands one at least

  OperandType(Promotion kind, std::initializer_list<Operand> operands, Need need = NeedsNothing);
  DType dtype() const { return dtype_; }

 private:
  Promotion kind_;
  DType dtype_ = DType::Float32;
};

Value use(OpScope& scope, const Operand& operand, const OperandType& type);
std::vector<Value> use_all(OpScope& scope, const TensorList& tensors);
TensorList results(OpScope& scope, const std::vector<Value>& values);

// In-place: RuntimeError where the value's dtype can't be cast to the target's, or its extents
// don't broadcast to the target's.
const Tensor& write(OpScope& scope, const Tensor& target, Value value);
// The same for a value that is one number everywhere: it may also go to an expanded tensor, in
// which elements stand several times.
const Tensor& write_everywhere(OpScope& scope, const Tensor& target, Value value);

Tensor apply_view(const Tensor& x, const Movements& movements);
// The same, copying where the strides allow no view.
Tensor view_or_copy(const Tensor& x, const Movements& movements);

}  // namespace tenon
