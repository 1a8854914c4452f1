// Memory that processes forked later share with this one.
#pragma once

#include <cstddef>

#include "core/storage.h"

namespace tenon {

// Zeros; counted as known outside (Storage::exposures) from the first, since another process may
// write them at any time. Runtime error where the system has no such memory left.
Ref<Storage> allocate_shared(std::size_t bytes);
// Whether allocate_shared made it.
bool is_shared(const Storage& storage);

}  // namespace tenon
