// Programs from the text that trace/print.h makes of them.
#pragma once

#include <string_view>

#include "trace/program.h"

namespace tenon {

// print(parse_program(text)) == text, apart from comments (# to the end of the line), which are
// dropped with the origins they show. Inputs have types and no buffers. ValueError with the line
// number and what was expected there.
Program parse_program(std::string_view text);
TypeId parse_type(std::string_view text);

}  // namespace tenon
