// An executor that interprets programs node by node, in double and int64, from the primitives'
// definitions alone. Slow and simple: the judge of what the real one computes.
#pragma once

#include "trace/executor.h"

namespace tenon::reference {

class ReferenceExecutor final : public Executor {
 public:
  std::vector<Buffer> run(Program& program) override;
};

}  // namespace tenon::reference
