// Plans told to people: what each step reads and writes, what it costs, why it is a step of its
// own, and why a program has another plan than one before.
#pragma once

#include <string>
#include <vector>

#include "trace/program.h"

namespace tenon::jit {

struct StepInfo {
  std::string name;
  std::vector<std::string> reads, writes;  // "float32[8, 16] input 0"
  int64_t bytes = 0;                       // each buffer once
  int64_t operations = 0;                  // arithmetic
  std::string apart;                       // why it isn't part of an earlier step; may be empty
  std::vector<uint32_t> origins;
};

// The steps that would run for a program, whose inputs need types but no storage.
std::vector<StepInfo> steps_of(const Program& program);
// Bytes of temporaries and outputs.
int64_t peak_bytes_of(const Program& program);
// The first thing that makes `program` need another plan than `known`; empty if nothing does.
std::string difference_of_keys(const Program& known, const Program& program);
// Arithmetic operations of one node.
int64_t operations_of(const Program& program, uint32_t node);

}  // namespace tenon::jit
