// NVIDIA's run-time compiler, loaded when first asked for.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "core/error.h"

namespace tenon::cuda {

// Why kernels can't be compiled on this machine; empty where they can.
std::string why_no_compiler();
// "13.5", part of what cached objects depend on. Runtime error where there is none.
std::string compiler_version();

struct Compilation {
  std::vector<std::byte> cubin;
  std::string log;
};
// Text without headers to machine code for one architecture, such as 90. Runtime error where there
// is no compiler. Internal error where the text doesn't compile: it names the file that keeps the
// text and NVRTC's log, and has the log's first lines.
Compilation compile_text(const std::string& text, const std::string& name, int architecture);

// Fault injection for tests: the next `count` compilations get a text that is wrong.
void fail_next_compilations(int count);

}  // namespace tenon::cuda
