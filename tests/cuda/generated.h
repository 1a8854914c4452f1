// The kernels that the tests of this executable have made.
#pragma once

#include <vector>

#include "jit/loop/ir.h"

namespace tenon::test {

// None in the first of the two runs.
std::vector<const loop::Kernel*> generated_kernels();

}  // namespace tenon::test
