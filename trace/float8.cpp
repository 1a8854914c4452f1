#include "trace/float8.h"

#include <vector>

#include "core/error.h"
#include "trace/tensor.h"

namespace tenon::ops {
namespace {

// What PyTorch defines on float8: whether elements are equal or NaN, magnitudes and products.
bool computes_in_float32(Op op) {
  switch (op) {
    case Op::Eq:
    case Op::Ne:
    case Op::IsNan:
    case Op::IsInf:
    case Op::LogicalNot:
    case Op::Abs:
    case Op::Mul:
    case Op::DotGeneral:
      return true;
    default:
      return false;
  }
}

}  // namespace

bool moves_float8(Op op) {
  switch (op) {
    case Op::Alias:
    case Op::Redirect:
    case Op::ToDevice:
    case Op::Cast:
    case Op::Bitcast:
    case Op::Gather:
    case Op::TakeAlong:
    case Op::ScatterSet:
    case Op::PutAlongSet:
      return true;
    default:
      return info(op).group == PrimitiveClass::Movement || info(op).group == PrimitiveClass::Region;
  }
}

Value float8_primitive(Op op, std::span<const Value> operands, Ints axes, Ints sizes) {
  const DType own = dtype(operands[0]);
  check(computes_in_float32(op), ErrorKind::NotImplemented,
        "\"{}\" not implemented for '{}': convert it to another floating dtype",
        current_operation(), name_of(own));
  std::vector<Value> wide;
  for (Value operand : operands) wide.push_back(cast(operand, DType::Float32));
  const Value result = primitive(op, wide, axes, sizes);
  return dtype(result) == DType::Float32 ? cast(result, own) : result;
}

}  // namespace tenon::ops
