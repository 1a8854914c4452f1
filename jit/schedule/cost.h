// Costs of operations, in additions an element.
#pragma once

#include <cstdint>

#include "generated/primitives.h"

namespace tenon::jit {

uint32_t cost_of(Op op);

}  // namespace tenon::jit
