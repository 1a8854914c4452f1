#pragma once

// Words of the textual form, in the order of the enumerations.

namespace tenon::loop {

constexpr const char* kOpNames[] = {
    "constant", "int_param",    "scalar_param",  "range_begin", "range_end", "lane_index",
    "unary",    "binary",       "compare",       "fma",         "select",    "cast",
    "bitcast",  "broadcast",    "extract",       "reduce",      "call",      "load",
    "store",    "scratch_load", "scratch_store", "check",       "for",       "carried",
    "end_for",  "if",           "else",          "end_if",      "result"};
constexpr const char* kUnaryNames[] = {"neg",   "abs",  "not",   "sqrt",
                                       "floor", "ceil", "round", "trunc"};
constexpr const char* kBinaryNames[] = {"add", "sub", "mul", "div", "rem", "max",      "min",
                                        "and", "or",  "xor", "shl", "shr", "copysign", "scale"};
constexpr const char* kCompareNames[] = {"eq", "ne", "lt", "le", "gt", "ge"};
constexpr const char* kReduceNames[] = {"reduce_sum", "reduce_prod", "reduce_max",
                                        "reduce_min", "reduce_and",  "reduce_or"};
constexpr const char* kAccessNames[] = {"read", "write", "read_write"};

}  // namespace tenon::loop
