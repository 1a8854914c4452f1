// An executor that interprets programs node by node, in double and int64, from the primitives'
// definitions alone. Slow and simple: the judge of what the real one computes.
#pragma once

#include <set>
#include <string>

#include "trace/executor.h"

namespace tenon::reference {

class ReferenceExecutor final : public Executor {
 public:
  std::vector<Buffer> run(Program& program) override;

  // What a plan's key holds: operations, dtypes, ranks, structural attributes and wiring.
  static std::string key_of(const Program& program);

  int runs = 0;
  std::set<std::string> keys;  // of all programs that ran
  size_t nodes = 0;            // of all programs that ran
};

// The one that the tests' main function installs.
ReferenceExecutor& installed();

}  // namespace tenon::reference
