// A run of a plan under way.
#pragma once

#include "core/storage.h"
#include "jit/plan/bind.h"

namespace tenon::jit {

struct Plan::Running {
  const Program& program;
  std::shared_ptr<const Binding> binding;
  std::vector<void*> pointers;  // by buffer
  Ref<Storage> slab;
  loop::ErrorSlot error;
};

}  // namespace tenon::jit
