// What Python gives a user's operation that is no tensor.
#pragma once

#include <utility>

#include "python/caster.h"
#include "trace/library.h"

namespace tenon::python {

// With the kind that the schema says (tenon_operation.h): an empty list doesn't tell.
using GivenAttribute = std::pair<int, nanobind::object>;

library::Attribute as_attribute(const GivenAttribute& given);

}  // namespace tenon::python
