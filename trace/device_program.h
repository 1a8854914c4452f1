// Programs without convolutions and attention, for devices that have no kernels of them: matrix
// products and what fuses with them, recorded in their place.
#pragma once

#include <vector>

#include "trace/program.h"

namespace tenon {

// Whether a node on a device needs it.
bool needs_products(const Program& program);

struct ProductProgram {
  Program program;  // inputs, outputs and what else is kept in the order of the one it is made from
  // Parts of the attributes that are the other program's: from where, to where, how many.
  struct Kept {
    uint32_t from, to, count;
  };
  std::vector<Kept> kept;
  // Sizes that what was recorded depends on: from where in the other program, and which.
  std::vector<std::pair<uint32_t, int64_t>> sizes;
};
ProductProgram with_products(const Program& program);

}  // namespace tenon
