// float8 values in the trace. They are moved, selected and converted as they are; the little
// arithmetic that is defined on them is recorded in float32 and rounded.
#pragma once

#include "trace/value.h"

namespace tenon::ops {

// Whether the primitive may stand on float8 operands as it is.
bool moves_float8(Op op);
// Any other primitive. NotImplemented error for most.
Value float8_primitive(Op op, std::span<const Value> operands, Ints axes, Ints sizes);

}  // namespace tenon::ops
