// Programs without complex numbers, for executors, which know real ones alone.
//
// A complex buffer is read and written as the reals it consists of: two along one more dimension,
// the last. Inside the program a complex value is a pair of real ones, and what merely moves, adds
// or selects it does so to both (see acts_on_parts in trace/complex.h).
#pragma once

#include <vector>

#include "trace/program.h"

namespace tenon {

bool has_complex(const Program& program);
// The same program on reals, bound to the program's inputs and sizes; kept in program.on_reals.
Program& on_reals(Program& program);
// What the program on reals gave, as the program's outputs.
std::vector<Buffer> from_reals(const Program& program, std::vector<Buffer> outputs);

}  // namespace tenon
