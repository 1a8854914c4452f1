// A run of a plan under way.
#pragma once

#include <unordered_map>

#include "core/small_vector.h"
#include "core/storage.h"
#include "jit/plan/bind.h"

namespace tenon::jit {

struct Plan::Running {
  const Program& program;
  std::shared_ptr<const Binding> binding;
  std::vector<void*> pointers;  // by buffer
  Ref<Storage> slab;
  loop::ErrorSlot error;
  // In a loop: what products by matrices that stay the same keep of them, by the product.
  std::unordered_map<const GemmStep*, Ref<Storage>> kept;
};

// A kernel with its arguments: all that running a part of its range takes.
struct Plan::Launch {
  const CompiledKernel* kernel = nullptr;
  CompiledKernel* charged = nullptr;
  SmallVector<void*, 16> buffers;
  SmallVector<int64_t, 24> ints;
  SmallVector<uint64_t, 8> scalars;
  int64_t scratch = 0;
  int64_t range = 0, grain = 1;
  int64_t operations = 0;

  int64_t chunks() const { return (range + grain - 1) / grain; }
  void run(int64_t begin, int64_t end, loop::ErrorSlot* error) const;
};

}  // namespace tenon::jit
