// A run of a plan under way.
#pragma once

#include <unordered_map>

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

}  // namespace tenon::jit
