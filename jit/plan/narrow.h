// Variants of kernels for short loops (see KernelCode::narrow). One is compiled in the background
// when its kernel has run long enough at such extents to be worth it, as hot kernels are; the bits
// are the same, so that nobody sees when.
#pragma once

#include <array>

#include "jit/plan/plan.h"

namespace tenon::jit {

// Compiles variants when they are first bound to such extents (tests).
void set_narrow_at_once(bool on);

struct NarrowStep {
  KernelStep step;  // but for its kernel
  PolyId extent, along;
  loop::Kernel code;
  std::array<std::atomic<CompiledKernel*>, 2> kernels{};  // compiled later, and at once
};

// What runs for the extents at hand.
struct Variant {
  const KernelStep* step;
  CompiledKernel* kernel;
  CompiledKernel* charged;  // the run counts as this kernel's: see hot.h
};

}  // namespace tenon::jit
