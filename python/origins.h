// Lines of the user's program, for the trace: a place is a code object and an offset into it.
#pragma once

namespace tenon::python {

// From here on every recorded operation knows its place. Code below `package_folder` is ours and is
// passed over.
void install_origins(const char* package_folder);

}  // namespace tenon::python
