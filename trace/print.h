// Traces as text, one node a line:
//
//   %0: float32[8, 16] = input
//   %1: float32[] = constant scalar=0.5
//   %2: float32[8, 16] = mul %0, %1  # model.py:12
//   %3: float32[8] = reduce_sum %2 axes=[1]
//   return %3
//
// Types are dtype and sizes, then strides in braces where they aren't row-major, then the device if
// it isn't the CPU. trace/parse.h reads programs back.
#pragma once

#include <string>

#include "trace/program.h"

namespace tenon {

class Segment;

std::string print_type(TypeId type);
std::string print(const Program& program);
// Also shows what a program has no more: `leaf`, where derivatives are blocked (`mask=`), and the
// vmap a node belongs to. Returned is what live tensors name.
std::string print(const Segment& segment);

}  // namespace tenon
