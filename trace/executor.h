// The interface through which the trace has programs run; jit/ implements it.
#pragma once

#include <vector>

#include "core/error.h"
#include "trace/program.h"

namespace tenon {

// A failure that only the data could tell (an index out of bounds, a zero divisor): `origin` is
// that of the node that failed. The trace poisons what depends on it and runs the rest.
class DataError : public Error {
 public:
  DataError(ErrorKind kind, std::string message, uint32_t origin)
      : Error(kind, std::move(message)), origin(origin) {}
  const uint32_t origin;
};

class Executor {
 public:
  virtual ~Executor() = default;
  // Returns one buffer an output, dense with the output type's strides. Inputs marked donatable
  // may have been overwritten when it returns; when it throws, none has been.
  virtual std::vector<Buffer> run(Program& program) = 0;
};

void set_executor(Executor* executor);
Executor& executor();

// Called around every wait and every run, outside all locks: the Python bindings release and
// take back the interpreter lock here.
struct BlockingHooks {
  void* (*enter)() = nullptr;
  void (*leave)(void* state) = nullptr;
};
void set_blocking_hooks(BlockingHooks hooks);

}  // namespace tenon
