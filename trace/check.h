// The checker: what must hold of every program that leaves the trace.
#pragma once

#include "trace/program.h"

namespace tenon {

// Operands come before their users and are as many as the primitive takes; attributes have the
// lengths and ranges of their primitive; result types are those of its type rule (strides may
// differ: views and outputs choose their own); inputs and outputs are in range. InternalError with
// the node, its text and what is wrong.
void check_program(const Program& program);

// Whether every extracted program is checked: in debug builds, or under TENON_CHECK=1.
bool checks_programs();

}  // namespace tenon
