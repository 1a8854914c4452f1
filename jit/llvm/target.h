// The machine code is made for. Differences between LLVM's versions (19 to 23) end here.
#pragma once

#include <llvm/Target/TargetMachine.h>

#include <memory>
#include <string>

#include "jit/llvm/compiler.h"

namespace tenon::llvm_jit {

struct TargetSpec {
  std::string triple;
  std::string cpu;
  std::string features;
};
const TargetSpec& host();
std::unique_ptr<llvm::TargetMachine> make_machine(const TargetSpec& spec, Tier tier);

}  // namespace tenon::llvm_jit
