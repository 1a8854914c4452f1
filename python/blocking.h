// The interpreter lock is given up while programs run.
#pragma once

namespace tenon::python {

void install_blocking_hooks();

}  // namespace tenon::python
