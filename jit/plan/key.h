// The key of a plan: everything about a program that a plan depends on, as one hash. Holds no
// extent, offset or scalar (see structure_of for what of them is structure).
#pragma once

#include "core/hash.h"
#include "trace/program.h"

namespace tenon::jit {

Hash128 key_of(const Program& program);

}  // namespace tenon::jit
